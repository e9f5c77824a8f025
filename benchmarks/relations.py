"""Does an image-text model learn what lies left of what, taught nothing else? `scenes_clip` trained on, and asked after each epoch.

    python benchmarks/relations.py hard 8     # the same caption with its two objects exchanged is among the texts to choose from
    python benchmarks/relations.py plain 8    # the control: the same captions without those

All scenes have two objects, and every caption says how they lie to each other. Writes `results/relations.parquet`, a row for each way,
epoch and question; an arm that was stopped goes on from its last epoch, kept in `runs/relations`.
"""

import sys
from pathlib import Path

import pandas as pd
import torch

from xaicl_lib.augment.views import random_view
from xaicl_lib.data.captions import captioned_set, exchanged, phrase, relations, tokenize
from xaicl_lib.networks.text import Reader
from xaicl_lib.studies.tables import with_provenance
from xaicl_lib.training.finish import encode
from xaicl_lib.training.losses import clip
from xaicl_lib.training.recipes import RECIPES
from xaicl_lib.training.tasks import TASKS
from xaicl_lib.training.train import normalize
from xaicl_lib.training.zero_shot import relation_accuracy, zero_shot
from xaicl_lib.zoo import load_model, model_card
from xaicl_lib.zoo.bundled import WEIGHTS, _network

OUT = Path(__file__).parents[1] / "results" / "relations.parquet"
BATCH, RATE, SEED = 128, 1e-3, 0


def said(facts, generator):
    """A caption of each scene that names colours or shapes or both, and how its objects lie to each other."""
    draws, texts = torch.rand(len(facts), 3, generator=generator).tolist(), []
    for (first, second), u in zip(facts.tolist(), draws, strict=True):
        first, second = (first, second) if u[0] < 0.5 else (second, first)
        factors = (("colour", "shape"), ("colour",), ("shape",))[int(u[1] * 3)]
        ways = relations(first, second)
        texts.append(f"{phrase(first, factors)} {ways[int(u[2] * len(ways))]} {phrase(second, factors)}")
    return texts


def asked(network, images, facts):
    """Answers by question: of two opposite relations, of two orders of one relation, and by factor on scenes of one object."""
    z, read = encode(torch.nn.Sequential(network["features"], network["head"]), images), Reader(network["text"])
    two = facts[:, 1, 0] >= 0
    found = {"opposite": relation_accuracy(z[two], facts[two], read), "order": relation_accuracy(z[two], facts[two], read, exchanged=True)}
    return {**found, **zero_shot(z[~two], facts[~two, 0], read)}


def epoch(network, optimizer, images, facts, way, generator, rates):
    network.train()
    for batch in torch.randperm(len(images), generator=generator).split(BATCH)[: len(images) // BATCH]:
        optimizer.param_groups[0]["lr"] = next(rates)
        texts = said(facts[batch], generator)
        false = [exchanged(text) for text in texts] if way == "hard" else []
        x = normalize(random_view(images[batch].float() / 255, RECIPES["scenes_clip"].views, generator))
        with torch.autocast("cpu", torch.bfloat16):
            za, zb, scale = TASKS["describe"](network, x.contiguous(memory_format=torch.channels_last), tokenize(texts + false))
        loss = clip(za, zb[: len(za)], scale, zb[len(za) :] if false else None)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval()


def main(way, epochs):
    folder = OUT.parents[1] / "runs" / "relations"
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"{way}.pt"
    images, facts, _ = captioned_set("train")
    two = facts[:, 1, 0] >= 0
    images, facts, test = images[two], facts[two], captioned_set("val", pairs=375)
    network = _network(model_card("scenes_clip"), WEIGHTS)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.05)
    generator, rows = torch.Generator().manual_seed(SEED), [{"epoch": 0, **asked(network.eval(), *test[:2])}]
    if kept.exists():
        state = torch.load(kept, weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        generator.set_state(state["generator"])
        rows = state["rows"]
    steps = len(images) // BATCH
    for k in range(len(rows) - 1, epochs):
        rates = iter([RATE * (1 - (k * steps + j) / (epochs * steps)) for j in range(steps)])
        epoch(network, optimizer, images, facts, way, generator, rates)
        rows.append({"epoch": k + 1, **asked(network, *test[:2])})
        print(rows[-1], flush=True)
        states = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "generator": generator.get_state(), "rows": rows}
        torch.save(states, kept)
        table = pd.DataFrame(rows).melt(["epoch"], var_name="question", value_name="value").assign(way=way)
        table = with_provenance(table, load_model("scenes_clip", "cpu"), "captioned_set val")
        before = pd.read_parquet(OUT).query("way != @way") if OUT.exists() else table[:0]
        pd.concat([before, table], ignore_index=True).to_parquet(OUT, index=False)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

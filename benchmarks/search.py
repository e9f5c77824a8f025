"""The larger runs behind the page about retrieval, once, with where they came from; the page shows them beside its own quick runs.

    python benchmarks/search.py [apart links measured words weights frames] [-n 80] [-o results/search.parquet]

Parts that are asked for replace those of the file that is there.
"""

import argparse
from pathlib import Path

import pandas as pd
import torch

from xaicl_lib import PairModel, load_model
from xaicl_lib.methods.words import WordMap, explain_words
from xaicl_lib.metrics.links import measure_words
from xaicl_lib.studies import retrieval as study
from xaicl_lib.studies.tables import with_provenance


def words_measured(model: PairModel, n: int = 8, *, seed: int = 0) -> pd.DataFrame:
    """Insertion and deletion of words with the cells that go with them, beside the same maps with cells or words in a random order."""
    images, _, facts = study.two_object_scenes(n, model.size, seed=seed)
    texts, generator = study.described(facts), torch.Generator().manual_seed(seed)
    made = explain_words(model, images, texts)
    frames = []
    for label in ("words x regions", "random links"):
        used = made if label == "words x regions" else [_shuffled(one, generator) for one in made]
        for metric, values in measure_words(model, images, texts, used).items():
            frames.append(pd.DataFrame({"pair": range(n), "metric": metric, "value": values.cpu().double()}).assign(way=label))
    return pd.concat(frames, ignore_index=True).assign(model=model.name)


def _shuffled(made: WordMap, generator: torch.Generator) -> WordMap:
    flat = made.joint.flatten()
    joint = flat[torch.randperm(len(flat), generator=generator).to(flat.device)].view_as(made.joint)
    return WordMap(made.words, joint, made.picture, made.text, made.constant, made.score, made.steps)


def main() -> None:
    torch.set_num_threads(1)
    reader, sighted = load_model("scenes_clip", "cpu"), load_model("scenes_simclr", "cpu")
    parts = {
        "apart": lambda n: study.told_apart(reader, 10 * n, seed=1),
        "links": lambda n: study.true_links(sighted, n, seed=1),
        "measured": lambda n: words_measured(reader, n, seed=1),
        "words": lambda n: study.words_on_objects(reader, n, seed=1),
        "weights": lambda n: study.weights_of_words(reader, n, seed=1),
        "frames": lambda n: study.frames_found([reader, sighted], n // 4, seed=1),
    }
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(parts)} (default: all)")
    parser.add_argument("-n", type=int, default=80, help="scenes; of questions without maps ten times as many")
    parser.add_argument("-o", "--output", type=Path, default=Path("results/search.parquet"))
    arguments = parser.parse_args()
    for part in arguments.parts or parts:
        table = with_provenance(parts[part](arguments.n).assign(part=part), reader, "scenes of two objects").assign(n=arguments.n)
        before = pd.read_parquet(arguments.output) if arguments.output.exists() else table[:0]
        pd.concat([before[before["part"] != part], table], ignore_index=True).to_parquet(arguments.output, index=False)
        print(f"{part}: {len(table)} rows", flush=True)


if __name__ == "__main__":
    main()

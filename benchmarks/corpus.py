"""The larger runs behind the page about corpora, once, with where they came from; the page shows them beside its own quick runs.

    python benchmarks/corpus.py scenes photos sizes sanity views localisation [--ways LABEL ...] [-o results/corpus.parquet]

Photos are those of XAICL_IMAGENETTE: corpora and explicands from the validation part, the linear probe learns from the training part. Parts
that are asked for replace those of the file that is there; with --ways only these ways of scenes and photos do, such as
"IG, contrastive label-free".
"""

import argparse
import datetime
import os
import platform
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from xaicl_lib import PairModel, load_model
from xaicl_lib.data.corpora import IMAGENETTE, embed_corpus
from xaicl_lib.data.photos import imagenette
from xaicl_lib.data.scenes import SHAPES, scene_set
from xaicl_lib.evaluation.method_spec import Method
from xaicl_lib.evaluation.store import code_version
from xaicl_lib.probes import linear_probe
from xaicl_lib.studies.corpus import TARGETS, Setting, evaluate_corpora, settings, vary_sizes
from xaicl_lib.studies.text_localisation import locate_texts
from xaicl_lib.studies.views_of_photos import compare_views

RISE = {"masks": 200, "centred": True}
POINTS = 9  # of an insertion or deletion curve


def methods(size: int) -> dict[str, Method]:
    """Occlusion at 9 places a side rather than the paper's 24."""
    return {
        **{f"RISE, {target}": ("rise", {**RISE, "target": target}) for target in TARGETS},
        **{f"IG, {target}": ("integrated_gradients", {"n_steps": 20, "target": target}) for target in TARGETS},
        "SHAP, contrastive": ("gradient_shap", {"n_samples": 20}),
        "occlusion, contrastive": ("conditional_occlusion", {"stride": size // 12}),
        "Grad-CAM, contrastive": "grad_cam",
        "random map": "random_map",
    }


def step_of(model: PairModel) -> int:
    return model.size**2 // (POINTS - 1)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pool(name: str, split: str, size: int, count: int) -> tuple[Tensor, Tensor, list[str]]:
    """Images with the labels that the questions are about: shapes of scenes, classes of photos."""
    if name.startswith("scenes"):
        images, labels, _ = scene_set(split, size, count)
        return images.float() / 255, labels[:, 0], list(SHAPES)
    images, labels, folders = imagenette(split, size, limit=count)
    names = {folder: label for label, folder in IMAGENETTE.items()}
    return images.float() / 255, labels, [names.get(folder, folder) for folder in folders]


def asked(name: str, classes: int, explicands: int) -> tuple[PairModel, list[Setting], nn.Module]:
    model = load_model(name, "cpu")
    learned, known, _ = pool(name, "train", model.size, 1000)
    probe = linear_probe(embed_corpus(model, learned), known)
    images, labels, names = pool(name, "val", model.size, 1000)
    chosen = torch.linspace(0, len(names) - 1, classes).round().long().tolist()
    given = settings(model, images, labels, names, classes=chosen, explicands=explicands, corpus=40, foil=300)
    return model, given, probe


def evaluation(name: str, classes: int, explicands: int, chosen: Sequence[str] = ()) -> pd.DataFrame:
    model, given, probe = asked(name, classes, explicands)
    some = {label: method for label, method in methods(model.size).items() if not chosen or label in chosen}
    return evaluate_corpora(model, given, probe, some, step=step_of(model))


def sizes() -> pd.DataFrame:
    model, given, probe = asked("scenes_simclr", 3, 2)
    occlusion = methods(model.size)["occlusion, contrastive"]
    counts = {"corpus_sizes": (1, 3, 10, 40), "foil_sizes": (0, 1, 3, 10, 30, 100, 300)}
    return vary_sizes(model, given, probe, **counts, repeats=2, method=occlusion, step=step_of(model))


def random_model() -> pd.DataFrame:
    model, given, probe = asked("scenes_simclr", 8, 5)
    asked_about = ("RISE, contrastive", "IG, contrastive", "occlusion, contrastive", "Grad-CAM, contrastive", "random map")
    some = {label: methods(model.size)[label] for label in asked_about}
    return evaluate_corpora(model, given, probe, some, step=step_of(model), shuffled=True)


def views() -> pd.DataFrame:
    model = load_model("simclr", "cpu")
    images, _, _ = pool("simclr", "val", model.size, 150)
    order = torch.randperm(len(images), generator=seeded())
    photos, foil = images[order[:10]], images[order[10:]]
    few: dict[str, Method] = {"occlusion": ("conditional_occlusion", {"stride": 12}), "Grad-CAM": "grad_cam"}
    return compare_views(model, photos, foil, few, repeats=2)


def localisation() -> pd.DataFrame:
    return locate_texts(load_model("scenes_clip", "cpu"), 32, seed=5)


EVALUATIONS: dict[str, tuple[str, int, int]] = {"scenes": ("scenes_simclr", 8, 5), "photos": ("simclr", 10, 4)}
PARTS: dict[str, Callable[[], pd.DataFrame]] = {
    "sizes": sizes,
    "sanity": random_model,
    "views": views,
    "localisation": localisation,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=[*EVALUATIONS, *PARTS])
    parser.add_argument("--ways", nargs="+", default=[], help="of scenes and photos; the others stay as they are in the file")
    parser.add_argument("-o", "--output", type=Path, default=Path("results/corpus.parquet"))
    given = parser.parse_args()
    for part in given.parts:
        made = (evaluation(*EVALUATIONS[part], given.ways) if part in EVALUATIONS else PARTS[part]()).assign(part=part)
        facts = {"seed": 0, "device": f"{platform.machine()} CPU, {os.cpu_count()} cores", "torch": torch.__version__}
        made = made.assign(**facts, date=datetime.date.today().isoformat(), code=code_version(), pairs=made["pair"].nunique())
        old = [pd.read_parquet(given.output)] if given.output.is_file() else []
        some = given.ways if part in EVALUATIONS else []
        stays = [(one["part"] != part) | (~one["way"].isin(some) if some else False) for one in old]
        table = pd.concat([*(one[rest] for one, rest in zip(old, stays, strict=True)), made], ignore_index=True)
        texts = {column: "category" for column in table if table[column].dtype in (object, "str", "category")}
        table.astype(texts).to_parquet(given.output, index=False)
        print(f"{given.output.name}: {part}, {len(made)} rows", flush=True)


if __name__ == "__main__":
    main()

"""What variants that the paper leaves open change, once, with where it came from; page 02 shows it.

    python benchmarks/variants.py [-n 24] [--scenes 100] [--store FOLDER] [-o results/variants.parquet]

Noise after SmoothGrad's own rule or after the published program's, on `simclr`; guided gradients where only the head has ReLUs, on
`moco_v3`; insertion from the paper's blur in pixels or from one in proportion to the image, on `simclr`; pairwise occlusion with
standardised drops, on scenes with known truth. Pairs of photos are validation photos of XAICL_IMAGENETTE, each with one view, and areas
adaptive, as in `benchmarks/tables.py`.
"""

import argparse
import os
from pathlib import Path

import pandas as pd
from torch import Generator

from xaicl_lib import evaluate, load_model
from xaicl_lib.data.scenes import scene_pairs
from xaicl_lib.errors import InputError
from xaicl_lib.studies.headlines import LOCALISED, VARIANTS
from xaicl_lib.studies.tables import pairs_from, with_provenance

BLURRED = ("grad_cam", "interaction_cam", "deep_similarity", "input_x_gradient", "averaged_transforms(guided=True)", "edges", "random_map")
PHOTOS = "Imagenette (val), each photo with one view"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("-n", type=int, default=24, help="pairs of photos")
    parser.add_argument("--scenes", type=int, default=100, help="pairs of scenes")
    parser.add_argument("--store", help="what it has is not computed again")
    parser.add_argument("-o", "--output", default="results/variants.parquet")
    arguments = parser.parse_args()
    folder = os.environ.get("XAICL_IMAGENETTE")
    if not folder:
        raise InputError("expected the folder of Imagenette in XAICL_IMAGENETTE")
    made = [of_photos(name, str(Path(folder) / "val"), arguments.n, arguments.store) for name in ("simclr", "moco_v3")]
    made += [of_scenes(arguments.scenes, arguments.store)]
    table = pd.concat(made, ignore_index=True)
    Path(arguments.output).parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(arguments.output, index=False)


def labels_of(claims: tuple) -> list[str]:
    """The methods of some claims as `evaluate` takes them."""
    return list(dict.fromkeys(label for one in claims for label in (one.worse, one.better)))


def of_photos(name: str, folder: str, n: int, store: str | None) -> pd.DataFrame:
    model = load_model(name, "auto")
    pairs = pairs_from(folder, n, model.size)
    made = [evaluate(model, pairs, labels_of(VARIANTS[name]), store=store, adaptive=True).assign(insertion="blur")]
    if name == "simclr":
        made += [
            evaluate(model, pairs, BLURRED, ["SI", "CI"], store=store, adaptive=True, insertion=blur).assign(insertion=blur)
            for blur in ("blur", "scaled_blur")
        ]
    print(f"{name}: {sum(map(len, made))} values", flush=True)
    return with_provenance(pd.concat(made, ignore_index=True), model, PHOTOS)


def of_scenes(n: int, store: str | None) -> pd.DataFrame:
    model = load_model("scenes_simclr", "auto")
    pairs = scene_pairs(n, "same_object", model.size, Generator().manual_seed(0))
    methods = [*labels_of(VARIANTS["scenes_simclr"]), "random_map"]
    made = evaluate(model, pairs, methods, LOCALISED, store=store).assign(insertion="none")
    print(f"scenes: {len(made)} values", flush=True)
    return with_provenance(made, model, "same_object")


if __name__ == "__main__":
    main()

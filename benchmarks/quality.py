"""The larger run behind the page of explanation quality, once, with where it came from.

    python benchmarks/quality.py [--models supervised ...] [-n 24] [-o results]

Photos are those of XAICL_IMAGENETTE.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from studies import seeded, with_provenance
from torch import Generator, Tensor

from xaicl_lib import InputError, load_model
from xaicl_lib.data.corpora import embed_corpus
from xaicl_lib.data.photos import imagenette
from xaicl_lib.data.scenes import scene_set
from xaicl_lib.evaluation.method_spec import Methods
from xaicl_lib.studies.properties import properties
from xaicl_lib.studies.quality import (
    Classifier,
    by_corpus,
    by_logits,
    calibrated,
    contrastivity,
    two_object_scenes,
)

MODELS = ("supervised", "supcon", "triplet", "simclr", "scenes_supervised", "scenes_simclr")


def methods(size: int) -> Methods:
    """Occlusion at some 9 places a side rather than the paper's 24."""
    return {
        "grad_cam": "grad_cam",
        "input_x_gradient": "input_x_gradient",
        "smooth_grad": ("smooth_grad", {"samples": 8}),
        "conditional_occlusion": ("conditional_occlusion", {"stride": size // 12}),
        "random_map": "random_map",
    }


def classifiers_of(names: list[str], device: str, images: torch.Tensor, labels: torch.Tensor) -> list[Classifier]:
    """Every model by corpora of these images, and those with a classifier by its logits too."""
    found = []
    for name in names:
        model = load_model(name, device)
        if name in ("supervised", "scenes_supervised"):
            found.append(by_logits(name, device))
        found.append(by_corpus(model, embed_corpus(model, images), labels))
    return found


def recognised(classifiers: Sequence[Classifier], images: Float[Tensor, "n 3 h w"], labels: Int[Tensor, " n"]) -> Bool[Tensor, " n"]:
    """Which images all of them put into their own class: a map of a class that a network does not see says nothing of its loss."""
    return torch.stack([one.evidence(images).argmax(1).cpu() == labels.cpu() for one in classifiers]).all(0)


def class_grids(
    n: int, photos: Float[Tensor, "m 3 s s"], labels: Int[Tensor, " m"], generator: Generator | None = None
) -> tuple[Float[Tensor, "n 3 2*s 2*s"], Int[Tensor, "n 4"], Bool[Tensor, "n 4 2*s 2*s"]]:
    """Grids of two by two photos of four classes at their full size, as in the grid pointing game of :cite:t:`bohle2021convolutional`.

    Returns:
        Images, the class of each cell (row by row), and the masks of the cells.

    Raises:
        InputError: fewer than four classes.
    """
    members = [(labels == k).nonzero()[:, 0] for k in labels.unique()]
    if len(members) < 4:
        raise InputError(f"expected photos of at least 4 classes for a grid, got {len(members)}")
    u = torch.rand(n, len(members) + 4, generator=generator or Generator().manual_seed(0))
    kinds, picks = u[:, :-4].argsort(1)[:, :4].tolist(), u[:, -4:].tolist()  # no class twice
    chosen = torch.tensor(
        [[members[k][int(p * len(members[k]))] for k, p in zip(*row, strict=True)] for row in zip(kinds, picks, strict=True)]
    )  # (n, 4)
    side = photos.shape[-1]
    images = photos[chosen].view(n, 2, 2, 3, side, side).permute(0, 3, 1, 4, 2, 5).reshape(n, 3, 2 * side, 2 * side)
    cells = torch.eye(4, dtype=torch.bool).view(4, 2, 2).repeat_interleave(side, 1).repeat_interleave(side, 2)
    return images, labels[chosen], cells.expand(n, 4, 2 * side, 2 * side)


def quality(models: list[str], n: int, device: str) -> dict[str, pd.DataFrame]:
    """Grids of photos and scenes of two objects; the models of a family that are asked for, on images that all of them recognise."""
    tables: dict[str, list[pd.DataFrame]] = {"contrastivity": [], "properties": []}
    for scene, family in ((False, "photos"), (True, "scenes")):
        names = [name for name in MODELS if name in models and name.startswith("scenes") == scene]
        if not names:
            continue
        if scene:
            train, labels = (part[:2000] for part in scene_set("train", 64, 2000)[:2])
            held, known = scene_set("val", 64, 800)[:2]
            labels, known = labels[:, 0], known[:, 0]
        else:
            train, labels = imagenette("train", 96, limit=2000)[:2]
            held, known = imagenette("val", 96, limit=1600)[:2]
        classifiers = classifiers_of(names, device, train.float() / 255, labels)
        classifiers = [calibrated(one, held[1::2].float() / 255, known[1::2]) for one in classifiers]
        test, known = held[::2], known[::2]
        sure = recognised(classifiers, test.float() / 255, known)
        images, classes = test[sure].float() / 255, known[sure]
        print(f"{family}: {len(images)} of {len(test)} recognised by {', '.join(f'{j.name} (T {j.temperature:.3f})' for j in classifiers)}")
        if scene:
            drawn, masks, facts = two_object_scenes(2 * n)
            shown = drawn, facts[:, :, 0], masks
        else:
            shown = class_grids(n, images, classes, seeded())
        tables["contrastivity"].append(contrastivity(classifiers, *shown, methods(shown[0].shape[-1])).assign(family=family))
        mixed = torch.randperm(len(images), generator=seeded())[:n]
        tables["properties"].append(properties(classifiers, images[mixed], classes[mixed], methods(images.shape[-1])).assign(family=family))
    return {name: pd.concat(frames, ignore_index=True) for name, frames in tables.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=MODELS)
    parser.add_argument("-n", type=int, default=24, help="grids and single photos; twice as many scenes of two objects")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("-o", "--output", type=Path, default=Path("results"))
    given = parser.parse_args()
    for name, table in quality(given.models, given.n, given.device).items():
        table = with_provenance(table, given.n, given.device)
        texts = {column: "category" for column in table if table[column].dtype in (object, "str")}
        table.astype(texts).to_parquet(given.output / f"{name}.parquet", index=False)
        print(f"{given.output / name}.parquet: {len(table)} rows")


if __name__ == "__main__":
    main()

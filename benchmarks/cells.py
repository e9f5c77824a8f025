"""What maps of the cells of a feature map find as they are drawn, and moved to where the cells look: results/cells.parquet.

    python benchmarks/cells.py [-n 64] [-o results/cells.parquet]

Pairs are those of `localisation` in `benchmarks/studies.py`: scenes that share an object, mosaics of photos that share a photo.
"""

import argparse
import itertools
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Float
from studies import mosaics, photos, seeded
from torch import Generator, Tensor

from xaicl_lib import PairModel, load_model
from xaicl_lib.data.scenes import scene_pairs, scenes
from xaicl_lib.evaluation.method_spec import Methods, method_specs
from xaicl_lib.metrics import measure
from xaicl_lib.pair import Pair, resize_map
from xaicl_lib.studies.headlines import LOCALISED
from xaicl_lib.studies.tables import with_provenance

MODELS = ("scenes_simclr", "scenes_simclr_no_jitter", "scenes_supervised", "simclr", "barlow_twins", "supervised")
LOOKED = 16  # images by which a model is asked where its cells look


def rows(name: str, n: int) -> pd.DataFrame:
    model = load_model(name, "cpu")
    drawn = name.startswith("scenes")
    images = scenes(LOOKED, model.size, seeded(7))[0] if drawn else photos(LOOKED, model.size)[0]
    by = where_cells_look(model, images)
    pair = scene_pairs(n, "one_shared", model.size, seeded()) if drawn else mosaics(n, model.size, "photo")
    print(f"{name}: {by[0]:+.2f} down, {by[1]:+.2f} right, of {model.size} pixels", flush=True)
    return with_provenance(moved_cells(model, pair, by).assign(down=by[0], right=by[1]), model, "scenes" if drawn else "mosaics")


CELLS_OF = ("grad_cam", "interaction_cam", "deep_similarity", "integrated_jacobians")  # methods whose maps have the cells of the features


def where_cells_look(model: PairModel, images: Float[Tensor, "n 3 h w"]) -> tuple[float, float]:
    """How far below and right of the middle of the place where it is drawn a cell of the features of side a looks, in pixels.

    A map of such cells is stretched over the image, cell (i, j) to its share of it. What the cell looks at is asked of the network: the
    centre of its squared gradient by the pixels, of a random mix of channels, over all images and the cells of the middle.
    """
    x = model.normalize(images).detach().requires_grad_()
    features = model.features_a(x)
    mix = torch.randn(features.shape[1], generator=Generator().manual_seed(0)).to(features)
    rows, columns = (range(count // 4, count - count // 4) for count in features.shape[2:])
    away = []
    for i, j in itertools.product(rows, columns):
        (slope,) = torch.autograd.grad((features[:, :, i, j] @ mix).sum(), x, retain_graph=True)
        energy = slope.square().sum((0, 1))
        centre = [_middle(energy.sum(1 - axis)) for axis in (0, 1)]
        drawn = [(at + 0.5) * side / count for at, side, count in zip((i, j), x.shape[2:], features.shape[2:], strict=True)]
        away.append([seen - place for seen, place in zip(centre, drawn, strict=True)])
    down, right = torch.tensor(away).mean(0).tolist()
    return down, right


def _middle(energy: Float[Tensor, " s"]) -> float:
    line = torch.arange(len(energy), device=energy.device) + 0.5
    return float((energy * line).sum() / energy.sum())


def moved_cells(model: PairModel, pair: Pair, by: tuple[float, float], methods: Methods = CELLS_OF) -> pd.DataFrame:
    """What maps find where their cells are drawn as usual, and where they are moved by so many pixels down and right.

    Args:
        pair: with truth.
        by: as from `where_cells_look`.

    Returns:
        Rows of model, method, cells ("as usual", "moved"), pair, metric (those of localisation), value.
    """
    frames = []
    for label, spec in method_specs(methods).items():
        made = spec.explain(model, pair)
        moved = replace(made, a=_moved(made.a, pair.a, by), b=made.b if made.b is None else _moved(made.b, pair.sides[1], by), joint=None)
        for cells, one in (("as usual", made), ("moved", moved)):
            values = {metric: value.tolist() for metric, value in measure(model, pair, one, LOCALISED).items()}
            found = pd.DataFrame(values).rename_axis("pair").reset_index().melt("pair", var_name="metric")
            frames.append(found.assign(model=model.name, method=label, cells=cells))
    return pd.concat(frames, ignore_index=True)


def _moved(maps: Float[Tensor, "n i j"], pixels: Tensor, by: tuple[float, float]) -> Float[Tensor, "n h w"]:
    """A map stretched over an image and moved; what comes in at a border is what was there."""
    h, w = pixels.shape[2:]
    down, right = (torch.arange(side, dtype=maps.dtype) + 0.5 - step for side, step in zip((h, w), by, strict=True))
    grid = torch.stack(torch.meshgrid(2 * right / w - 1, 2 * down / h - 1, indexing="xy"), -1).to(maps)
    stretched = resize_map(maps, (h, w)).unsqueeze(1)
    return F.grid_sample(stretched, grid.expand(len(maps), -1, -1, -1), padding_mode="border", align_corners=False)[:, 0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=64, help="pairs")
    parser.add_argument("-o", "--output", type=Path, default=Path("results/cells.parquet"))
    given = parser.parse_args()
    pd.concat([rows(name, given.n) for name in MODELS], ignore_index=True).to_parquet(given.output, index=False)


if __name__ == "__main__":
    main()

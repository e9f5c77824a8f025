"""Where cells of a feature map look, by kernels whose middle is known, and maps that are moved there."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from xaicl_lib import Pair, PairModel
from xaicl_lib.data.scenes import scene_pairs

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from benchmarks.cells import _moved, moved_cells, where_cells_look


@pytest.mark.parametrize(("kernel", "padding", "away"), [(3, 1, -0.5), (2, 0, 0.0), (4, 0, 1.0)])
def test_cells_look_where_their_kernels_lie(kernel, padding, away) -> None:
    """A kernel of three with a border of one is centred half a pixel before the middle of two pixels, each step of two."""
    net = torch.nn.Conv2d(3, 4, kernel, stride=2, padding=padding)
    torch.nn.init.constant_(net.weight, 0.1)
    side = 32 if kernel < 4 else 34  # so that there are sixteen cells of two pixels, nearly
    down, right = where_cells_look(PairModel(net, size=side), torch.rand(2, 3, side, side))
    scale = side / 16 / 2  # cells are stretched to the whole image, so that the drawn middle moves a little
    assert down == pytest.approx(right, abs=1e-4)
    assert down == pytest.approx(away if scale == 1 else away - np.mean(np.arange(4, 12) + 0.5) * (side / 16 - 2), abs=1e-3)


def test_moved_maps_find_what_was_moved_away(projected) -> None:
    pair = scene_pairs(3, "one_shared", 24, torch.Generator().manual_seed(0))
    pair = Pair(pair.a.double(), pair.b.double(), pair.truth)
    found = moved_cells(projected, pair, (0.0, 0.0), ["grad_cam"]).pivot(index=["pair", "metric"], columns="cells", values="value")
    assert found["moved"].to_numpy() == pytest.approx(found["as usual"].to_numpy(), abs=1e-9)
    one = torch.zeros(1, 8, 8, dtype=torch.float64)
    one[0, 4, 4] = 1
    assert _moved(one, torch.zeros(1, 3, 8, 8), (1, -2)).nonzero().tolist() == [[0, 5, 2]]

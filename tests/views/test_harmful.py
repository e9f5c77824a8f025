"""Figures of augmentations that grow stronger."""

import numpy as np
import pandas as pd
import pytest
import torch

from xaicl_lib import Explanation, InputError, Pair
from xaicl_lib.views.harmful import levels_figure, square_figure
from xaicl_lib.views.render import alt_of


def test_maps_of_a_method_share_a_scale_and_each_of_a_control_has_its_own() -> None:
    pair, map_ = Pair(torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)), torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    own, edges = (
        [(k, pair, Explanation(map_, map_ * (k + 1), torch.tensor([0.5]), method=name)) for k in range(2)] for name in ("grad_cam", "edges")
    )
    figure = levels_figure(own, edges)
    assert [t.text for t in figure.layout.annotations] == ["clean: 0.50", "1: 0.50", "to 1e+00", "to 2e+00", "edges", "edges"]
    sources = [image.source for image in figure.layout.images]
    assert sources[2] != sources[3] == sources[4] == sources[5]
    with pytest.raises(InputError, match="without side b at level 0"):
        levels_figure([(0, Pair(pair.a), own[0][2])], edges)


def test_a_square_says_where_most_is_lost() -> None:
    square = pd.DataFrame({"crop": [0.1, 0.5], "blur": [np.nan, 0.25]}, index=["crop", "blur"])
    plain, signed = square_figure(square, "m"), square_figure(square, "m", "edges")
    assert (plain.data[0].zmin, plain.data[0].zmax, signed.data[0].zmin) == (0, 1, -1)
    assert alt_of(plain) == "Maps lost by two augmentations at once: m. Most: crop and blur 0.50; blur and blur 0.25; crop and crop 0.10."
    assert "minus the share that edges loses" in alt_of(signed)

"""What the larger run of the page of quality asks about: grids of photos, and images that all classifiers recognise."""

import sys
from pathlib import Path

import pytest
import torch

from tests.studies.test_quality import blind, colours, halves
from xaicl_lib import InputError

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from benchmarks.quality import class_grids, recognised


def test_a_grid_shows_each_photo_where_its_mask_says() -> None:
    labels = torch.tensor([0, 0, 1, 2, 3, 4])
    photos = (torch.arange(6.0) / 10).view(6, 1, 1, 1).expand(6, 3, 4, 4)
    images, classes, masks = class_grids(20, photos, labels, torch.Generator().manual_seed(1))
    assert images.shape == (20, 3, 8, 8)
    for image, kinds, cells in zip(images, classes, masks, strict=True):
        assert len(set(kinds.tolist())) == 4
        assert (cells.sum(0) == 1).all(), "every pixel is in one cell"
        for kind, cell in zip(kinds.tolist(), cells, strict=True):
            (value,) = image[0][cell].unique().tolist()
            assert labels[round(value * 10)] == kind
    again = class_grids(3, photos, labels, torch.Generator().manual_seed(1))
    assert torch.equal(again[0], images[:3])
    with pytest.raises(InputError, match="at least 4 classes"):
        class_grids(1, photos[:3], labels[:3])


def test_recognised_by_all() -> None:
    images, _, _ = halves(2)
    red = images.clone()
    red[:, 1] = 0
    assert recognised([colours()], red, torch.tensor([0, 1])).tolist() == [True, False]
    assert not recognised([colours(), blind()], red, torch.tensor([1, 1])).any()

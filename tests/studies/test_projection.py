"""Maps keep neighbours together; neighbours are those of a sorted list of cosines; umap-learn is asked for only when it is used."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.studies.test_organization import clouds
from xaicl_lib import InputError
from xaicl_lib.studies.projection import evenly, kept_on_map, neighbours, project, shared


def test_neighbours_are_the_largest_cosines_of_others() -> None:
    x, _ = clouds(20)
    indices, cosines = neighbours(x.float(), 4)
    for i in range(20):
        all_of = {j: torch.nn.functional.cosine_similarity(x[i], x[j], dim=0).item() for j in range(20) if j != i}
        want = sorted(all_of, key=all_of.__getitem__, reverse=True)[:4]
        assert indices[i].tolist() == want
        assert cosines[i].tolist() == pytest.approx([all_of[j] for j in want], abs=1e-6)


def test_bad_input_is_named() -> None:
    x, _ = clouds(8)
    for k in (0, 8):
        with pytest.raises(InputError, match=f"from 1 to 7 neighbours, as many as there are other items, got {k}"):
            neighbours(x, k)
    with pytest.raises(InputError, match="norm zero in 2 of 8"):
        neighbours(torch.cat([torch.zeros(2, 5), x[2:]]), 3)
    with pytest.raises(InputError, match="finite numbers"):
        project(x / 0)
    with pytest.raises(InputError, match="there are: tsne, umap, pca"):
        project(x, "isomap")
    with pytest.raises(InputError, match="expected options that fit tsne of 8 items"):
        project(x, perplexity=50)


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_separate_clouds_stay_separate_on_the_map(method: str) -> None:
    x, y = clouds(45, apart=20.0)
    flat = project(x, method)
    assert flat.norm(dim=1).max().item() == pytest.approx(1)
    near = torch.cdist(flat, flat).fill_diagonal_(torch.inf).argmin(1)
    assert (y[near] == y).double().mean() > 0.95
    assert torch.equal(flat, project(x, method)), "the same seed, the same map"


def test_umap_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    x, _ = clouds(9)
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(InputError, match=r"pip install 'xaicl_lib\[umap\]'"):
        project(x, "umap")
    asked = {}

    def fake(**options: object) -> SimpleNamespace:
        asked.update(options)
        return SimpleNamespace(fit_transform=lambda z: np.asarray(z)[:, :2])

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=fake))
    assert project(x, "umap", seed=3, min_dist=0.2).shape == (9, 2)
    assert (asked["random_state"], asked["metric"], asked["min_dist"], asked["n_neighbors"]) == (3, "cosine", 0.2, 8)


def test_shared_counts_by_hand() -> None:
    one, other = torch.tensor([[1, 2, 3], [0, 2, 4]]), torch.tensor([[3, 9, 1], [5, 6, 7]])
    assert shared(one, other).tolist() == pytest.approx([2 / 3, 0])
    with pytest.raises(InputError, match="as many neighbours"):
        shared(one, other[:, :2])


def test_a_map_is_trusted_as_far_as_it_keeps_neighbours() -> None:
    places = torch.tensor([[0.0, 0.0], [1.0, 0.0], [3.0, 0.0], [9.0, 0.0]])
    near = torch.tensor([[1, 2], [0, 3], [3, 1], [0, 1]])
    assert kept_on_map(places, near).tolist() == [1.0, 0.5, 0.5, 0.5]


def test_items_are_spread_over_all() -> None:
    assert evenly(9, 3).tolist() == [0, 4, 8]
    assert evenly(3, 10).tolist() == [0, 1, 2]

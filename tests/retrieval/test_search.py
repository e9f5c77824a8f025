"""Search: the nearest by brute force, in whatever portions, and sums of cosines that say what they are made of."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from tests.retrieval.test_gallery import small
from xaicl_lib import InputError, PairModel
from xaicl_lib.retrieval import embed_gallery, retrieve, search


class Words(nn.Module):
    """Texts to embeddings: how often they have each of six letters."""

    def forward(self, texts: list[str]) -> torch.Tensor:
        return torch.tensor([[float(text.count(letter)) + 0.1 for letter in "abcdef"] for text in texts])


@pytest.fixture
def reader() -> PairModel:
    torch.manual_seed(0)
    return PairModel(nn.Sequential(nn.Conv2d(3, 6, 5, 4), nn.ReLU()), size=24, text=Words())


@pytest.mark.parametrize("rows", [3, 7, 1000])
def test_the_nearest_are_those_of_brute_force(rows, monkeypatch) -> None:
    monkeypatch.setattr(search, "ROWS", rows)
    z = F.normalize(torch.randn(50, 8)).numpy()
    z[[7, 20, 41]] = z[3]  # equal ones: the first row comes first
    for q in (z[3], F.normalize(torch.randn(1, 8))[0].numpy()):
        want = sorted(range(50), key=lambda k: (-float(z[k] @ q), k))
        for k in (1, 2, 5, 50):
            assert search.nearest(z, q, k)[: min(k, 4)] == want[: min(k, 4)]
            assert sorted(-float(z[i] @ q) for i in search.nearest(z, q, k)) == pytest.approx(sorted(-float(z[i] @ q) for i in want[:k]))


def test_scores_are_sums_of_cosines(reader) -> None:
    images, query = torch.rand(12, 3, 24, 24), torch.rand(1, 3, 24, 24)
    z = F.normalize(reader.encode(images, "b"))
    terms = [z @ F.normalize(reader.encode(query))[0]]
    terms += [sign * (z @ F.normalize(reader.embed_text([text]))[0]) for text, sign in (("abba", 1), ("fff", -1))]
    asked = [({"query": query}, [0]), ({"query": None, "text": "abba"}, [1]), ({"query": query, "minus": "fff"}, [0, 2])]
    for given, parts in [*asked, ({"query": query, "text": "abba", "minus": "fff"}, [0, 1, 2])]:
        total = torch.stack([terms[k] for k in parts]).sum(0)
        order = total.argsort(descending=True)
        found = retrieve(reader, given.pop("query"), images, 3, **given)
        assert list(found.indices) == order[:3].tolist()
        assert found.runner_up == int(order[3])
        assert found.scores == pytest.approx(total[order[:3]].tolist(), abs=1e-5)
        assert np.allclose(found.terms, torch.stack([terms[k][order[:3]] for k in parts], 1), atol=1e-5)
    assert retrieve(reader, None, images, 12, text="a").runner_up is None


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_a_picture_finds_itself_however_the_gallery_was_made_square(fit, tmp_path) -> None:
    for k in range(6):
        Image.effect_noise((60, 20), 90 + k).convert("RGB").save(tmp_path / f"{k}.png")
    found = embed_gallery(small(), tmp_path, tmp_path / "all.safetensors", fit=fit)
    for asked in (found, tmp_path / "all.safetensors"):
        best = retrieve(small(), tmp_path / "4.png", asked, np.int64(1))
        assert best.name(0) == "4.png"
        assert best.scores[0] == pytest.approx(1, abs=1e-5)
    other = retrieve(small(), tmp_path / "4.png", found, 1, fit="pad" if fit == "crop" else "crop")
    assert other.scores[0] < 0.9999


def test_near_duplicates_are_noted_and_others_are_not() -> None:
    images = torch.rand(6, 3, 24, 24).repeat_interleave(2, 2)[:, :, :24]
    images[4] = (images[1] + 0.01).clamp(0, 1)
    found = retrieve(small(), images[1].flip(2), images, 6)
    said = dict(zip(found.indices, found.notes, strict=True))
    assert said[1] == said[4] == "a near-duplicate of the query"
    assert not any(said[k] for k in (0, 2, 3, 5))
    beside = retrieve(small(), torch.rand(1, 3, 24, 24), images, 6)
    places = sorted((beside.indices.index(1), beside.indices.index(4)))
    assert beside.notes[places[1]] == f"a near-duplicate of result {places[0] + 1}"
    assert "a near-duplicate" in repr(beside)


def test_questions_that_cannot_be_asked(reader, tmp_path) -> None:
    images, one = torch.rand(4, 3, 24, 24), torch.rand(1, 3, 24, 24)
    with pytest.raises(InputError, match="expected 1 to 4 results, as many as the gallery has images, got 5"):
        retrieve(reader, one, images, 5)
    with pytest.raises(InputError, match="expected 1 to 4 results, as many as the gallery has images, got True"):
        retrieve(reader, one, images, True)
    assert len(retrieve(reader, one, images).indices) == 4, "all of so few"
    with pytest.raises(InputError, match="got neither"):
        retrieve(reader, None, images, 1, minus="a")
    with pytest.raises(InputError, match="one picture to search with, got 2"):
        retrieve(reader, torch.rand(2, 3, 24, 24), images, 1)
    with pytest.raises(InputError, match="expected a model with a text side"):
        retrieve(small(), None, images, 1, text="a")
    with pytest.raises(InputError, match="expected a gallery's file, got the folder"):
        retrieve(reader, one, tmp_path, 1)
    with pytest.raises(InputError, match="at least one image"):
        retrieve(reader, one, images[:0], 1)


def test_embeddings_that_are_not_finite_are_told() -> None:
    class Scaled(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return ((x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True))[..., ::8, ::8]

    model, images = PairModel(Scaled(), size=24), torch.rand(4, 3, 24, 24)
    images[2] = 0.5
    with pytest.raises(InputError, match="finite embeddings of all images, got NaN or infinity by 'custom' for image 2"):
        retrieve(model, images[0], images, 1)
    with pytest.raises(InputError, match="finite embeddings of what is asked"):
        retrieve(model, images[2], images[:2], 1)

"""Methods of others for words and regions that were written anew, held to their definitions where the answer is known."""

import sys
from itertools import product
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.conftest import assert_close
from tests.methods.test_words import Letters
from xaicl_lib import PairModel, load_model
from xaicl_lib.tokens.texts import open_text

pytest.importorskip("open_clip", reason="open_clip is not installed (extra: clip)")
sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
import pupil
import word_peers

TEXT = "ab c abd"


@pytest.fixture
def asked() -> word_peers.Asked:
    """Four cells and three words; both sides are sums."""
    torch.manual_seed(4)
    return word_peers.Asked(PairModel(nn.Conv2d(3, 7, 12, 12), size=24, text=Letters(nn.Linear(5, 7))))


@pytest.fixture
def clip() -> word_peers.Asked:
    network = pupil.network(8)
    return word_peers.Asked(pupil.wrapped(network, load_model("scenes_clip", "cpu")), network)


def test_exclip_of_two_sums_is_the_product_of_what_each_adds(asked) -> None:
    image, opened = torch.rand(1, 3, 24, 24), open_text(asked.model._parts["text"], TEXT)
    made = word_peers.exclip_anew(asked, image, TEXT)
    side, model = asked.model._parts["text"], asked.model
    u = (opened.places.float() @ (opened.vectors - opened.blank)) @ side.after.weight.T  # (w, d)
    f = model.features_a(model.normalize(image))
    v = ((f - model.features_a(torch.zeros_like(image))) / 4)[0]
    norm = f.mean((2, 3)).norm() * side([TEXT]).norm()
    assert_close(made.map.joint, torch.einsum("wd,dij->wij", u, v) / norm, rtol=1e-4, atol=1e-6)
    assert made.parts == pytest.approx(made.whole, abs=1e-5)
    assert made.map.score == pytest.approx(F.cosine_similarity(f.mean((2, 3)), side([TEXT])).item(), abs=1e-6)


def test_fixlip_of_all_coalitions_is_the_banzhaf_interaction(asked) -> None:
    """With p of one half the fitted pair of a cell and a word is the mean, over all others there or not, of what they add only together."""
    image, opened = torch.rand(1, 3, 24, 24), open_text(asked.model._parts["text"], TEXT)
    made = word_peers.fixlip_anew(asked, image, TEXT, evaluations=2**10)
    assert made.map.steps == (2**7, 8)

    def value(cells: tuple[int, ...], words: tuple[int, ...]) -> float:
        mask = torch.tensor(cells).view(1, 1, 2, 2).repeat_interleave(12, 2).repeat_interleave(12, 3)
        g = opened.embed(opened.without(torch.tensor([words])))
        return F.cosine_similarity(asked.model.encode_inputs([asked.model.normalize(image) * mask], "a"), g).item()

    v = {players: value(players[:4], players[4:]) for players in product((0, 1), repeat=7)}

    def together(i: int, j: int) -> float:
        signed = [(1 if players[i] == players[j] else -1) * found for players, found in v.items()]
        return 4 * sum(signed) / len(signed)

    expected = torch.tensor([[together(cell, 4 + word) for cell in range(4)] for word in range(3)]).view(3, 2, 2)
    assert expected.abs().max() > 0.01
    assert_close(made.map.joint, expected, rtol=1e-4, atol=1e-5)


def test_the_fit_is_that_of_least_squares() -> None:
    there, said = torch.rand(40, 5) < 0.5, torch.rand(12, 3) < 0.5
    values = torch.rand(40, 12, dtype=torch.float64)
    single, cross, constant, total = word_peers._fitted(values, there.float(), said.float())
    rows, wanted = [], []
    for m, n in product(range(40), range(12)):
        players = torch.cat([there[m], said[n]]).double()
        rows.append(torch.cat([torch.ones(1), players, torch.stack([players[i] * players[j] for i in range(8) for j in range(i)])]))
        wanted.append(values[m, n])
    found = torch.linalg.lstsq(torch.stack(rows), torch.stack(wanted)).solution
    pairs = {(i, j): found[9 + k] for k, (i, j) in enumerate((i, j) for i in range(8) for j in range(i))}
    assert constant == pytest.approx(found[0].item(), abs=1e-8)
    assert total == pytest.approx(found.sum().item(), abs=1e-7)
    assert_close(single, found[1:9], atol=1e-8)
    assert_close(cross, torch.tensor([[pairs[5 + word, cell] for word in range(3)] for cell in range(5)], dtype=torch.float64), atol=1e-8)


def test_the_last_block_taken_apart_gives_the_score_of_the_whole(clip) -> None:
    image, text = torch.rand(1, 3, 64, 64), "a red ball"
    made = word_peers.grad_eclip_anew(clip, image, text).map
    z, g = clip.model.encode(image), clip.model.embed_text([text])
    assert made.score == pytest.approx(F.cosine_similarity(z, g).item(), abs=1e-5)
    assert made.joint.shape == (3, 8, 8)
    assert made.joint[0].min() >= 0 < made.joint[0].max()
    assert made.joint[1:].abs().max() == 0


def test_the_pupil_is_the_network_it_wraps(clip) -> None:
    x = clip.model.normalize(torch.rand(2, 3, 64, 64))
    with torch.no_grad():
        assert_close(clip.model.encode_inputs([x], "a"), clip.network.encode_image(x), rtol=1e-4, atol=1e-5)

"""Drafts: extremes are exact, the rest is within a bound that a sample gave, and where nothing is gained all is exact."""

import pytest
import torch

from xaicl_lib import Pair, PairModel, engines, explain, measure
from xaicl_lib.drafts import proven
from xaicl_lib.errors import InputError

from .conftest import STATS, assert_close, random_pair, small_features, small_head


@pytest.fixture
def rounded(monkeypatch) -> PairModel:
    """A model whose drafts are in bfloat16 whatever processor this is, and always faster."""
    monkeypatch.setattr(engines, "_has_bfloat16", lambda device: True)
    monkeypatch.setattr(engines, "DRAFT_GAIN", float("inf"))
    return PairModel(small_features().float(), small_head().float(), size=24, name="small", **STATS)


def blocks() -> Pair:
    """Two pairs of coloured blocks, which hidden windows tell apart."""
    images = torch.rand(4, 3, 4, 4).round().repeat_interleave(6, 2).repeat_interleave(6, 3)
    return Pair(images[:2], images[2:])


def test_extremes_of_a_draft_are_exact_and_the_rest_is_within_the_bound() -> None:
    """Of scores that are all moved alike and rounded to hundredths, so that the largest ten look alike."""
    exact = torch.rand(3, 400)
    exact[:, 7] = exact.amax(1) + 1e-4
    asked = []

    def at(row: torch.Tensor, column: torch.Tensor, rough: bool) -> torch.Tensor:
        asked.append(0 if rough else len(row))
        return (exact[row, column] * 100).round() / 100 + 0.3 if rough else exact[row, column]

    scores, bound = proven(3, 400, at)
    assert (scores.argmax(1) == 7).all()
    assert_close(scores.amax(1), exact.amax(1), rtol=0, atol=0)
    assert_close(scores.amin(1), exact.amin(1), rtol=0, atol=0)
    assert_close(scores[bound == 0], exact[bound == 0], rtol=0, atol=0)
    assert ((scores - exact).abs() <= bound).all()
    assert 0.005 < bound.max() < 0.02
    assert sum(asked) < 0.2 * exact.numel()


def test_a_row_is_the_same_whatever_rows_are_beside_it() -> None:
    flat, spread = 1e-4 * torch.rand(1, 441), torch.rand(1, 441)

    def of(exact: torch.Tensor):
        def at(row: torch.Tensor, column: torch.Tensor, rough: bool) -> torch.Tensor:
            return exact[row, column] + (0.003 * (column * 7919 % 13 / 13 - 0.5) if rough else 0)

        return proven(*exact.shape, at)

    alone, both = of(spread), of(torch.cat([spread, flat]))
    for one, two in zip(alone, both, strict=True):
        assert_close(two[:1], one, rtol=0, atol=0)
    assert alone[1].any(), "a draft"
    assert not both[1][1].any(), "exact"
    assert_close(both[0][1:], flat, rtol=0, atol=0)


def test_where_a_draft_says_nothing_all_is_exact() -> None:
    exact, drafts = 0.5 + 1e-3 * torch.rand(2, 200), []

    def at(row: torch.Tensor, column: torch.Tensor, rough: bool) -> torch.Tensor:
        drafts.append(len(row) if rough else 0)
        return (exact[row, column] * 500).round() / 500 if rough else exact[row, column]

    scores, bound = proven(2, 200, at)
    assert_close(scores, exact, rtol=0, atol=0)
    assert not bound.any()
    assert sum(drafts) < 60  # the sample alone


def test_occlusion_as_a_draft(rounded) -> None:
    pair = blocks()
    made, want = (explain(rounded, pair, "conditional_occlusion", window=9, stride=1, precision=p) for p in ("draft", "exact"))
    for side in "ab":
        got, exact, error = getattr(made, side), getattr(want, side), getattr(made, f"error_{side}")
        for extreme in (torch.amax, torch.amin):
            assert_close(extreme(got, (1, 2)), extreme(exact, (1, 2)), rtol=1e-4, atol=1e-6)
        assert 0 < (got - exact).abs().max() < 1e-3
        assert ((got - exact).abs() <= error + 1e-6).float().mean() > 0.98
        assert 0 < (error == 0).float().mean() < 0.5
    assert want.error_a is None


@pytest.mark.parametrize("adaptive", [False, True])
def test_areas_as_a_draft(adaptive, rounded) -> None:
    pair = blocks()
    maps = explain(rounded, pair, "random_map")
    names, options = ["SI", "SD", "CI", "CD"], {"step": 4, "adaptive": adaptive, "curves": True}
    exact, plain = measure(rounded, pair, maps, names, **options)
    draft, curves = measure(rounded, pair, maps, names, precision="draft", **options)
    for name in names:
        assert (draft[name] != exact[name]).any()
        away = (draft[name] - exact[name]).abs()
        assert (away <= curves.error[name]).all()
        assert (curves.error[name] < 0.003).all()
        assert_close(curves.points[name][..., [0, -1]], plain.points[name][..., [0, -1]], rtol=0, atol=1e-6)
    assert (curves.encoded >= plain.encoded).all()


def test_a_few_scores_are_exact_at_once(rounded) -> None:
    pair = blocks()
    made, want = (explain(rounded, pair, "conditional_occlusion", stride=4, precision=p) for p in ("draft", "exact"))
    assert_close(made.a, want.a, rtol=0, atol=0)
    assert not made.error_a.any()
    maps = explain(rounded, pair, "random_map")
    draft, exact = (measure(rounded, pair, maps, ["SI"], step=24, precision=p)["SI"] for p in ("draft", "exact"))
    assert_close(draft, exact, rtol=0, atol=0)


NOTHING = {
    "no instructions": ({"_has_bfloat16": lambda device: False}, "for this processor has no instructions for bfloat16"),
    "no gain": ({"DRAFT_GAIN": 0.0}, "for bfloat16 takes .* times as long here"),
    "too far away": ({"DRAFT_NEAR": 1e-9}, "for bfloat16 is .* of an embedding away"),
    "unknown operation": ({"DRAFTS": {"eager": lambda network, x: 1 / 0}}, "for bfloat16 cannot take this network: division by zero"),
}


@pytest.mark.parametrize(("without", "says"), NOTHING.values(), ids=NOTHING)
def test_where_nothing_is_gained_all_is_exact_and_that_is_said(without, says, rounded, monkeypatch) -> None:
    for name, value in without.items():
        monkeypatch.setattr(engines, name, value)
    pair = random_pair(1)
    options = {"window": 8, "stride": 1}
    with pytest.warns(UserWarning, match=f"'small': exact instead of a draft, {says}") as caught:
        made = explain(rounded, pair, "conditional_occlusion", precision="draft", **options)
    assert len(caught) == 1
    assert_close(made.a, explain(rounded, pair, "conditional_occlusion", **options).a, rtol=1e-4, atol=1e-6)


def test_precisions_that_there_are_not(rounded) -> None:
    pair = random_pair(1)
    with pytest.raises(InputError, match="unknown precision 'bf16'; there are: exact, draft"):
        explain(rounded, pair, "conditional_occlusion", precision="bf16")
    with pytest.raises(InputError, match="unknown precision 'half'"):
        measure(rounded, pair, explain(rounded, pair, "edges"), ["SI"], precision="half")

"""Augmentations in twos: where pixels come from, and what is lost only together."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch

from tests.conftest import build
from tests.studies.test_harmful import pairs
from xaicl_lib import InputError, augment
from xaicl_lib.augment.families import AUGMENTATIONS, composition
from xaicl_lib.statistics.paired import signed_ranks
from xaicl_lib.studies import combined
from xaicl_lib.studies.combined import _each, beside_controls, beyond, by_method, compositions, extremes, square
from xaicl_lib.studies.harmful import sweep


def test_two_are_one_after_the_other() -> None:
    x = pairs(2).b
    both = composition(AUGMENTATIONS["darkening"], AUGMENTATIONS["noise"])
    assert both.strengths == (1, 2, 3, 4, 5)
    dark = augment.brightness(x, AUGMENTATIONS["darkening"].strengths[2])
    assert torch.equal(both.apply(x, 3), augment.noise(dark, AUGMENTATIONS["noise"].strengths[2]))
    assert both.grid is None, "no pixel moves"


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(["crop", "rotation"], 2)))
def test_pixels_come_from_where_both_grids_say(first: str, second: str) -> None:
    """A ramp says of every pixel where it was, as long as that was inside."""
    side = 32
    middle = (torch.arange(side) + 0.5) / side * 2 - 1
    ramp = torch.stack(torch.meshgrid(middle, middle, indexing="xy"))[None]
    a, b = AUGMENTATIONS[first], AUGMENTATIONS[second]
    both = composition(a, b)
    level = 2
    want = augment.sample(ramp, a.grid(ramp, a.strengths[level - 1]), outside="border")
    want = augment.sample(want, b.grid(ramp, b.strengths[level - 1]), outside="border").movedim(1, -1)
    got = both.grid(ramp, level)
    inside = (want.abs() < 0.9).all(-1) & (got.abs() < 0.9).all(-1)
    assert inside.float().mean() > 0.5
    assert (want - got)[inside].abs().max() < 1e-3


def test_what_a_rotation_takes_from_outside_is_outside() -> None:
    both = composition(AUGMENTATIONS["crop"], AUGMENTATIONS["rotation"])
    grid = both.grid(torch.zeros(1, 3, 32, 32), 2)  # 30 degrees: corners of the cropped image come from beyond it
    assert (grid[0, 0, 0] == 2).all()
    assert (grid[0, 16, 16].abs() < 0.1).all()


def test_sixty_six_twos_and_the_paper_s_among_them() -> None:
    twos = compositions()
    assert len(twos) == 12 * 11 // 2
    x = pairs(1).b
    assert torch.equal(twos["darkening + blur"].apply(x, 4), AUGMENTATIONS["blur + darkening"].apply(x, 4))


def lost(name: str, hits: list[bool]) -> pd.DataFrame:
    return pd.DataFrame({"model": "m", "augmentation": name, "level": 3, "pair": range(len(hits)), "lost": hits})


def test_only_together_by_hand() -> None:
    alone = pd.concat([lost("crop", [True, False, False, False]), lost("blur", [False, True, False, False])])
    found = _each(pd.concat([lost("crop + blur", [True, False, True, True]), alone]).assign(method="cam"))
    assert found["value"].tolist() == [0, -1, 1, 1]
    assert (found["lost"].mean(), found["either"].mean()) == (0.75, 0.5)
    with pytest.raises(InputError, match=r"expected 'noise' alone on the same models, levels and pairs, to compare 'crop \+ noise'"):
        _each(pd.concat([lost("crop + noise", [True]), alone]).assign(method="cam"))


def test_chance_loses_less_together_than_by_one_alone() -> None:
    """Every outcome of three coins once: half are lost together, three quarters by one alone; a method that loses all is beyond that."""
    coins = list(itertools.product([False, True], repeat=3))
    first, second, together = (list(side) for side in zip(*coins, strict=True))
    never, always = [False] * 8, [True] * 8
    noise = {"method": "random_map"}
    alone = pd.concat([lost("crop", never), lost("blur", never)]).assign(method="cam")
    alone = pd.concat([alone, pd.concat([lost("crop", first), lost("blur", second)]).assign(**noise)])
    both = pd.concat([lost("crop + blur", always).assign(method="cam"), lost("crop + blur", together).assign(**noise)])
    found = beyond(pd.concat([both, alone])).iloc[0]
    assert (found["together"], found["by_control"], found["mean"], found["n"]) == (1, -0.25, 1.25, 8)
    assert found["verdict"] == "more"
    assert found["p_zero"] == 2 / 2**8, "all eight are lost only together"
    assert found["p"] == signed_ranks(np.array([1 - int(t) + (a or b) for a, b, t in coins], float))
    same = pd.concat([both[8:], alone[16:]])
    got = beyond(pd.concat([same.assign(method="cam"), same])).iloc[0]
    assert got[["mean", "verdict"]].tolist() == [0, "undecided"]
    means = by_method(pd.concat([both, alone])).set_index("method")
    assert means.loc["random_map"].tolist() == [0.75, 0.5, -0.25]
    assert means.loc["cam"].tolist() == [0, 1, 1]


def test_a_square_has_one_alone_on_its_diagonal(monkeypatch) -> None:
    monkeypatch.setattr(combined, "ORDER", ("crop", "blur"))
    hits = {"crop + blur": [1, 0], "blur": [1, 1, 0, 0, 0], "crop": [1, 0, 0, 0, 0, 0, 0, 0, 0, 0], "blur + darkening": [1]}
    own = pd.concat([lost(name, some) for name, some in hits.items()]).assign(method="cam")
    noise = pd.concat([lost(name, [1]) for name in hits]).assign(method="random_map")
    table = pd.concat([own, noise, own.assign(model="w", lost=1), own.assign(level=4, lost=1)])
    shown = square(table, "m", 3, "cam")
    assert shown.loc["crop", "crop"] == 0.1
    assert shown.loc["blur", "blur"] == 0.4
    assert shown.loc["blur", "crop"] == 0.5
    assert pd.isna(shown.loc["crop", "blur"])
    assert square(table, "m", 3, "cam", "random_map").loc["blur", "crop"] == -0.5


def test_compositions_are_counted_beside_controls() -> None:
    """One of two compositions loses all maps where noise loses none; the paper's own name for a composition is no third."""
    frames = [
        lost(name, [hit] * 10).assign(method=method)
        for name, own in (("crop + blur", True), ("crop + hue", False), ("blur + darkening", True), ("crop", True))
        for method, hit in (("cam", own), ("random_map", False), ("edges", False))
    ]
    found = beside_controls(pd.concat(frames)).set_index("control")
    assert found.loc["edges", ["lost", "by_control", "more", "undecided"]].tolist() == [0.5, 0, 1, 1]


def test_the_ends_of_what_is_lost_only_together() -> None:
    names = [f"c{k}" for k in range(5)]
    facts = {"model": "m", "augmentation": names, "by_control": 0.0, "p_zero": 1.0, "p": 1.0, "verdict": ["more"] + ["undecided"] * 4}
    found = pd.DataFrame({**facts, "together": [0.1, 0.5, 0.3, 0.2, 0.4], "mean": 0.25, "low": -1.0, "high": 1.0})
    told = extremes(found, 2)
    assert told["augmentation"].tolist() == ["c1", "c4", "c3", "c0"], "most first, then least, the least of them last"
    assert told.iloc[0][["lost only together", "minus random map's"]].tolist() == [0.5, "+0.25 (-1.00 to +1.00)"]


def test_twos_are_swept_beside_single_ones(monkeypatch) -> None:
    monkeypatch.setattr(combined, "ORDER", ("darkening", "hue"))
    table = combined.sweep_twos([build("projected").to(torch.float32)], pairs(2), level=2, method="grad_cam")
    assert table["augmentation"].unique().tolist() == ["darkening", "hue", "darkening + hue"]
    assert table["level"].unique().tolist() == [0, 2]
    assert beyond(table)["n"].tolist() == [2]


def test_some_levels_only() -> None:
    model, pair = build("projected").to(torch.float32), pairs()
    few = {"darkening": AUGMENTATIONS["darkening"]}
    whole, part = sweep([model], pair, augmentations=few), sweep([model], pair, augmentations=few, levels=[3])
    pd.testing.assert_frame_equal(part, whole[whole["level"].isin([0, 3])].reset_index(drop=True))
    with pytest.raises(InputError, match=r"expected levels from 1 to 5, got \[0, 7\]"):
        sweep([model], pair, augmentations=few, levels=[0, 7])

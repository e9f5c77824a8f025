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
from xaicl_lib.studies.combined import beyond, compositions, only_together, square
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
    with pytest.raises(InputError, match=r"unknown augmentation 'fog'; there are: blur"):
        compositions(["fog", "blur"])


def lost(name: str, hits: list[bool]) -> pd.DataFrame:
    return pd.DataFrame({"model": "m", "augmentation": name, "level": 3, "pair": range(len(hits)), "lost": hits})


def test_only_together_by_hand() -> None:
    alone = pd.concat([lost("crop", [True, False, False, False]), lost("blur", [False, True, False, False])])
    found = only_together(lost("crop + blur", [True, False, True, True]), alone).iloc[0]
    assert found["mean"] == pytest.approx((0 - 1 + 1 + 1) / 4)
    assert (found["lost"], found["either"]) == (0.75, 0.5)
    assert found["low"] <= found["mean"] <= found["high"]
    with pytest.raises(InputError, match=r"expected 'noise' alone on the same models, levels and pairs, to compare 'crop \+ noise'"):
        only_together(lost("crop + noise", [True]), alone)


def test_chance_loses_less_together_than_by_one_alone() -> None:
    """Every outcome of three coins once: half are lost together, three quarters by one alone; a method that loses all is beyond that."""
    coins = list(itertools.product([False, True], repeat=3))
    first, second, together = (list(side) for side in zip(*coins, strict=True))
    never, always = [False] * 8, [True] * 8
    noise = {"method": "random_map"}
    alone = pd.concat([lost("crop", never), lost("blur", never)]).assign(method="cam")
    alone = pd.concat([alone, pd.concat([lost("crop", first), lost("blur", second)]).assign(**noise)])
    both = pd.concat([lost("crop + blur", always).assign(method="cam"), lost("crop + blur", together).assign(**noise)])
    found = beyond(both, alone).iloc[0]
    assert (found["together"], found["by_control"], found["mean"], found["n"]) == (1, -0.25, 1.25, 8)
    assert found["verdict"] == "more"
    assert found["p_zero"] == 2 / 2**8, "all eight are lost only together"
    assert found["p"] == signed_ranks(np.array([1 - int(t) + (a or b) for a, b, t in coins], float))
    same = pd.concat([both.assign(method="cam")[8:], both[8:]])
    assert beyond(same, pd.concat([alone.assign(method="cam")[16:], alone[16:]])).iloc[0][["mean", "verdict"]].tolist() == [0, "undecided"]


def test_a_square_has_one_alone_on_its_diagonal() -> None:
    both = pd.DataFrame({"augmentation": ["crop + blur"], "mean": [0.5]})
    alone = pd.DataFrame({"augmentation": ["blur", "crop"], "mean": [0.2, 0.1]})
    table = square(both, alone, names=["crop", "blur"])
    assert table.loc["crop", "crop"] == 0.1
    assert table.loc["blur", "crop"] == 0.5
    assert pd.isna(table.loc["crop", "blur"])


def test_some_levels_only() -> None:
    model, pair = build("projected").to(torch.float32), pairs()
    few = {"darkening": AUGMENTATIONS["darkening"]}
    whole, part = sweep([model], pair, augmentations=few), sweep([model], pair, augmentations=few, levels=[3])
    pd.testing.assert_frame_equal(part, whole[whole["level"].isin([0, 3])].reset_index(drop=True))
    with pytest.raises(InputError, match=r"expected levels from 1 to 5, got \[0, 7\]"):
        sweep([model], pair, augmentations=few, levels=[0, 7])

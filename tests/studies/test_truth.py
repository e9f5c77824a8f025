"""Interventions on models of which it is known what they use."""

import pytest
import torch
from torch import nn

from tests.conftest import build, random_pair
from xaicl_lib import InputError, Pair, PairModel
from xaicl_lib.data.scenes import scene_pairs
from xaicl_lib.pair import Truth
from xaicl_lib.studies.truth import intervene, localise, mismatched, paint, specific


class Window(nn.Module):
    """Sees the pixels of some rows and columns only."""

    def __init__(self, rows: slice, columns: slice) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :, self.rows, self.columns]


def window_model(rows: slice, columns: slice, name: str) -> PairModel:
    return PairModel(Window(rows, columns), nn.Flatten(), size=16, name=name)


def marked(n: int = 6) -> Pair:
    """The same noise in the upper left quarter of both sides, other noise elsewhere."""
    pair = random_pair(n, (16, 16), (16, 16))
    a, b = pair.a.float(), pair.b.float()
    b[:, :, :8, :8] = a[:, :, :8, :8]
    mask = torch.zeros(n, 16, 16, dtype=torch.bool)
    mask[:, :8, :8] = True
    return Pair(a, b, Truth(mask, mask))


def test_a_model_that_uses_the_evidence_and_one_that_does_not() -> None:
    models = [window_model(slice(8), slice(8), "uses it"), window_model(slice(8, 16), slice(8, 16), "blind")]
    table = intervene(models, {"marked": marked()}, fill="other").set_index("model")
    uses, blind = table.loc["uses it"], table.loc["blind"]
    assert uses["score"].to_numpy() == pytest.approx(1)
    assert (uses["evidence"] > 0.1).all()
    assert uses["elsewhere"].abs().max() < 1e-6, "no place elsewhere touches the evidence"
    assert not uses["flagged"].any()
    assert blind["evidence"].abs().max() < 1e-6
    assert (blind["area"] == 0.25).all()
    assert (blind["flagged"] == (blind["elsewhere"] >= blind["evidence"])).all()


def test_the_drop_is_what_it_says() -> None:
    pair, model = marked(3), window_model(slice(16), slice(16), "all")
    got = intervene([model], {"k": pair})
    cos = nn.functional.cosine_similarity
    for k in range(3):
        whole = cos(pair.a[k].flatten(), pair.b[k].flatten(), 0)
        without_a = paint(pair.a[k : k + 1], pair.truth.a[k : k + 1])[0]
        without_b = paint(pair.b[k : k + 1], pair.truth.b[k : k + 1])[0]
        want = whole - (cos(without_a.flatten(), pair.b[k].flatten(), 0) + cos(pair.a[k].flatten(), without_b.flatten(), 0)) / 2
        assert got["evidence"][k] == pytest.approx(float(want), abs=1e-5)


def test_painting_leaves_the_rest_alone_and_takes_the_evidence_away() -> None:
    pair = marked()
    for fill in ("around", "other"):
        painted = paint(pair.a, pair.truth.a, fill)
        keep = ~pair.truth.a.unsqueeze(1).expand_as(painted)
        assert torch.equal(painted[keep], pair.a[keep])
    red = torch.zeros(1, 3, 16, 16)
    red[:, 0] = 1
    red[:, :, 4:8, 4:8] = torch.tensor([0.0, 1.0, 0.0]).view(3, 1, 1)
    mask = torch.zeros(1, 16, 16, dtype=torch.bool)
    mask[:, 4:8, 4:8] = True
    assert torch.allclose(paint(red, mask), torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1).expand(1, 3, 16, 16), atol=1e-5), (
        "nothing shines through"
    )
    with pytest.raises(InputError, match="unknown fill 'zeros'; there are: around, other"):
        paint(red, mask, "zeros")


def test_a_kind_is_judged_alike_whatever_comes_before_it() -> None:
    model, generator = build("projected"), torch.Generator().manual_seed(5)
    first, second = scene_pairs(3, "same_object", 24), scene_pairs(3, "same_shape", 24)
    both = intervene([model], {"first": first, "second": second}, generator=generator)
    alone = intervene([model], {"second": second}, generator=generator)
    assert both.loc[both["kind"] == "second", "elsewhere"].tolist() == alone["elsewhere"].tolist()
    other = intervene([model], {"second": second}, generator=torch.Generator().manual_seed(6))
    assert other["elsewhere"].tolist() != alone["elsewhere"].tolist()


def test_no_room_elsewhere_is_no_answer() -> None:
    model = build("projected")
    table = intervene([model], {"same_background": scene_pairs(3, "same_background", 24), "same_object": scene_pairs(3, "same_object", 24)})
    room = table.groupby("kind")["flagged"].count()
    assert room["same_background"] == 0
    assert table.loc[table["kind"] == "same_background", "elsewhere"].isna().all()
    assert room["same_object"] == 3
    with pytest.raises(InputError, match="got 'x' without"):
        intervene([model], {"x": random_pair()})


def test_localise_knows_what_guessing_gives_and_what_sharing_adds() -> None:
    pair = marked(4)
    model = window_model(slice(16), slice(16), "all")
    table = localise([model], {"marked": pair}, ["random_map", "input_x_gradient"], metrics=["relevance_mass"])
    assert set(table["kind"]) == {"marked"}
    assert (table["chance"] == 0.25).all()
    assert table["shared"].value_counts().to_dict() == {True: 8, False: 8}
    added = specific(table).groupby("method")["value"].mean()
    assert added["random_map"] == pytest.approx(0, abs=1e-6), "the same random map on the same mask"
    assert added["input_x_gradient"] != 0
    other = mismatched(pair)
    assert torch.equal(other.b[1], pair.b[0])
    assert torch.equal(other.truth.b[1], pair.truth.b[0])
    with pytest.raises(InputError, match="at least two pairs"):
        mismatched(pair[0])

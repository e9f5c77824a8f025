"""Interventions on models of which it is known what they use."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import nn

from tests.conftest import build, random_pair
from xaicl_lib import InputError, Pair, PairModel
from xaicl_lib.data.photos import other_photos, photo_mosaics
from xaicl_lib.data.scenes import scene_pairs
from xaicl_lib.pair import Truth
from xaicl_lib.statistics.bootstrap import share
from xaicl_lib.studies.truth import (
    KINDS,
    _other_objects,
    by_kind,
    confirmed,
    intervene,
    interventions,
    known_mosaics,
    known_scenes,
    mean_over_models,
    paint,
    painted_over,
)
from xaicl_lib.views.gallery import pairs_figure
from xaicl_lib.views.render import alt_of


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
    model = build("projected")
    first, second = scene_pairs(3, "same_object", 24), scene_pairs(3, "same_shape", 24)
    both = intervene([model], {"first": first, "second": second})
    alone = intervene([model], {"second": second})
    assert both.loc[both["kind"] == "second", "elsewhere"].tolist() == alone["elsewhere"].tolist()


def test_no_room_elsewhere_is_no_answer() -> None:
    model = build("projected")
    table = intervene([model], {"same_background": scene_pairs(3, "same_background", 24), "same_object": scene_pairs(3, "same_object", 24)})
    room = table.groupby("kind")["flagged"].count()
    assert room["same_background"] == 0
    assert table.loc[table["kind"] == "same_background", "elsewhere"].isna().all()
    assert room["same_object"] == 3
    with pytest.raises(InputError, match="got 'x' without"):
        intervene([model], {"x": random_pair()})


def test_the_other_controls_are_what_they_say() -> None:
    pair, model = marked(4), window_model(slice(16), slice(16), "all")
    corner = pair.truth.a.roll((8, 8), (1, 2))
    others = torch.stack([corner, pair.truth.a.roll(8, 1)]), torch.stack([corner, corner])
    got = intervene([model], {"k": pair}, others={"k": others})
    assert intervene([model], {"k": pair})["other"].isna().all()

    def cos(one: torch.Tensor, two: torch.Tensor) -> float:
        return float(nn.functional.cosine_similarity(one.flatten(), two.flatten(), 0))

    for k in range(4):
        whole = cos(pair.a[k], pair.b[k])
        without = [cos(paint(pair.a, mask)[k], pair.b[k]) for mask in others[0]]
        without += [cos(pair.a[k], paint(pair.b, mask)[k]) for mask in others[1]]
        assert got["other"][k] == pytest.approx(whole - np.mean(without), abs=1e-5)
        a, b = paint(pair.a, pair.truth.a), paint(pair.b, pair.truth.b)
        rest = [j for j in range(4) if j != k]
        drops = [cos(pair.a[k], pair.b[j]) - cos(a[k], pair.b[j]) for j in rest]
        drops += [cos(pair.a[j], pair.b[k]) - cos(pair.a[j], b[k]) for j in rest]
        assert got["unshared"][k] == pytest.approx(np.mean(drops), abs=1e-5)
    assert intervene([model], {"k": pair[:1]})["unshared"].isna().all()


def test_other_objects_and_photos_are_whole_and_never_the_shared_one() -> None:
    pair = scene_pairs(20, "one_shared", 48)
    for shared, other in zip((pair.truth.a, pair.truth.b), _other_objects(20, 48), strict=True):
        assert other.shape == (1, 20, 48, 48)
        assert other.flatten(2).any(2).all()
        assert not (other[0] & shared).any()
    painted = paint(pair.a, _other_objects(20, 48)[0][0])
    assert torch.equal(painted[pair.truth.a.unsqueeze(1).expand_as(painted)], pair.a[pair.truth.a.unsqueeze(1).expand_as(painted)])
    mosaic = photo_mosaics(3, 32)
    for shared, photos in zip((mosaic.truth.a, mosaic.truth.b), other_photos(mosaic.truth), strict=True):
        assert (torch.cat([shared[None], photos]).sum(0) == 1).all(), "the four photos tile the mosaic"


def drops_of(gains: dict[str, list[float]]) -> pd.DataFrame:
    rows = [
        {"model": "m", "kind": kind, "pair": k, "evidence": gain, "elsewhere": 0.0, "other": np.nan, "unshared": 2 * gain}
        for kind, values in gains.items()
        for k, gain in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_confirmed_shares_are_corrected_for_their_number() -> None:
    drops = drops_of({"clear": [0.5] * 32, "22 of 32": [0.1] * 22 + [-0.1] * 10, "none": [-0.1] * 32})
    found = confirmed(drops.assign(fill="around")).set_index("kind")
    table = found[found["control"] == "elsewhere"]
    assert table.loc["22 of 32", ["mean", "low", "high"]].tolist() == pytest.approx(share(22, 32))
    assert table.loc["22 of 32", "difference"] == pytest.approx(0.0375)
    p = stats.binomtest(22, 32).pvalue
    assert p == pytest.approx(0.0501, abs=1e-4)
    assert table.loc["22 of 32", "p"] == pytest.approx(p), "the largest of three is not made larger"
    assert table.loc["clear", "p"] == pytest.approx(3 * 2 / 2**32)
    assert table["surely"].tolist() == [True, False, False], "surely more often than a coin, not, and surely less"
    unshared = found[found["control"] == "unshared"]
    assert unshared["cost"].tolist() == pytest.approx([1.0, 0.075, -0.2])
    assert unshared["mean"].tolist() == [0, 10 / 32, 1]
    assert set(found["control"]) == {"elsewhere", "unshared"}, "of another thing nothing is known"


def test_scenes_and_mosaics_come_with_their_other_things() -> None:
    known, size = known_scenes(2, 24, seed=3), 24
    assert list(known.pairs) == [kind.replace("_", " ") for kind in KINDS]
    want = scene_pairs(2, "same_colour", size, torch.Generator().manual_seed(3))
    assert torch.equal(known.pairs["same colour"].b, want.b)
    for shared, other in zip(
        (known.pairs["one shared"].truth.a, known.pairs["one shared"].truth.b), known.others["one shared"], strict=True
    ):
        assert not (other[0] & shared).any(), "drawn as the pairs were"
    pictures = painted_over(known, "one shared")
    assert list(pictures) == ["one shared", "without the evidence", "without other pixels", "without the other"]
    pair = known.pairs["one shared"][0]
    assert torch.equal(pictures["without the evidence"].a, paint(pair.a, pair.truth.a))
    assert torch.equal(pictures["without the other"].a, paint(pair.a, known.others["one shared"][0][0][:1]))
    assert all(torch.equal(picture.b, pair.b) for picture in pictures.values())
    assert "without the evidence, without other pixels" in alt_of(pairs_figure(pictures, what="Scenes", outline=False))
    outlined = pairs_figure({"one": pair}, what="Scenes").layout.images[0].source
    assert outlined != pairs_figure({"one": pair}, what="Scenes", outline=False).layout.images[0].source


def test_interventions_are_those_of_each_model_on_its_own_pairs() -> None:
    model, own = build("projected"), known_mosaics(3, 24)
    known = known_scenes(3, 24)
    drops = interventions(([model], known), ([model], own))
    want = intervene([model], known.pairs, others=known.others)
    pd.testing.assert_frame_equal(drops[: len(want)], want)
    assert drops["kind"].iloc[-1] == "mosaic of photos"
    assert drops["other"].notna().tolist() == [kind in ("one shared", "mosaic of photos") for kind in drops["kind"]]
    wide = by_kind(drops)
    assert wide.loc[(model.name, "one shared"), "drop: evidence"] == drops[drops["kind"] == "one shared"]["evidence"].mean()


def test_shares_beside_every_control_in_means_over_models() -> None:
    clear, none = drops_of({"one_shared": [0.5] * 32}), drops_of({"one_shared": [-0.1] * 32}).assign(model="k")
    table = confirmed(pd.concat([clear, none]).assign(fill="around", other=1.0))
    assert table["control"].value_counts(sort=False).to_dict() == {"elsewhere": 2, "other": 2, "unshared": 2}
    row = mean_over_models(table).loc["elsewhere"]
    assert (row["kind"], row["confirmed"], row["surely"], row["models"]) == ("one shared", 0.5, 1, 2)
    assert row["difference"] == pytest.approx(0.2)

"""A pair that a page computes itself: what stands in it where no script runs, and what it refuses."""

import re

import pytest
import torch

from xaicl_lib import load_model
from xaicl_lib.errors import InputError
from xaicl_lib.lab.gallery import seen
from xaicl_lib.views import LivePair


def test_without_scripts_it_is_a_figure_that_says_what_is_seen() -> None:
    html = LivePair("scenes_simclr", "grad_cam", "two_a", "two_b", beside="scenes_supervised")._repr_html_()
    stills = re.findall(r'<figure class="xaicl-still"><img src="(data:image/jpeg[^"]*)" alt="([^"]*)"', html)
    assert [alt.split(".")[0] for _, alt in stills] == ["scenes_simclr", "scenes_supervised"]
    assert all("strongest at the" in alt for _, alt in stills)
    assert stills[0][0] != stills[1][0]
    assert len(html) < 60_000


def test_one_picture_is_held_against_a_corpus_and_a_foil() -> None:
    asked = {"a": "two_a", "corpus": ["shape_a", "shape_b"], "foil": ["ground_b"]}
    live = LivePair("scenes_simclr", "grad_cam", **asked)
    made = live.explanation()
    model = load_model("scenes_simclr", "cpu")
    one, *others = (model.encode(seen(name, model.size)) for name in ("two_a", "shape_a", "shape_b", "ground_b"))
    cosines = [torch.cosine_similarity(one, other).item() for other in others]
    assert made.score.item() == pytest.approx((cosines[0] + cosines[1]) / 2 - cosines[2], abs=1e-5)
    assert made.b is None
    html = live._repr_html_()
    assert ' corpus="shape_a shape_b" foil="ground_b">' in html
    assert ' b="' not in html
    assert 'alt="scenes_simclr. two objects grad_cam' in html
    assert "corpus: a shape, the shape in another dress · foil: another on the same ground" in html


def test_a_change_reaches_side_b_alone() -> None:
    plain, turned = LivePair(), LivePair(change=("rotation", 90.0))
    assert plain.pair().a.equal(turned.pair().a)
    assert not plain.pair().b.equal(turned.pair().b)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"model": "resnet"}, "model.*resnet.*simclr"),
        ({"beside": "resnet"}, "model.*resnet.*simclr"),
        ({"method": "rise"}, "method.*rise.*interaction_cam"),
        ({"b": "dog"}, "picture.*dog.*cat"),
        ({"change": ("sepia", 1.0)}, "change.*sepia.*blur"),
        ({"choose": ["colours"]}, "choice.*colours.*method"),
        ({"choose": ["change"]}, "expected a change"),
        ({"foil": ["cat"]}, "expected a corpus beside the foil"),
        ({"corpus": ["cat"], "a": "coffee"}, "method.*interaction_cam.*grad_cam"),
        ({"corpus": ["cat"], "a": "coffee", "curve": True}, "got a question about two"),
        ({"corpus": ["cat"], "a": "cat", "method": "grad_cam"}, "'cat' and each picture of corpus and foil once"),
        ({"corpus": ["dog"], "method": "grad_cam"}, "picture.*dog.*cat"),
    ],
)
def test_names_that_the_lab_does_not_know_are_refused(arguments: dict, says: str) -> None:
    with pytest.raises(InputError, match=says):
        LivePair(**arguments)

"""A pair that a page computes itself: what stands in it where no script runs, and what it refuses."""

import re

import pytest

from xaicl_lib.errors import InputError
from xaicl_lib.views import LivePair


def test_without_scripts_it_is_a_figure_that_says_what_is_seen() -> None:
    html = LivePair("scenes_simclr", "grad_cam", "two_a", "two_b", beside="scenes_supervised")._repr_html_()
    stills = re.findall(r'<figure class="xaicl-still"><img src="(data:image/jpeg[^"]*)" alt="([^"]*)"', html)
    assert [alt.split(".")[0] for _, alt in stills] == ["scenes_simclr", "scenes_supervised"]
    assert all("strongest at the" in alt for _, alt in stills)
    assert stills[0][0] != stills[1][0]
    assert len(html) < 60_000


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
    ],
)
def test_names_that_the_lab_does_not_know_are_refused(arguments: dict, says: str) -> None:
    with pytest.raises(InputError, match=says):
        LivePair(**arguments)

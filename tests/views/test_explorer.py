"""A pair to point at: what it holds, and its live form."""

import base64
import json
import re

import numpy as np
import pytest
import torch

from xaicl_lib import Pair, PairModel, explain
from xaicl_lib.errors import InputError
from xaicl_lib.lab.gallery import STATIC
from xaicl_lib.views.explorer import PairExplorer, _one_module


@pytest.fixture
def model() -> PairModel:
    torch.manual_seed(0)
    return PairModel(torch.nn.Sequential(torch.nn.Conv2d(3, 6, 4, 4), torch.nn.ReLU()), size=16)


@pytest.fixture
def pair() -> Pair:
    return Pair(torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16))


def page_data(explorer: PairExplorer) -> dict:
    found = re.search(r'<script type="application/json">(.*?)</script>', explorer._repr_html_(), re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_a_page_holds_what_explain_says(model: PairModel, pair: Pair) -> None:
    data = page_data(PairExplorer(model, pair, ["grad_cam", "conditional_occlusion"]))
    assert list(data["results"]) == ["grad_cam", "conditional_occlusion"]
    want = explain(model, pair[0], "grad_cam")
    got = data["results"]["grad_cam"]
    stored = (np.frombuffer(base64.b64decode(got["a"]["bytes"]), np.uint8).astype(float) - got["zero"]) * got["step"]
    assert np.abs(stored - want.a[0].numpy().ravel()).max() <= got["step"] / 2 + 1e-9
    assert got["score"] == want.score.item()
    assert data["results"]["conditional_occlusion"]["window"] == round(16 * 64 / 224) / 16


def test_explanations_are_taken_as_they_are(model: PairModel, pair: Pair) -> None:
    made = explain(model, pair, "interaction_cam", reduction="max")
    data = page_data(PairExplorer(model, pair, [made, "grad_cam"]))
    assert data["method"] == "interaction_cam"
    assert data["results"]["interaction_cam"]["score"] == made.score[0].item()
    assert list(data["results"]) == ["interaction_cam", "grad_cam"]


def test_names_cannot_become_html(model: PairModel, pair: Pair) -> None:
    bad = "</script><b onload=alert(1)>"
    explorer = PairExplorer(model, pair, ["grad_cam"], names=(bad, 'a"b'))
    assert "<b onload" not in explorer._repr_html_()
    assert page_data(explorer)["facts"]["photos"]["a"]["title"] == bad


def test_the_book_gets_html_that_says_what_is_seen(model: PairModel, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAICL_BOOK", "1")
    bundle = PairExplorer(model, pair, ["grad_cam"], names=("left", "right"))._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain"}
    assert bundle["text/html"].count("<img") == 2
    assert "strongest at the" in bundle["text/plain"]


def test_nothing_to_show_is_told(model: PairModel, pair: Pair) -> None:
    with pytest.raises(InputError, match="at least one method"):
        PairExplorer(model, pair, [])
    with pytest.raises(InputError, match="two sides"):
        PairExplorer(model, Pair(pair.a), ["grad_cam"])
    with pytest.raises(InputError, match="grad_cams"):
        PairExplorer(model, pair, ["grad_cams"])


def test_what_is_chosen_later_is_computed_then(model: PairModel, pair: Pair) -> None:
    explorer = PairExplorer(model, pair, ["grad_cam"])
    got = explorer.compute("edges")
    assert got["score"] == pytest.approx(explain(model, pair[0], "edges").score.item())
    assert explorer.compute("edges") is got
    assert "unknown method" in explorer.compute("no_such")["error"]


def test_one_module_imports_nothing_from_elsewhere() -> None:
    text = _one_module(STATIC / "page" / "explorer.js")
    found = re.findall(r'from "([^"]+)"', text)
    assert len(found) >= 4
    for address in found:
        assert address.startswith("data:text/javascript;base64,")
        inner = base64.b64decode(address.split(",")[1]).decode()
        assert not re.search(r'from "\.', inner)
    assert not re.search(r'from "\.', text)


def test_a_live_one_computes_what_is_chosen(model: PairModel, pair: Pair) -> None:
    pytest.importorskip("anywidget")
    widget = PairExplorer(model, pair, ["grad_cam"]).widget
    assert widget.live
    widget.method = "deep_similarity"
    assert "joint" in widget.results["deep_similarity"]

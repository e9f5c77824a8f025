"""Maps hold every photo once, their neighbours, and nothing that could break a page."""

import base64
import io
import json
import re

import pytest
import torch
from PIL import Image

from xaicl_lib import InputError
from xaicl_lib.views.organization import TILE, _class_marks, embedding_map


def photos(n: int = 7) -> torch.Tensor:
    return torch.arange(n).div(n).view(n, 1, 1, 1).expand(n, 3, 20, 20)


def a_map(n: int = 7, **options: object):
    g = torch.Generator().manual_seed(0)
    places = {name: torch.rand(n, 2, generator=g) for name in ("one", "two")}
    near = {name: (torch.randint(n, (n, 3), generator=g), torch.rand(n, 3, generator=g)) for name in ("one", "two")}
    labels = torch.arange(n) % 2
    return places, embedding_map(photos(n), labels, ["a <b>", "c"], places, near, **options), near


def test_a_map_holds_each_photo_once_at_its_place() -> None:
    places, made, near = a_map()
    for figure, xy in zip(made.figures, places.values(), strict=True):
        seen = {k: (x, y) for trace in figure.data[:2] for k, x, y in zip(trace.customdata, trace.x, trace.y, strict=True)}
        assert sorted(seen) == list(range(7))
        assert seen[3] == pytest.approx(xy[3].tolist(), abs=1e-3)
    assert made.data["near"][1] == near["two"][0].tolist()
    assert made.data["cosines"][0][2] == pytest.approx(near["one"][1][2].tolist(), abs=0.006)


def test_thumbnails_are_in_the_order_of_the_photos() -> None:
    _, made, _ = a_map()
    sheet = Image.open(io.BytesIO(base64.b64decode(made.data["sheet"].partition(",")[2])))
    assert (made.data["columns"], sheet.size) == (3, (3 * TILE, 3 * TILE))
    for k in range(7):
        middle = sheet.getpixel(((k % 3) * TILE + TILE // 2, k // 3 * TILE + TILE // 2))
        assert middle[0] == pytest.approx(255 * k / 7, abs=6)


def test_a_fragment_is_safe_complete_and_says_what_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    _, made, _ = a_map(first=2)
    monkeypatch.setenv("XAICL_BOOK", "1")
    text = made._repr_html_()
    assert text.count('class="xaicl-plot"') == 2
    assert text.count("aria-label=") >= 3
    assert "a <b>" not in text, "names are text"
    data = json.loads(re.search(r'class="xaicl-map-data">(.*?)</script>', text)[1])
    assert data["first"] == 2
    assert data["classes"] == ["a <b>", "c"]
    assert "http" not in re.sub(r'"sheet":"[^"]*"', "", text), "no other host"
    monkeypatch.delenv("XAICL_BOOK")
    live = made._repr_html_()
    assert live.startswith("<iframe title=")
    assert "Plotly.newPlot" in live
    assert made._repr_mimebundle_()["text/plain"].startswith("Maps of 7 images of 2 classes by one and two")


def test_four_hundred_photos_stay_light(monkeypatch: pytest.MonkeyPatch) -> None:
    n, g = 400, torch.Generator().manual_seed(0)
    noise = torch.rand(n, 3, 12, 12, generator=g).repeat_interleave(8, 2).repeat_interleave(8, 3)
    places = {name: torch.rand(n, 2, generator=g) for name in ("one", "two")}
    near = {name: (torch.randint(n, (n, 8), generator=g), torch.rand(n, 8, generator=g)) for name in places}
    made = embedding_map(noise, torch.arange(n) % 10, [str(k) for k in range(10)], places, near)
    assert len(made.fragment()) < 1_500_000


def test_every_class_has_its_own_mark() -> None:
    assert len(set(_class_marks(range(16)))) == 16


def test_what_does_not_fit_together_is_named() -> None:
    places, _made, near = a_map()
    with pytest.raises(InputError, match=r"expected 6 labels, places and neighbours by the same models, got \[6, 7\]"):
        embedding_map(photos(6), torch.zeros(6), ["a"], places, near)
    with pytest.raises(InputError, match="by the same models"):
        embedding_map(photos(), torch.zeros(7), ["a"], {"one": places["one"]}, near)

"""One function shows explanations: in a notebook, in the book, in files."""

import pytest
from PIL import Image

from tests.conftest import random_pair
from xaicl_lib import InputError, Pair, explain, show
from xaicl_lib.views.figures import alt_text, pair_figure
from xaicl_lib.views.render import BookFigure


@pytest.fixture
def pair() -> Pair:
    return random_pair(2)


def test_a_live_notebook_gets_the_figure_and_the_book_its_alt_text(projected, pair, monkeypatch) -> None:
    made = [explain(projected, pair, "grad_cam"), explain(projected, pair, "edges")]
    monkeypatch.delenv("XAICL_BOOK", raising=False)
    want = pair_figure(pair, made, index=1, names=("x", "y"))
    assert show(pair, made, index=1, names=("x", "y")) == want
    assert show(pair, made[0]) == pair_figure(pair, made[0])
    monkeypatch.setenv("XAICL_BOOK", "1")
    printed = show(pair, made, index=1, names=("x", "y"))
    assert isinstance(printed, BookFigure)
    assert printed.figure == want
    assert printed.alt == alt_text(made, ("x", "y"), 1)


def test_files_are_written_whole(projected, pair, tmp_path) -> None:
    made = [explain(projected, pair, "grad_cam"), explain(projected, pair, "random_map")]
    assert show(pair, made, tmp_path / "out.HTML", names=("<a>", "b"), notes=["a note"], facts={"model": "m"}, index=1) is None
    page = (tmp_path / "out.HTML").read_text()
    assert "<h1>&lt;a&gt; and b: grad_cam, random_map</h1>" in page
    assert "<a>" not in page.split("<script")[0].replace("&lt;a&gt;", "")
    for told in ('<p class="note">a note</p>', "<td>model</td><td>m</td>", f"<td>random_map, score</td><td>{made[1].score[1]:.4f}</td>"):
        assert told in page
    show(pair, made, str(tmp_path / "out.png"))
    assert Image.open(tmp_path / "out.png").height > 300
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.HTML", "out.png"]


def test_one_image_is_shown_with_its_maps(projected, pair, tmp_path) -> None:
    alone, score = Pair(pair.a), projected.like(pair.b)
    made = explain(projected, alone, score=score)
    figure = show(alone, made)
    assert f"{made.score[0].item():+.2f}" in str(figure.layout)
    show(alone, made, tmp_path / "one.html", names=("church", ""))
    page = (tmp_path / "one.html").read_text()
    assert "<h1>church: grad_cam</h1>" in page
    assert 'aria-label="church grad_cam · score' in page
    with pytest.raises(InputError, match="two sides to draw"):
        show(alone, made, tmp_path / "one.png")
    assert [path.name for path in tmp_path.iterdir()] == ["one.html"]


def test_what_cannot_be_shown(projected, pair, tmp_path) -> None:
    made = explain(projected, pair, "grad_cam")
    for wrong, says in (
        ([], "at least one explanation to show, got none"),
        (made[0], r"explanations of the pairs to show, Pair\(2 of 24 x 24 and 24 x 24 pixels\), got .* of 1"),
        (explain(projected, Pair(pair.a), score=projected.like(pair.b)), "explanations of the pairs to show"),
    ):
        with pytest.raises(InputError, match=says):
            show(pair, wrong)
    with pytest.raises(InputError, match=r"ends in \.html or \.png, got '.*out.pdf'"):
        show(pair, made, tmp_path / "out.pdf")
    with pytest.raises(InputError, match="in a folder that exists"):
        show(pair, made, tmp_path / "none" / "out.png")

"""Figures of a search say what they show, and a page holds them all and nothing from elsewhere."""

import pytest
import torch

from tests.retrieval.test_gallery import small
from xaicl_lib import InputError, load_model
from xaicl_lib.retrieval import explain_results, retrieve
from xaicl_lib.views.render import alt_of
from xaicl_lib.views.retrieval import contrast_figure, links_figure, results_figure, words_figure, write_results


def test_results_stand_beside_the_query_over_their_maps() -> None:
    images = torch.rand(8, 3, 24, 24)
    why = explain_results(small(), retrieve(small(), images[2], images, 4))
    figure = results_figure(why)
    titles = [one.text for one in figure.layout.annotations]
    assert [t.split(".")[0] for t in titles if t and t[0].isdigit()] == ["1", "2", "3", "4"]
    assert titles[0] == "query"
    assert sum(t.startswith("next") for t in titles) == 1
    assert len(titles) == 6
    assert all(image.sizex == 2 * image.sizey for image in figure.layout.images), "each beside its map"
    assert "1. 1.00 2, a near-duplicate of the query" in alt_of(figure)
    assert alt_of(links_figure(why, 1)).startswith("Lines between the cells of query and")
    contrast = contrast_figure(why, why.instead(0, 2))
    assert f"Why {why.names[0]} lies {why.score(0) - why.score(2):+.3f} before {why.names[2]}" in alt_of(contrast)
    assert len(contrast.layout.images) == 3


def test_words_are_shown_where_they_are_and_a_page_holds_all(tmp_path) -> None:
    reader, images = load_model("scenes_clip", "cpu"), torch.rand(3, 3, 64, 64)
    why = explain_results(reader, retrieve(reader, images[0], images, 1, text="a star"))
    made = why.texts[0][1][0]
    assert f"star {float(made.where('star').sum()):+.2f}" in alt_of(words_figure(images[0], made, ["a", "star"]))
    write_results(why, tmp_path / "out.html", title="<Why>", facts={"model": "m"}, notes=["noted"])
    page = (tmp_path / "out.html").read_text()
    first = why.names[0]
    for told in ("<h1>&lt;Why", "<h2>What came back", f"<h2>Which regions match: {first}", f"<h2>Which words: {first}", "noted"):
        assert told in page
    assert page.count("<h2>") == 4
    assert 'src="http' not in page
    alone = explain_results(reader, retrieve(reader, None, images, 1, text="a star"))
    with pytest.raises(InputError, match="results of a picture to draw links from it"):
        links_figure(alone)

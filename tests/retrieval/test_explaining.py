"""Results explained: parts that add up to scores and to their differences, and borders that are noticed."""

import pytest
import torch
from torch import nn

from tests.conftest import assert_close
from tests.retrieval.test_gallery import small
from xaicl_lib import InputError, PairModel, load_model
from xaicl_lib.data.captions import captioned_set
from xaicl_lib.retrieval import explain_results, retrieve
from xaicl_lib.retrieval.explaining import _border_share


def test_differences_of_scores_are_those_of_the_cells_of_the_query() -> None:
    """Headless and linear, so nothing is left: what cells of the query add for one result and not for the other is the difference."""
    torch.manual_seed(0)
    model = PairModel(nn.Conv2d(3, 6, 6, 6), size=24)
    images, query = torch.rand(5, 3, 24, 24), torch.rand(1, 3, 24, 24)
    why = explain_results(model, retrieve(model, query, images, 3), method="deep_similarity")
    assert len(why.shown) == 4
    assert why.names[:3] == tuple(str(k) for k in why.results.indices)
    contrast = why.instead(0, 2)
    assert contrast.difference == pytest.approx(why.results.scores[0] - why.results.scores[2], abs=1e-6)
    assert contrast.residual == pytest.approx(0, abs=1e-6)
    assert float(contrast.query.sum()) == pytest.approx(contrast.difference, abs=1e-6)
    assert_close(contrast.first, why.photo.b[0])
    assert why.instead().names[1] == str(why.results.runner_up)
    for wrong in ((0, 0), (0, 4), (-1, 1)):
        with pytest.raises(InputError, match="expected two of the 4 results that were explained"):
            why.instead(*wrong)


def test_a_picture_minus_words_is_explained_by_both() -> None:
    reader, images = load_model("scenes_clip", "cpu"), captioned_set("val", 64, 6)[0].float() / 255
    why = explain_results(reader, retrieve(reader, images[0], images, 2, minus="a thing on grass"), steps=64)
    ((sign, maps),) = why.texts
    assert sign == -1
    for k in range(3):
        assert why.score(k) == pytest.approx(float(why.photo.score[k]) - maps[k].score, abs=1e-6)
        assert_close(why.maps[k], why.photo.b[k] - maps[k].joint.sum(0), rtol=1e-4, atol=1e-6)
    assert [why.score(k) for k in range(2)] == pytest.approx(list(why.results.scores), abs=1e-4)
    contrast = why.instead(0, 1)
    assert [word for word, _ in contrast.words[0]] == ["a", "thing", "on", "grass"]
    of_words = sum(value for _, value in contrast.words[0])
    explained = float(why.maps[0].sum() - why.maps[1].sum())
    assert float(contrast.query.sum()) + of_words == pytest.approx(explained, abs=1e-4)
    assert contrast.residual == pytest.approx(contrast.difference - explained, abs=1e-6)
    words_alone = explain_results(reader, retrieve(reader, None, images, 1, text="a star"))
    assert words_alone.photo is None
    assert words_alone.instead().query is None


def test_a_border_is_noticed() -> None:
    even, ring, middle = torch.ones(16, 16), torch.zeros(16, 16), torch.zeros(16, 16)
    ring[:2], middle[6:10, 6:10] = 1, 1
    assert _border_share(torch.stack([even, ring, middle, -even])).tolist() == pytest.approx([1 - 0.75**2, 1, 0, 0])
    model, framed = PairModel(nn.Conv2d(3, 3, 2, 2), size=16), torch.full((3, 3, 16, 16), 0.5)
    with torch.no_grad():
        model.features_a.weight.zero_()
        model.features_a.bias.zero_()
        model.features_a.weight[range(3), range(3)] = 1.0
    framed[:, :, 2:-2, 2:-2] = 0  # black but for a grey frame
    framed[1, :, 4:12, 4:12] = 1
    why = explain_results(model, retrieve(model, framed[0], framed, 3), method="deep_similarity")
    said = dict(zip(why.names, why.notes, strict=True))
    assert said["0"] == "a near-duplicate of the query; 100% of what speaks for it lies at its border"
    assert said["1"] == ""


def test_a_method_must_say_which_cell_goes_with_which() -> None:
    model, images = small(), torch.rand(3, 3, 24, 24)
    with pytest.raises(InputError, match=r"a method with a joint map, such as integrated_jacobians, got 'grad_cam'"):
        explain_results(model, retrieve(model, 1 - images[0], images, 1), method="grad_cam")


def test_results_are_explained_by_the_model_that_found_them() -> None:
    images = torch.rand(4, 3, 24, 24)
    with pytest.raises(InputError, match="expected the model that found the results, got another one"):
        explain_results(small(1), retrieve(small(), images[0], images, 1), method="deep_similarity")

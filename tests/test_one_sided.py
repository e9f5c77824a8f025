"""Questions about one image go all the way: metrics, the randomised cascade, tables and their store."""

import pytest
import torch

from tests.conftest import assert_close, build, random_pair
from xaicl_lib import InputError, Pair, evaluate, explain, measure
from xaicl_lib.metrics import list_metrics
from xaicl_lib.metrics.randomisation import randomisation
from xaicl_lib.pair import Truth
from xaicl_lib.scores import class_evidence, corpus_similarity

torch.manual_seed(3)
CORPUS, FOIL = torch.rand(4, 7).double(), torch.randn(3, 7).double()
SCORE = corpus_similarity(CORPUS, FOIL)


def one_sided(n: int = 3) -> Pair:
    mask = torch.zeros(n, 24, 24, dtype=torch.bool)
    mask[:, :12] = True
    return Pair(random_pair(n).a, truth=Truth(mask, mask))


def test_every_metric_measures_one_side(projected) -> None:
    pair = one_sided()
    made = explain(projected, pair, "conditional_occlusion", score=SCORE, stride=6)
    values = measure(projected, pair, made, list_metrics(), step=96, score=SCORE)
    assert all(len(value) == 3 for value in values.values())
    assert_close(values["SI"], values["CI"])
    assert_close(values["SD"], values["CD"])
    assert values["max_sensitivity"].isfinite().all()
    z = projected.embed_a(projected.normalize(pair.a))
    gone = SCORE(projected.embed_a(torch.zeros_like(pair.a[:1])), None)
    _, curves = measure(projected, pair, made, ["SD"], step=96, score=SCORE, curves=True)
    assert_close(curves.points["SD"][:, 0, 0], SCORE(z, None))
    assert_close(curves.points["SD"][:, 0, -1], gone.expand(3))


def test_the_cascade_randomises_the_side_there_is() -> None:
    model, pair = build("two branches"), one_sided(2)
    made = explain(model, pair, "grad_cam", score=SCORE)
    fall = randomisation(model, pair, made, score=SCORE)
    assert all(one.b is None for one in fall.explanations)
    assert not torch.allclose(fall.explanations[-1].a, made.a)


def test_tables_are_kept_by_what_the_score_is_made_of(projected, tmp_path) -> None:
    pair, given = one_sided(), {"methods": ["grad_cam", "random_map"], "metrics": ["SI", "pointing_game"], "step": 96, "store": tmp_path}
    model = build("projected").to(torch.float32)
    first = evaluate(model, pair, score=SCORE, **given)
    assert len(first) == 12
    made = explain(model, pair, "grad_cam", score=SCORE)
    want = measure(model, pair, made, ["SI"], step=96, score=SCORE)["SI"]
    got = first[(first["method"] == "grad_cam") & (first["metric"] == "SI")]["value"]
    assert got.tolist() == pytest.approx(want.tolist(), rel=1e-5)
    assert evaluate(model, pair, score=SCORE, **given).equals(first), "nothing is computed again"
    files = len(list(tmp_path.rglob("*.parquet")))
    evaluate(model, pair, score=corpus_similarity(CORPUS, FOIL), **given)
    assert len(list(tmp_path.rglob("*.parquet"))) == files, "the same corpus is the same question"
    other = evaluate(model, pair, score=class_evidence(torch.nn.Linear(7, 2), 1), **given)
    assert not other["value"].equals(first["value"])


def test_a_method_for_pairs_says_that_it_needs_both(projected) -> None:
    for method in ("interaction_cam", "pairwise_occlusion", "deep_similarity", "averaged_transforms"):
        with pytest.raises(InputError, match=f"which {method} explains by both of its sides, got one without side b"):
            explain(projected, one_sided(), method)


def test_a_photo_is_a_question_about_one_image(projected) -> None:
    image = one_sided(1).a.float()
    made = explain(projected, image, score=SCORE)
    assert made.method == "grad_cam", "the default of pairs needs both sides"
    assert made.b is None
    assert_close(made.a, explain(projected, Pair(image), "grad_cam", score=SCORE).a)
    photo = explain(projected, "cat", "conditional_occlusion", score=SCORE, stride=6)
    assert_close(photo.score, SCORE(projected.encode(Pair.open("cat", None, projected).a), None))
    assert explain(projected, random_pair(1)).method == "interaction_cam"
    with pytest.raises(InputError, match=r"an image file, got 'no\.jpg', which does not exist"):
        explain(projected, "no.jpg", score=SCORE)
    with pytest.raises(InputError, match="a pair with two sides for this score"):
        explain(projected, "cat")

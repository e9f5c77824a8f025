"""Scores of one side: corpora and classes, against the average over all pairs, and what is refused."""

import pytest
import torch
from torch import nn

from tests.conftest import assert_close, random_pair
from xaicl_lib import InputError, evaluate, explain, measure
from xaicl_lib.evaluation.fingerprint import _key_of
from xaicl_lib.methods import methods
from xaicl_lib.metrics.registry import metrics
from xaicl_lib.scores import class_evidence, corpus_similarity, cosine, dot, scores

G = torch.Generator().manual_seed(0)
Z = torch.randn(5, 7, generator=G, dtype=torch.float64)
CORPUS = torch.randn(4, 7, generator=G, dtype=torch.float64) + 1
FOIL = 3 * torch.randn(9, 7, generator=G, dtype=torch.float64)


def slowly(z: torch.Tensor, corpus: torch.Tensor, foil: torch.Tensor | None, sim) -> torch.Tensor:
    """The definition: sim with each item of the corpus on average, minus that with each of the foil."""
    out = []
    for row in z:
        near = [sim(row[None], c[None]).item() for c in corpus]
        far = [0.0] if foil is None else [sim(row[None], r[None]).item() for r in foil]
        out.append(sum(near) / len(near) - sum(far) / len(far))
    return torch.tensor(out, dtype=torch.float64)


@pytest.mark.parametrize("foil", [FOIL, FOIL[:1], None], ids=["many", "one", "none"])
@pytest.mark.parametrize(("normalize", "sim"), [(True, cosine), (False, dot)], ids=["cosine", "dot"])
def test_is_the_average_over_all_pairs(normalize, sim, foil) -> None:
    score = corpus_similarity(CORPUS, foil, normalize)
    assert_close(score(Z, None), slowly(Z, CORPUS, foil, sim))
    assert_close(score(Z, Z), score(Z, None))


def test_one_item_and_no_foil_is_the_cosine() -> None:
    assert_close(corpus_similarity(CORPUS[:1])(Z, None), cosine(Z, CORPUS[:1].expand(5, -1)))


def test_its_gradient_is_that_of_the_average() -> None:
    z = Z.clone().requires_grad_()
    (got,) = torch.autograd.grad(corpus_similarity(CORPUS, FOIL)(z, None).sum(), z)
    means = [torch.stack([cosine(z, row.expand(5, -1)) for row in rows]).mean(0) for rows in (CORPUS, FOIL)]
    assert_close(got, torch.autograd.grad((means[0] - means[1]).sum(), z)[0])


def test_exchanging_corpus_and_foil_changes_the_sign() -> None:
    assert_close(corpus_similarity(CORPUS, FOIL)(Z, None), -corpus_similarity(FOIL, CORPUS)(Z, None))


def test_two_close_means_keep_their_difference_in_half_the_digits() -> None:
    near = CORPUS + 1e-4 * FOIL[:4]
    got = corpus_similarity(CORPUS.float(), near.float())(Z.float(), None)
    assert_close(got, slowly(Z, CORPUS.float().double(), near.float().double(), cosine), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize(
    ("corpus", "foil", "says"),
    [
        (CORPUS[:0], FOIL, r"at least one item as corpus, got \(0, 7\)"),
        (CORPUS, FOIL[0], r"expected embeddings \(m, d\) of at least one item as foil, got \(7,\)"),
        (CORPUS, [1.0], "as foil, got list"),
        (CORPUS, FOIL[:, :6], "of one width, got 7 and 6"),
        (CORPUS, CORPUS.flip(0), "a foil other than the corpus"),
        (CORPUS.index_fill(0, torch.tensor([2]), torch.nan), FOIL, "finite embeddings as corpus, got NaN or infinity in row 2"),
        (CORPUS, FOIL.index_fill(0, torch.tensor([3]), 0.0), "norm > 0 as foil, .* got zeros in row 3"),
    ],
)
def test_what_cannot_be_a_corpus(corpus, foil, says) -> None:
    with pytest.raises(InputError, match=says):
        corpus_similarity(corpus, foil)


def test_embeddings_of_another_model_are_refused() -> None:
    with pytest.raises(InputError, match="the corpus's width 7, got 5"):
        corpus_similarity(CORPUS, FOIL)(Z[:, :5], None)


def test_class_evidence_is_the_logit_or_its_softmax() -> None:
    linear = nn.Linear(7, 3, dtype=torch.float64)
    logits = Z @ linear.weight.T + linear.bias
    assert_close(class_evidence(linear, 1)(Z, None), logits[:, 1])
    assert_close(class_evidence(linear, 2, probability=True)(Z), logits.exp()[:, 2] / logits.exp().sum(1))
    with pytest.raises(InputError, match="a class from 0 to 2, got 3"):
        class_evidence(linear, 3)(Z, None)


def test_names_in_the_store_follow_what_scores_are_made_of() -> None:
    linear = nn.Linear(7, 3)
    scores = [
        corpus_similarity(CORPUS, FOIL), corpus_similarity(CORPUS, FOIL, False), corpus_similarity(CORPUS), corpus_similarity(FOIL),
        class_evidence(linear, 0), class_evidence(linear, 1), class_evidence(linear, 1, probability=True),
        class_evidence(nn.Linear(7, 3), 1),
    ]  # fmt: skip
    assert len({_key_of(score) for score in scores}) == len(scores)
    assert _key_of(corpus_similarity(CORPUS, FOIL)) == _key_of(scores[0])
    assert _key_of(class_evidence(nn.Sequential(linear, nn.ReLU()), 0)) != _key_of(class_evidence(nn.Sequential(linear, nn.Sigmoid()), 0))
    assert _key_of(class_evidence(lambda z: z, 0)) != _key_of(class_evidence(lambda z: -z, 0))


@pytest.mark.parametrize("entry", list(scores), ids=lambda entry: entry.name)
def test_the_facts_of_a_score_are_so(entry) -> None:
    other = torch.randn(5, 7, generator=G, dtype=torch.float64)
    for za, zb in ((Z, other), (Z, Z), (Z, -Z), (1e3 * Z, other)):
        value = entry.function(za, zb)
        assert ((value >= entry.facts["low"] - 1e-12) & (value <= entry.facts["high"] + 1e-12)).all()
        assert torch.equal(value, entry.function(zb, za)) is entry.facts["symmetric"]
    assert entry.summary
    assert entry.function.__name__ == entry.name


def test_scores_go_by_name_everywhere(projected, tmp_path) -> None:
    assert [score.name for score in scores] == ["cosine", "dot"]
    pair = random_pair(2)
    by_name, given = (explain(projected, pair, "input_x_gradient", score=score) for score in ("dot", dot))
    assert_close(by_name.score, (projected.encode(pair.a) * projected.encode(pair.b, "b")).sum(1))
    assert torch.equal(by_name.a, given.a)
    named, same, other = (measure(projected, pair, given, ["SD"], step=96, score=score)["SD"] for score in ("dot", dot, "cosine"))
    assert torch.equal(named, same)
    assert not torch.equal(named, other)
    tables = [evaluate(projected, pair, ["grad_cam"], ["SD"], step=96, score=score, store=tmp_path) for score in ("dot", dot)]
    assert tables[0].equals(tables[1]), "one key in the store, so nothing is computed again"
    for call in (
        lambda score: explain(projected, pair, score=score),
        lambda score: measure(projected, pair, given, score=score),
        lambda score: evaluate(projected, pair, ["grad_cam"], score=score),
    ):
        with pytest.raises(InputError, match="unknown score 'euclid'; there are: cosine, dot"):
            call("euclid")
        with pytest.raises(InputError, match="expected score to be a function of two embeddings or one of cosine, dot, got 3"):
            call(3)


def test_a_score_by_its_name_has_the_key_of_its_function() -> None:
    assert _key_of(cosine) == _key_of(scores["cosine"].function) != _key_of(dot)


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="score 'cosine' is registered already"):
        scores.add()(cosine)


WRONG = {
    "one argument": (lambda za: za.sum(1), r"\(za, zb\) -> \(n,\), got one that fails: .* takes 1 positional"),
    "one number for all": (lambda za, zb: (za * zb).sum(), r"one number a pair, \(\d+,\), got shape \(\)"),
    "a number of Python": (lambda za, zb: 3.0, r"one number a pair, \(\d+,\), got 3.0"),
    "a number a feature": (lambda za, zb: za * zb, r"one number a pair, \(\d+,\), got shape \(\d+, 7\)"),
    "a column": (lambda za, zb: (za * zb).sum(1, keepdim=True), r"one number a pair, \(\d+,\), got shape \(\d+, 1\)"),
}
SCORED = [m.name for m in methods if m.takes("score") and m.facts["family"] != "attention"]
MEASURED = [m.name for m in metrics if "score" in m.options and "LI" not in m.name and "LD" not in m.name]


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("name", [*SCORED, *MEASURED])
def test_what_is_no_score_is_told(projected, pair, name, kind) -> None:
    score, says = WRONG[kind]
    made = explain(projected, pair, "edges")
    with pytest.raises(InputError, match=says):
        explain(projected, pair, name, score=score) if name in SCORED else measure(projected, pair, made, [name], score=score)


def test_methods_and_metrics_that_take_a_score_were_asked() -> None:
    assert {"grad_cam", "conditional_occlusion", "rise", "averaged_transforms", "random_map"} <= set(SCORED)
    assert {"SI", "CD", "SAD", "max_sensitivity"} <= set(MEASURED)

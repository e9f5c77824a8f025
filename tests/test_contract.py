"""What every registered method promises, on every kind of model."""

import copy
import gc
import inspect

import pytest
import torch
from torch import nn

from tests.conftest import STATS, assert_close, build, random_pair, small_features, small_head, small_tokens
from xaicl_lib import InputError, Pair, PairModel
from xaicl_lib.methods import methods
from xaicl_lib.scores import class_evidence, corpus_similarity, cosine, dot

METHODS = pytest.mark.parametrize("method", list(methods), ids=lambda m: m.name)


@pytest.fixture(params=["projected", "headless", "two branches"])
def model(request, method) -> PairModel:
    return built(request.param, method)


@pytest.fixture
def projected(method) -> PairModel:
    return built("projected", method)


def built(kind: str, method) -> PairModel:
    """A convolutional network, or for methods that need attention a transformer."""
    return build(kind, tokens=method.facts["family"] == "attention")


def parts(method, seed: int = 0, seed_of_head: int = 0) -> tuple[nn.Module, nn.Module]:
    tokens = method.facts["family"] == "attention"
    return (small_tokens if tokens else small_features)(seed), small_head(seed_of_head, 8 if tokens else 6)


def quick(method, model, pair, **options):
    """By the method's cheap parameters: for what holds whatever they are."""
    return method(model, pair, **method.cheap, **options)


def same(got, want, rtol=1e-9) -> None:
    for name in ("a", "b", "score", "joint", "residual", "error_a", "error_b"):
        x, y = getattr(got, name), getattr(want, name)
        assert (x is None) == (y is None), name
        if x is not None:
            assert_close(x, y, rtol)


@METHODS
def test_shapes_types_and_record(method, model, pair) -> None:
    made = method(model, pair, generator=torch.Generator().manual_seed(5))
    assert made.a.ndim == made.b.ndim == 3
    assert len(made.a) == len(made.b) == len(made.score) == 3
    assert made.a.dtype == torch.float64
    assert made.a.device == model.device
    assert made.method == method.name
    assert made.params == {**method.defaults, "seed": 5}
    assert made.a.isfinite().all()
    assert made.a.std() > 0, "a map of one value explains nothing"
    if not method.facts["signed"]:
        assert made.a.min() >= 0


@METHODS
def test_score_is_that_of_the_embeddings(method, model, pair) -> None:
    want = cosine(model.embed_a(model.normalize(pair.a)), model.embed_b(model.normalize(pair.b)))
    assert_close(quick(method, model, pair).score, want)


@METHODS
def test_nothing_lent_is_changed(method, model, pair) -> None:
    model.fast  # noqa: B018  made now, so that it is looked at too
    modules = [*model._parts.modules(), *model.fast._parts.modules()]
    before = copy.deepcopy((model._parts.state_dict(), model.fast._parts.state_dict(), pair.a, pair.b))
    modes = [m.training for m in modules]
    random_state = torch.get_rng_state()
    quick(method, model, pair)
    after = (model._parts.state_dict(), model.fast._parts.state_dict(), pair.a, pair.b)
    for x, y in zip(before, after, strict=True):
        assert torch.equal(x, y) if isinstance(x, torch.Tensor) else all(torch.equal(x[k], y[k]) for k in x)
    assert not pair.a.requires_grad
    assert not pair.b.requires_grad
    assert torch.equal(random_state, torch.get_rng_state())
    assert modes == [m.training for m in modules]
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in modules)
    assert all(p.grad is None and not p.requires_grad for m in modules for p in m.parameters())
    assert torch.is_grad_enabled()


class Failing(nn.Module):
    """A head that works a number of times and then raises."""

    def __init__(self, head: nn.Module, after: int) -> None:
        super().__init__()
        self.head, self.left = head, after

    def forward(self, x):
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("the model failed")
        return self.head(x)


@METHODS
@pytest.mark.parametrize("after", [0, 1])
def test_a_failing_model_leaves_everything_as_it_was(method, pair, after) -> None:
    features, head = parts(method)
    model = PairModel(features, Failing(head, after), size=24, **STATS)
    random_state = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="the model failed"):
        quick(method, model, pair, chunk=1)
    modules = [*model._parts.modules(), *model.fast._parts.modules()]
    assert torch.is_grad_enabled()
    assert torch.equal(random_state, torch.get_rng_state())
    assert not any(m._forward_hooks or m._backward_hooks or m.training for m in modules)


@METHODS
def test_swapping_the_pair_swaps_the_maps(method, pair) -> None:
    if not method.facts["symmetric"]:
        pytest.skip("the method starts from side a")
    model = built("projected", method)
    made, swapped = quick(method, model, pair), quick(method, model, pair.swap())
    assert_close(swapped.a, made.b)
    assert_close(swapped.b, made.a)


@METHODS
def test_swapping_pair_and_branches_swaps_the_maps(method, pair) -> None:
    if not method.facts["symmetric"]:
        pytest.skip("the method starts from side a")
    (f_a, h_a), (f_b, h_b) = parts(method), parts(method, 2, 1)
    there = PairModel(f_a, h_a, features_b=f_b, head_b=h_b, size=24, **STATS)
    back = PairModel(f_b, h_b, features_b=f_a, head_b=h_a, size=24, **STATS)
    made, swapped = quick(method, there, pair), quick(method, back, pair.swap())
    assert_close(swapped.a, made.b)
    assert_close(swapped.b, made.a)


@METHODS
def test_one_by_one_equals_batched(method, model, pair) -> None:
    together = quick(method, model, pair)
    for k in range(len(pair)):
        same(quick(method, model, pair[k]), together[k])


@METHODS
@pytest.mark.parametrize("chunk", [1, 2, 7, 1000])
def test_chunk_does_not_matter(method, projected, pair, chunk) -> None:
    same(quick(method, projected, pair, chunk=chunk), quick(method, projected, pair))


@METHODS
def test_same_seed_same_answer(method, projected, pair) -> None:
    same(quick(method, projected, pair), quick(method, projected, pair, generator=torch.Generator().manual_seed(0)), rtol=0)


@METHODS
def test_images_that_are_not_square(method, model) -> None:
    pair = random_pair(2, a=(24, 32), b=(24, 32), seed=1)
    made = quick(method, model, pair)
    assert made.a.shape[2] > made.a.shape[1]
    same(quick(method, model, pair[1]), made[1])


@METHODS
def test_grad_mode_of_the_caller_does_not_matter(method, projected, pair) -> None:
    want = quick(method, built("projected", method), pair)
    with torch.no_grad():
        same(quick(method, built("projected", method), pair), want)
    with torch.inference_mode():
        same(quick(method, projected, pair), want)
        made = quick(method, projected, Pair(pair.a.clone(), pair.b.clone()))
    same(quick(method, projected, pair), want)
    asking = quick(method, projected, Pair(pair.a.clone().requires_grad_(), pair.b))
    assert not asking.a.requires_grad
    made.a.mul_(1)  # maps are ordinary tensors afterwards


@METHODS
def test_score_is_an_argument(method, projected, pair) -> None:
    if "score" not in inspect.signature(method.function).parameters:
        with pytest.raises(InputError, match="unknown parameter"):  # a method made for the cosine says so
            quick(method, projected, pair, score=dot)
        return
    made = quick(method, projected, pair, score=dot)
    assert_close(made.score, dot(projected.embed_a(projected.normalize(pair.a)), projected.embed_b(projected.normalize(pair.b))))
    assert torch.allclose(made.a, quick(method, projected, pair).a) == (method.facts["family"] == "control")


@METHODS
def test_questions_about_one_side(method, projected, pair) -> None:
    corpus = torch.ones(7, dtype=torch.float64)
    one_sided = Pair(pair.a)

    def score(za, zb):
        return cosine(za, corpus.expand_as(za))

    if not method.facts["one_sided"]:
        with pytest.raises(InputError, match="without side b"):
            quick(method, projected, one_sided, score=score)
        return
    made = quick(method, projected, one_sided, score=score)
    assert made.b is None
    assert_close(made.score, score(projected.embed_a(projected.normalize(pair.a)), None))
    same(quick(method, projected, one_sided[1], score=score), made[1])


def questions() -> dict[str, object]:
    """Scores that ignore side b: more like a corpus than like a foil, evidence for a class."""
    torch.manual_seed(5)
    corpus, foil, classifier = torch.randn(4, 7).double(), torch.randn(3, 7).double(), nn.Linear(7, 3).double()
    return {
        "corpus": corpus_similarity(corpus, foil),
        "corpus, inner product": corpus_similarity(corpus, foil, normalize=False),
        "class": class_evidence(classifier, 1),
        "probability": class_evidence(classifier, 1, probability=True),
    }


ONE_SIDED = pytest.mark.parametrize("method", [m for m in methods if m.facts["one_sided"]], ids=lambda m: m.name)
QUESTIONS = pytest.mark.parametrize("question", list(questions()))


@ONE_SIDED
@QUESTIONS
def test_corpora_and_classes_are_explained_like_pairs(method, question, pair) -> None:
    """What holds for pairs holds for one side: a map that varies, batches, chunks, images that are not square, an untouched model."""
    score, model = questions()[question], built("two branches", method)  # whose side b must not matter
    before, state = copy.deepcopy(model._parts.state_dict()), torch.get_rng_state()
    one_sided = Pair(random_pair(3, a=(24, 32)).a)
    made = quick(method, model, one_sided, score=score)
    assert made.b is None
    assert made.error_b is None
    assert_close(made.score, score(model.embed_a(model.normalize(one_sided.a)), None))
    assert made.a.isfinite().all()
    assert made.a.flatten(1).std(1).min() > 0
    same(quick(method, model, one_sided[1], score=score), made[1])
    same(quick(method, model, one_sided, score=score, chunk=2), made)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[k], v) for k, v in model._parts.state_dict().items())
    other = quick(method, model, one_sided, score=lambda za, zb: -score(za, zb))
    assert torch.allclose(other.a, made.a) == (method.facts["family"] in ("control", "gradient")), "a map of the score, not of the image"


@ONE_SIDED
@QUESTIONS
def test_a_side_that_the_score_ignores_has_an_empty_map(method, question, projected, pair) -> None:
    score = questions()[question]
    made, alone = quick(method, projected, pair, score=score), quick(method, projected, Pair(pair.a), score=score)
    assert_close(made.score, alone.score)
    if method.facts["family"] == "control":
        return  # which knows no score
    if method.name != "smooth_grad":  # whose noise is scaled by the range of both images
        assert_close(made.a, alone.a)
    if method.name != "rise":  # where a constant score shows how often the masks show a pixel
        assert_close(made.b, torch.zeros_like(made.b), atol=1e-10)


@pytest.mark.parametrize("question", list(questions()))
def test_a_method_that_blends_ignores_the_other_side_too(question, pair) -> None:
    made = methods["averaged_transforms"](build("projected"), pair, score=questions()[question])
    assert made.a.std() > 0
    assert_close(made.b, torch.zeros_like(made.b), atol=1e-12)


@METHODS
def test_wrong_options_are_named(method, projected, pair) -> None:
    with pytest.raises(InputError, match=f"unknown parameter of {method.name} 'windw'"):
        method(projected, pair, windw=3)
    with pytest.raises(InputError, match="chunk"):
        method(projected, pair, chunk=0)
    with pytest.raises(InputError, match=r"expected generator to be a torch\.Generator on the CPU, got 5"):
        method(projected, pair, generator=5)
    if method.facts["one_sided"]:
        with pytest.raises(InputError, match="without side b; give a score of side a alone"):
            method(projected, Pair(pair.a))


@METHODS
def test_facts_are_complete(method) -> None:
    assert {"paper", "where", "family", "needs", "cost", "signed", "symmetric", "one_sided", "gradient"} <= set(method.facts)
    assert method.summary.endswith(".")
    assert method.cheap.keys() <= method.defaults.keys()


@METHODS
def test_no_more_than_chunk_images_are_in_flight(method, model, pair) -> None:
    seen = []
    for features in {model.fast.features_a, model.fast.features_b}:
        features.register_forward_hook(lambda module, given, out: seen.append(len(given[0])))
    quick(method, model, pair, chunk=2)
    assert max(seen) <= 2
    seen.clear()
    quick(method, model, pair, chunk=100)
    assert max(seen) >= 3, "a large chunk should be used"


@pytest.fixture
def only_what_is_new():
    """The collector looks through what is made from here on, and not each time through all that the tests have imported."""
    gc.freeze()
    yield
    gc.unfreeze()


@METHODS
@pytest.mark.usefixtures("only_what_is_new")
def test_nothing_grows_from_call_to_call(method) -> None:
    model, pair = built("projected", method), random_pair(1, (16, 16), (16, 16))

    def live() -> int:
        gc.collect()
        return sum(issubclass(type(item), torch.Tensor) for item in gc.get_objects())

    counts = []
    for calls in (5, 40):
        for _ in range(calls):
            quick(method, model, pair)
        counts.append(live())
    assert counts[1] <= counts[0]

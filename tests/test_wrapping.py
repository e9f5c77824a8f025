"""Whatever module is given: every method and metric works as on an ordinary twin of it, or one line says what to do."""

import collections
import dataclasses
import threading
import types
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from tests.conftest import STATS, assert_close, random_pair, small_features, small_head
from xaicl_lib import InputError, Pair, PairModel, explain, measure
from xaicl_lib.adapters import Evidence, SideA
from xaicl_lib.methods import methods

ORDINARY = [m for m in methods if m.facts["family"] != "attention"]  # which these networks have none of
METHODS = pytest.mark.parametrize("method", ORDINARY, ids=lambda m: m.name)
SIX = ["SI", "SD", "CI", "CD", "SAD", "CAD"]


class Through(nn.Module):
    """A module with something done before and after it."""

    def __init__(self, module, before=lambda x: x, after=lambda y: y) -> None:
        super().__init__()
        self.module, self.before, self.after = module, before, after

    def forward(self, x):
        return self.after(self.module(self.before(x)))


def pool() -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def dense() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Flatten(), nn.Linear(6 * 6 * 6, 7)).double()


def viewing() -> nn.Module:
    return Through(dense()[1], before=lambda f: f.view(len(f), -1))


def asserting(f):
    assert f.is_contiguous()
    return f


class OwnGradient(torch.autograd.Function):
    """The identity, whose backward pass demands a layout."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        assert gradient.is_contiguous()
        return gradient

    @staticmethod
    def jvp(ctx, tangent):
        return tangent.clone()


def misread(f):
    """The values in the order in which they lie in memory: silently wrong in another layout."""
    return torch.as_strided(f, (len(f), f[0].numel()), (f[0].numel(), 1))


def changed(x):
    return x.sub_(0.25).div_(0.5)


def locked() -> nn.Module:
    module = small_features()
    module.lock, module.again = threading.Lock(), {"in a list": [threading.Lock()]}
    return module


def used(module: nn.Module) -> nn.Module:
    """After the user's own forward pass, whose results it keeps."""
    module.last = [module.eval()(random_pair(1).a)]
    return module


def old_weight_norm() -> nn.Module:
    head = small_head()
    with warnings.catch_warnings(action="ignore"):
        head[5] = nn.utils.weight_norm(head[5])
    return head


def pruned() -> nn.Module:
    head = small_head()
    prune.custom_from_mask(head[2], "weight", torch.ones(8, 6))
    return head


def four_axes() -> nn.Module:
    return Through(small_head(), after=lambda z: z[..., None, None])


class Refusing(nn.Sequential):
    """A module that refuses to be copied."""

    def __deepcopy__(self, memo):
        raise TypeError("not me")


def scripted(module: nn.Module) -> nn.Module:
    with warnings.catch_warnings(action="ignore"):
        return torch.jit.script(module.eval())


def traced(module: nn.Module) -> nn.Module:
    with warnings.catch_warnings(action="ignore"):
        return torch.jit.trace(module.eval(), random_pair(2).a)


def compiled(module: nn.Module) -> nn.Module:
    return torch.compile(module)


NET, HEAD = small_features, small_head
STRANGE = {  # features and head, and those of an ordinary twin
    "head with view": (NET, viewing, NET, dense),
    "features with view": (lambda: Through(NET(), after=lambda f: f.view(f.shape)), viewing, NET, dense),
    "asserts a layout": (NET, lambda: Through(HEAD(), before=asserting), NET, HEAD),
    "gradient in a layout": (lambda: Through(NET(), before=OwnGradient.apply), HEAD, NET, HEAD),
    "misreads another layout": (NET, lambda: Through(dense()[1], before=misread), NET, dense),
    "reads a norm's weight": (lambda: Through(NET(), before=lambda x: x), HEAD, NET, HEAD),
    "changes its input": (lambda: Through(NET(), before=changed), HEAD, lambda: Through(NET(), before=lambda x: (x - 0.25) / 0.5), HEAD),
    "input in place": (lambda: Through(NET(), before=torch.relu_), HEAD, lambda: Through(NET(), before=torch.relu), HEAD),
    "squeezes": (NET, lambda: Through(HEAD(), after=torch.squeeze), NET, HEAD),
    "four axes": (NET, four_axes, NET, HEAD),
    "holds locks": (locked, HEAD, NET, HEAD),
    "was used": (lambda: used(NET()), HEAD, NET, HEAD),
    "weight norm": (NET, old_weight_norm, NET, HEAD),
    "pruned": (NET, pruned, NET, HEAD),
    "scripted": (lambda: scripted(NET()), lambda: scripted(HEAD()), NET, HEAD),
    "traced": (lambda: traced(NET()), HEAD, NET, HEAD),
    "compiled": (lambda: compiled(NET()), lambda: nn.Sequential(compiled(HEAD())), NET, HEAD),
    "data parallel": (lambda: nn.DataParallel(NET()), lambda: nn.Sequential(nn.DataParallel(HEAD())), NET, HEAD),
    "in training": (lambda: nn.Sequential(NET(), nn.Dropout()).train(), HEAD, NET, HEAD),
}


def both(kind: str) -> tuple[PairModel, PairModel]:
    features, head, same_features, same_head = STRANGE[kind]
    parts = features(), head()
    with warnings.catch_warnings(action="error"):  # none of them is used itself
        return PairModel(*parts, size=24, **STATS), PairModel(same_features(), same_head(), size=24, **STATS)


@pytest.mark.parametrize("kind", STRANGE)
def test_every_method_and_metric_works_as_on_an_ordinary_twin(kind) -> None:
    model, twin = both(kind)
    for pair in (random_pair(3), random_pair(1)):  # one pair alone is what a squeeze takes for none
        before = pair.a.clone(), pair.b.clone()
        for method in ORDINARY:
            made, want = method(model, pair, **method.cheap), method(twin, pair, **method.cheap)
            for name in ("a", "b", "score"):
                assert_close(getattr(made, name), getattr(want, name), rtol=1e-7, atol=1e-10)
        maps = explain(twin, pair, "conditional_occlusion")
        got, want = (measure(m, pair, maps, SIX, step=96) for m in (model, twin))
        assert all(torch.allclose(got[name], want[name], rtol=1e-7) for name in SIX)
        assert torch.equal(before[0], pair.a)
        assert torch.equal(before[1], pair.b)


def test_what_is_tried_and_given_up_is_not_heard(capfd) -> None:
    """torch.fx prints where a module that it made raises, though nobody is to see that the first form did not do."""
    flat = Through(dense()[1], before=lambda f: f.view(f.size(0), -1))
    net = nn.Sequential(collections.OrderedDict(features=NET(), head=flat)).eval()
    model = PairModel.from_module(net, "features", size=24)
    assert_close(model.fast.embed_a(model.fast.normalize(random_pair(1).a)), net(random_pair(1).a), rtol=1e-7)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["changes its input", "squeezes", "four axes"])
def test_the_other_metrics_and_the_plain_form_too(kind) -> None:
    model, twin = both(kind)
    pair, maps = random_pair(2), explain(twin, random_pair(2), "conditional_occlusion")
    names = ["max_sensitivity"]
    got, want = (measure(m, pair, maps, names, draws=2) for m in (model, twin))
    assert all(torch.allclose(got[name], want[name], rtol=1e-7) for name in names)
    x = model.normalize(pair.a)
    kept = x.clone()
    assert_close(model.embed_a(x), twin.embed_a(x))
    assert_close(model.embed([x])[0], twin.embed_a(x))
    for adapted in (SideA, lambda m, b: Evidence(m, [lambda za, zb: za.sum(1)])):
        assert_close(adapted(model, pair.b[:1])(x[:1].clone()), adapted(twin, pair.b[:1])(x[:1].clone()))
    assert torch.equal(x, kept)


def test_the_fast_form_is_given_up_with_the_layout_alone() -> None:
    model = both("head with view")[0]
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.fast._parts.modules())
    assert model.fast.normalize(random_pair(1).a).is_contiguous()
    usual = both("head with view")[1]
    assert usual.fast.normalize(random_pair(1).a).is_contiguous(memory_format=torch.channels_last)


class Reading(nn.Module):
    """Looks into its own batch norm, which is no longer there once it is folded."""

    def __init__(self) -> None:
        super().__init__()
        self.net = small_features()

    def forward(self, x):
        return self.net(x) * self.net[1].weight.sum()


def test_norms_that_are_looked_into_stay() -> None:
    torch.manual_seed(0)
    model, pair = PairModel(Reading(), small_head(), size=24, **STATS), random_pair()
    x = model.normalize(pair.a)
    assert_close(explain(model, pair, "edges").score, torch.cosine_similarity(model.embed_a(x), model.embed_b(model.normalize(pair.b))))


def test_what_was_learned_by_trying_holds_for_other_weights() -> None:
    """A network is tried once: other weights in the same modules are no other network."""
    calls = []
    model = both("four axes")[0]
    model.fast  # noqa: B018
    model._parts["head"].module[0].register_forward_hook(lambda *_: calls.append(1))
    model.fast  # noqa: B018  a hook is another network
    assert calls
    calls.clear()
    with torch.no_grad():
        model._parts["features"][0].weight.data.mul_(-1)
    assert model.fast.head_a(torch.rand(2, 6, 6, 6).double()).shape == (2, 7)
    assert len(calls) == 1


def test_modules_that_refuse_to_be_copied_are_used_themselves() -> None:
    given = Refusing(small_features())
    with pytest.warns(UserWarning, match="cannot be copied, so they are used themselves: frozen and in evaluation"):
        model = PairModel(given, small_head(), size=24, **STATS)
    twin, pair = PairModel(small_features(), small_head(), size=24, **STATS), random_pair()
    assert_close(explain(model, pair).a, explain(twin, pair).a)
    assert model.features_a is given
    assert isinstance(given[0][1], nn.BatchNorm2d), "folded in the user's own module"


@pytest.mark.parametrize(
    ("after", "n", "says"),
    [
        (lambda z: z.unsqueeze(1).expand(-1, 3, -1), 3, r"expected embeddings \(1, d\) of 1 images from the head, got shape \(1, 3, 7\)"),
        (lambda z: torch.cat([z, z]), 3, r"got shape \(2, 7\); let it return one row an image"),
        (lambda z: z.sum(), 3, r"got shape \(\)"),
    ],
)
def test_embeddings_whose_batch_axis_cannot_be_told(after, n, says) -> None:
    model = PairModel(small_features(), Through(small_head(), after=after), size=24)
    with pytest.raises(InputError, match=says):
        explain(model, random_pair(n))
    with pytest.raises(InputError, match="expected embeddings"):
        model.embed_a(random_pair(n).a)


@dataclasses.dataclass
class Record:
    pooled: torch.Tensor
    cells: torch.Tensor


Named = collections.namedtuple("Named", ["pooled", "cells"])
SEVERAL = {
    "tuple": (lambda z: (z, z[:, :1]), 0),
    "list": (lambda z: [z[:, :1], z], -1),
    "dictionary": (lambda z: {"pooled": z, "cells": z[:, :1]}, "pooled"),
    "dictionary by place": (lambda z: collections.OrderedDict(pooled=z, cells=z[:, :1]), 0),
    "dataclass": (lambda z: Record(z, z[:, :1]), "pooled"),
    "named tuple": (lambda z: Named(z, z[:, :1]), "pooled"),
    "object": (lambda z: types.SimpleNamespace(pooled=z), "pooled"),
    "function": (lambda z: {"deep": {"inside": z}}, lambda made: made["deep"]["inside"]),
}


@pytest.mark.parametrize("kind", SEVERAL)
def test_one_of_several_outputs(kind) -> None:
    several, output = SEVERAL[kind]
    pair, twin = random_pair(), PairModel(small_features(), small_head(), size=24, **STATS)
    models = [
        PairModel(small_features(), Through(small_head(), after=several), output=output, size=24, **STATS),
        PairModel(Through(small_features(), after=several), small_head(), output=output, size=24, **STATS),
    ]
    for model in models:
        assert_close(explain(model, pair, "interaction_cam").a, explain(twin, pair, "interaction_cam").a)
        assert_close(model.copy().embed_a(pair.a), twin.embed_a(pair.a))
    with pytest.raises(InputError, match=r"expected a tensor from the (head|features), got"):
        explain(PairModel(small_features(), Through(small_head(), after=several), size=24), pair)
    with pytest.raises(InputError, match=r"expected a tensor from the features, got"):
        PairModel(Through(small_features(), after=several), size=24).features([pair.a])


def test_outputs_that_are_not_there() -> None:
    head, pair = Through(small_head(), after=lambda z: {"pooled": z, "count": 3}), random_pair()
    with pytest.raises(
        InputError, match=r"got dict; give PairModel output=, which is a function or one of: 'pooled' \(1, 7\), 'count' int"
    ):
        explain(PairModel(small_features(), head, size=24), pair)
    with pytest.raises(InputError, match=r"unknown output 'poled'.*there are: pooled, count"):
        PairModel(small_features(), head, output="poled", size=24).embed_a(pair.a)
    with pytest.raises(InputError, match="unknown output '5'"):
        PairModel(small_features(), head, output=5, size=24).embed_a(pair.a)
    with pytest.raises(InputError, match="expected a tensor from the output chosen, got int"):
        PairModel(small_features(), head, output="count", size=24).embed_a(pair.a)
    for wrong in (True, 1.5, ["pooled"]):
        with pytest.raises(InputError, match="expected output to be a name, a place or a function"):
            PairModel(small_features(), head, output=wrong, size=24)


def no_statistics() -> nn.Module:
    return nn.Sequential(small_features(), nn.BatchNorm2d(6, track_running_stats=False).double())


@pytest.mark.parametrize(
    ("features", "head", "says"),
    [
        (no_statistics, HEAD, r"'mine': an image's embedding .* beside it \(features: the batch norm '1' has no running statistics\)"),
        (NET, lambda: Through(HEAD(), after=lambda z: z - z.mean(0)), r"\(head: it computes over the batch\): .* chunk"),
        (lambda: Through(NET(), after=nn.functional.dropout), HEAD, r"another embedding each time \(features: dropout"),
    ],
)
def test_embeddings_that_depend_on_more_than_the_image_are_told(features, head, says) -> None:
    model, state = PairModel(features(), head(), size=24, name="mine"), torch.get_rng_state()
    with pytest.warns(UserWarning, match=says):
        model.fast  # noqa: B018
    assert torch.equal(state, torch.get_rng_state())


def test_ordinary_networks_are_told_nothing() -> None:
    with warnings.catch_warnings(action="error"):
        for bits in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
            PairModel(small_features(), small_head(), size=24, **STATS).to(bits).fast  # noqa: B018


def test_quantised_layers_and_whole_numbers_are_refused() -> None:
    with warnings.catch_warnings(action="ignore"):
        quantised = torch.ao.quantization.quantize_dynamic(small_head().float(), {nn.Linear})
    with pytest.raises(InputError, match=r"expected floating-point layers, got a quantised Linear at head\.2"):
        PairModel(small_features().float(), quantised, size=24)
    whole = pool()
    whole.register_parameter("scale", nn.Parameter(torch.ones(6, dtype=torch.int8), requires_grad=False))
    with pytest.raises(InputError, match=r"expected floating-point weights, got torch\.int8 in head\.scale"):
        PairModel(small_features(), whole, size=24)
    packed = pool()
    packed.register_parameter("scale", nn.Parameter(torch.ones(6).as_subclass(Packed)))
    with pytest.raises(InputError, match=r"expected ordinary weights, got Packed in head\.scale"):
        PairModel(small_features(), packed, size=24)
    with pytest.raises(InputError, match=r"expected weights that are there, got none yet in features\.weight; run the network once first"):
        PairModel(nn.LazyConv2d(4, 3), size=24)


class Packed(torch.Tensor):
    """Weights that hold their numbers in a way of their own, as those of packages that quantise."""


class Frozen(nn.Module):
    """A module under no_grad."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x):
        with torch.no_grad():
            return self.module(x)


def detached_inside() -> nn.Module:
    head = small_head()
    head[2] = Through(head[2], after=torch.Tensor.detach)
    return head


WITHOUT = ["random_map", "edges", "conditional_occlusion", "pairwise_occlusion", "rise", "deep_similarity"]
CUTS = {  # parts, what is said of them, and which methods of feature maps do all the same
    "features": (
        {"features": lambda: Frozen(NET())},
        "a features module of side a",
        ["grad_cam", "interaction_cam", "integrated_jacobians"],
    ),
    "head": ({"head": lambda: Frozen(HEAD())}, "a head module of side a", ["integrated_jacobians"]),  # forward derivatives pass no_grad
    "inside": ({"head": detached_inside}, r"a head module of side a .*, in its module '2'", []),
    "side b": ({"head_b": lambda: Through(HEAD(), after=torch.Tensor.detach)}, "a head module of side b", []),
    "features b": (
        {"features_b": lambda: Frozen(NET())},
        "a features module of side b",
        ["grad_cam", "interaction_cam", "integrated_jacobians"],
    ),
}


@pytest.mark.parametrize("kind", CUTS)
def test_parts_without_gradient_are_named_and_the_methods_that_do_without(kind) -> None:
    parts, says, more = CUTS[kind]
    made, twin = {"features": NET(), "head": HEAD(), **{role: make() for role, make in parts.items()}}, {"features": NET(), "head": HEAD()}
    model, usual, pair = PairModel(**made, size=24, **STATS), PairModel(**twin, size=24, **STATS), random_pair()
    works = [m.name for m in methods if m.name in WITHOUT + more]
    for method in ORDINARY:
        if method.name in works:
            assert_close(method(model, pair, **method.cheap).b, method(usual, pair, **method.cheap).b)
            continue
        with pytest.raises(InputError, match=f"expected gradients for {method.name}, got {says}.*do without: {', '.join(works)}$"):
            method(model, pair, **method.cheap)


def test_a_frozen_side_b_does_not_matter_to_questions_about_side_a() -> None:
    model = PairModel(NET(), HEAD(), head_b=Frozen(HEAD()), size=24, **STATS)
    score = lambda za, zb: za.sum(1)  # noqa: E731
    assert explain(model, Pair(random_pair().a), "grad_cam", score=score).a.std() > 0
    with pytest.raises(InputError, match="expected gradients for averaged_transforms"):
        explain(model, Pair(random_pair().a), "averaged_transforms", transform=lambda x: x.flip(3))
    with pytest.raises(InputError, match="expected a score that lets gradients through for grad_cam"):
        explain(model, Pair(random_pair().a), "grad_cam", score=lambda za, zb: za.detach().sum(1))


HALVES = pytest.mark.parametrize("bits", [torch.bfloat16, torch.float16])


@HALVES
def test_models_and_images_of_half_precision(bits) -> None:
    """Maps are float32, and those of the same network in double precision up to what such weights lose."""
    model, twin = PairModel(NET(), HEAD(), size=24, **STATS).to(bits), PairModel(NET(), HEAD(), size=24, **STATS)
    pair = random_pair(2)
    half = Pair(pair.a.to(bits), pair.b.to(bits))
    for method in ORDINARY:
        for given, images in ((model, pair), (model, half), (twin, half)):
            made = method(given, images, **method.cheap)
            whole = torch.float64 if given is twin else torch.float32
            assert all(t.dtype == whole for t in (made.a, made.b, made.score)), method.name
            assert made.a.isfinite().all()
        if method.name not in ("random_map", "rise", "pairwise_occlusion"):  # whose draws depend on the bits of the images
            made, want = method(model, pair, **method.cheap), method(twin, pair, **method.cheap)
            assert (made.a - want.a).norm() < 0.2 * want.a.norm(), method.name
    maps = explain(model, half, "conditional_occlusion")
    assert all(v.dtype == torch.float32 and v.isfinite().all() for v in measure(model, half, maps, ["max_sensitivity", *SIX]).values())
    assert model.encode(half.a).dtype == torch.float32
    assert explain(PairModel(NET(), size=24).to(bits), half, "deep_similarity").joint.dtype == torch.float32


@METHODS
def test_undefined_maps_are_told(method) -> None:
    """A root has no gradient at zero: a finite score beside maps that are not."""
    model, pair = PairModel(NET(), Through(HEAD(), after=lambda z: z + (z * 0).sqrt()), size=24, **STATS), random_pair()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = method(model, pair, **method.cheap)
    bad = [f"pair {k} (side {s})" for s, maps in (("a", made.a), ("b", made.b)) for k in range(3) if not maps[k].isfinite().all()]
    told = [str(w.message) for w in caught if "maps that are not finite" in str(w.message)]
    assert bool(bad) == (method.facts["gradient"] or method.name == "integrated_jacobians")
    assert [text.split(": ")[1].split("; ")[0] for text in told] == (
        [", ".join(bad[:5]) + (", ..." if len(bad) > 5 else "")] if bad else []
    )


class Block(nn.Module):
    """Calls its one ReLU three times, as blocks of residual networks do; it has two names."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = nn.Conv2d(3, 6, 3, 2, 1).double(), nn.Conv2d(6, 6, 3, 2, 1).double()
        self.relu = nn.ReLU()
        self.alias, self.unused = self.relu, nn.ReLU()

    def forward(self, x):
        x = self.relu(self.one(x))
        x = self.alias(self.two(x) - 0.1) + 1
        return self.relu(x - 1.05).mean((2, 3))


@pytest.mark.parametrize("layer", ["relu", "alias"])
def test_a_layer_that_is_called_several_times_is_cut_behind_its_last_call(layer) -> None:
    net, x = Block(), random_pair(2).a
    model, outputs = PairModel.from_module(net, layer, size=24), []
    net.relu.register_forward_hook(lambda module, given, made: outputs.append(made))
    assert_close(model.embed_a(x), net(x))
    assert_close(model.features_a(x), outputs[-1])
    with pytest.raises(InputError, match="that the forward pass calls, got 'unused'"):
        PairModel.from_module(net, "unused", size=24)


@pytest.mark.parametrize(("wrap", "prefix"), [(nn.DataParallel, "module."), (compiled, "_orig_mod."), (lambda net: net, "")])
def test_cutting_what_is_compiled_parallel_or_holds_locks(wrap, prefix) -> None:
    net = nn.Sequential(locked(), small_head())
    x = random_pair(2).a
    for layer in ("0", f"{prefix}0"):
        model = PairModel.from_module(wrap(net), layer, size=24)
        assert_close(model.embed_a(x), net.eval()(x))
        assert_close(model.features_a(x), net[0](x))

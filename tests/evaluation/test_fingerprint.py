"""Keys of models: two that compute the same have one, two that do not have two."""

import copy
import functools
import importlib
import sys
import types

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.conftest import build, random_pair, small_features
from xaicl_lib import InputError, PairModel, evaluate, explain, load_model, measure
from xaicl_lib.evaluation.fingerprint import model_key
from xaicl_lib.methods import methods
from xaicl_lib.methods.registry import Method
from xaicl_lib.pair import Explanation
from xaicl_lib.zoo import list_models

SLOPE = 0.1


class Held(nn.Module):
    """A layer and whatever else is given to it."""

    def __init__(self, f, **held) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, dtype=torch.float64)
        self.f, self.held = f, held

    def forward(self, x):
        return self.f(self.conv(x), **self.held)


class Squared(Held):
    def forward(self, x):
        return self.conv(x) ** 2


class Cubed(Held):
    def forward(self, x):
        return self.conv(x) ** 3


def leaky(x):
    return F.leaky_relu(x, SLOPE)


def by(function):
    return lambda x: function(x)


def made(kind=Held, f=torch.relu, **held) -> PairModel:
    torch.manual_seed(0)
    return PairModel(kind(f, **held), size=24, name="made")


def hooked(hook) -> PairModel:
    model = made()
    model.features_a.conv.register_forward_hook(hook)
    return model


def patched() -> PairModel:
    model = made()
    model.features_a.forward = types.MethodType(Squared.forward, model.features_a)
    return model


def normed(eps: float) -> PairModel:
    model = build("projected")
    model.features_a[1].eps = eps
    return model


def without_persistence(value: float) -> PairModel:
    model = made()
    model.features_a.register_buffer("extra", torch.tensor(value), persistent=False)
    return model


class Bright(PairModel):
    """A model with an attribute of its own, which its function depends on."""

    def __init__(self, by: float) -> None:
        super().__init__(made().features_a, size=24)
        self.by = by

    def normalize(self, pixels):
        return super().normalize(pixels) * self.by


DIFFERENT = {
    "attribute of a subclass": (lambda: Bright(1.0), lambda: Bright(2.0)),
    "function": (lambda: made(), lambda: made(f=torch.sigmoid)),
    "python function": (lambda: made(f=F.relu), lambda: made(f=F.silu)),
    "own function": (lambda: made(f=leaky), lambda: made(f=by(F.relu))),
    "closure": (lambda: made(f=by(F.relu)), lambda: made(f=by(torch.sin))),
    "partial": (lambda: made(f=functools.partial(F.leaky_relu, negative_slope=0.1)), lambda: made(f=functools.partial(F.leaky_relu))),
    "forward": (lambda: made(Squared), lambda: made(Cubed)),
    "number": (lambda: made(f=F.leaky_relu, negative_slope=0.1), lambda: made(f=F.leaky_relu, negative_slope=0.2)),
    "eps": (lambda: normed(1e-5), lambda: normed(1e-2)),
    "constant": (lambda: made(f=lambda x: x * 2), lambda: made(f=lambda x: x * 3)),
    "default": (lambda: made(f=lambda x, by=2: x * by), lambda: made(f=lambda x, by=3: x * by)),
    "tensor of its own": (lambda: made(f=torch.add, other=torch.ones(1)), lambda: made(f=torch.add, other=torch.zeros(1))),
    "buffer that is not kept": (lambda: without_persistence(1.0), lambda: without_persistence(2.0)),
    "hook": (lambda: hooked(lambda m, given, y: y * 2), lambda: hooked(lambda m, given, y: y * 3)),
    "no hook": (made, lambda: hooked(lambda m, given, y: y * 3)),
    "patched": (made, patched),
    "side b": (made, lambda: PairModel(made().features_a, features_b=made(f=torch.sigmoid).features_a, size=24)),
    "head": (made, lambda: PairModel(made().features_a, nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten()), size=24)),
    "size": (lambda: PairModel(nn.Identity(), size=8), lambda: PairModel(nn.Identity(), size=9)),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_another_function_has_another_key(what) -> None:
    keys = [[model_key(make()) for _ in range(2)] for make in DIFFERENT[what]]
    assert keys[0][0] == keys[0][1]
    assert keys[1][0] == keys[1][1]
    assert keys[0][0] != keys[1][0]


def test_the_store_never_gives_the_values_of_another_network(tmp_path) -> None:
    pair = random_pair(2)
    for f in (torch.relu, torch.sigmoid):
        model = made(f=f)
        got = evaluate(model, pair, ["random_map"], ["SI"], store=tmp_path)["value"]
        assert got.tolist() == pytest.approx(measure(model, pair, explain(model, pair, "random_map"), ["SI"])["SI"].tolist(), rel=1e-6)
    assert len(list(tmp_path.iterdir())) == 2


def test_an_edit_of_a_module_or_of_what_it_calls_is_seen(monkeypatch) -> None:
    from xaicl_lib.networks import small as networks

    model = load_model("simsiam", "cpu")
    vit = PairModel(networks._SlimViT((8, 8), 1, 2), size=16)
    before, before_vit = model_key(model), model_key(vit)
    monkeypatch.setattr(networks.Block, "forward", lambda self, x: self.shortcut(x))
    assert model_key(model) != before
    monkeypatch.undo()
    assert model_key(model) == before
    monkeypatch.setattr(networks, "_sine_positions", lambda i, j, c: torch.zeros(i * j, c))
    assert model_key(vit) != before_vit


def test_a_global_of_a_function_is_part_of_it(monkeypatch) -> None:
    before = model_key(made(f=leaky))
    monkeypatch.setitem(globals(), "SLOPE", 0.3)
    assert model_key(made(f=leaky)) != before


def test_classes_of_a_notebook_are_read_and_documentation_is_not() -> None:
    text = """
from torch import nn
class Net(nn.Module):
    '''{says}'''
    def forward(self, x):
        '''{says}'''
        # {says}
        return x * {by}
"""

    def key(**given) -> str:
        there: dict = {"__name__": "__main__"}
        exec(text.format(**given), there)
        return model_key(PairModel(there["Net"](), size=8))

    assert key(says="One.", by=2) == key(says="Another.", by=2)
    assert key(says="One.", by=2) != key(says="One.", by=3)


def test_a_module_of_the_users_may_be_called_as_one_of_the_standard_library(tmp_path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    keys = []
    for sign in "+-":
        (tmp_path / "antigravity.py").write_text(f"def bent(x):\n    return {sign}x\n")
        monkeypatch.delitem(sys.modules, "antigravity", raising=False)
        importlib.invalidate_caches()
        sys.dont_write_bytecode, kept = True, sys.dont_write_bytecode
        keys.append(model_key(made(f=importlib.import_module("antigravity").bent)))
        sys.dont_write_bytecode = kept
    monkeypatch.delitem(sys.modules, "antigravity")
    assert keys[0] != keys[1]


def test_values_are_not_those_of_another_function_under_the_same_name(tmp_path, monkeypatch) -> None:
    """A score and a method of somebody's own that were edited between two runs."""
    pair, model = random_pair(2), made()

    def table(by: float, sign: int):
        def score(za, zb):
            return by * F.cosine_similarity(za, zb)

        def own(model, pair):
            made = explain(model, pair, "random_map")
            return Explanation(sign * made.a, sign * made.b, made.score)

        monkeypatch.setitem(methods._entries, "own", Method("own", own, methods["random_map"].facts))
        return evaluate(model, pair, ["own"], ["SI", "SD"], store=tmp_path, score=score)["value"].tolist()

    found = [table(by, sign) for by, sign in ((1, 1), (2, 1), (1, -1), (1, 1))]
    assert found[0] == found[3]
    assert found[1] == pytest.approx([2 * value for value in found[0]])
    assert found[2] != found[0]


def test_what_keeps_the_function_keeps_the_key() -> None:
    model = build("two branches")
    key = model_key(model)
    assert model_key(model.copy()) == key
    _ = model.fast
    explain(model, random_pair(1), "smooth_grad", samples=1)
    assert model_key(model) == key
    assert model_key(copy.deepcopy(model)) == key


def test_traced_modules() -> None:
    def cut(last: nn.Module) -> PairModel:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), last, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return PairModel.from_module(net, "1", size=16)

    class Plus(nn.Module):
        def forward(self, x):
            return torch.sin(x) + 1

    class Minus(nn.Module):
        def forward(self, x):
            return torch.cos(x) + 1

    assert model_key(cut(nn.ReLU())) == model_key(cut(nn.ReLU()))
    assert len({model_key(cut(last)) for last in (nn.ReLU(), nn.ELU(), Plus(), Minus())}) == 4


class _Sealed:
    """A function that cannot be taken apart, as of a C extension."""

    def __init__(self, f) -> None:
        self.f = f

    def __call__(self, x):
        return self.f(x)

    def __reduce_ex__(self, protocol):
        raise TypeError(f"cannot be taken apart: {id(self)}")

    def __deepcopy__(self, memo):
        return _Sealed(self.f)


def scripted(by: float) -> PairModel:
    class Times(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.by = by

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x - self.by)

    return PairModel(nn.Sequential(small_features(), torch.jit.script(Times())), size=24)


def test_what_cannot_be_read_is_seen_by_its_outputs() -> None:
    keys = [model_key(made(f=_Sealed(f))) for f in (torch.relu, torch.relu, torch.sigmoid)]
    assert keys[0] == keys[1] != keys[2]
    assert model_key(scripted(0.25)) == model_key(scripted(0.25)) != model_key(scripted(0.26))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1 + threads % 2)
        assert model_key(made(f=_Sealed(torch.relu))) == keys[0]
        assert model_key(scripted(0.25)) == model_key(scripted(0.25))
    finally:
        torch.set_num_threads(threads)


def test_a_key_stands_for_what_can_neither_be_read_nor_run() -> None:
    def fails(x):
        raise RuntimeError("only on Tuesdays")

    with pytest.raises(InputError, match=r"test_fingerprint\._Sealed and: only on Tuesdays; give PairModel a key="):
        model_key(made(f=_Sealed(fails)))
    keys = [model_key(PairModel(made(f=_Sealed(fails)).features_a, size=24, key=key)) for key in ("one", "one", "two")]
    assert keys[0] == keys[1] != keys[2]


def test_bundled_models_are_read_whole() -> None:
    from xaicl_lib.evaluation.fingerprint import _Reading

    for name in list_models():
        reading = _Reading()
        reading.of({role: part for role, part in load_model(name, "cpu")._parts.items() if role != "text"})
        assert not reading.unread, name

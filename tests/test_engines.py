"""Engines: the same numbers as eager from others, checked where they are first used, and a line where one does not do."""

import os
import pickle
import threading
import warnings

import pytest
import torch
from torch import nn

from xaicl_lib import PairModel, engines, explain, load_model, measure
from xaicl_lib.errors import InputError

from .conftest import assert_close, random_pair, small_features, small_head


def single(engine: str = "eager") -> PairModel:
    return PairModel(small_features().float(), small_head().float(), size=24, name="small", engine=engine)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(5, 3, 24, 24)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_the_same_embeddings_and_maps_by_another_engine(engine) -> None:
    pytest.importorskip(engine)
    plain, other, pair = single(), single(engine), random_pair(2)
    with warnings.catch_warnings(action="error"):
        for _ in range(2):
            assert_close(other.encode(pair.a, chunk=1), plain.encode(pair.a), rtol=1e-5, atol=1e-5)
    (run,) = other.fast._runners["a"]._chosen.values()
    assert not isinstance(run, nn.Module)  # it was not eager that answered
    for method in ("conditional_occlusion", "pairwise_occlusion", "rise"):
        options = {"masks": 6} if method != "conditional_occlusion" else {"stride": 8}
        made, want = (explain(model, pair, method, **options) for model in (other, plain))
        assert_close(made.a, want.a, rtol=1e-4, atol=1e-5)
        assert_close(made.b, want.b, rtol=1e-4, atol=1e-5)
    assert_close(measure(other, pair, want, ["CI"])["CI"], measure(plain, pair, want, ["CI"])["CI"], rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="there is one core to be on")
def test_openvino_leaves_its_caller_on_every_core(monkeypatch) -> None:
    pytest.importorskip("openvino")
    run, own, seen, done = (
        engines._openvino(nn.Conv2d(3, 64, 5), torch.rand(16, 3, 96, 96)),
        threading.get_native_id(),
        set(),
        threading.Event(),
    )

    def watch() -> None:
        while not done.is_set():
            seen.add(frozenset(os.sched_getaffinity(own)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(5):
        run(torch.rand(16, 3, 96, 96))
    done.set()
    watcher.join()
    assert seen == {frozenset(os.sched_getaffinity(0))}


def counted(monkeypatch, builder, name: str = "onnxruntime") -> list[tuple[int, ...]]:
    """A stand-in for an engine, and the shapes that it was asked for."""
    asked: list[tuple[int, ...]] = []

    def build(network: nn.Module, x: torch.Tensor):
        run = builder(network, x)

        def count(x: torch.Tensor) -> torch.Tensor:
            asked.append(tuple(x.shape))
            return run(x)

        return count

    monkeypatch.setitem(engines.BUILDERS, name, build)
    monkeypatch.setattr(engines, "_installed", lambda engine: engine == name)
    return asked


def test_an_engine_is_built_once_a_size_and_anew_for_other_weights(monkeypatch, images) -> None:
    built = []
    asked = counted(monkeypatch, lambda network, x: built.append(1) or network)
    model = single("onnxruntime")
    for side in "abab":
        model.encode(images, side)
    assert len(built) == 1  # both sides run through the same modules
    assert len(asked) == 4  # once to be checked, and three times for all
    model.encode(images[..., 1:])
    assert len(built) == 2
    next(model.features_a.parameters()).data.mul_(-1)
    assert_close(model.encode(images), model.fast.embed_a(model.fast.normalize(images)), rtol=0, atol=0)
    assert len(built) == 3
    assert pickle.loads(pickle.dumps(model)).engine == model.copy().engine == "onnxruntime"


def test_branches_have_engines_of_their_own(monkeypatch, images) -> None:
    counted(monkeypatch, lambda network, x: network)
    model = PairModel(small_features().float(), small_head().float(), size=24, head_b=small_head(1).float(), engine="onnxruntime")
    for _ in range(2):
        assert_close(model.encode(images, "b"), model.fast.embed_b(model.fast.normalize(images)), rtol=0, atol=0)
        assert_close(model.encode(images, "a"), model.fast.embed_a(model.fast.normalize(images)), rtol=0, atol=0)


def refuse(network: nn.Module, x: torch.Tensor):
    raise RuntimeError("Model wasn't fully converted.\n-- No conversion rule found for operations: aten::mT\n")


BAD = {
    "other numbers": (lambda network, x: lambda x: network(x) * 1.0001, "gives other numbers: 1.0e-04 of an embedding away"),
    "another shape": (lambda network, x: lambda x: network(x)[:, 1:], "gives other numbers: inf"),
    "nothing finite": (lambda network, x: lambda x: network(x) * torch.nan, "gives other numbers: inf"),
    "an operation": (refuse, "cannot take this network: -- No conversion rule found for operations: aten::mT"),
}


@pytest.mark.parametrize(("builder", "says"), BAD.values(), ids=BAD)
def test_an_engine_that_does_not_do_is_left_for_eager_with_one_line(builder, says, monkeypatch, images) -> None:
    counted(monkeypatch, builder)
    model = single("onnxruntime")
    with pytest.warns(UserWarning, match=f"'small': eager instead of onnxruntime, which {says}") as caught:
        found = [model.encode(images) for _ in range(3)]
    assert len(caught) == 1
    for z in found:
        assert_close(z, single().encode(images), rtol=0, atol=0)


def test_double_precision_stays_with_eager(monkeypatch) -> None:
    counted(monkeypatch, lambda network, x: network)
    model = PairModel(small_features(), size=24, engine="onnxruntime")
    with pytest.warns(UserWarning, match="runs single precision on the CPU, not torch.float64 on cpu"):
        model.encode(torch.rand(1, 3, 24, 24))


@pytest.mark.parametrize(("slow", "taken"), [(False, True), (True, False)])
def test_auto_takes_an_engine_only_if_it_is_faster(slow, taken, monkeypatch, images) -> None:
    """By a clock of its own, which eager advances by a second a call."""
    now = [0.0]

    def lasting(seconds: float, network, x: torch.Tensor) -> torch.Tensor:
        now[0] += seconds
        return network.forward(x)

    monkeypatch.setattr(engines.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(engines._Embedding, "__call__", lambda self, x: lasting(1.0, self, x))
    asked = counted(monkeypatch, lambda network, x: lambda x: lasting(0.95 if slow else 0.5, network, x))
    model = single("auto")
    for _ in range(2):
        model.encode(images)
    assert not asked  # two seconds have not passed
    for _ in range(3):
        model.encode(images)
    tried = len(asked)
    model.encode(images)
    assert (len(asked) > tried) == taken


def test_auto_without_any_engine_is_eager(monkeypatch, images) -> None:
    monkeypatch.setattr(engines, "_installed", lambda engine: False)
    monkeypatch.setattr(engines, "PATIENCE", 0.0)
    assert_close(single("auto").encode(images), single().encode(images), rtol=0, atol=0)


def test_engines_that_there_are_not(monkeypatch) -> None:
    with pytest.raises(InputError, match="unknown engine 'tensorrt'; there are: eager, auto, onnxruntime, openvino, compile"):
        single("tensorrt")
    with pytest.raises(InputError, match="unknown engine"):
        load_model("simclr", "cpu", engine="tensorrt")
    monkeypatch.setattr(engines, "_installed", lambda engine: False)
    with pytest.raises(
        InputError, match=r"engine 'openvino' needs the packages of the extra openvino: pip install 'xaicl_lib\[openvino\]'"
    ):
        single("openvino")


def test_a_model_may_change_its_engine(monkeypatch, images) -> None:
    asked = counted(monkeypatch, lambda network, x: network)
    model = single()
    model.encode(images)
    model.engine = "onnxruntime"
    model.encode(images)
    assert len(asked) == 1
    model.engine = "eager"
    model.encode(images)
    assert len(asked) == 1

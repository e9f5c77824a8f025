"""What devices lack: too little memory, no double precision, missing operations."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from tests.conftest import STATS, assert_close, build, random_pair, small_features, small_head
from xaicl_lib import InputError, PairModel, explain, measure
from xaicl_lib.devices import sparing, widest
from xaicl_lib.methods import methods
from xaicl_lib.metrics.randomisation import _ssim, rank_correlation
from xaicl_lib.model import resolve_device
from xaicl_lib.scores import corpus_similarity

ORDINARY = [method for method in methods if method.facts["family"] != "attention"]  # what any network can have
METHODS = pytest.mark.parametrize("method", ORDINARY, ids=lambda m: m.name)


class Small(nn.Module):
    """A network on a device whose memory holds so many images."""

    def __init__(self, images: int, error: type[Exception] = torch.OutOfMemoryError, text: str = "CUDA out of memory") -> None:
        super().__init__()
        self.net, self.images, self.error, self.text = small_features(), images, error, text

    def forward(self, x):
        if len(x) > self.images:
            raise self.error(self.text)
        return self.net(x)


@METHODS
def test_half_as_many_images_where_memory_does_not_suffice(method) -> None:
    """Said once, with the same maps as where it suffices, random draws included."""
    model, usual, pair = PairModel(Small(4), small_head(), size=24, **STATS), build("projected"), random_pair(5)
    with pytest.warns(UserWarning, match="memory did not suffice for 8 images in flight: done with chunk=4, with the same result"):
        made = method(model, pair, chunk=8, generator=torch.Generator().manual_seed(3), **method.cheap)
    want = method(usual, pair, chunk=8, generator=torch.Generator().manual_seed(3), **method.cheap)
    for name in ("a", "b", "score"):
        assert_close(getattr(made, name), getattr(want, name))
    assert made.params == want.params


def test_metrics_and_encoding_too() -> None:
    model, usual, pair = PairModel(Small(4), small_head(), size=24, **STATS), build("projected"), random_pair(5)
    maps = explain(usual, pair, "conditional_occlusion")
    with pytest.warns(UserWarning, match="chunk=4"):
        got = measure(model, pair, maps, ["SI", "SD"], step=96, chunk=8, insertion="shuffle", generator=torch.Generator().manual_seed(1))
    want = measure(usual, pair, maps, ["SI", "SD"], step=96, chunk=8, insertion="shuffle", generator=torch.Generator().manual_seed(1))
    assert_close(got["SI"], want["SI"])
    with pytest.warns(UserWarning, match="chunk=4"):
        assert_close(model.encode(pair.a, chunk=8), usual.encode(pair.a))


@pytest.mark.parametrize("text", ["MPS backend out of memory", "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"])
def test_out_of_memory_in_other_words(text) -> None:
    model = PairModel(Small(4, RuntimeError, text), small_head(), size=24, **STATS)
    with pytest.warns(UserWarning, match="memory did not suffice"):
        model.encode(random_pair(6).a, chunk=8)
    with pytest.raises(RuntimeError, match="something else"):
        PairModel(Small(4, RuntimeError, "something else"), small_head(), size=24).encode(random_pair(6).a, chunk=8)


def test_memory_is_halved_once() -> None:
    asked = []

    def run(chunk):
        asked.append(chunk)
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.warns(UserWarning, match="for 12 images"), pytest.raises(torch.OutOfMemoryError):
        sparing(run, None, 12)
    assert asked == [None, 6]
    with pytest.raises(torch.OutOfMemoryError):
        sparing(run, 1, 12)
    assert asked == [None, 6, 1]


def test_operations_that_a_device_lacks_are_named() -> None:
    text = "The operator 'aten::_fft' is not currently implemented for the MPS device. See https://example.org\nand more"
    with pytest.raises(InputError, match=r"one that it has not: The operator 'aten::_fft' .*; PYTORCH_ENABLE_MPS_FALLBACK=1, set before"):
        PairModel(Small(4, NotImplementedError, text), small_head(), size=24, **STATS).encode(random_pair(6).a, chunk=8)
    with pytest.raises(InputError, match=r"one that it has not: no jvp$"):
        PairModel(Small(4, NotImplementedError, "no jvp"), small_head(), size=24, **STATS).encode(random_pair(6).a, chunk=8)


@pytest.mark.parametrize(
    ("there", "first"),
    [((), "cpu"), (("cuda", "mps"), "cuda"), (("mps", "xpu"), "mps"), (("xpu",), "xpu")],
)
def test_the_first_accelerator_is_taken(there, first, monkeypatch) -> None:
    for kind in ("cuda", "mps", "xpu"):
        monkeypatch.setattr(getattr(torch, kind), "is_available", lambda kind=kind: kind in there)
        monkeypatch.setattr(getattr(torch, kind), "device_count", lambda: 2)
    assert resolve_device("auto").type == first
    with pytest.raises(InputError, match=f"there are: auto, cpu{''.join(f', {kind}:0, {kind}:1' for kind in there)}$"):
        resolve_device("gpu")


class WithoutDouble(TorchDispatchMode):
    """A device on which nothing may become double precision."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else [made]:
            if isinstance(tensor, Tensor) and tensor.dtype == torch.float64:
                raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64")
        return made


class OnDevice(Tensor):
    """A tensor of a device that has no double precision, until it is moved to the CPU."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is Tensor.double:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        if func is Tensor.cpu:
            return args[0].as_subclass(Tensor)
        return super().__torch_function__(func, types, args, kwargs or {})


def test_devices_without_double_precision(monkeypatch) -> None:
    assert widest(torch.device("cpu")) == widest(torch.device("cuda")) == torch.float64
    assert widest(torch.device("mps")) == torch.float32
    z = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    assert_close(corpus_similarity(z.as_subclass(OnDevice))(z), corpus_similarity(z)(z))
    model, pair = build("projected").to(torch.float32), random_pair(2)
    want = {method.name: method(model, pair, **method.cheap) for method in ORDINARY}
    single = type(pair)(pair.a.float(), pair.b.float())
    for name in ("methods.rise", "metrics.randomisation"):
        monkeypatch.setattr(f"xaicl_lib.{name}.widest", lambda device: torch.float32)
    for method in ORDINARY:
        with WithoutDouble():
            made = method(model, single, **method.cheap)
        if method.name not in ("rise", "random_map"):  # whose draws depend on the bits of the images
            assert_close(made.a, want[method.name].a, rtol=1e-3, atol=1e-5)
    with WithoutDouble():
        maps = explain(model, single, "rise", masks=64)
        measure(model, single, maps, step=96)
        assert_close(rank_correlation(maps.a, maps.a), torch.ones(2), rtol=1e-5)
        assert_close(_ssim(maps.a, maps.a), torch.ones(2), rtol=1e-5)

"""Engines: what runs a network where no gradients are asked for. Eager PyTorch, or one that is faster and gives the same numbers.

For drafts, whose numbers are corrected and bounded afterwards (`xaicl_lib.drafts`), the same networks run in bfloat16.

A model's engine is built at the first images that meet it, of each size anew, and held beside eager's embeddings of these images; one that
cannot take the network, or gives other numbers, is left for eager with one line. How long that takes and what it gains is on the page
about evaluations.
"""

import copy
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xaicl_lib.errors import InputError, require, telling_line
from xaicl_lib.notes import note, quiet
from xaicl_lib.wrapping import rows, tensor_of

Run = Callable[[Tensor], Tensor]  # (n, c, h, w) in the model's input space to (n, d)

NEEDS = {"onnxruntime": ("onnxruntime", "onnx", "onnxscript"), "openvino": ("openvino",)}  # packages, by the extra of that name
ENGINES = ("eager", "auto", *NEEDS, "compile")
NEAR = 1e-5  # relative difference of an embedding, which a cosine differs by at most
PATIENCE = 2.0  # seconds that "auto" computes eagerly before it tries what takes about as long to build
GAIN = 0.9  # share of eager's time that an engine must stay under to be taken

DRAFT_NEAR = 0.05  # of an embedding, for a draft; bfloat16 has 8 bits, and a network of some twenty layers is 0.005 away
DRAFT_GAIN = 0.8  # share of the exact time that a draft must stay under: samples and proofs take some of what it saves
INSTRUCTIONS = {"avx512_bf16", "amx_bf16", "bf16"}  # flags of processors that multiply bfloat16 numbers; the last is ARM's


def known_engine(name: str) -> str:
    """The name of an engine that is installed.

    Raises:
        InputError: no such engine, or one whose packages are missing.
    """
    require("engine", ENGINES, name)
    if name in NEEDS and not _installed(name):
        raise InputError(f"engine {name!r} needs the packages of the extra {name}: pip install 'xaicl_lib[{name}]'")
    return name


def _installed(name: str) -> bool:
    return all(importlib.util.find_spec(package) is not None for package in NEEDS[name])


class Runner:
    """Embeddings of one side by an engine, once that has proven itself on the first images of their size; by eager until then.

    Args:
        features, head: modules in their fast form.
        engine: one of `ENGINES`.
        name: of the model, for what is said.
    """

    def __init__(self, features: nn.Module, head: nn.Module, engine: str, name: str) -> None:
        self._network, self._engine, self._name = _Embedding(features, head).eval(), engine, name
        self._chosen: dict[tuple[int, ...], Run] = {}
        self._drafts: dict[tuple[int, ...], Run] = {}
        self._spent = 0.0  # seconds of eager, for "auto"

    def draft(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """The same up to the rounding of bfloat16, where that is faster here; exact where it is not, which is said."""
        key = (*x.shape[1:], torch.get_num_threads())
        if key not in self._drafts:
            try:
                self._drafts[key] = self._drafting(x)
            except _Refused as error:
                note(f"{self._name!r}: exact instead of a draft, {error}")
                self._drafts[key] = self
        return self._drafts[key](x)

    def _drafting(self, x: Tensor) -> Run:
        """
        Raises:
            _Refused: there is nothing to be gained.
        """
        if not _has_bfloat16(x.device):
            raise _Refused("for this processor has no instructions for bfloat16")
        want = self(x)
        builders = [draft for name, draft in DRAFTS.items() if name == "eager" or (self._engine in (name, "auto") and _installed(name))]
        try:
            run = builders[-1](self._network, x)
            away = _away(run(x), want)
        except Exception as error:  # whatever exporters and engines raise at what they do not know
            raise _Refused(f"for bfloat16 cannot take this network: {telling_line(error)}") from error
        if not away <= DRAFT_NEAR:
            raise _Refused(f"for bfloat16 is {away:.2g} of an embedding away")
        exact, draft = (min(_timed(each, x)[1] for _ in range(3)) for each in (self, run))
        if draft > DRAFT_GAIN * exact:
            raise _Refused(f"for bfloat16 takes {draft / exact:.2f} times as long here")
        return run

    def __call__(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """Embeddings of images in the model's input space."""
        if self._engine == "eager":
            return self._network(x)
        key = (*x.shape[1:], torch.get_num_threads())
        if key in self._chosen:
            return self._chosen[key](x)
        z, seconds = _timed(self._network, x)
        self._spent += seconds
        if self._engine != "auto" or self._spent > PATIENCE:
            self._chosen[key] = self._best(x, z) if self._engine == "auto" else self._given(x, z)
        return z

    def _given(self, x: Tensor, want: Tensor) -> Run:
        """The engine asked for, or eager where it does not do."""
        try:
            return self._proven(self._engine, x, want)
        except _Refused as error:
            note(f"{self._name!r}: eager instead of {self._engine}, {error}")
            return self._network

    def _best(self, x: Tensor, want: Tensor) -> Run:
        """The fastest of those that are installed and give the same numbers."""
        best: Run = self._network
        least = GAIN * min(_timed(self._network, x)[1] for _ in range(3))
        for engine in filter(_installed, NEEDS):
            try:
                run = self._proven(engine, x, want)
            except _Refused:
                continue
            if (seconds := min(_timed(run, x)[1] for _ in range(3))) < least:
                best, least = run, seconds
        return best

    def _proven(self, engine: str, x: Tensor, want: Tensor) -> Run:
        """An engine's run of the network, if it gives eager's numbers.

        Raises:
            _Refused: it cannot take the network, or gives others.
        """
        if engine != "compile" and (x.device.type != "cpu" or x.dtype != torch.float32):
            raise _Refused(f"which runs single precision on the CPU, not {x.dtype} on {x.device.type}")
        try:
            run = BUILDERS[engine](self._network, x)
            away = _away(run(x), want)
        except Exception as error:  # whatever exporters and engines raise at what they do not know
            raise _Refused(f"which cannot take this network: {telling_line(error)}") from error
        if not away <= NEAR:
            raise _Refused(f"which gives other numbers: {away:.1e} of an embedding away, more than {NEAR:.0e}")
        return run


class _Refused(Exception):
    """Why an engine is not used."""


class _Embedding(nn.Module):
    """Images to embeddings, as one module."""

    def __init__(self, features: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.features, self.head = features, head

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        return rows(self.head(tensor_of(self.features(x), "the features")), x.shape[0])


def _timed(run: Run, x: Tensor) -> tuple[Tensor, float]:
    began = time.perf_counter()
    z = run(x)
    if x.is_cuda:
        torch.cuda.synchronize()
    return z, time.perf_counter() - began


def _away(z: Tensor, want: Tensor) -> float:
    """The largest distance between embeddings, as a share of their length; infinite where shapes or what is finite differ."""
    if z.shape != want.shape or not torch.equal(z.isfinite(), want.isfinite()):
        return float("inf")
    z, want = z.nan_to_num(0, 0, 0), want.nan_to_num(0, 0, 0)
    return float(((z - want).norm(dim=1) / want.norm(dim=1).clamp_min(torch.finfo(want.dtype).tiny)).max())


def _exported(network: nn.Module, x: Tensor) -> Any:
    """The network as a graph for any number of images of this size."""
    example = x[:1].expand(2, -1, -1, -1).contiguous()  # of a batch of one, a graph would take the one for granted
    with torch.no_grad(), quiet():
        return torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim("n", min=1, max=1 << 20)},))


def _onnxruntime(network: nn.Module, x: Tensor) -> Run:
    import onnxruntime

    options: Any = onnxruntime.SessionOptions()
    with quiet():
        program: Any = torch.onnx.export(_exported(network, x), dynamo=True, opset_version=20, verbose=False)
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = torch.get_num_threads(), 1, 3
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (given,) = (one.name for one in session.get_inputs())
    return lambda x: torch.from_numpy(session.run(None, {given: x.contiguous().numpy()})[0])


def _openvino(network: nn.Module, x: Tensor, precision: str = "f32") -> Run:
    import openvino

    options = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": precision, "NUM_STREAMS": 1}
    options["ENABLE_CPU_PINNING"] = False  # or all processes of a machine would compute on its first core, whatever cores are free
    request = openvino.compile_model(openvino.convert_model(_exported(network, x)), "CPU", options).create_infer_request()
    return lambda x: torch.from_numpy(request.infer([x.contiguous().numpy()])[0].copy())


def _bfloat16(network: nn.Module, x: Tensor) -> Run:
    """Eager PyTorch in bfloat16, given and giving single precision."""
    half = copy.deepcopy(network).to(torch.bfloat16)
    return lambda x: half(x.to(torch.bfloat16)).to(x.dtype)


def _has_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies numbers of bfloat16 faster than those of single precision, as far as it says so."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    try:
        return device.type == "cpu" and bool(INSTRUCTIONS & set(Path("/proc/cpuinfo").read_text().split()))
    except OSError:  # systems other than Linux
        return False


def _compile(network: nn.Module, x: Tensor) -> Run:
    run = torch.compile(network, options={"freezing": True} if x.device.type == "cpu" else None)

    def frozen(x: Tensor) -> Tensor:
        with torch.no_grad():  # in which alone weights are frozen into the code
            return run(x)

    return frozen


BUILDERS: dict[str, Callable[[nn.Module, Tensor], Run]] = {"onnxruntime": _onnxruntime, "openvino": _openvino, "compile": _compile}
DRAFTS: dict[str, Callable[[nn.Module, Tensor], Run]] = {"eager": _bfloat16, "openvino": lambda network, x: _openvino(network, x, "bf16")}

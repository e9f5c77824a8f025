"""Models for the reader's own browser: `export(model, folder)` writes what the lab loads.

A bundle holds graphs without weights that share one file of them:

- `encode`: images x (n, 3, h, w) in the model's input space to feature maps f (n, c, i, j) and embeddings z (n, d);
- `headgrad`: feature maps f1, f2 to the cosine s (n,) and its gradients g1, g2;
- `pixgrad`: images x1, x2 to s and its gradients d1, d2; `pixgrad_guided`: the same by guided backpropagation;
- `attention`, of a transformer: images x1, x2 to s, the rollouts r1, r2 (n, i, j) of their attention, and LeGrad's maps m1, m2;
- `headcells`: maps `at`, `along` to v (n, p, d), the derivative of the head at `at` along the part of `along` in cell p;
- `words`, of a model that reads texts: `at`, `along`, how much of each word of a list stands at a place (n, t, w), the first of which is
  padding, and `there` (n, t), 1 where a word is, to v (n, d), the derivative of the text side at `at` along `along`, and z (n, d), the text
  side at `at`; the card has the list, and how many words a text may have, as `text`;
- `headpull`, of the same: sums of cells `at` (n, c, 1, 1), and u (n, d) to z (n, d), the head there, and g, the gradients of z u.

A model whose sides differ has `encode_b` and `headcells_b`, too.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from xaicl_lib.data.captions import LENGTH, WORDS
from xaicl_lib.errors import InputError
from xaicl_lib.lab.export import bundle
from xaicl_lib.lab.export.bundle import FORMAT
from xaicl_lib.lab.export.graphs import OPSET, WEIGHTS_FILE, Function, Network, functions, to_onnx
from xaicl_lib.lab.export.weights import prepare
from xaicl_lib.layers import guided
from xaicl_lib.model import PairModel
from xaicl_lib.notes import note

__all__ = ["FORMAT", "METHODS", "export"]

METHODS = (
    "conditional_occlusion",
    "pairwise_occlusion",
    "input_x_gradient",
    "smooth_grad",
    "averaged_transforms",
    "grad_cam",
    "interaction_cam",
    "deep_similarity",
    "integrated_jacobians",
    "attention_rollout",
    "legrad",
)
NEEDS = {"integrated_jacobians": "headcells", "attention_rollout": "attention", "legrad": "attention"}  # graphs that not every model has
MAX_WEIGHTS = 64_000_000  # bytes; what a browser on a phone still holds, four times as floats
MAX_CELLS = 64_000_000  # numbers in flight of `headcells`
MAX_NAME = 200  # characters
LIMITS = {  # as `lab/static/engine/bundle.js` has them
    "side": (1024, "pixels a side"),
    "cells": (4096, "cells in a feature map"),
    "embedding": (65536, "channels or numbers in an embedding"),
    "tensors": (4096, "tensors of weights"),
}
FLAT = 1 - 1e-5  # a cosine from here on has gradients that are rounding noise, which nothing can be compared with
TOLERANCE = 1e-2  # relative L2 of what a graph computes; rounding flips a ReLU here and there


def export(model: PairModel, folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Write a model as a bundle for the lab, whole or not at all; an older bundle in `folder` is replaced.

    Each graph is run once and compared with torch before anything is written. The same model gives the same bytes.

    Args:
        model: any network of convolutions and the like, or a transformer; its weights end up in half precision.
        folder: for the files; made if its parent exists.

    Returns:
        The content of its `model.json`.

    Raises:
        InputError: a network that cannot be exported or is too large for the lab, onnx not installed, or a folder that may not be written.

    Example:
        >>> import tempfile
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, 4), torch.nn.ReLU())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     export(PairModel(net, size=16), folder)["features"]
        [8, 4, 4]
    """
    folder = Path(folder)
    bundle.check_place(folder)
    _need("onnx", "onnxscript", "onnxruntime")
    if model.channels != 3:
        raise InputError(
            f"expected a model of RGB images for the lab, whose pictures are such, got {model.name!r} of {model.channels} channels"
        )
    if model.interpolation != "bilinear":
        note(f"the lab resizes photos bilinearly, {model.name!r} has them {model.interpolation}: scores may differ a little")
    parts, weights = prepare(model)
    data, table = bundle.pack(weights)
    if len(data) > MAX_WEIGHTS:
        raise InputError(
            f"expected weights of at most {MAX_WEIGHTS // 10**6} MB for a browser, got {model.name!r} of {len(data) / 1e6:.0f} MB"
        )
    values = {name: weight.value for name, weight in weights.items()}
    network = Network(parts, model.symmetric)
    shapes, d = _shapes(network, model)
    (c, i, j), *_ = shapes
    _check_limits(model.name, side=model.size, cells=i * j, embedding=max(c, d), tensors=len(weights))
    cells = c * (i * j) ** 2 <= MAX_CELLS
    has_relu = _has_relu(network, model.size)
    made = functions(network, model.size, has_relu, cells)
    files = {f"{name}.onnx": _graph(name, model.name, function, values) for name, function in made.items()}
    card = {
        "kind": "xaicl model",
        "format": FORMAT,
        "version": _version(),
        "name": "".join(c if c.isprintable() else " " for c in model.name)[:MAX_NAME],
        "size": model.size,
        "mean": [round(v, 7) for v in model._mean.flatten().tolist()],
        "std": [round(v, 7) for v in model._std.flatten().tolist()],
        "symmetric": model.symmetric,
        "features": list(shapes[0]),
        "embedding": d,
        "parameters": sum(value.numel() for value in values.values()),
        "methods": [m for m in METHODS if NEEDS.get(m, "encode") in made],
        "guided": has_relu,
        "text": {"words": list(WORDS), "length": LENGTH} if "words" in made else None,
        "opset": OPSET,
        "graphs": {name: bundle.facts_of(f"{name}.onnx", files[f"{name}.onnx"]) for name in made},
        "weights": {**bundle.facts_of(WEIGHTS_FILE, data), "tensors": table},
    }
    bundle.write(folder, card, {**files, WEIGHTS_FILE: data})
    return card


def _need(*packages: str) -> None:
    from importlib.util import find_spec

    if missing := [name for name in packages if find_spec(name) is None]:
        raise InputError(f"expected {', '.join(missing)} to be installed for an export; pip install 'xaicl_lib[export]'")


def _check_limits(name: str, **counts: int) -> None:
    for key, count in counts.items():
        most, what = LIMITS[key]
        if count > most:
            raise InputError(f"expected at most {most:,} {what} for the lab, got {name!r} of {count:,}")


def _version() -> str:
    from importlib.metadata import version

    return version("xaicl_lib")


@torch.no_grad()
def _shapes(network: Network, model: PairModel) -> tuple[list[tuple[int, ...]], int]:
    """(c, i, j) of the feature maps of both sides, and the length of an embedding; an odd batch, so that none may be built in."""
    x = torch.zeros(3, 3, model.size, model.size)
    shapes, lengths = [], []
    for side in ("", "_b"):
        try:
            f = network((f"features{side}",), x)
            z = network((f"head{side}",), f.clone())
        except Exception as error:  # whatever the model's own code raises
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"{model.name!r} does not run on images of {model.size} x {model.size} pixels: {reason}") from error
        if f.ndim != 4 or z.ndim != 2 or len(f) != 3 or len(z) != 3:
            raise InputError(
                f"expected feature maps (n, c, i, j) and embeddings (n, d) of {model.name!r}, got {tuple(f.shape)} and {tuple(z.shape)}"
            )
        shapes.append(tuple(f.shape[1:]))
        lengths.append(z.shape[1])
    if lengths[0] != lengths[1]:
        raise InputError(f"expected embeddings of one length on both sides of {model.name!r}, got {lengths[0]} and {lengths[1]}")
    return shapes, lengths[0]


def _has_relu(network: Network, size: int) -> bool:
    try:
        with torch.no_grad(), guided():
            network(("features",), torch.zeros(1, 3, size, size))
    except InputError:
        return False
    return True


def _graph(name: str, model: str, function: Function, values: Mapping[str, Tensor]) -> bytes:
    offsets, end = {}, 0
    for key, value in values.items():
        offsets[key], end = end, end + 4 * value.numel()
    try:
        data = to_onnx(function, values, offsets)
        _check(data, function, values)
    except InputError as error:
        raise InputError(f"{model!r} cannot be exported: {name} {error}") from error
    return data


def _check(data: bytes, function: Function, values: Mapping[str, Tensor]) -> None:
    """Run a graph on one and on three images and compare with torch."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    wide = torch.cat([value.flatten() for value in values.values()]) if values else torch.zeros(0)
    content = wide.numpy().tobytes()
    options.add_external_initializers_from_files_in_memory([WEIGHTS_FILE], [content], [len(content)])
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        for n in (1, 3):
            given = {key: torch.cat([value, value.flip(-1)])[:n].contiguous() for key, value in function.inputs.items()}
            got = session.run(None, {key: value.numpy() for key, value in given.items()})
            want = function(values, *given.values())
            shown = 1 if function.outputs[0] == "s" and bool((want[0].abs() > FLAT).any()) else len(want)
            for output, ours, theirs in list(zip(function.outputs, got, want, strict=True))[:shown]:
                _compare(output, torch.from_numpy(ours), theirs)
    except InputError:
        raise
    except Exception as error:  # onnxruntime's own
        reason = " ".join(str(error).split())[-160:]
        raise InputError(
            f"makes a graph that does not run on any number of images, as where a network asks for len() of them ({reason})"
        ) from error


def _compare(name: str, got: Tensor, want: Tensor) -> None:
    if got.shape != want.shape:
        raise InputError(f"gives {name} of shape {tuple(got.shape)} instead of {tuple(want.shape)}")
    error = float((got - want).norm() / want.norm().clamp_min(1e-6))
    if not error <= TOLERANCE:
        raise InputError(f"gives {name} that differs from torch's by {error:.1g} of its length")

"""The folder that a model is exported to: graphs, one file of weights, and `model.json`, which says what is in them."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from xaicl_lib.errors import InputError
from xaicl_lib.files import folder_whole
from xaicl_lib.lab.export.graphs import WEIGHTS_FILE
from xaicl_lib.lab.export.weights import Weight

CARD = "model.json"
FORMAT = 1  # of the folder; readers refuse others
ALIGN = 4  # bytes


def pack(weights: Mapping[str, Weight]) -> tuple[bytes, list[dict[str, Any]]]:
    """The content of the weights file, and a row for each tensor in it: name, shape, type, offset in bytes, offset of its scale or null."""
    data, table = bytearray(), []
    for name, weight in weights.items():
        row: dict[str, Any] = {"name": name, "shape": list(weight.stored.shape), "type": str(weight.stored.dtype).removeprefix("torch.")}
        row["offset"] = _append(data, weight.stored)
        row["scale"] = None if weight.scale is None else _append(data, weight.scale)
        table.append(row)
    return bytes(data), table


def _append(data: bytearray, tensor: Tensor) -> int:
    data.extend(b"\0" * (-len(data) % ALIGN))
    offset = len(data)
    array = tensor.numpy()
    data.extend(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    return offset


def facts_of(name: str, data: bytes) -> dict[str, Any]:
    """What a reader checks a file by."""
    return {"file": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def check_place(folder: Path) -> None:
    """Refuse a place that a bundle may not be written to: only an empty folder or an older bundle is replaced.

    Raises:
        InputError: a file, a folder with something else in it, or one that may not be written.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise InputError(
            f"expected a folder to write the bundle to, got {str(folder)!r}, which is a {'link' if folder.is_symlink() else 'file'}"
        )
    if folder.is_dir() and any(folder.iterdir()) and not _is_bundle(folder):
        raise InputError(f"expected an empty folder or one of an older bundle, got {str(folder)!r} with other files in it")
    if not folder.absolute().parent.is_dir():
        raise InputError(f"expected a folder in one that exists, got {str(folder)!r}")
    if not os.access(folder.absolute().parent, os.W_OK):
        raise InputError(f"expected a folder that may be written, got {str(folder)!r}: no permission")


def _is_bundle(folder: Path) -> bool:
    own = (CARD, WEIGHTS_FILE)
    return all((folder / name).is_file() for name in own) and all(p.name in own or p.suffix == ".onnx" for p in folder.iterdir())


def write(folder: Path, card: dict[str, Any], files: Mapping[str, bytes]) -> None:
    """Write a bundle whole or not at all.

    Raises:
        InputError: a place that may not be written to, or a disk that is full; what was there stays.
    """
    check_place(folder)
    with folder_whole(folder, _is_bundle) as fresh:
        for name, data in {**files, CARD: _dump(card)}.items():
            (fresh / name).write_bytes(data)


def _dump(card: dict[str, Any]) -> bytes:
    """A card as text, one tensor a line."""
    rows = card["weights"]["tensors"]
    table = "[\n" + ",\n".join(f"   {json.dumps(row)}" for row in rows) + "\n  ]"
    text = json.dumps({**card, "weights": {**card["weights"], "tensors": "@"}}, indent=1)
    return (text.replace('"@"', table) + "\n").encode()

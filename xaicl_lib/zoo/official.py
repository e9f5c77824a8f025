"""The checkpoints that papers published: one table of what there is, and their way from a file to a `PairModel`.

A file is downloaded or given, checked, read as tensors alone, fitted to its network name by name and shape by shape, and kept as
safetensors, from where it is loaded the next time. Publishers give no checksums, so that of the first file that was read and fitted
is noted beside it, and no other file is taken afterwards.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from xaicl_lib.checkpoints.tf_bundle import find_bundle
from xaicl_lib.checkpoints.torch_file import Reader
from xaicl_lib.data import fetch as download
from xaicl_lib.errors import InputError, unknown
from xaicl_lib.model import PairModel, resolve_device
from xaicl_lib.notes import note

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PIXELS = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
GOOGLE = "https://storage.googleapis.com/simclr-checkpoints/simclrv2/pretrained/"
META = "https://dl.fbaipublicfiles.com/"
NON_COMMERCIAL = "CC BY-NC 4.0"
SUFFIXES = (".index", ".data-00000-of-00001")
RECORD = "record.json"  # checksums of the files that were used first
COSTS = Path(__file__).parent / "official_costs.json"  # written by benchmarks/official.py


@dataclass(frozen=True)
class _Row:
    """What there is to know of an official model before its file is there."""

    addresses: tuple[str, ...]  # of its files; the first is the one that is read
    reader: str  # module of the checkpoints that knows the format, its `READER`
    licence: str
    parameters: int  # of the network as explained, both branches together
    head: str  # what the embeddings come from
    features: str  # which layer the maps come from
    paper: str  # key in the bibliography
    options: Mapping[str, Any] = field(default_factory=dict)  # for the reader
    mean: tuple[float, ...] = IMAGENET[0]  # of the input space
    std: tuple[float, ...] = IMAGENET[1]
    size: int = 224  # side in pixels

    @property
    def files(self) -> list[str]:
        """The names under which the files are published."""
        return [address.rpartition("/")[2] for address in self.addresses]


def _simclr_v2(width: int, parameters: int) -> _Row:
    begin = f"{GOOGLE}r50_{width}x_sk0/model.ckpt-250228"
    return _Row(
        tuple(begin + suffix for suffix in SUFFIXES), "simclr_v2", "Apache-2.0", parameters, "projection head of three layers, 128",
        "layer4 (block_group4)", "chen2020big", {"width": width}, *PIXELS,
    )  # fmt: skip


def _moco_v3(architecture: str, file: str, parameters: int) -> _Row:
    vit = architecture != "r50"
    return _Row(
        (f"{META}moco-v3/{file}/{file}.pth.tar",), "moco_v3", NON_COMMERCIAL, parameters,
        f"projector{' on the class token' if vit else ''}, 256; a: query with predictor, b: momentum key",
        "attention of blocks.11, by patch" if vit else "layer4", "chen2021empirical", {"architecture": architecture},
    )  # fmt: skip


_BARLOW = "barlowtwins/epochs1000_bs2048_lr0.2_lambd0.0051_proj_8192_8192_8192_scale0.024/checkpoint.pth"
OFFICIAL = {
    "simclrv2_1x": _simclr_v2(1, 32_167_232),
    "simclrv2_2x": _simclr_v2(2, 128_002_432),
    "barlow_twins": _Row(
        (META + _BARLOW,), "barlow_twins", "MIT", 174_535_744, "projector of three layers, 8192", "layer4", "zbontar2021barlow",
    ),
    "simsiam": _Row(
        (META + "simsiam/models/100ep/pretrain/checkpoint_0099.pth.tar",), "simsiam", NON_COMMERCIAL, 38_201_408,
        "projector and predictor, 2048", "layer4", "chen2021exploring",
    ),
    "moco_v3_vit_b": _moco_v3("vit_b", "vit-b-300ep", 215_678_464),
    "moco_v3_vit_s": _moco_v3("vit_s", "vit-s-300ep", 84_266_752),
    "moco_v3_r50": _moco_v3("r50", "r-50-1000ep", 68_012_160),
    "dino_r50": _Row(
        (META + "dino/dino_resnet50_pretrain/dino_resnet50_pretrain.pth",), "dino", "Apache-2.0", 23_508_032,
        "none: cosine on pooled features, 2048", "layer4", "caron2021emerging", {"architecture": "r50"},
    ),
    "dino_vit_s": _Row(
        (META + "dino/dino_deitsmall16_pretrain/dino_deitsmall16_pretrain.pth",), "dino", "Apache-2.0", 21_665_664,
        "none: cosine on pooled patch tokens, 384", "norm after blocks.11, patch tokens", "caron2021emerging", {"architecture": "vit_s"},
    ),
}  # fmt: skip


def list_official() -> list[str]:
    """Names of the published checkpoints, as `load_model` takes them."""
    return [f"official/{name}" for name in OFFICIAL]


def official_card(name: str) -> dict[str, Any]:
    """What is known of a published checkpoint, what its head is, and what it costs where that was measured.

    Raises:
        InputError: no checkpoint of that name.
    """
    row, own = _row(name), name.removeprefix("official/")
    costs = json.loads(COSTS.read_text()) if COSTS.is_file() else {}
    facts = {key: getattr(row, key) for key in ("licence", "parameters", "head", "features", "paper", "size", "mean", "std")}
    return {"name": f"official/{own}", "addresses": list(row.addresses), **facts, "on_disk": _on_disk(own), "cost": costs.get(own)}


def _on_disk(name: str) -> bool:
    """Whether a model can be loaded without a network, from its published files or their converted form."""
    row, folder = _row(name), _folder(name)
    kept = _converted(folder).is_file() and (folder / RECORD).is_file()
    return kept or all((folder / file).is_file() for file in row.files)


def load_official(name: str, device: str | torch.device = "auto", *, file: str | os.PathLike[str] | None = None) -> PairModel:
    """A published checkpoint, ready to explain; fetched at its first use.

    Args:
        name: one of `list_official()`, with or without `official/`.
        device: as for `load_model`.
        file: the published file, if it is somewhere else than in the cache (of SimCLRv2 the index; its shard lies beside it).

    Raises:
        InputError: unknown name, no file and no network, or a file that is damaged, another one, or does not fit; with what is expected.
    """
    row, own = _row(name), name.removeprefix("official/")
    target = resolve_device(device)
    if row.licence == NON_COMMERCIAL:
        note(f"official/{own} is under {row.licence}: not for commercial use, and credit is due")
    network = _empty_network(row)
    _fill(network, _tensors(own, row, network, file))
    parts: dict[str, Any] = dict(network.items())
    return PairModel(**parts, size=row.size, mean=row.mean, std=row.std, name=f"official/{own}").to(target)


def _fill(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put tensors by our own names into a network, floating-point ones as float32."""
    wide = {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
    network.load_state_dict(wide, assign=True)


def _reader(row: _Row) -> Reader:
    return import_module(f"xaicl_lib.checkpoints.{row.reader}").READER


def _empty_network(row: _Row) -> nn.ModuleDict:
    """The modules of a row without memory for their weights, as `PairModel` takes them."""
    with torch.device("meta"):
        return _reader(row).network(**row.options)


def _row(name: str) -> _Row:
    own = name.removeprefix("official/")
    if own not in OFFICIAL:
        raise unknown("model", name, list_official())
    return OFFICIAL[own]


def _folder(name: str) -> Path:
    return download.cache_folder() / "official" / name.removeprefix("official/")


def _converted(folder: Path) -> Path:
    return folder / "converted.safetensors"


def _tensors(name: str, row: _Row, network: nn.Module, file: str | os.PathLike[str] | None) -> dict[str, Tensor]:
    """Tensors by our names: of the converted file if it is there and is the one that was kept, else of the published one."""
    folder = _folder(name)
    record = _record(folder)
    if file is None and (kept := _kept(folder, record, network)):
        return kept
    paths = _given(row, Path(file)) if file is not None else [folder / published for published in row.files]
    if file is None:
        _fetch_all(name, row, folder, record)
    sums = _checked(paths, row, record, folder)
    if file is not None and (kept := _kept(folder, record, network)):
        return kept
    try:
        tensors = _reader(row).read(paths, network, **row.options)
    except InputError as error:
        again = "" if file is not None else f"; delete it from {str(folder)!r} to have it fetched again"
        raise InputError(f"{error}{again}") from error
    _keep(name, folder, tensors, sums, new="files" not in record)
    return tensors


def _given(row: _Row, file: Path) -> list[Path]:
    """The files that a user's path means, all there."""
    paths = [file]
    if row.reader == "simclr_v2":
        index = find_bundle(file)
        paths = [index, index.with_suffix(SUFFIXES[1])]
    for path in paths:
        if not path.is_file():
            raise InputError(f"expected the file {row.files[0]} of {row.addresses[0]}, got {str(path)!r}, which does not exist")
    return paths


def _fetch_all(name: str, row: _Row, folder: Path, record: dict[str, Any]) -> None:
    for address, file in zip(row.addresses, row.files, strict=True):
        known = record.get("files", {}).get(file, {})
        try:
            download.fetch(address, folder / file, sha256=known.get("sha256"), size=known.get("bytes"))
        except InputError as error:
            files = " and ".join(row.files)
            help_ = f"put {files} into {str(folder)!r}, or give the path of {row.files[0]}: load_model('official/{name}', file=PATH)"
            raise InputError(f"{error}; without a network: {help_}") from error


def _checked(paths: list[Path], row: _Row, record: dict[str, Any], folder: Path) -> dict[str, dict[str, Any]]:
    """Checksums and sizes of the files by their published names; those that were kept once must be the same."""
    sums = {}
    for path, file in zip(paths, row.files, strict=True):
        known = record.get("files", {}).get(file, {})
        try:
            digest = download.check(path, known.get("sha256"), known.get("bytes"))
        except InputError as error:
            raise InputError(f"{error}; the first one that was used is noted in {str(folder / RECORD)!r}") from error
        except OSError as error:
            raise InputError(f"expected a file that can be read, got {str(path)!r}: {error.strerror or error}") from error
        sums[file] = {"sha256": digest, "bytes": path.stat().st_size}
    return sums


def _kept(folder: Path, record: dict[str, Any], network: nn.Module) -> dict[str, Tensor] | None:
    """Tensors of the converted file; None if there is none, or one that an older version of the library made for another network."""
    from safetensors.torch import load_file

    if "converted" not in record or not _converted(folder).is_file():
        return None
    try:
        download.check(_converted(folder), record["converted"], None)
    except InputError as error:
        raise InputError(f"{error}; delete {str(_converted(folder))!r} to have it made anew") from error
    tensors = load_file(_converted(folder))
    shapes = {name: value.shape for name, value in network.state_dict().items()}
    return tensors if {name: value.shape for name, value in tensors.items()} == shapes else None


def _keep(name: str, folder: Path, tensors: dict[str, Tensor], sums: dict[str, Any], *, new: bool) -> None:
    """Write the converted file, then the record of its checksum and the files' own; a full disk costs the speed alone."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    converted = _converted(folder)
    part = converted.with_name(f"{converted.name}.{os.getpid()}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with download.locked(converted):
            save_file({key: value.contiguous() for key, value in tensors.items()}, part)
            os.replace(part, converted)
            record = {"files": sums, "converted": download.check(converted, None, None)}
            part.write_text(json.dumps(record, indent=1))
            os.replace(part, folder / RECORD)
    except (OSError, SafetensorError) as error:
        note(f"official/{name} cannot be kept in {str(folder)!r} ({error}); it is read anew each time")
        return
    finally:
        part.unlink(missing_ok=True)
    if new:
        said = ", ".join(f"{file} {sums[file]['sha256'][:12]}..." for file in sums)
        note(f"no checksum is published for official/{name}; from now on only this one is taken: {said}")


def _record(folder: Path) -> dict[str, Any]:
    """What was noted at the first use; {} before."""
    path = folder / RECORD
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text())
        if not all(isinstance(facts, dict) for facts in record["files"].values()):
            raise TypeError("checksums that are no dictionary")
        return record
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"expected checksums in {str(path)!r}, got something else; delete it to begin anew") from error

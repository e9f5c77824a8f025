"""The store of results: a folder of Parquet files that may be killed, shared and damaged, and still tells the truth.

Values are kept under what they depend on: what the model computes (`fingerprint`), the method with its parameters, the pair's pixels, the
metric with its options, the library's code. One file holds one shard of pairs for one model and method; its name carries
the checksum of its content, so a file is whole and unchanged, or not believed.
"""

import hashlib
import io
import os
import time
import uuid
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from xaicl_lib.errors import InputError
from xaicl_lib.evaluation.fingerprint import digest
from xaicl_lib.evaluation.sources import code_digest
from xaicl_lib.notes import note
from xaicl_lib.pair import Pair

KEY = ["model_key", "method_key", "pair_key", "metric_key"]
COLUMNS = [*KEY, "model", "method", "metric", "value", "seconds", "seed", "version"]
LEFT_OVER = 3600  # seconds after which an unfinished file is nobody's


class Store:
    """A folder of results."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def prepare(self) -> "Store":
        """The store, made if it is not there, found to be writable, and rid of what killed processes left half-written.

        Raises:
            InputError: not a folder, or one that cannot be written to.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            probe = self.folder / f".{uuid.uuid4().hex}.part"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise InputError(f"expected a folder to keep results in, got {str(self.folder)!r}: {error.strerror}") from error
        for part in self.folder.rglob("*.part"):
            _remove_left_over(part)
        return self

    def read(self, model_key: str, method_key: str, shard: tuple[Iterable[str], Iterable[str]] | None = None) -> pd.DataFrame:
        """The rows of one model and method, or of one shard of it (keys of pairs and of metrics), each key once.

        A damaged file is set aside with a warning.
        """
        name = "*" if shard is None else _shard_name(*shard)
        files = sorted(self._place(model_key, method_key).glob(f"{name}.*.parquet"))
        frames = [frame for frame in map(_read, files) if frame is not None]
        rows = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=COLUMNS)
        return rows.drop_duplicates(KEY)

    def write(self, rows: pd.DataFrame) -> None:
        """Add rows of one model and method; they are there whole or not at all.

        Raises:
            InputError: the file could not be written, a full disk for example; what was there before is unharmed.
        """
        folder = self._place(rows["model_key"].iloc[0], rows["method_key"].iloc[0])
        buffer = io.BytesIO()
        rows[COLUMNS].to_parquet(buffer, index=False)
        data = buffer.getvalue()
        final = folder / f"{_shard_name(rows['pair_key'], rows['metric_key'])}.{hashlib.sha256(data).hexdigest()[:16]}.parquet"
        part = folder / f".{uuid.uuid4().hex}.part"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, final)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise InputError(f"could not write results to {str(folder)!r}: {error.strerror}; what is stored already is unharmed") from error

    def _place(self, model_key: str, method_key: str) -> Path:
        return self.folder / model_key / method_key


def _shard_name(pair_keys: Iterable[str], metric_keys: Iterable[str]) -> str:
    """The name of a file with the values of these metrics for these pairs."""
    return digest(sorted(set(pair_keys)), sorted(set(metric_keys)))


def _remove_left_over(part: Path) -> None:
    """Remove the unfinished file of a process that was killed; one that is being written is newer."""
    try:
        if time.time() - part.stat().st_mtime > LEFT_OVER:
            part.unlink()
    except OSError:  # another process was faster
        pass


def _read(path: Path) -> pd.DataFrame | None:
    try:
        data = path.read_bytes()
    except FileNotFoundError:  # set aside by another process
        return None
    if hashlib.sha256(data).hexdigest()[:16] == path.name.split(".")[-2]:
        return pd.read_parquet(io.BytesIO(data))
    aside = path.with_name(path.name + ".damaged")
    try:
        os.replace(path, aside)
    except FileNotFoundError:
        return None
    note(f"damaged results in {path.name}: set aside as {aside.name}, to be computed anew")
    return None


def pair_keys(pair: Pair) -> list[str]:
    """What identifies each pair: its pixels, and its truth where it has one."""
    truth = [] if pair.truth is None else [pair.truth.a, pair.truth.b][: len(pair.sides)]
    return [digest(*(side[k] for side in pair.sides), *(mask[k] for mask in truth)) for k in range(len(pair))]


def code_version() -> str:
    """What identifies the code that values depend on: the methods, the metrics and what they build on."""
    return code_digest("xaicl_lib.methods", "xaicl_lib.metrics")[:12]

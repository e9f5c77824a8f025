"""Files and folders that are written whole or not at all."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from xaicl_lib.errors import InputError


def output_file(name: str | os.PathLike[str], suffixes: Sequence[str]) -> Path:
    """The path of a file to be written, known to be writable before any work is done.

    Raises:
        InputError: another ending, no such folder, or no permission.
    """
    path = Path(name)
    if path.suffix.lower() not in suffixes:
        raise InputError(f"expected an output file that ends in {' or '.join(suffixes)}, got {str(name)!r}")
    if path.is_dir() or not path.parent.is_dir():
        raise InputError(f"expected an output file in a folder that exists, got {str(name)!r}")
    if not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise InputError(f"expected an output file that may be written, got {str(name)!r}: no permission")
    return path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A file beside `path` to write to, which takes its place at the end and is gone after any error.

    It has a name of its own: what else stands in the folder stays, and two processes that write the same file do not mix.

    Raises:
        InputError: the disk is full, or whatever else keeps a file from being written.
    """
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise InputError(f"expected an output file that can be written, got {str(path)!r}: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def folder_whole(folder: Path, ours: Callable[[Path], bool]) -> Iterator[Path]:
    """A new folder to fill, which takes the place of `folder` at the end and is gone after any error; until then the old one stands.

    Args:
        ours: whether we made a folder that holds something before; no other is replaced.

    Raises:
        InputError: a file, a folder that holds something else, a full disk, or whatever else keeps a folder from being written.
    """
    folder = folder.absolute()
    try:
        if folder.exists() and any(folder.iterdir()) and not ours(folder):
            raise InputError(f"expected an empty folder or one made before, got {str(folder)!r}, which holds something else")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".xaicl-", ignore_cleanup_errors=True) as scratch:
            fresh, old = Path(scratch) / "new", Path(scratch) / "old"
            fresh.mkdir()
            yield fresh
            try:
                if folder.exists():
                    os.replace(folder, old)
                os.replace(fresh, folder)
            finally:
                if old.exists() and not folder.exists():
                    os.replace(old, folder)
    except OSError as error:
        why = error.args[0][0][2] if isinstance(error, shutil.Error) else error.strerror or error  # of many that were not copied the first
        raise InputError(f"expected a folder that can be written, got {str(folder)!r}: {why}") from error

"""Files from the network: https alone, taken up where a broken line left them, whole and checked before anyone sees them."""

import errno
import hashlib
import http.client
import os
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tqdm.auto import tqdm

from xaicl_lib.errors import InputError

CHUNK = 1 << 20  # bytes
TIMEOUT = 30  # seconds without a byte
ATTEMPTS = 5  # in a row that bring nothing new
PAUSE = 0.5  # seconds before the next attempt, twice as long after each that brought nothing
MAX_BYTES = 1 << 34  # more than any file that is offered here

Transport = Callable[[str, dict[str, str]], Any]  # address and headers to an open reply


class _CutError(Exception):
    """The line broke; what came so far is kept."""


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, request: Any, file: Any, code: int, text: str, headers: Any, address: str) -> Any:
        _require_https(address)
        return super().redirect_request(request, file, code, text, headers, address)


def _require_https(address: str) -> None:
    """Raise unless the address is one of https."""
    if urlsplit(address).scheme != "https":
        raise InputError(f"expected an address that begins with https://, got {address!r}")


def _https(address: str, headers: dict[str, str]) -> Any:
    """An open reply; redirections must be https, too. Proxies are those of the environment."""
    _require_https(address)
    return urllib.request.build_opener(_HttpsOnly).open(urllib.request.Request(address, headers=headers), timeout=TIMEOUT)


def cache_folder() -> Path:
    """XAICL_CACHE, or `xaicl` in the user's cache."""
    return Path(os.environ.get("XAICL_CACHE") or Path.home() / ".cache" / "xaicl")


def fetch(address: str, path: Path, *, sha256: str | None = None, size: int | None = None, transport: Transport | None = None) -> None:
    """Bring a file to `path`, whole or not at all; nothing is done if it is there.

    What came before a line broke stays beside it as `.part`, with the server's mark of the version in `.part.tag`, and the next call
    goes on from there if the server still has that version. Of several processes one downloads, the others wait.

    Args:
        sha256, size: of the file, where they are known; checked before it gets its name.
        transport: instead of `_https`, for tests.

    Raises:
        InputError: no network, refused, cut off again and again, a web page instead, no space, or another file than is expected.
    """
    part = path.with_name(path.name + ".part")
    if path.is_file():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path):
            if not path.is_file():  # else another process was faster
                _finish(address, part, path, sha256, size, transport or _https)
    except OSError as error:
        raise InputError(f"expected a folder that can be written for {str(path)!r}: {error.strerror or error}") from error


def _finish(address: str, part: Path, path: Path, sha256: str | None, size: int | None, transport: Transport) -> None:
    try:
        _download(address, part, size, transport)
        try:
            check(part, sha256, size, name=path.name)
        except InputError:
            part.unlink()
            raise
        os.replace(part, path)
    finally:
        if not part.is_file():
            _tag(part).unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Only one process at a time is in here for this path; the lock goes with the process that holds it."""
    from filelock import FileLock

    with FileLock(path.with_name(path.name + ".lock")):
        yield


def check(path: Path, sha256: str | None, size: int | None, *, name: str | None = None) -> str:
    """The file's sha256, after it and the size were found as expected.

    Raises:
        InputError: another size or sha256.
    """
    name, found = name or path.name, path.stat().st_size
    problem = f"{size:,} bytes in {name!r}, got {found:,}" if size not in (None, found) else ""
    with path.open("rb") as file:
        digest = "" if problem else hashlib.file_digest(file, "sha256").hexdigest()
    if not problem and sha256 not in (None, digest):
        problem = f"sha256 {sha256} of {name!r}, got {digest}"
    if problem:
        raise InputError(f"expected {problem}: truncated, changed or another file, not loaded")
    return digest


def _download(address: str, part: Path, size: int | None, transport: Transport) -> None:
    """Fill `part`, trying again as long as something comes."""
    idle = 0
    while True:
        before = _have(part)
        try:
            return _stream(address, part, size, transport)
        except _CutError as cut:
            idle = 0 if _have(part) > before else idle + 1
            if idle >= ATTEMPTS or (type(cut.__cause__) is urllib.error.URLError and not before):  # there is no network at all
                kept = f" after {_have(part):,} bytes, which are kept; run again to go on" if _have(part) else ""
                raise InputError(f"{address} cannot be downloaded: {cut}{kept}") from cut
            time.sleep(PAUSE * 2**idle)


def _stream(address: str, part: Path, size: int | None, transport: Transport) -> None:
    have, tag = _have(part), _tag(part)
    headers = {"User-Agent": "xaicl_lib", "Accept-Encoding": "identity"}
    if have and tag.is_file():
        headers |= {"Range": f"bytes={have}-", "If-Range": tag.read_text()}
    try:
        reply = transport(address, headers)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # the rest that is asked for does not exist: begin anew
            part.unlink()
            raise _CutError("the server has another version of the file") from error
        if error.code in (408, 429) or error.code >= 500:
            raise _CutError(f"the server answers {error.code} {error.reason}") from error
        raise InputError(f"{address} cannot be downloaded: the server answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _CutError(f"no connection ({getattr(error, 'reason', error)})") from error
    with reply:
        _refuse_page(address, reply)
        start = have if reply.status == 206 and _begins(reply, have) else 0
        rest = reply.headers.get("Content-Length")
        total = start + int(rest) if rest and rest.isdecimal() else None
        if start == 0:
            part.unlink(missing_ok=True)
            tag.unlink(missing_ok=True)
        _check_room(part, start, total, size, address)
        mark = reply.headers.get("ETag") or reply.headers.get("Last-Modified")
        if start == 0 and mark and not mark.startswith("W/"):  # a weak mark does not promise the same bytes
            tag.write_text(mark)
        _write(reply, part, start, total)


def _write(reply: Any, part: Path, start: int, total: int | None) -> None:
    quiet = False if "ipykernel" in sys.modules else None  # None: unless on a terminal
    bar = tqdm(desc=part.stem, total=total, initial=start, unit="B", unit_scale=True, delay=2, leave=False, disable=quiet)
    at = start
    try:
        with part.open("ab") as file, bar:
            while data := _read(reply):
                if not at and is_page(data):
                    raise InputError(f"expected {part.stem!r}, got a web page (a log-in or an error page of a proxy?)")
                at += len(data)
                if at > MAX_BYTES:
                    raise InputError(f"expected {part.stem!r} of less than {MAX_BYTES:,} bytes, got more")
                file.write(data)
                bar.update(len(data))
    except InputError:
        part.unlink(missing_ok=True)
        raise
    except OSError as error:  # of writing; those of reading are cuts
        part.unlink(missing_ok=True)
        reason = "no space is left" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise InputError(f"expected room for {part.stem!r} in {str(part.parent)!r}: {reason}; XAICL_CACHE names another folder") from error
    if total is not None and at < total:
        raise _CutError(f"the line broke at {at:,} of {total:,} bytes")


def _read(reply: Any) -> bytes:
    try:
        return reply.read(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _CutError(f"the line broke ({error})") from error


def _begins(reply: Any, have: int) -> bool:
    """Whether a partial reply goes on exactly where we are."""
    if not reply.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        raise InputError(f"expected the bytes from {have}, the server sends {reply.headers.get('Content-Range')!r}; delete the .part file")
    return True


def _refuse_page(address: str, reply: Any) -> None:
    if reply.headers.get("Content-Type", "").startswith(("text/html", "application/xhtml")):
        raise InputError(f"{address} cannot be downloaded: a web page came instead (a log-in or an error page of a proxy?)")


def _check_room(part: Path, start: int, total: int | None, size: int | None, address: str) -> None:
    if total is None:
        return
    if size not in (None, total) or total > MAX_BYTES:
        raise InputError(f"expected {size or MAX_BYTES:,} bytes at {address}, the server offers {total:,}: another file, not downloaded")
    free = shutil.disk_usage(part.parent).free
    if total - start > free:
        where = str(part.parent)
        raise InputError(f"expected {total - start:,} bytes of room in {where!r}, got {free:,}; XAICL_CACHE names another folder")


def _have(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _tag(part: Path) -> Path:
    return part.with_name(part.name + ".tag")


def is_page(start: bytes) -> bool:
    """Whether a file that begins so is a page for a browser."""
    return start.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<body"))

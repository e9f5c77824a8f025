"""Downloads over lines that break: a server on this machine that does what bad networks do."""

import errno
import hashlib
import http.server
import multiprocessing
import random
import re
import shutil
import threading
import urllib.error
import urllib.request
from collections import namedtuple
from pathlib import Path

import pytest

from xaicl_lib import InputError
from xaicl_lib.data import fetch as download
from xaicl_lib.data.fetch import fetch

DATA = random.Random(0).randbytes(3_000_000)
SHA256 = hashlib.sha256(DATA).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves `data` by parts, cutting a reply after `cut` bytes as often as told; remembers what was asked for."""

    data, mark, cuts, cut, kind, status, asked, ranges = DATA, '"one"', 0, 1_000_000, "application/octet-stream", 200, (), True


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        s = self.server
        s.asked = [*s.asked, dict(self.headers)]
        if s.status != 200:
            self.send_error(s.status)
            return
        start = 0
        if (asked := self.headers.get("Range")) and s.ranges and self.headers.get("If-Range") == s.mark:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
        body = s.data[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(s.data) - 1}/{len(s.data)}")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", s.kind)
        if s.mark:
            self.send_header("ETag", s.mark)
        self.end_headers()
        if s.cuts:
            s.cuts -= 1
            body = body[: s.cut]
            self.close_connection = True
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server():
    with Server(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        running.address = f"http://127.0.0.1:{running.server_port}/checkpoint.pth"
        yield running
        running.shutdown()


def plain(address: str, headers: dict[str, str]):
    """As `download.https`, for a server without a certificate and past any proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return opener.open(urllib.request.Request(address, headers=headers), timeout=10)


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    monkeypatch.setattr(download, "PAUSE", 0.001)
    monkeypatch.setattr(download, "CHUNK", 100_000)


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.suffix != ".lock")


def test_a_whole_file(server, tmp_path) -> None:
    path = tmp_path / "deep" / "folder" / "checkpoint.pth"
    fetch(server.address, path, sha256=SHA256, size=len(DATA), transport=plain)
    assert path.read_bytes() == DATA
    assert files(path.parent) == ["checkpoint.pth"]
    fetch(server.address, path, transport=plain)
    assert len(server.asked) == 1, "what is there is not fetched again"


def test_a_line_that_breaks_is_taken_up_where_it_broke(server, tmp_path) -> None:
    server.cuts = 2
    fetch(server.address, tmp_path / "checkpoint.pth", sha256=SHA256, transport=plain)
    assert (tmp_path / "checkpoint.pth").read_bytes() == DATA
    assert [a.get("Range") for a in server.asked] == [None, "bytes=1000000-", "bytes=2000000-"]
    assert files(tmp_path) == ["checkpoint.pth"]


def test_the_next_call_goes_on_after_many_breaks(server, tmp_path) -> None:
    server.cuts, server.cut = 99, 0
    (tmp_path / "checkpoint.pth.part").write_bytes(DATA[:700_000])
    (tmp_path / "checkpoint.pth.part.tag").write_text('"one"')
    with pytest.raises(InputError, match=r"the line broke at 700,000 of 3,000,000 bytes after 700,000 bytes, which are kept; run again"):
        fetch(server.address, tmp_path / "checkpoint.pth", transport=plain)
    assert (tmp_path / "checkpoint.pth.part").stat().st_size == 700_000
    server.cuts, server.asked = 0, ()
    fetch(server.address, tmp_path / "checkpoint.pth", sha256=SHA256, transport=plain)
    assert [a.get("Range") for a in server.asked] == ["bytes=700000-"]


@pytest.mark.parametrize(("mark", "tag"), [('"two"', '"one"'), (None, None), ('W/"weak"', None)])
def test_parts_of_two_versions_are_never_joined(server, tmp_path, mark, tag) -> None:
    """Another version at the server, or none that can be told apart: from the beginning."""
    server.mark = mark
    (tmp_path / "checkpoint.pth.part").write_bytes(b"old" * 1000)
    if tag:
        (tmp_path / "checkpoint.pth.part.tag").write_text(tag)
    server.cuts = 1
    fetch(server.address, tmp_path / "checkpoint.pth", transport=plain)
    assert (tmp_path / "checkpoint.pth").read_bytes() == DATA


def test_a_server_that_resumes_elsewhere_is_not_believed(server, tmp_path) -> None:
    (tmp_path / "checkpoint.pth.part").write_bytes(DATA[:500])

    class Elsewhere:
        status, headers = 206, {"Content-Range": "bytes 100-2999999/3000000", "Content-Length": "10"}

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    (tmp_path / "checkpoint.pth.part.tag").write_text('"one"')
    with pytest.raises(InputError, match="expected the bytes from 500, the server sends 'bytes 100-"):
        fetch(server.address, tmp_path / "checkpoint.pth", transport=lambda address, headers: Elsewhere())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "text/html; charset=utf-8"}, "a web page came instead"),
        ({"data": b"<!DOCTYPE html><html><body>Sign in</body></html>".ljust(len(DATA))}, "got a web page"),
        ({"status": 404}, "the server answers 404 Not Found"),
        ({"status": 403}, "the server answers 403 Forbidden"),
        ({"status": 503}, "the server answers 503 Service Unavailable"),
        ({"data": DATA[:-1]}, "expected 3,000,000 bytes at http.*, the server offers 2,999,999"),
        ({"data": DATA[:-1] + b"x"}, f"expected sha256 {SHA256} of 'checkpoint.pth', got .*changed or another file, not loaded"),
    ],
)
def test_what_is_not_the_file(server, tmp_path, change, says) -> None:
    for key, value in change.items():
        setattr(server, key, value)
    with pytest.raises(InputError, match=says):
        fetch(server.address, tmp_path / "checkpoint.pth", sha256=SHA256, size=len(DATA), transport=plain)
    assert not files(tmp_path)


def test_no_network_is_said_at_once(tmp_path) -> None:
    def offline(address: str, headers: dict[str, str]):
        raise urllib.error.URLError("Name or service not known")

    with pytest.raises(InputError, match=r"https://h/f cannot be downloaded: no connection \(Name or service not known\)$"):
        fetch("https://h/f", tmp_path / "f", transport=offline)
    assert not files(tmp_path)


@pytest.mark.parametrize("address", ["http://h/f", "file:///etc/passwd", "ftp://h/f"])
def test_https_alone(address, tmp_path) -> None:
    with pytest.raises(InputError, match="expected an address that begins with https://"):
        fetch(address, tmp_path / "f")
    handler = download._HttpsOnly()
    with pytest.raises(InputError, match="expected an address that begins with https://"):
        handler.redirect_request(urllib.request.Request("https://h/f"), None, 302, "Found", {}, address)
    assert handler.redirect_request(urllib.request.Request("https://h/f"), None, 302, "Found", {}, "https://h/g").full_url == "https://h/g"


def test_a_disk_too_small_is_said_before(server, tmp_path, monkeypatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, 1000))
    with pytest.raises(InputError, match=r"expected 3,000,000 bytes of room in .*, got 1,000; XAICL_CACHE names another folder"):
        fetch(server.address, tmp_path / "checkpoint.pth", transport=plain)
    assert not files(tmp_path)


def test_a_disk_that_fills_up_leaves_nothing(server, tmp_path, monkeypatch) -> None:
    opened = Path.open

    class Full:
        def __init__(self, file) -> None:
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def write(self, data: bytes) -> None:
            if self.file.tell() > 500_000:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.file.write(data)

    monkeypatch.setattr(Path, "open", lambda self, *a, **k: Full(opened(self, *a, **k)) if a == ("ab",) else opened(self, *a, **k))
    with pytest.raises(InputError, match=r"expected room for 'checkpoint\.pth' in .*: no space is left"):
        fetch(server.address, tmp_path / "checkpoint.pth", transport=plain)
    assert not files(tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match="expected a folder that can be written"):
        fetch("https://h/f", tmp_path / "file" / "f")


def _fetch(address: str, path: str) -> None:
    fetch(address, Path(path), transport=plain)


def test_two_processes_download_once(server, tmp_path) -> None:
    server.cuts = 3
    context = multiprocessing.get_context("fork")
    both = [context.Process(target=_fetch, args=(server.address, str(tmp_path / "checkpoint.pth"))) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert (tmp_path / "checkpoint.pth").read_bytes() == DATA
    assert [a.get("Range") for a in server.asked] == [None, "bytes=1000000-", "bytes=2000000-"]

"""What the book fetches from others: only the pinned packages, and of them only the wanted parts."""

import base64
import hashlib
import io
import tarfile

import pytest

from xaicl_lib.errors import InputError
from xaicl_lib.publishing.assets import _check_integrity, _extract, _mathjax


def test_a_package_that_is_not_the_pinned_one_is_refused(tmp_path):
    file = tmp_path / "package.tgz"
    file.write_bytes(b"content")
    digest = base64.b64encode(hashlib.sha512(b"content").digest()).decode()
    _check_integrity(file, f"sha512-{digest}")
    file.write_bytes(b"Content")
    with pytest.raises(InputError, match="not the pinned package"):
        _check_integrity(file, f"sha512-{digest}")


def pack(path, *members):
    with tarfile.open(path, "w:gz") as archive:
        for name, kind in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.size = kind, "/etc/passwd", 2 if kind == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(b"ok"))
    return path


def test_only_the_wanted_parts_are_extracted(tmp_path):
    package = pack(tmp_path / "p.tgz", *[(f"package/{n}", tarfile.REGTYPE) for n in ("a.js", "fonts/f.woff", "b.js", "fontsy/x")])
    _extract(package, tmp_path / "out", ("a.js", "fonts/"))
    found = sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert found == ["a.js", "fonts/f.woff"]
    with pytest.raises(InputError, match=r"lacks c\.js"):
        _extract(package, tmp_path / "again", ("a.js", "c.js"))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("package/fonts/../../escaped", tarfile.REGTYPE),
        ("package/fonts/link", tarfile.SYMTYPE),
        ("package/fonts/hard", tarfile.LNKTYPE),
        ("package/fonts/device", tarfile.CHRTYPE),
    ],
)
def test_unsafe_members_are_refused(tmp_path, name, kind):
    package = pack(tmp_path / "p.tgz", (name, kind))
    with pytest.raises(InputError, match="unsafe member"):
        _extract(package, tmp_path / "deep" / "out", ("fonts/",))
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["p.tgz"]


def test_without_network_and_cache_the_message_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    with pytest.raises(InputError, match="could not be fetched"):
        _mathjax(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []

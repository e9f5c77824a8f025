"""Cue-conflict images from folders that are right, wrong or not there, and from an archive that is checked before it is believed."""

import io
import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.conftest import DATA
from xaicl_lib import InputError
from xaicl_lib.data import cue_conflict as module
from xaicl_lib.data.cue_conflict import ADDRESS, MAX_FILE, cue_conflict, cue_conflict_folder

NAMES = ["cat1-dog2", "cat10-cat1", "dog1-cat1", "dog3-oven1"]


def png(value: int = 0, side: int = 12) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (value,) * 3).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path) -> Path:
    for k, name in enumerate(NAMES):
        place = tmp_path / "cues" / name.split("1")[0].split("3")[0]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{name}.png").write_bytes(png(50 * k))
    (tmp_path / "cues" / "LICENSE").write_text("CC BY 4.0")
    return tmp_path / "cues"


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("XAICL_CUE_CONFLICT", raising=False)
    monkeypatch.setenv("XAICL_CACHE", str(tmp_path / "cache"))


def test_names_say_which_cue_comes_from_which_photo(folder, monkeypatch) -> None:
    stimuli = cue_conflict(8, folder)
    assert stimuli.names == ["cat1-dog2", "cat10-cat1", "dog1-cat1", "dog3-oven1"]
    assert stimuli.classes == ["cat", "dog", "oven"]
    assert [stimuli.classes[k] for k in stimuli.shape] == ["cat", "cat", "dog", "dog"]
    assert [stimuli.classes[k] for k in stimuli.texture] == ["dog", "cat", "cat", "oven"]
    assert stimuli.conflict.tolist() == [True, False, True, True]
    assert len(stimuli.shape_photo.unique()) == 4
    assert stimuli.texture_photo[1] == stimuli.texture_photo[2], "the same photo gave both textures"
    assert len(stimuli.texture_photo.unique()) == 3
    assert (stimuli.images.mean((1, 2, 3)) * 255).round().tolist() == [0, 50, 100, 150]
    assert stimuli.images.shape == (4, 3, 8, 8)
    assert cue_conflict(8, folder, limit=2).names == ["cat1-dog2", "dog3-oven1"]
    monkeypatch.setenv("XAICL_CUE_CONFLICT", str(folder))
    assert cue_conflict(8).names == stimuli.names


def test_other_images_do_not_count_and_a_second_copy_neither(folder) -> None:
    (folder / "preview.png").write_bytes(png())
    (folder / "cat" / "._cat1-dog2.png").write_bytes(b"resource fork")
    (folder / "cat" / "cat1-dog2.jpg").write_bytes(png(200))
    with pytest.warns(UserWarning, match="hidden"):
        assert len(cue_conflict(8, folder)) == 4


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: (f / "dog" / "cat5-dog1.png").write_bytes(png()), r"expected 'cat5-dog1.png' in a folder 'cat'.*got 'dog'"),
        (lambda f: (f / "dog" / "dog1-cat1.png").write_bytes(b"<html>"), "dog1-cat1.png', which is not one"),
        (lambda f: (f / "dog" / "dog1-cat1.png").write_bytes(png(0, 4)), "at least 8 x 8 pixels"),
        (lambda f: [path.unlink() for path in f.rglob("*.png")], "without any of"),
        (lambda f: [path.rename(path.with_name(path.name.replace("-", "_"))) for path in f.rglob("*.png")], "found none of such a name"),
    ],
)
def test_folders_that_cannot_be(folder, change, says) -> None:
    change(folder)
    with pytest.raises(InputError, match=says) as error:
        cue_conflict(8, folder)
    assert "\n" not in str(error.value)


def test_no_folder_is_said(tmp_path, monkeypatch) -> None:
    assert cue_conflict_folder() is None
    with pytest.raises(InputError, match=r"XAICL_CUE_CONFLICT or root.*which is not a folder"):
        cue_conflict_folder(tmp_path / "none")
    monkeypatch.setenv("XAICL_CUE_CONFLICT", str(tmp_path / "none"))
    with pytest.raises(InputError, match="which is not a folder"):
        cue_conflict(8)


def test_without_a_network_the_error_says_what_to_set(monkeypatch) -> None:
    def nothing(address, headers):
        raise OSError("Name or service not known")

    monkeypatch.setattr("xaicl_lib.data.fetch._https", nothing)
    monkeypatch.setattr("xaicl_lib.data.fetch.PAUSE", 0.001)
    with pytest.raises(InputError, match=r"no connection.*name a folder of theirs by XAICL_CUE_CONFLICT, or put the archive at"):
        cue_conflict(8)


def archive(names: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in names.items():
            made.writestr(name, data)
    return buffer.getvalue()


ROOT = "texture-vs-shape-ef10e3e/stimuli/style-transfer-preprocessed-512"
GOOD = {f"{ROOT}/{shape}/{shape}{k}-dog1.png": png(10 * k) for shape, k in (("cat", 1), ("cat", 2), ("oven", 1))}


class Reply(io.BytesIO):
    """What a server answers."""

    status = 200

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.headers = {"Content-Length": str(len(data))}


@pytest.fixture
def serve(monkeypatch):
    """Answer with these files in an archive; the addresses that were asked for are kept."""
    asked: list[str] = []
    monkeypatch.setattr(module, "COUNT", 3)

    def answer(files: dict[str, bytes]) -> list[str]:
        data = archive(files)
        monkeypatch.setattr("xaicl_lib.data.fetch._https", lambda address, headers: asked.append(address) or Reply(data))
        return asked

    return answer


def test_images_are_taken_from_the_archive_once(serve, tmp_path) -> None:
    cache = tmp_path / "cache"
    asked = serve(
        {**GOOD, "texture-vs-shape-ef10e3e/README.md": b"no image", f"{ROOT}/../../../evil.png": png(), "/etc/cat1-dog1.png": png()}
    )
    stimuli = cue_conflict(8)
    assert stimuli.names == ["cat1-dog1", "cat2-dog1", "oven1-dog1"]
    assert (stimuli.images.mean((1, 2, 3)) * 255).round().tolist() == [10, 20, 10]
    assert asked == [ADDRESS]
    assert len(cue_conflict(8)) == 3
    assert asked == [ADDRESS], "from the cache"
    assert sorted(path.name for path in cache.iterdir() if path.suffix != ".lock") == ["cue-conflict", "cue-conflict.sha256"]
    assert len(list(tmp_path.rglob("*.png"))) == 3, "nothing was written elsewhere"


def test_the_first_images_are_the_only_ones_that_are_taken_again(serve, tmp_path) -> None:
    cache = tmp_path / "cache"
    serve(GOOD)
    cue_conflict(8)
    for path in (cache / "cue-conflict").rglob("*.png"):
        path.unlink()
    for path in sorted((cache / "cue-conflict").rglob("*"), reverse=True):
        path.rmdir()
    (cache / "cue-conflict").rmdir()
    serve({**GOOD, next(iter(GOOD)): png(77)})
    with pytest.raises(InputError, match=r"expected images of sha256 .* as noted in .*cue-conflict.sha256.*changed, not taken"):
        cue_conflict(8)
    assert cue_conflict_folder() is None
    serve(GOOD)
    assert len(cue_conflict(8)) == 3


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (dict(list(GOOD.items())[:2]), "expected 3 images in 'texture-vs-shape.zip', got 2"),
        ({**GOOD, next(iter(GOOD)): b"\0" * (MAX_FILE + 1)}, "at most 4,000,000 bytes"),
    ],
)
def test_archives_that_cannot_be(serve, tmp_path, files, says) -> None:
    serve(files)
    with pytest.raises(InputError, match=says):
        cue_conflict(8)
    assert not [path for path in (tmp_path / "cache").iterdir() if path.suffix not in (".lock", ".sha256")], "nothing half is left"


def test_an_archive_that_is_none_is_not_kept(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("xaicl_lib.data.fetch._https", lambda address, headers: Reply(b"PK but no archive"))
    with pytest.raises(InputError, match=r"could not be unpacked \(File is not a zip file\); try again"):
        cue_conflict(8)
    assert not (tmp_path / "cache" / "texture-vs-shape.zip").exists()


def test_the_real_images_are_what_is_said_of_them() -> None:
    folder = DATA / "cue-conflict"
    if not folder.is_dir():
        pytest.skip("no cue-conflict images here")
    names = module._names(folder, module.list_images(folder, recursive=True))
    assert len(names) == module.COUNT
    stimuli = cue_conflict(32, folder, limit=160)
    assert len(stimuli.classes) == 16
    assert stimuli.shape.bincount().tolist() == pytest.approx([10] * 16, abs=1), "spread over the shapes"
    assert torch.isfinite(stimuli.images).all()

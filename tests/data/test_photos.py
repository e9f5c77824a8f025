"""Files of every kind become the same upright RGB, or one line that says why not."""

import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.conftest import assert_close
from xaicl_lib import InputError
from xaicl_lib.data.corpora import photos_of
from xaicl_lib.data.cue_conflict import cue_conflict_folder
from xaicl_lib.data.photos import SAMPLES, Mosaics, imagenette, list_images, open_photo, photo_mosaics

RAMP = np.linspace(0, 255, 16 * 12).round().astype(np.uint8).reshape(12, 16)  # h, w
RGB = np.stack([RAMP, RAMP[::-1], np.full_like(RAMP, 100)], 2)


def want(array) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).permute(2, 0, 1)[None] / 255


def test_rgb_is_read_as_it_is(tmp_path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    assert_close(open_photo(tmp_path / "a.png"), want(RGB))


def test_grey_and_sixteen_bit_agree(tmp_path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "8.png")
    Image.fromarray(RAMP.astype(np.uint16) * 257).save(tmp_path / "16.png")
    assert_close(open_photo(tmp_path / "8.png"), want(np.stack([RAMP] * 3, 2)))
    assert_close(open_photo(tmp_path / "16.png"), open_photo(tmp_path / "8.png"))


def test_transparency_is_laid_on_white(tmp_path) -> None:
    alpha = np.zeros_like(RAMP)
    alpha[:, 8:] = 255
    Image.fromarray(np.dstack([RGB, alpha])).save(tmp_path / "a.png")
    got = open_photo(tmp_path / "a.png")
    assert (got[..., :8] == 1).all()
    assert_close(got[..., 8:], want(RGB[:, 8:]))
    Image.fromarray(np.dstack([RGB, alpha])).convert("P").save(tmp_path / "p.gif", transparency=0)
    assert open_photo(tmp_path / "p.gif").shape == (1, 3, 12, 16)


def test_cmyk_becomes_rgb(tmp_path) -> None:
    Image.fromarray(RGB).convert("CMYK").save(tmp_path / "a.tif")
    assert_close(open_photo(tmp_path / "a.tif"), want(RGB), atol=0.01)


def odd_file(folder: Path, kind: str) -> Path:
    """A file whose reader stops in its own way."""
    path = folder / ("a.npy" if kind.startswith("array") else "a.png")
    if kind == "array: empty":
        path.write_bytes(b"")
    elif kind == "array: several":
        np.savez(folder / "a.npz", RGB)
        (folder / "a.npz").rename(path)
    elif kind == "array: negative":
        np.save(path, np.zeros((1012, 99, 3), np.uint8))
        path.write_bytes(path.read_bytes().replace(b"(1012, ", b"(-101, "))
    else:
        told = PngInfo()
        told.add_text(kind, "text")
        Image.fromarray(RGB).save(path, pnginfo=told)
    return path


@pytest.mark.parametrize("kind", ["xmp", "transparency", "array: empty", "array: several", "array: negative"])
def test_whatever_a_reader_stops_with_is_told_in_a_line(tmp_path, kind) -> None:
    path = odd_file(tmp_path, kind)
    with pytest.raises(InputError, match=rf"^expected a whole image, got '{path.name}', which cannot be decoded: .+$"):
        open_photo(path)


def exif_of(orientation: int, resolution: bytes) -> bytes:
    """The tags of a camera that gives its resolution as text."""
    entries = struct.pack("<HHII", 0x0112, 3, 1, orientation) + struct.pack("<HHI4s", 0x011A, 2, len(resolution), resolution)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + struct.pack("<I", 0)


@pytest.mark.parametrize("form", ["file", "picture"])
def test_every_turn_of_exif_is_taken_whatever_its_other_tags_hold(tmp_path, form) -> None:
    upright = [RGB, RGB, RGB[:, ::-1], RGB[::-1, ::-1], RGB[::-1], RGB.swapaxes(0, 1), np.rot90(RGB, -1), np.rot90(RGB, 2).swapaxes(0, 1)]
    for value, turned in enumerate([*upright, np.rot90(RGB), RGB]):  # 0 and 9 are no turns
        Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif_of(value, b"72\0"))
        source = tmp_path / "a.png" if form == "file" else Image.open(tmp_path / "a.png")
        assert_close(open_photo(source), want(turned)), value
        if form == "file":
            Image.fromarray(RGB).save(tmp_path / "a.tif", exif={0x0112: value})
            assert_close(open_photo(tmp_path / "a.tif"), want(turned)), value


def test_exif_turns_the_photo_upright(tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held so that the photo must be turned clockwise
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
    assert_close(open_photo(tmp_path / "a.png"), want(np.rot90(RGB, -1)))


def test_middle_square(tmp_path) -> None:
    wide = np.zeros((20, 40, 3), np.uint8)
    wide[:, 10:30] = 255
    Image.fromarray(wide).save(tmp_path / "a.png")
    got = open_photo(tmp_path / "a.png", 10)
    assert got.shape == (1, 3, 10, 10)
    assert (got[..., 1:-1] == 1).all()  # the outermost columns blend with what was cut off


@pytest.mark.parametrize("kind", ["missing", "postscript", "folder", "text", "empty", "truncated", "pixel", "bomb", "float"])
def test_files_that_cannot_be(tmp_path, kind) -> None:
    path = tmp_path / "x.jpg"
    says = {
        "missing": "does not exist", "folder": "is a folder", "text": "is not one", "postscript": "is not one", "empty": "is not one",
        "truncated": "cannot be decoded", "pixel": "at least 8 x 8 pixels, got 'x.jpg' of 1 x 1",
        "bomb": "at most 64 megapixels, got 'x.jpg', which says it has more", "float": "32-bit float",
    }[kind]  # fmt: skip
    if kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("<html>not found</html>")
    elif kind == "postscript":
        path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n")
    elif kind == "empty":
        path.touch()
    elif kind == "truncated":
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(path)
        path.write_bytes(path.read_bytes()[:1500])
    elif kind == "pixel":
        Image.new("RGB", (1, 1)).save(path)
    elif kind == "bomb":
        path.write_bytes(png_of_zeros(50_000, 50_000))
    elif kind == "float":
        Image.fromarray(RAMP.astype(np.float32)).save(path, format="TIFF")
    with pytest.raises(InputError, match=says) as error:
        open_photo(path)
    assert "\n" not in str(error.value)


def png_of_zeros(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def test_a_folder_is_read_in_the_order_of_names(tmp_path) -> None:
    for name, value in (("b.png", 255), ("a.PNG", 0)):
        Image.new("RGB", (9, 9), (value,) * 3).save(tmp_path / name, format="PNG")
    (tmp_path / "notes.txt").touch()
    assert [path.name for path in list_images(tmp_path)] == ["a.PNG", "b.png"]
    assert open_photo(list_images(tmp_path), 8).mean((1, 2, 3)).tolist() == [0, 1]
    (tmp_path / "sub").mkdir()
    with pytest.raises(InputError, match=r"without any of \.avif"):
        list_images(tmp_path / "sub")
    with pytest.raises(InputError, match="is not a folder"):
        list_images(tmp_path / "none")


def test_sample_photos_need_no_network() -> None:
    for name in SAMPLES:
        photo = open_photo(name, 32)
        assert photo.shape == (1, 3, 32, 32)
        assert photo.std() > 0.05
    with pytest.raises(InputError, match="got 'dog', which does not exist; sample photos are astronaut, cat"):
        open_photo("dog")


def test_imagenette_reads_classes_from_folders(tmp_path) -> None:
    for k, name in enumerate(("church", "tench")):
        (tmp_path / "train" / name).mkdir(parents=True)
        Image.new("RGB", (20, 30), (200 * k,) * 3).save(tmp_path / "train" / name / "0.png")
    images, labels, classes = imagenette("train", 16, tmp_path)
    assert images.dtype == torch.uint8
    assert images.float().mean((1, 2, 3)).tolist() == [0, 200]
    assert labels.tolist() == [0, 1]
    assert classes == ["church", "tench"]
    with pytest.raises(InputError, match="without val/"):
        imagenette("val", 16, tmp_path)
    (tmp_path / "val").mkdir()
    with pytest.raises(InputError, match="one folder of photos per class"):
        imagenette("val", 16, tmp_path)


def test_what_editors_and_archives_hide_in_a_training_folder_is_skipped(tmp_path) -> None:
    for name in ("church/0.png", "church/._0.png", "church/.ipynb_checkpoints/0-checkpoint.png", "tench/0.png", ".ipynb_checkpoints/0.png"):
        (tmp_path / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 30), (200 * name.startswith("tench"),) * 3).save(tmp_path / "train" / name)
    with pytest.warns(UserWarning, match="^hidden files .* are skipped: 3, ") as told:
        images, labels, classes = imagenette("train", 16, tmp_path)
    assert (images.float().mean((1, 2, 3)).tolist(), labels.tolist(), classes) == ([0, 200], [0, 1], ["church", "tench"])
    assert len(told) == 1
    with pytest.raises(InputError, match=r"there are: .*church, tench$"):
        photos_of("dog", 1, 16, root=tmp_path, split="train")
    (tmp_path / "train" / "empty").mkdir()
    with pytest.warns(UserWarning, match="hidden"), pytest.raises(InputError, match=r"got none for \['empty'\]"):
        imagenette("train", 16, tmp_path)


def flat_photos(classes: int, each: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Photos of one grey each, which name them: class k, photo j has the value (each * k + j) / 100."""
    values = torch.arange(classes * each) / 100
    return values.view(-1, 1, 1, 1).expand(-1, 3, 8, 8), torch.arange(classes).repeat_interleave(each)


@pytest.mark.parametrize("share", ["photo", "class"])
def test_mosaics_share_one_cell_and_nothing_else(share) -> None:
    photos, labels = flat_photos(8, 3)
    pairs = photo_mosaics(200, 16, photos=photos, labels=labels, share=share)
    cells = [side[:, 0, 4::8, 4::8].flatten(1).mul(100).round().long() for side in pairs.sides]  # (n, 4) numbers of photos
    masks = [mask[:, 4::8, 4::8].flatten(1) for mask in (pairs.truth.a, pairs.truth.b)]
    for mask, whole in zip(masks, (pairs.truth.a, pairs.truth.b), strict=True):
        assert (mask.sum(1) == 1).all()
        assert (whole.float().mean((1, 2)) == 0.25).all()
    assert not (masks[0] & masks[1]).any(), "the shared photo is at another place"
    shared = [cell[mask] for cell, mask in zip(cells, masks, strict=True)]
    assert ((shared[0] == shared[1]) == (share == "photo")).all()
    assert (shared[0] // 3 == shared[1] // 3).all()
    classes = torch.cat([cells[0] // 3, (cells[1] // 3)[~masks[1]].view(-1, 3)], 1)
    assert all(len(row.unique()) == 7 for row in classes), "seven classes in a pair"
    assert {int(k) for k in shared[0]} == set(range(24)), "every photo is shared now and then"
    assert {(int(a), int(b)) for a, b in zip(*(m.int().argmax(1) for m in masks), strict=True)} == {
        (a, b) for a in range(4) for b in range(4) if a != b
    }


def test_mosaics_do_not_depend_on_how_many_there_are() -> None:
    photos, labels = flat_photos(7, 2)
    few, many = (photo_mosaics(n, 16, photos=photos, labels=labels, generator=torch.Generator().manual_seed(3)) for n in (2, 9))
    assert torch.equal(few.a, many.a[:2])
    assert torch.equal(few.truth.b, many.truth.b[:2])


@pytest.mark.parametrize("share", ["photo", "class"])
def test_spare_photos_are_of_the_classes_that_neither_side_shows(share) -> None:
    labels = flat_photos(9, 3)[1]
    drawn = Mosaics.draw(60, labels, share)
    shown = torch.cat([*labels[drawn.cells], labels[drawn.spare]], 1)  # 4 + 4 + 2
    assert all(len(row.unique()) == 9 for row in shown)
    assert set(drawn.spare.flatten().tolist()) == set(range(27)), "every photo is spare now and then"
    assert Mosaics.draw(2, labels[:21]).spare.shape == (2, 0)


def test_mosaics_need_no_folder_and_seven_classes() -> None:
    assert photo_mosaics(1, 32).a.shape == (1, 3, 32, 32)
    photos, labels = flat_photos(7, 1)
    for change, message in (
        ({"photos": photos[:6]}, "at least 7 classes for mosaics that share one of them, got 6"),
        ({"photos": photos, "labels": labels, "share": "class"}, "at least two photos of each class"),
        ({"share": "colour"}, "unknown thing to share 'colour'; there are: photo, class"),
        ({"size": 33}, "even size"),
    ):
        with pytest.raises(InputError, match=message):
            photo_mosaics(1, **{"size": 32, **change})


class Download:
    """torchvision's Imagenette, whose download breaks off in the middle of unpacking as often as it is told to."""

    def __init__(self, breaks: int) -> None:
        self.breaks = breaks

    def __call__(self, root, split, size, download) -> None:
        assert download
        folder = Path(root) / "imagenette2-160"
        if folder.exists():
            raise RuntimeError("the directory already exists")
        for part in ("train", "val"):
            if part == "val" and self.breaks:
                self.breaks -= 1
                raise EOFError("Compressed file ended before the end-of-stream marker was reached")
            (folder / part / "tench").mkdir(parents=True)
            Image.new("RGB", (20, 20)).save(folder / part / "tench" / "0.png")


def test_an_interrupted_download_is_said_and_done_again(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XAICL_CACHE", str(tmp_path))
    monkeypatch.delenv("XAICL_IMAGENETTE", raising=False)
    monkeypatch.setattr("torchvision.datasets.Imagenette", Download(1))
    with pytest.raises(InputError, match=r"could not be downloaded \(Compressed file ended .*\); try again, or name its folder"):
        imagenette("val", 16)
    assert len(imagenette("val", 16)[0]) == 1
    assert len(imagenette("train", 16)[0]) == 1  # no third download, which would raise
    assert {path.name for path in tmp_path.iterdir()} - {"imagenette2-160.lock"} == {"imagenette2-160"}


def test_one_downloads_and_the_others_wait(tmp_path, monkeypatch) -> None:
    whole, asked = Download(0), []

    def download(root, **options) -> None:
        asked.append(root)
        time.sleep(0.5)  # for another to come in between
        whole(root, **options)

    monkeypatch.setenv("XAICL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("XAICL_IMAGENETTE", raising=False)
    monkeypatch.setattr("torchvision.datasets.Imagenette", download)
    with ThreadPoolExecutor(2) as pool:
        assert [len(one[0]) for one in pool.map(lambda split: imagenette(split, 16), ("train", "val"))] == [1, 1]
    assert len(asked) == 1


def test_an_empty_variable_names_no_folder(tmp_path, monkeypatch) -> None:
    working, home = tmp_path / "working", tmp_path / "home"
    (working / "train" / "church").mkdir(parents=True)
    home.mkdir()
    Image.new("RGB", (20, 20)).save(working / "train" / "church" / "0.png")
    monkeypatch.chdir(working)
    monkeypatch.setattr(Path, "home", lambda: home)
    for name in ("XAICL_CACHE", "XAICL_IMAGENETTE", "XAICL_CUE_CONFLICT"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr("torchvision.datasets.Imagenette", Download(0))
    assert len(imagenette("train", 16)[0]) == 1
    assert (home / ".cache" / "xaicl" / "imagenette2-160").is_dir()
    assert [path.name for path in working.iterdir()] == ["train"]
    with pytest.raises(InputError, match=r"photos by class in train/, got 'None'"):
        photos_of("church", 1, 16)
    assert cue_conflict_folder() is None


def test_images_of_subfolders(tmp_path) -> None:
    for name in ("b/one.png", "a/deep/two.png", "three.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9)).save(tmp_path / name)
    assert [path.name for path in list_images(tmp_path)] == ["three.png"]
    assert [path.name for path in list_images(tmp_path, recursive=True)] == ["two.png", "one.png", "three.png"]

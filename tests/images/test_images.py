"""Photos from memory, addresses and lists become what their files become; what is no photo gets one line that says so."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from tests.conftest import assert_close, build
from xaicl_lib import InputError, Pair, PairModel
from xaicl_lib.images import list_images, open_photo

RGB = np.random.default_rng(0).integers(0, 256, (30, 20, 3), np.uint8)


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a photo.png")
    return tmp_path / "a photo.png"


@pytest.mark.parametrize("size", [None, 12])
def test_a_picture_is_the_same_from_wherever_it_is(photo, size) -> None:
    want = open_photo(photo, size)
    for same in (photo, str(photo), photo.as_uri(), Image.fromarray(RGB), Image.open(photo), RGB):
        assert torch.equal(open_photo(same, size), want)


def test_floats_and_tensors_keep_their_values() -> None:
    want = torch.from_numpy(RGB).permute(2, 0, 1)[None] / 255
    for same in (RGB / 255, want, want[0], torch.from_numpy(RGB).permute(2, 0, 1), want.double()):
        assert_close(open_photo(same), want, rtol=1e-6)
    assert open_photo(want) is want, "nothing is rounded, nothing is copied"
    for kind in (">f4", ">u2", "<u2"):
        deep = (RGB.astype(float) * (257 if "u" in kind else 1 / 255)).astype(kind)
        assert_close(open_photo(deep), want, rtol=1e-6)
    grey = RGB[..., 0]
    for same in (grey, grey / 255):
        assert_close(open_photo(same), want[:, :1].expand(-1, 3, -1, -1), rtol=1e-6)


def test_the_middle_square_of_floats_is_that_of_bytes_up_to_rounding() -> None:
    bytes_, floats = open_photo(RGB, 12), open_photo(RGB / 255, 12)
    inside = slice(1, -1)  # Pillow blends the outermost rows with what was cut off
    assert_close(floats[:, :, inside], bytes_[:, :, inside], atol=1.5 / 255, rtol=0)
    slowly = F.interpolate(torch.from_numpy(RGB[5:25]).permute(2, 0, 1)[None].double() / 255, (12, 12), mode="bilinear", antialias=True)
    assert_close(floats, slowly, rtol=1e-5)


def test_lists_make_batches(photo) -> None:
    got = open_photo(["cat", photo, RGB, torch.rand(2, 3, 9, 9)], 16)
    assert got.shape == (5, 3, 16, 16)
    assert torch.equal(got[1:2], open_photo(photo, 16))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (7, "expected a sample's name, a file, .* or a list of these, got int"),
        (None, "got NoneType"),
        ("https://example.org/a.jpg", "expected a file, got the address 'https://example.org/a.jpg'; download it first"),
        ("file://cat.jpg", "got the address 'file://cat.jpg'; one of a file begins with file:///"),
        ("", "expected an image file, got '', which is a folder"),
        ("file:///no/such.png", "got '/no/such.png', which does not exist"),
        (RGB[..., :2], r"expected an array \(h, w, 3\) or \(h, w\), got \(30, 20, 2\)"),
        (RGB.transpose(2, 0, 1), r"got \(3, 30, 20\)"),
        (RGB.astype(int), r"bytes \(uint8\), uint16 or floats in \[0, 1\], got int64"),
        (RGB.astype(float), r"expected floats in \[0, 1\], got \[0, 255\]"),
        (np.full((9, 9), np.nan), r"got \[nan, nan\]"),
        (RGB[:4], "at least 8 x 8 pixels, got a picture of mode RGB of 20 x 4"),
        (torch.rand(30, 20, 3), r"expected a tensor \(3, h, w\) or \(n, 3, h, w\), got \(30, 20, 3\)"),
        (torch.zeros(3, 9, 9, dtype=torch.long), "or floats in .*, got int64"),
        (torch.rand(0, 3, 9, 9), "expected images of at least 8 x 8 pixels"),
        (Image.fromarray(np.zeros((9, 9), np.float32)), "a picture of mode F, which cannot be decoded: 32-bit float"),
        ([], "at least one photo, all of one size or resized to one, got none"),
        (["cat", RGB], "got 300 x 451, 30 x 20"),
    ],
)
def test_what_is_no_photo_is_told_in_a_line(wrong, says) -> None:
    with pytest.raises(InputError, match=says) as error:
        open_photo(wrong)
    assert "\n" not in str(error.value)


def test_a_pair_is_opened_at_the_size_of_its_model(photo) -> None:
    model = build("projected")
    pair = Pair.open("cat", photo, model)
    assert torch.equal(pair.a, open_photo("cat", 24))
    assert torch.equal(pair.b, open_photo(photo, 24))
    assert Pair.open([RGB] * 3, ["cat", "coffee", photo], 16).b.shape == (3, 3, 16, 16)
    assert Pair.open(RGB, None, 16).b is None
    for size in (0, "24", None, 2.5):
        with pytest.raises(InputError, match="expected a model, or a size of at least one pixel"):
            Pair.open("cat", "cat", size)
    with pytest.raises(InputError, match="as many images on side a as on side b, got 1 and 2"):
        Pair.open("cat", ["cat", "cat"], 16)


WIDE = np.repeat(np.repeat(np.array([[0, 100, 200, 250]], np.uint8), 16, 0), 8, 1)  # 16 x 32, four stripes


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("form", ["file", "floats"])
def test_a_photo_becomes_a_square_by_cutting_padding_or_pulling(tmp_path, form, turned) -> None:
    photo = np.ascontiguousarray(WIDE.T if turned else WIDE)
    Image.fromarray(photo).save(tmp_path / "a.png")
    source = tmp_path / "a.png" if form == "file" else photo / 255

    def rows(fit: str) -> torch.Tensor:
        got = open_photo(source, 16, fit)[0, 0] * 255
        return got.T if turned else got

    assert torch.equal(open_photo(source, 16), open_photo(source, 16, "crop"))
    assert set(rows("crop")[:, 1:-1].flatten().round().tolist()) == {100, 200}
    assert_close(rows("stretch")[:, 1::4], torch.tensor([0.0, 100, 200, 250]).expand(16, 4), atol=0.51)
    padded = rows("pad")
    assert set(padded[:4].flatten().round().tolist()) == set(padded[12:].flatten().round().tolist()) == {128}
    assert_close(padded[4:12, 1::4], torch.tensor([0.0, 100, 200, 250]).expand(8, 4), atol=0.51)


def test_a_square_is_the_same_however_it_fits_and_an_unknown_fit_is_told() -> None:
    square = RGB[:20]
    for same in (square, square / 255):
        assert torch.equal(open_photo(same, 12, "pad"), open_photo(same, 12))
        assert torch.equal(open_photo(same, 12, "stretch"), open_photo(same, 12))
    with pytest.raises(InputError, match="unknown fit 'contain'; there are: crop, pad, stretch"):
        Pair.open("cat", "coffee", 12, fit="contain")
    pair = Pair.open("cat", RGB, 12, fit="pad")
    assert torch.equal(pair.a, open_photo("cat", 12, "pad"))
    assert torch.equal(pair.b, open_photo(RGB, 12, "pad"))


FILTERS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
def test_photos_are_resized_by_the_filter_of_their_model(name, fit) -> None:
    model = PairModel(torch.nn.Conv2d(3, 2, 3), size=16, interpolation=FILTERS[name])
    assert model.interpolation == model.copy().interpolation == name
    box = (0, 5, 20, 25) if fit == "crop" else (0, 0, 20, 30)
    pillow = Image.fromarray(RGB).resize((11, 16) if fit == "pad" else (16, 16), Image.Resampling(FILTERS[name]), box)
    left = (16 - pillow.width) // 2
    assert np.array_equal((Pair.open(RGB, None, model, fit).a[0, :, :, left : left + pillow.width] * 255).round().permute(1, 2, 0), pillow)
    mild = RGB[:20] // 4 + 96  # whose overshoots bytes can hold between the passes
    pair = Pair.open(mild, mild / 255, model, fit)  # bytes by Pillow, floats by PyTorch where it has the filter
    assert_close(pair.a, pair.b, rtol=0, atol=2 / 255)


@pytest.mark.parametrize("wrong", ["random", 6, -1, None, True, 2.0])
def test_filters_that_are_none_are_told(wrong) -> None:
    with pytest.raises(InputError, match=r"unknown interpolation '.*'; there are: nearest, lanczos, bilinear, bicubic, box, hamming"):
        PairModel(torch.nn.Conv2d(3, 2, 3), size=16, interpolation=wrong)
    with pytest.raises(InputError, match="unknown interpolation"):
        open_photo(RGB, 12, interpolation=wrong)


def test_hidden_files_and_folders_are_skipped_and_counted_once(tmp_path) -> None:
    for name in ("a.png", "._a.png", ".ipynb_checkpoints/a-checkpoint.png", "sub/b.png", "sub/.thumbnails/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(RGB).save(tmp_path / name)
    with pytest.warns(UserWarning, match="^hidden files of .* are skipped: 1, such as '._a.png'"):
        assert [path.name for path in list_images(tmp_path)] == ["a.png"]
    with pytest.warns(UserWarning, match="^hidden files .* are skipped: 3, ") as told:
        assert [path.name for path in list_images(tmp_path, recursive=True)] == ["a.png", "b.png"]
    assert len(told) == 1
    (tmp_path / ".inside").mkdir()
    Image.fromarray(RGB).save(tmp_path / ".inside" / "c.png")
    assert len(list_images(tmp_path / ".inside")) == 1, "a folder that was asked for is read, whatever its name"

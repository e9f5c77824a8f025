"""Augmentations against torchvision's where it has them, and against what they mean where it has not."""

import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from tests.conftest import assert_close
from xaicl_lib import augment
from xaicl_lib.augment.families import AUGMENTATIONS

IMAGES = torch.rand(3, 3, 20, 26, generator=torch.Generator().manual_seed(0))
COLOURS = {"brightness": "adjust_brightness", "contrast": "adjust_contrast", "saturation": "adjust_saturation", "hue": "adjust_hue"}


@pytest.mark.parametrize("name", COLOURS)
@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0, 1.7])
def test_colour_equals_torchvision(name, strength) -> None:
    strength = (strength - 1) / 2 if name == "hue" else strength
    theirs = getattr(tv, COLOURS[name])
    want = torch.cat([theirs(image[None], strength) for image in IMAGES])
    assert_close(getattr(augment, name)(IMAGES, strength), want, rtol=1e-4, atol=2e-5)


def test_hue_of_greys_stays_grey() -> None:
    grey = torch.rand(1, 1, 4, 4).expand(1, 3, 4, 4)
    assert_close(augment.hue(grey, 0.3), grey, atol=1e-6)


def test_grayscale_equals_torchvision() -> None:
    assert_close(augment.grayscale(IMAGES), tv.rgb_to_grayscale(IMAGES, 3), rtol=1e-4, atol=1e-4)
    assert_close(augment.grayscale(IMAGES, 0.0), IMAGES, atol=1e-6)


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.8, 2.0])
def test_solarize_equals_torchvision(threshold) -> None:
    want = IMAGES if threshold > 1 else tv.solarize(IMAGES, threshold)
    assert_close(augment.solarize(IMAGES, threshold), want)
    mixed = augment.solarize(IMAGES, torch.tensor([threshold, 2.0, 0.0]))
    assert_close(mixed, torch.stack([want[0], IMAGES[1], 1 - IMAGES[2]]))


@pytest.mark.parametrize("degrees", [30.0, -75.0, 90.0, 180.0])
def test_rotate_equals_torchvision_but_in_the_corners(degrees) -> None:
    y, x = torch.meshgrid(torch.arange(20) - 9.5, torch.arange(26) - 12.5, indexing="ij")
    inside = (x**2 + y**2).sqrt() < 8.5  # beyond, torchvision has zeros and we have reflections
    want = tv.rotate(IMAGES, degrees, interpolation=tv.InterpolationMode.BILINEAR)
    assert_close(augment.rotate(IMAGES, degrees) * inside, want * inside, rtol=1e-4, atol=1e-5)
    each = augment.rotate(IMAGES, torch.tensor([degrees, 0.0, 10.0]))
    assert_close(each[:2], torch.stack([augment.rotate(IMAGES, degrees)[0], IMAGES[1]]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sigma", [0.4, 1.0, 3.0])
def test_blur_equals_torchvision(sigma) -> None:
    assert_close(augment.gaussian_blur(IMAGES, sigma, 9), tv.gaussian_blur(IMAGES, [9, 9], [sigma, sigma]), rtol=1e-4, atol=1e-5)


def test_strengths_are_per_image() -> None:
    strengths = torch.tensor([0.2, 1.0, 1.5])
    for function in (augment.brightness, augment.contrast, augment.saturation):
        got = function(IMAGES, strengths)
        for k in range(3):
            assert_close(got[k], function(IMAGES[k : k + 1], strengths[k].item())[0], rtol=1e-6, atol=1e-6)
    blurred = augment.gaussian_blur(IMAGES, torch.tensor([0.0, 0.5, 2.0]), 9)
    assert_close(blurred[0], IMAGES[0], atol=1e-6)
    assert_close(blurred[2], augment.gaussian_blur(IMAGES[2:], 2.0, 9)[0], atol=1e-6)


def test_crop_of_the_whole_is_the_whole_and_mirrors() -> None:
    square = IMAGES[..., :20]
    assert_close(augment.resized_crop(square, torch.tensor([[0.0, 0, 1, 1]] * 3), 20), square, rtol=1e-4, atol=1e-5)
    assert_close(augment.resized_crop(square, torch.tensor([[0.0, 0, -1, 1]] * 3), 20), square.flip(3), rtol=1e-4, atol=1e-5)


def test_crop_takes_the_box() -> None:
    square = IMAGES[..., :20]
    got = augment.resized_crop(square, torch.tensor([[0.25, 0.5, 0.5, 0.5]] * 3), 10)
    assert_close(got, square[:, :, 10:, 5:15], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("quality", [5, 40, 95])
def test_jpeg_equals_torchvision(quality) -> None:
    bytes_ = (IMAGES * 255).round().byte()
    want = torch.stack([tv.jpeg(image, quality) for image in bytes_])
    assert_close(augment.jpeg(IMAGES, quality) * 255, want, rtol=0, atol=1.01)  # two builds of the same decoder may round differently
    each = augment.jpeg(IMAGES, torch.tensor([quality, 100.0, 1.0]))
    assert_close(each[0], augment.jpeg(IMAGES, quality)[0])
    assert (each[1] - IMAGES[1]).abs().mean() < (each[2] - IMAGES[2]).abs().mean()


def test_mirror_equals_torchvision() -> None:
    assert_close(augment.mirror(IMAGES), tv.horizontal_flip(IMAGES))


def test_noise_has_the_spread_asked_for_and_comes_from_the_generator() -> None:
    grey = torch.full((2, 3, 64, 64), 0.5)
    drawn = augment.noise(grey, torch.tensor([0.02, 0.1]), torch.Generator().manual_seed(1)) - grey
    assert_close(drawn.flatten(1).std(1), torch.tensor([0.02, 0.1]), rtol=0.03)
    assert torch.equal(augment.noise(grey, 0.1, torch.Generator().manual_seed(1))[1], grey[1] + drawn[1])
    assert torch.equal(augment.noise(grey, 0.0), grey)


def test_a_grid_moves_masks_as_it_moves_images() -> None:
    image = torch.zeros(1, 3, 20, 20)
    image[:, :, 3:7, 12:18] = 1
    for grid in (augment.rotation_grid(image, 90.0), augment.crop_grid(image, torch.tensor([[0.5, 0.1, 0.5, 0.5]]), 20)):
        moved, mask = augment.sample(image, grid), augment.sample(image[:, :1], grid, outside="zeros")
        assert_close(moved[:, 1], mask[:, 0], rtol=1e-4, atol=1e-4)
    turned = augment.sample(image, augment.rotation_grid(image, 90.0), outside="zeros")[0, 0]
    assert_close(turned, image[0, 0].rot90(1), rtol=1e-4, atol=1e-4)
    ones = torch.ones(1, 1, 20, 20)
    corner = augment.sample(ones, augment.rotation_grid(ones, 45.0), outside="zeros")[0, 0]
    assert [corner[0, 0], corner[10, 10]] == [0, 1], "what comes from outside the image is known"


def test_blur_kernels_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="odd blur kernel"):
        augment.gaussian_blur(IMAGES, 1.0, 4)


@pytest.mark.parametrize("name", list(AUGMENTATIONS))
def test_images_that_are_no_squares_keep_their_sides(name: str) -> None:
    images = torch.rand(2, 3, 32, 48)
    assert AUGMENTATIONS[name].apply(images, AUGMENTATIONS[name].strengths[-1]).shape == images.shape

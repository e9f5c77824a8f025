"""The nouns that carry data: a pair of images, what is known to be shared in it, and an explanation of its score."""

import copy
import operator
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from xaicl_lib.annotations import is_a, plain
from xaicl_lib.errors import InputError
from xaicl_lib.notes import each_once


def _map_tensors(item: Any, apply: Any) -> Any:
    """A copy of a frozen dataclass with `apply` done to each tensor in it."""
    changed = copy.copy(item)  # what a checked pair is cut or moved to needs no second check
    for f in fields(item):
        value = getattr(item, f.name)
        if isinstance(value, Tensor):
            object.__setattr__(changed, f.name, apply(value))
        elif isinstance(value, Truth):
            object.__setattr__(changed, f.name, _map_tensors(value, apply))
    return changed


def _as_slice(index: int | slice) -> slice:
    return index if isinstance(index, slice) else slice(at := operator.index(index), at + 1 or None)


@dataclass(frozen=True, eq=False)
class Truth:
    """The evidence that a pair shares by construction.

    Attributes:
        a, b: (n, h, w) boolean masks, one per side, True where the shared evidence is; b is not looked at in one-sided questions.
    """

    a: Bool[Tensor, "n h w"]
    b: Bool[Tensor, "n h2 w2"]

    def swap(self) -> "Truth":
        """The same truth with its sides exchanged."""
        return Truth(self.b, self.a)


@dataclass(frozen=True, eq=False, repr=False)
class Pair:
    """n pairs of images, side a and side b.

    Attributes:
        a, b: (n, c, h, w) float in [0, 1], c channels as the model takes them, three for RGB; the sides may differ in size. `b` is None for
            one-sided questions (how similar is side a to a corpus, to a class).
        truth: masks of the evidence that both sides share, where it is known.

    Raises:
        InputError: wrong type, rank, range, NaN, channels last, no images, or a different number of images or channels on either side.
    """

    a: Float[Tensor, "n c h w"]
    b: Float[Tensor, "n c h2 w2"] | None = None
    truth: Truth | None = None

    def __post_init__(self) -> None:
        _check_images(self.a, "a")
        if self.b is not None:
            _check_images(self.b, "b")
            if len(self.a) != len(self.b):
                raise InputError(f"expected as many images on side a as on side b, got {len(self.a)} and {len(self.b)}")
            if self.a.shape[1] != self.b.shape[1]:
                raise InputError(f"expected as many channels on side a as on side b, got {self.a.shape[1]} and {self.b.shape[1]}")
        if self.truth is not None:
            _check_truth(self.truth.a, self.a, "a")
            if self.b is not None:
                _check_truth(self.truth.b, self.b, "b")

    def __repr__(self) -> str:
        sides = " and ".join(f"{s.shape[2]} x {s.shape[3]}" for s in self.sides)
        return f"Pair({len(self)} of {sides} pixels{', with truth' if self.truth else ''})"

    @staticmethod
    def open(a: Any, b: Any, size: Any, fit: str = "crop", channels: int | None = None) -> "Pair":
        """A pair of photos from wherever they are.

        Args:
            a, b: whatever `xaicl_lib.images.open_photo` takes: a sample photo's name, a file, an image or array in memory; or lists of
                n of these. `b` is None for one-sided questions.
            size: side in pixels that photos are resized to, or a model, whose size it then is, and whose channels and filter.
            fit: how photos that are no squares become such: "crop" takes the middle, "pad" keeps all between grey bars, which are pixels of
                the pair like any other, "stretch" pulls.
            channels: of the images, None for those of a model and else 3.

        Raises:
            InputError: not a photo, no size, an unknown fit, or a different number on either side.

        Example:
            >>> Pair.open("cat", "coffee", 96)
            Pair(1 of 96 x 96 and 96 x 96 pixels)
        """
        from xaicl_lib.images import open_photo  # here, for Pillow should not be waited for by those who bring tensors

        side = plain(getattr(plain(size), "size", plain(size)))
        if not is_a(side, int) or side < 1:
            raise InputError(f"expected a model, or a size of at least one pixel, got {size!r}")
        form = side, fit, getattr(size, "channels", 3) if channels is None else channels, getattr(size, "interpolation", "bilinear")
        with each_once():
            return Pair(open_photo(a, *form), None if b is None else open_photo(b, *form))

    @property
    def sides(self) -> tuple[Tensor, ...]:
        """The sides there are: (a, b), or (a,) for one-sided questions."""
        return (self.a,) if self.b is None else (self.a, self.b)

    @property
    def drawn_for(self) -> tuple[Tensor, ...]:
        """The images that decide what a method draws for each: the sides, as they were before `shifted` added noise."""
        return getattr(self, "_unshifted", self.sides)

    def __len__(self) -> int:
        return len(self.a)

    def __getitem__(self, index: int | slice) -> "Pair":
        """Some of the pairs; an integer keeps the batch axis."""
        if not isinstance(index, slice) and not -len(self) <= operator.index(index) < len(self):
            raise IndexError(f"pair {index} of {len(self)}")
        some = _map_tensors(self, lambda t: t[_as_slice(index)])
        if not len(some):
            raise InputError(f"expected at least one pair, got none of {len(self)} at {index}")
        return some

    def to(self, device: torch.device | str) -> "Pair":
        """The pair on another device."""
        return _map_tensors(self, lambda t: t.to(device))

    def detach(self) -> "Pair":
        """The pair as ordinary tensors that no gradient follows."""
        return _map_tensors(self, torch.Tensor.detach) if any(side.requires_grad for side in self.sides) else self

    def shifted(self, pixels: Float[Tensor, "c h w"]) -> "Pair":
        """The pair with the same noise added to each image; values may then leave [0, 1], which nothing but noise may do."""
        noisy = copy.copy(self)
        object.__setattr__(noisy, "_unshifted", self.drawn_for)
        for name in "ab":
            if (side := getattr(self, name)) is not None:
                object.__setattr__(noisy, name, side + pixels.to(side))
        return noisy

    def facing(self, b: Float[Tensor, "n c h2 w2"]) -> "Pair":
        """Side a with other images on side b, which are made from it, and without truth.

        Raises:
            InputError: images that no pair could have. Values outside [0, 1] are let through where noise has brought side a there.
        """
        low, high = torch.aminmax(self.a.detach())
        if low >= 0 and high <= 1:
            return Pair(self.a, b)
        inside = torch.where(b.isfinite(), b.clamp(0, 1), b).detach() if isinstance(b, Tensor) else b
        noisy = Pair(self.a.detach().clamp(0, 1), inside)  # all but the range is checked
        for name, side in (("a", self.a), ("b", b)):
            object.__setattr__(noisy, name, side)
        return noisy

    def swap(self) -> "Pair":
        """The pair with its sides exchanged.

        Raises:
            InputError: the pair has no side b.
        """
        if self.b is None:
            raise InputError("expected a pair with two sides to swap, got one without side b")
        return Pair(self.b, self.a, self.truth and self.truth.swap())


def _check_images(images: object, side: str) -> None:
    if not isinstance(images, Tensor):
        raise InputError(f"side {side}: expected a tensor (n, c, h, w), got {type(images).__name__}")
    if images.ndim != 4:
        raise InputError(f"side {side}: expected shape (n, c, h, w), got {tuple(images.shape)}")
    if images.shape[3] in (1, 3, 4) and images.shape[1] > images.shape[3]:
        raise InputError(f"side {side}: expected channels first, (n, c, h, w), got {tuple(images.shape)}")
    if not images.is_floating_point():
        raise InputError(f"side {side}: expected floats in [0, 1], got {images.dtype}; divide by 255 if these are bytes")
    if images.numel() == 0:
        raise InputError(f"side {side}: expected at least one image and one pixel, got shape {tuple(images.shape)}")
    low, high = (v.item() for v in torch.aminmax(images.detach()))
    if not (low >= 0 and high <= 1):  # also true of NaN, which aminmax passes on
        hint = "; divide by 255 if these are bytes" if high > 2 else ""
        raise InputError(f"side {side}: expected values in [0, 1], got [{low:.8g}, {high:.8g}]{hint}")


def _check_truth(mask: Tensor, images: Tensor, side: str) -> None:
    want = (len(images), *images.shape[2:])
    if mask.dtype != torch.bool or tuple(mask.shape) != want:
        raise InputError(f"truth of side {side}: expected a boolean mask {want}, got {mask.dtype} {tuple(mask.shape)}")


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """Saliency maps of n pairs, unscaled, in the units of the score and at the method's own resolution.

    Attributes:
        a, b: (n, i, j) maps of either side, signed where the method is signed; `b` is None for one-sided questions.
        score: (n,) the score that is explained.
        joint: (n, ia, ja, ib, jb) which cell of a goes with which cell of b, for methods that say so.
        residual: (n,) what the map leaves unexplained, for methods that promise completeness.
        error_a, error_b: maps of what either map may be off by: the standard error, for methods that estimate theirs from random draws;
            of drafts a measured bound, 0 where a value is exact.
        method, params: how it was made, the seed included.
    """

    a: Float[Tensor, "n i j"]
    b: Float[Tensor, "n k l"] | None
    score: Float[Tensor, " n"]
    joint: Float[Tensor, "n i j k l"] | None = None
    residual: Float[Tensor, " n"] | None = None
    error_a: Float[Tensor, "n i j"] | None = None
    error_b: Float[Tensor, "n k l"] | None = None
    method: str = ""
    params: dict[str, Any] = field(default_factory=dict)

    @property
    def sides(self) -> tuple[Tensor, ...]:
        """The maps there are: (a, b), or (a,) for one-sided questions."""
        return (self.a,) if self.b is None else (self.a, self.b)

    def __repr__(self) -> str:
        maps = " and ".join(f"{m.shape[1]} x {m.shape[2]}" for m in self.sides)
        scores = ", ".join(f"{s:.3f}" for s in self.score[:3].tolist()) + (", ..." if len(self) > 3 else "")
        return f"Explanation({self.method!r}, score {scores}, maps of {maps} cells)"

    def __len__(self) -> int:
        return len(self.a)

    def __getitem__(self, index: int | slice) -> "Explanation":
        """The explanations of some of the pairs; an integer keeps the batch axis."""
        if not isinstance(index, slice) and not -len(self) <= operator.index(index) < len(self):
            raise IndexError(f"explanation {index} of {len(self)}")
        return _map_tensors(self, lambda t: t[_as_slice(index)])

    def to(self, device: torch.device | str) -> "Explanation":
        """The explanation on another device."""
        return _map_tensors(self, lambda t: t.to(device))

    @staticmethod
    def concat(parts: "list[Explanation]") -> "Explanation":
        """Explanations of several batches, made alike, as one."""
        tensors: dict[str, Any] = {}
        for name in ("a", "b", "score", "joint", "residual", "error_a", "error_b"):
            values = [getattr(part, name) for part in parts]
            tensors[name] = None if values[0] is None else torch.cat(values)
        return replace(parts[0], **tensors)

    def maps(self, size: int | tuple[int, int]) -> tuple[Float[Tensor, "n h w"], Float[Tensor, "n h w"] | None]:
        """Both maps resized to `size` pixels (bilinear), values unchanged in scale."""
        shape = (size, size) if isinstance(size, int) else size
        return resize_map(self.a, shape), None if self.b is None else resize_map(self.b, shape)


def resize_map(maps: Float[Tensor, "n i j"], shape: tuple[int, int]) -> Float[Tensor, "n h w"]:
    """Maps resized bilinearly (`align_corners=False`, as the papers' programs do)."""
    return F.interpolate(maps.unsqueeze(1), shape, mode="bilinear", align_corners=False).squeeze(1)

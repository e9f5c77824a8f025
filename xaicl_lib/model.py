"""PairModel: two torch modules that turn images into feature maps and feature maps into embeddings."""

import copy
import operator
import os
from collections.abc import Callable, Iterable, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from xaicl_lib.annotations import is_a, plain
from xaicl_lib.devices import sparing
from xaicl_lib.engines import Run, Runner, known_engine
from xaicl_lib.errors import InputError, require
from xaicl_lib.layers import channels_of, unwrapped
from xaicl_lib.notes import note
from xaicl_lib.pair import Pair
from xaicl_lib.scores import Score, corpus_similarity
from xaicl_lib.tokens import open_at
from xaicl_lib.tokens.texts import note_cut
from xaicl_lib.trying import HALF, TRIED, Habits, fast_form, formed
from xaicl_lib.wrapping import Output, Size, interpolation_of, own, per_channel, rows, side_of, tensor_of, told_channels

Source = Tensor | str | os.PathLike[str] | list[str]  # of a corpus


class MeanPool(nn.Module):
    """Global average pooling: (n, c, i, j) to (n, c)."""

    def forward(self, features: Float[Tensor, "n c i j"]) -> Float[Tensor, "n c"]:
        return features.mean((2, 3))


class PairModel:
    """A model of similarity: `embed(x) = head(features(x))` on either side.

    The modules are copied, frozen and set to evaluation, so the ones given stay as they are. Code about pairs says
    `embed_a` and `embed_b`: the same modules unless the model has two branches (MoCo v3).

    Args:
        features: module from the model's input space (n, c, h, w), RGB or whatever channels it takes, to a feature map (n, c, i, j).
        head: module from a feature map to embeddings (n, d); global average pooling if left out.
        size: side in pixels of the images the model was made for; also as image processors and configurations of networks have it:
            (224, 224), (3, 224, 224), {"height": 224, "width": 224}, {"shortest_edge": 224}.
        mean, std: per channel, or one number for all, of the model's input space in terms of [0, 1] pixels: x = (pixels - mean) / std.
            How many channels there are is their number, that of a size (c, h, w) or else that of the first convolution.
        features_b, head_b: the modules of side b where they differ.
        text: module from a list of n texts to embeddings (n, d) in the space of the images, for image-text models.
        name: for tables and titles.
        output: of modules that return several: the name or the place of the one that counts, or a function of all.
        key: stands in the store of results for what cannot be read of the modules, such as the code of a scripted one; see `fingerprint`.
        interpolation: the filter that photos are resized with for the model: "nearest", "bilinear", "bicubic", "lanczos", "box", "hamming",
            or as processors have it.
        engine: what runs the network where no gradients are asked for, see the attribute.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
        >>> PairModel(features=net, size=32).embed_a(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 8])
    """

    def __init__(
        self,
        features: nn.Module,
        head: nn.Module | None = None,
        *,
        size: Size,
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 1.0,
        features_b: nn.Module | None = None,
        head_b: nn.Module | None = None,
        text: nn.Module | None = None,
        name: str = "custom",
        output: Output | None = None,
        key: str | None = None,
        interpolation: Any = "bilinear",
        engine: str = "eager",
    ) -> None:
        self.engine = engine
        head = MeanPool() if head is None else head
        given = {"features": features, "head": head}
        given["features_b"] = features if features_b is None else features_b
        given["head_b"] = head if head_b is None else head_b
        given |= {} if text is None else {"text": text}
        for role, module in given.items():
            if not isinstance(module, nn.Module):
                raise InputError(f"expected a torch module as {role}, got {type(module).__name__}")
        side, shift, scale = side_of(size), per_channel(mean, "mean"), per_channel(std, "std")
        told = told_channels(size, mean, std)
        if not all(s > 0 for s in scale):
            raise InputError(f"expected mean and std of each channel, std > 0, got mean={mean}, std={std}")
        self._parts = own(given, output)
        self._take_parts()
        if max(shift) > 1:
            raise InputError(f"expected mean and std of pixels in [0, 1], got mean={mean!r}; divide both by 255 if these are of bytes")
        self.name, self.size, self.key, self.interpolation = name, side, key, interpolation_of(interpolation)
        self._habits = Habits()  # of the fast form, once it is made
        self._fast: PairModel | None = None
        self._fast_of: tuple[list[object], list[Tensor]] = [], []  # what _fast was made from: attributes, and values of tensors
        self._is_fast = False
        self._runners: dict[str, Runner] = {}  # of the fast form, by side
        channels = channels_of(self.features_a, side, told)
        if told not in (None, channels):
            raise InputError(f"expected size, mean and std of as many channels as the features of {name!r} take, {channels}, got {told}")
        self._mean, self._std = (torch.tensor(v, dtype=torch.float32).expand(channels).view(1, -1, 1, 1) for v in (shift, scale))

    @classmethod
    def from_module(cls, module: nn.Module, layer: str, **options: object) -> "PairModel":
        """A PairModel of a plain module, cut behind one of its layers.

        Args:
            module: from (n, c, h, w) to embeddings (n, d).
            layer: name of the submodule whose output is the feature map, such as "layer4" of a ResNet; its last, if it is called more
                than once; of a vision transformer what holds its blocks, such as "encoder" of torchvision's, which is opened where the
                last one gathers (`xaicl_lib.tokens`), also within a class of your own, as "backbone.encoder".
            options: as for `PairModel`.

        Raises:
            InputError: no such layer, a module that cannot be cut there, or a vision transformer whose module makes another embedding.
        """
        if not isinstance(module, nn.Module):
            raise InputError(f"expected a torch.nn.Module to cut, got {type(module).__name__}")
        inside, size = unwrapped(module), options.get("size")
        name = layer if inside is module else layer.removeprefix("module.").removeprefix("_orig_mod.")
        told = told_channels(size, *(options.get(name) for name in ("mean", "std")))
        features, head = open_at(inside, name, None if size is None else side_of(size), told, options.get("output"))
        return cls(features, head, **options)  # type: ignore[arg-type]

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next((p.device for p in self._parts.parameters()), self._mean.device)

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the parameters."""
        return next((p.dtype for p in self._parts.parameters()), self._mean.dtype)

    @property
    def channels(self) -> int:
        """Of the images that the model takes: 3 for RGB, 1 for grey, or others."""
        return self._mean.shape[1]

    @property
    def engine(self) -> str:
        """What runs the network where no gradients are asked for: occlusion, RISE, areas, corpora, galleries.

        "eager" is PyTorch as it is. "onnxruntime" and "openvino" (extras of these names) and "compile" (torch's own; needs a C++ compiler
        and takes a minute to start) are built at the first images of each size and checked on them: their embeddings are within 1e-5 of
        eager's, or eager goes on, which is said. "auto" computes eagerly for two seconds, then takes whichever of the first three is
        fastest. Keys of stores do not depend on it; tables that the library writes say it.

        Raises:
            InputError: set to an engine that does not exist or is not installed.
        """
        return self._engine

    @engine.setter
    def engine(self, name: str) -> None:
        self._engine, self._fast = known_engine(name), None

    @property
    def symmetric(self) -> bool:
        """Whether both sides run through the same modules."""
        return self.features_a is self.features_b and self.head_a is self.head_b

    def to(self, *args: object, **kwargs: object) -> "PairModel":
        """The model, moved in place to a device or type as `torch.nn.Module.to` does."""
        self._parts.to(*args, **kwargs)  # type: ignore[call-overload]
        self._fast = None
        return self

    @property
    def fast(self) -> "PairModel":
        """The same function, up to rounding, laid out for speed: batch norms folded, weights channels-last.

        It is tried on noise beside the plain form first. What the modules do not stand is left out, what they need is done for them: images
        of their own where they change their input, float32 around half precision, embeddings brought to (n, d). Warns where embeddings
        depend on the batch or on chance.

        Made at first use and kept until a weight, a hook or another attribute of a module changes, in whatever dicts, lists, tuples and
        namespaces it is; not watched is what changes within other objects, such as NumPy's arrays. Every method of the library runs on it.

        Weights are compared with a copy, value by value, because nothing else sees all changes: `p.data.mul_(-1)` leaves a tensor's
        identity and version as they were. Together that costs 0.8 ms for the 1.1 M weights of a bundled model and 13 ms for
        the 26 M of a ResNet-50 on a core, and the memory of the copy; in a loop keep what this returns.
        """
        if self._is_fast:
            return self
        attributes = _attributes(self._parts)
        tensors = [one for one in attributes if isinstance(one, Tensor)]
        if self._fast is None or not _is_unchanged(attributes, tensors, *self._fast_of):
            with torch.inference_mode(False):
                same_modules = self._fast is not None and _are_the_same(attributes, self._fast_of[0])  # whose habits are known
                fast = copy.copy(self)
                fast._fast, fast._is_fast, fast._runners = None, True, {}
                fast._parts = formed(self._parts, self._habits) if same_modules else self._tried()
                fast._habits = self._habits
                fast._take_parts()
                self._fast, self._fast_of = fast, (attributes, [t.detach().clone() for t in tensors])
        return self._fast

    def _tried(self) -> nn.ModuleDict:
        """The fast form's parts; what they need is noted, and what their user should know said."""
        sides, shape = sorted({min(TRIED, self.size), self.size}), (2, self.channels)
        noise = [torch.rand(*shape, side, side, generator=Generator().manual_seed(0)) for side in sides]
        parts, self._habits = fast_form(self._parts, [self.normalize(images) for images in noise])
        for told in self._habits.notes:
            note(f"{self.name!r}: {told}")
        return parts

    def _take_parts(self) -> None:
        self.features_a, self.head_a = self._parts["features"], self._parts["head"]
        self.features_b, self.head_b = self._parts["features_b"], self._parts["head_b"]

    def normalize(self, pixels: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Pixels in [0, 1] brought to the model's device and input space, where the papers' zeros and gradients live.

        Raises:
            InputError: images of other channels than the model takes.
        """
        if pixels.shape[1] != self.channels:
            raise InputError(
                f"expected images (n, {self.channels}, h, w) for {self.name!r}, got {tuple(pixels.shape)}; "
                "Pair.open(a, b, model) opens pictures as a model takes them"
            )
        x = pixels.to(self.device, torch.float32 if self._is_fast and self.dtype in HALF else self.dtype)
        x = (x - self._mean.to(x)) / self._std.to(x)
        return x.contiguous(memory_format=self._habits.layout if self._is_fast else torch.contiguous_format)

    def denormalize(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Images in the model's input space back as pixels, clamped to [0, 1]."""
        return (x * self._std.to(x) + self._mean.to(x)).clamp(0, 1)

    def pixels_of(self, noise: Float[Tensor, "c h w"]) -> Float[Tensor, "c h w"]:
        """A difference in the model's input space as a difference of pixels."""
        return noise * self._std[0].to(noise)

    def copy(self) -> "PairModel":
        """A model of the same function whose weights can be changed without touching this one."""
        given: dict[str, Any] = {name: getattr(self, name) for name in ("size", "name", "key", "interpolation", "engine")}
        mean, std = (value.flatten().tolist() for value in (self._mean, self._std))
        return PairModel(**given, **dict[str, Any](self._parts.items()), mean=mean, std=std)

    def embed_a(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """Embeddings of side a for images in the model's input space."""
        return self._embed(x, self.features_a, self.head_a)

    def embed_b(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """Embeddings of side b for images in the model's input space."""
        return self._embed(x, self.features_b, self.head_b)

    def _embed(self, x: Tensor, features: nn.Module, head: nn.Module) -> Float[Tensor, "n d"]:
        given = x if self._is_fast else x.clone()  # which features may change in place; the fast form knows whether
        return rows(head(tensor_of(features(given), "the features")), len(x))

    @torch.no_grad()
    def embed_text(self, texts: list[str]) -> Float[Tensor, "n d"]:
        """Embeddings of texts, in the space of the images; no gradient follows them.

        A note tells what of a text is not read, where the text side has `read`, as all have that `load_model` makes.

        Raises:
            InputError: a model without a text side, or texts that its text side cannot read.
        """
        if "text" not in self._parts:
            raise InputError(f"expected a model with a text side, such as scenes_clip, got {self.name!r}")
        if isinstance(texts, str) or not texts or not all(isinstance(text, str) and text.strip() for text in texts):
            raise InputError(f"expected a list of texts of at least one word each, got {texts!r}")
        note_cut(self._parts["text"], texts)
        return rows(self._parts["text"](list(texts)), len(texts))

    @torch.no_grad()
    def encode(self, pixels: Float[Tensor, "n c h w"], side: str = "a", chunk: int | None = None) -> Float[Tensor, "n d"]:
        """Embeddings of images in [0, 1], without gradients, on the fast form.

        Args:
            pixels: n images.
            side: "a" or "b".
            chunk: images in flight; None is as many as `chunk` says. It decides memory, never the result.

        Raises:
            InputError: no images, no such side, or a chunk of none.
        """
        if pixels.ndim != 4 or not len(pixels):
            raise InputError(f"expected images (n, c, h, w), at least one, got {tuple(pixels.shape)}")
        if not pixels.is_floating_point():
            raise InputError(f"expected images of floats in [0, 1], got {pixels.dtype}; divide by 255 if these are bytes")
        fast, usual = self.fast, self.chunk(pixels[0, 0].numel(), chunk)
        return sparing(lambda images: fast.encode_inputs(map(fast.normalize, pixels.split(images or usual)), side), None, usual)

    @torch.no_grad()
    def encode_inputs(self, portions: Iterable[Float[Tensor, "k c h w"]], side: str = "a", *, draft: bool = False) -> Float[Tensor, "n d"]:
        """As `encode`, of images that are made portion by portion in the model's input space, such as perturbed copies.

        A `draft` is computed in bfloat16 where that is faster; what uses it corrects and bounds it by exact ones (`xaicl_lib.drafts`).
        """
        require("side", "ab", side)
        run = self.fast._run(side, draft)
        return torch.cat([run(x) for x in portions])

    def _run(self, side: str, draft: bool) -> Run:
        """Of the fast form: what turns images into embeddings without gradients."""
        if self.engine == "eager" and not draft:
            return self.embed_a if side == "a" else self.embed_b
        side = "a" if self.symmetric else side
        if side not in self._runners:
            features, head = (self.features_a, self.head_a) if side == "a" else (self.features_b, self.head_b)
            self._runners[side] = Runner(features, head, self.engine, self.name)
        return self._runners[side].draft if draft else self._runners[side]

    def like(self, corpus: Source, foil: Source | None = None, *, normalize: bool = True) -> Score:
        """A score for one-sided questions: how much more alike an image is to a corpus than to a foil.

        Args:
            corpus, foil: whatever `embed_corpus` takes: a folder of photos, a tensor of images, a list of texts.
            normalize: as for `xaicl_lib.scores.corpus_similarity`, which says what is computed.
        """
        away = None if foil is None else embed_corpus(self, foil)
        return corpus_similarity(embed_corpus(self, corpus), away, normalize)

    def embed(self, sides: Sequence[Float[Tensor, "n c h w"]]) -> list[Float[Tensor, "n d"]]:
        """Embeddings of the sides there are, one or two; in one batch where both run through the same modules."""
        return _in_one_batch((self.embed_a, self.embed_b), sides, self.symmetric)

    def features(self, sides: Sequence[Float[Tensor, "n c h w"]]) -> list[Float[Tensor, "n c i j"]]:
        """Feature maps of the sides there are, one or two; in one batch where both run through the same modules.

        Raises:
            InputError: features that are no map, such as the tokens of a transformer.
        """
        maps = _in_one_batch((self.features_a, self.features_b), sides, self.features_a is self.features_b)
        for f in (tensor_of(f, "the features") for f in maps):
            if f.ndim != 4:
                raise InputError(
                    f"expected features of {self.name!r} to be a map (n, c, i, j), got shape {tuple(f.shape)}; "
                    "let the features module end with the tokens reshaped to a map, channels first"
                )
        return maps

    def chunk(self, pixels: int, asked: int | None = None) -> int:
        """How many images of that many pixels to have in flight: as many as are asked for, or enough for full speed and few for memory.

        Measured on two cores: full speed from 12 images of 96 pixels a side or 4 of 224; from 24 of 96 on a third is lost, because
        memory of that size goes back to the system after each layer. A GPU wants some 13 megapixels.

        Raises:
            InputError: what is asked for is no whole number of at least 1.
        """
        if asked is not None:
            if not is_a(asked, int) or asked < 1:
                raise InputError(f"expected chunk to be a whole number of images of at least 1, got {asked!r}")
            return plain(asked)
        return max(4, (13_000_000 if self.device.type == "cuda" else 111_000) // pixels)

    def __getstate__(self) -> dict[str, object]:
        """Without the fast form, which is made anew wherever the model arrives."""
        return {**self.__dict__, "_fast": None, "_fast_of": ([], []), "_runners": {}}

    def __repr__(self) -> str:
        count = sum(p.numel() for p in self._parts.parameters())
        return f"PairModel({self.name!r}, size={self.size}, {count / 1e6:.2f}M parameters, {self.device})"


@torch.no_grad()
def embed_corpus(model: PairModel, source: Source, *, chunk: int | None = None) -> Float[Tensor, "m d"]:
    """Embeddings of a corpus: of things to be alike, or of a foil, to be unlike.

    A corpus is side b of a question whose side a is the image that is explained (the explicand), so images are embedded with the model's
    side b.

    Args:
        model: whose space it is.
        source: images (m, c, h, w) in [0, 1], a folder of image files (its subfolders included), or a list of texts for an image-text
            model.
        chunk: images in flight.

    Raises:
        InputError: no images or texts, images that are none, or texts for a model without a text side.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, 4), torch.nn.ReLU())
        >>> embed_corpus(PairModel(net, size=32), torch.rand(5, 3, 32, 32)).shape
        torch.Size([5, 8])
    """
    if isinstance(source, list):
        return model.embed_text(source)
    if isinstance(source, Tensor):
        return model.encode(Pair(source).a, "b", chunk)
    from xaicl_lib.images import list_images

    paths = list_images(source, recursive=True)
    step = model.chunk(model.size**2, chunk)
    portions = (paths[k : k + step] for k in range(0, len(paths), step))
    return torch.cat([model.encode(Pair.open(some, None, model).a, "b", step) for some in portions])


def _attributes(parts: nn.Module) -> list[object]:
    """All that modules hold, what is in their dictionaries (weights, hooks, modules), lists, tuples and namespaces one by one."""
    held = [value for module in parts.modules() for value in vars(module).values()]
    return [item for value in held for item in _items(value)]


def _items(value: object, above: tuple[int, ...] = ()) -> Iterable[object]:
    """A thing and what is in it, at any depth; not again what holds itself, by the identities of what is above."""
    yield value
    inside = vars(value) if isinstance(value, SimpleNamespace) else value
    if isinstance(inside, dict | list | tuple) and id(value) not in above:
        for part in inside.values() if isinstance(inside, dict) else inside:
            yield from _items(part, (*above, id(value)))


def _are_the_same(things: list[object], before: list[object]) -> bool:
    return len(things) == len(before) and all(map(operator.is_, things, before))


def _is_unchanged(attributes: list[object], tensors: list[Tensor], before: list[object], values: list[Tensor]) -> bool:
    """Whether modules hold the very same things as before, and their tensors the same values."""
    return _are_the_same(attributes, before) and all(
        t.dtype == v.dtype and t.device == v.device and torch.equal(t, v) for t, v in zip(tensors, values, strict=True)
    )


def _in_one_batch(modules: Sequence[Callable[[Tensor], Tensor]], sides: Sequence[Tensor], same: bool) -> list[Tensor]:
    if same and len(sides) == 2 and sides[0].shape == sides[1].shape:
        return list(modules[0](torch.cat(list(sides))).chunk(2))
    return [module(x) for module, x in zip(modules, sides, strict=False)]


def resolve_device(name: str | torch.device = "auto") -> torch.device:
    """The device of that name; "auto" is the first that there is of CUDA, Apple's MPS, Intel's XPU and the CPU.

    Raises:
        InputError: no device of that name here.
    """
    kinds = [kind for kind in ("cuda", "mps", "xpu") if getattr(torch, kind).is_available()] + ["cpu"]
    if name == "auto":
        return torch.device(kinds[0])
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # which a device without memory, such as "meta", refuses
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        have = ["cpu", *(f"{kind}:{k}" for kind in kinds[:-1] for k in range(getattr(torch, kind).device_count()))]
        raise InputError(f"unknown or missing device {str(name)!r}; there are: auto, {', '.join(have)}") from error
    return device

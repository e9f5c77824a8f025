"""Any module as features and head, cut behind one of its layers."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xaicl_lib.errors import InputError, telling_line
from xaicl_lib.layers import channels_of, cut
from xaicl_lib.tokens.layouts import Layout, layout_of
from xaicl_lib.tokens.opening import Gate, not_opened, open_tokens, replaced, same, until
from xaicl_lib.wrapping import tensor_of

STACKS = ("blocks", "layers", "layer", "resblocks")  # names that libraries give a list of blocks


def open_at(module: nn.Module, layer: str, size: int | None, told: int | None = None, output: Any = None) -> tuple[nn.Module, nn.Module]:
    """Features and head of any module, cut behind one of its layers: features end with a map, channels first.

    A vision transformer of a known family, or one within the module, is opened as `open_tokens` does where the layer is its last block,
    what holds it, or stands behind it, and refused where the module makes another embedding. All else is cut by `xaicl_lib.layers.cut` or,
    where torch.fx cannot trace it, by running it up to the layer, and, for the head, on a blank image with the layer's answer put in its
    place. Maps with channels last are recognised by which axis grows with the image.

    Args:
        module: from (n, c, h, w) to embeddings (n, d).
        layer: name of the submodule whose output is the feature map.
        size: side in pixels of the images that it is made for.
        told: their channels, where something says how many; see `channels_of`.
        output: which of several outputs of the module is the embedding, as `PairModel` takes it.

    Raises:
        InputError: no such layer, one that the forward pass does not call or that data bypasses, or what `open_tokens` raises.
    """
    layout = None
    if size:
        modules = dict(module.named_modules())
        layouts = {name: layout_of(modules[name]) for name in _holders(layer) if name in modules}
        for name, found in layouts.items():
            if found is not None and _is_end(modules[name], found, layer.removeprefix(name).removeprefix(".")):
                return _open_whole(module, name, found, size, output)
        layout = layouts[""]
    no_end = layout and f"expected the layer where a vision transformer ends, such as {layout.stage or 'its blocks'!r}, got {layer!r}"
    if isinstance(module, torch.jit.ScriptModule):
        raise InputError("expected a module that can be cut, got one that was scripted or traced; give features= and head=")
    try:
        features, head = cut(module, layer)
    except InputError as error:
        if no_end and "expected the name of a layer" not in str(error):
            raise InputError(no_end) from error
        if not size or "torch.fx can trace" not in str(error):
            raise
        features, head = _cut_by_running(module, layer, (channels_of(module, size, told), size, size), error, output)
    shapes = _shapes(features, size, channels_of(features, size, told)) if size else []
    if shapes and len(shapes[0]) == 3 and no_end:
        raise InputError(f"{no_end}, which returns tokens")
    if _is_channelslast_of(shapes):
        return nn.Sequential(features, _Axes(0, 3, 1, 2)), nn.Sequential(_Axes(0, 2, 3, 1), head)
    return features, head


def _holders(layer: str) -> list[str]:
    """Names of the modules that hold a layer, beginning with the whole."""
    parts = layer.split(".")
    return [".".join(parts[:k]) for k in range(len(parts))]


@torch.no_grad()
def _open_whole(module: nn.Module, name: str, layout: Layout, size: int, output: Any) -> tuple[nn.Module, nn.Module]:
    """As `open_tokens` the transformer of that name in a module (empty: the module itself), with all that follows in the module.

    Of several outputs without a choice the embedding is the family's own; else it must be what the module makes.
    """
    inner = module.get_submodule(name)
    parts = open_tokens(inner, size)
    assert parts is not None
    features, *heads = parts
    classifier = getattr(inner, layout.classifier or "none", None)
    if isinstance(classifier, nn.Module) and type(classifier) is not nn.Identity:
        heads.append(copy.deepcopy(classifier).eval())
    x = torch.rand(2, channels_of(inner, size), size, size, generator=torch.Generator().manual_seed(0)).to(next(inner.parameters()))
    want = copy.deepcopy(module).eval()(x)
    if not isinstance(want, Tensor) and output is None:
        return features, heads[0] if len(heads) == 1 else nn.Sequential(*heads)
    want = tensor_of(want, "the module", output)
    try:
        heads += [_behind(module, name, x, output)] if name else []
        head = heads[0] if len(heads) == 1 else nn.Sequential(*heads)
        got = head(features(x))
    except Exception as error:  # of what follows, which may want more than the family's embedding
        raise _not_all(module, name, layout, telling_line(error)) from error
    if got.shape != want.shape:
        raise _not_all(module, name, layout, f"its embedding is {tuple(got.shape)}, {type(module).__name__} gives {tuple(want.shape)}")
    if not same(got, want):
        raise _not_all(module, name, layout, f"its embedding is not what {type(module).__name__} gives")
    return features, head


def _behind(module: nn.Module, name: str, x: Tensor, output: Any) -> nn.Module:
    """What follows a submodule."""
    try:
        return cut(module, name)[1]
    except InputError as error:
        return _cut_by_running(module, name, tuple(x.shape[1:]), error, output)[1]


def _not_all(module: nn.Module, name: str, layout: Layout, why: str) -> InputError:
    within = f", or begin with PairModel.from_module of the module {name!r} alone, whose features_a and head_a are such" if name else ""
    error = not_opened(module.get_submodule(name), layout, why)
    return InputError(f"{error}{within}")


def _is_end(module: nn.Module, layout: Layout, layer: str) -> bool:
    """Whether a layer is the stage, holds it or stands behind it; where tokens are pooled by their mean, so of the last block."""
    stage = layout.stage or _last_block(module)
    if not stage:
        return False
    return f"{stage}.".startswith(f"{layer}.") or layer == "encoder.ln" or _follows(module, layer, stage)


def _last_block(module: nn.Module) -> str:
    stacks = (n for n, m in module.named_modules() if isinstance(m, nn.ModuleList | nn.Sequential) and n.rpartition(".")[2] in STACKS)
    stack = next(stacks, "")
    return stack and Layout.last_of(module, stack)


def _follows(module: nn.Module, layer: str, stage: str) -> bool:
    """Whether a module at the top is registered behind the one that holds the stage."""
    names, top = [name for name, _ in module.named_children()], stage.partition(".")[0]
    return layer in names and names.index(layer) > names.index(top)


class _Axes(nn.Module):
    """The axes of a tensor in another order."""

    def __init__(self, *order: int) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(self.order)


@torch.no_grad()
def _shapes(features: nn.Module, size: int, channels: int) -> list[tuple[int, ...]]:
    """Shapes of what features make of an image, and of one that is twice as wide where they take it."""
    own, shapes = next(features.parameters(), torch.zeros(())), []
    for width in (size, 2 * size):
        try:
            shapes.append(tuple(features(torch.zeros(1, channels, size, width).to(own)).shape))
        except Exception:  # it takes one size alone, or asks for something else, which is said where it is used
            break
    return shapes


def _is_channelslast_of(shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether shapes are (n, i, j, c): told by which axis grows with the width or, where only one size goes, by which two are alike."""
    if not shapes or len(shapes[0]) != 4:
        return False
    if len(shapes) == 2 and shapes[0] != shapes[1]:
        return shapes[0][2] != shapes[1][2] and shapes[0][3] == shapes[1][3]
    return shapes[0][1] == shapes[0][2] != shapes[0][3]


class _UpTo(nn.Module):
    """A module up to one of its layers, whatever its code: (n, c, h, w) to the layer's output."""

    def __init__(self, module: nn.Module, layer: str) -> None:
        super().__init__()
        self.module, self.layer = replaced(module, layer, nn.Sequential(module.get_submodule(layer), Gate())), layer

    def forward(self, x: Float[Tensor, "n c h w"]) -> Tensor:
        return until(lambda: self.module(x), f"layer {self.layer!r}")[0][0]


class _Hold(nn.Module):
    """Returns what it was told to, whatever it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.held: Tensor | None = None

    def forward(self, *args: Any, **kwargs: Any) -> Tensor | None:
        return self.held


class _From(nn.Module):
    """A module behind one of its layers: run on blank images, with the layer's output put in its place."""

    def __init__(self, module: nn.Module, layer: str, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.module, self.layer, self.shape = replaced(module, layer, _Hold()), layer, shape

    def forward(self, features: Tensor) -> Tensor:
        hold: Any = self.module.get_submodule(self.layer)
        hold.held = features
        try:
            return self.module(features.new_zeros(features.shape[0], *self.shape))
        finally:
            hold.held = None


def _cut_by_running(module: nn.Module, layer: str, shape: tuple[int, ...], error: InputError, output: Any) -> tuple[nn.Module, nn.Module]:
    """`shape` is that of an image (c, h, w)."""
    module = copy.deepcopy(module).eval()
    features, head = _UpTo(module, layer), _From(module, layer, shape)
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)).to(next(module.parameters()))
    with torch.no_grad():
        try:
            want, got = (tensor_of(made, "the module", output) for made in (module(x), head(features(x))))
        except InputError:
            raise
        except Exception:  # its own code refuses what stands in for the layer
            raise error from None
    if not same(got, want):
        raise InputError(f"expected a layer that all data passes through, got {layer!r}, which something bypasses")
    return features, head

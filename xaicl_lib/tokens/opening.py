"""A vision transformer as features and head: the map of what each patch gives, and the rest of the network."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from xaicl_lib.errors import InputError
from xaicl_lib.layers import channels_of
from xaicl_lib.tokens.layouts import Layout, layout_of

_alone: ContextVar[bool] = ContextVar("alone", default=False)
Answer = Callable[[Tensor, Tensor, Tensor, Tensor | None, float], Tensor]  # query, key, value, mask, scale -> (n, heads, t, d)


def open_tokens(network: nn.Module, size: int) -> tuple[nn.Module, nn.Module] | None:
    """Features and head of a vision transformer, None for a network of no known family.

    Args:
        network: of timm, torchvision, open_clip (an image tower) or transformers; it stays as it is.
        size: side in pixels of the images that it is made for.

    Raises:
        InputError: a network of a known family whose embedding does not come out the same when it is opened.
    """
    if (layout := layout_of(network)) is None:
        return None
    network = copy.deepcopy(network).eval().requires_grad_(False)
    channels = channels_of(network, size)
    x = torch.rand(2, channels, size, size, generator=torch.Generator().manual_seed(0)).to(next(network.parameters()))
    with torch.no_grad():
        try:
            want = layout.embed(network, x)
            features, head = _opened(network, layout, x)
            got = head(features(x))
        except InputError:
            raise
        except Exception as error:  # whatever a network raises that is not built as its family is
            raise not_opened(network, layout, f"{type(error).__name__}: {str(error).strip().split(chr(10))[0]}") from error
    if not same(got, want):
        raise not_opened(network, layout, "its embedding does not come out the same")
    return features, head


def same(got: Tensor, want: Tensor) -> bool:
    """Whether two ways make the same embeddings, up to what their type can tell apart."""
    near = max(1e-3, 4 * torch.finfo(want.dtype).eps) * float(want.abs().max())
    return got.shape == want.shape and torch.allclose(got.to(want.dtype), want, rtol=0, atol=near)


def not_opened(network: nn.Module, layout: Layout, why: str) -> InputError:
    """The error for a network of a known family that is not built as its family is."""
    return InputError(
        f"expected a vision transformer as {layout.family} builds them, whose last attention can be opened, got "
        f"{type(network).__name__} ({why}); give PairModel features= that end with a map and head= that begins with it"
    )


def _opened(network: nn.Module, layout: Layout, x: Tensor) -> tuple[nn.Module, nn.Module]:
    if not layout.stage:
        name = layout.norm_of_mean(network)
        norm: Any = network.get_submodule(name) if name else None
        if norm is not None:
            network.set_submodule(name, nn.Identity())
        return _TokenMap(network, norm, layout), _PooledTokens(_end(network, layout, layout.tokens(network, x)), norm, layout)
    stage = network.get_submodule(layout.stage)
    network.set_submodule(layout.stage, Gate())
    features = PatchShares(network, stage, layout)
    return features, _FromShares(stage, features.replay(x), layout, network)


ATTENTION = (
    "F.scaled_dot_product_attention or nn.MultiheadAttention in its last block (attn_implementation='sdpa' in transformers, "
    "fused attention in timm)"
)


class _Reached(Exception):
    """A forward pass has come to where it was to stop."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self.given, self.named = args, kwargs


class Gate(nn.Module):
    """Stands where a network is to stop."""

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        raise _Reached(*args, **kwargs)


def until(run: Callable[[], object], what: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What the module or function is given at which a forward pass stops."""
    try:
        run()
    except _Reached as reached:
        return reached.given, reached.named
    raise InputError(f"expected a forward pass that comes to {what}, got one that does not")


class Attention(TorchFunctionMode):
    """In its scope attention is answered by a function, whether it is called by itself or in PyTorch's own attention module."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention:
            return self._scaled(*args, **(kwargs or {}))
        if func is F.multi_head_attention_forward:
            return self._multi_head(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _scaled(
        self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *_: Any, scale: float | None = None, **__: Any
    ) -> Tensor:
        return self.answer(query, key, value, attn_mask, query.shape[-1] ** -0.5 if scale is None else scale)

    def _multi_head(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        width: int,
        heads: int,
        w: Tensor | None,
        b: Tensor | None,
        *rest: Any,
        **named: Any,
    ) -> tuple[Tensor, None]:
        """Tokens first, as `torch.nn.functional.multi_head_attention_forward` has them: (t, n, c)."""
        own = [named[f"{name}_proj_weight"] for name in "qkv"] if w is None else w.chunk(3)  # one by one where their widths differ
        biases = (None, None, None) if b is None else b.chunk(3)
        q, k, v = (affine(x, weight, bias) for x, weight, bias in zip((query, key, value), own, biases, strict=True))
        q, k, v = (x.unflatten(2, (heads, -1)).permute(1, 2, 0, 3) for x in (q, k, v))  # (n, heads, t, d)
        answer = self.answer(q, k, v, named.get("attn_mask"), q.shape[-1] ** -0.5)
        return affine(answer.permute(2, 0, 1, 3).flatten(2), rest[4], rest[5]), None


def affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A linear layer of tokens whose bias is added by itself: else torch, where it is differentiated, takes a batch for a fixed number."""
    return F.linear(x, weight) if bias is None else F.linear(x, weight) + bias


def weights_of(q: Tensor, k: Tensor, mask: Tensor | None, scale: float) -> Float[Tensor, "n heads t u"]:
    """What softmax makes of the products of queries and keys."""
    products = q @ k.mT * scale
    if mask is not None:
        products = products.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else products + mask
    return products.softmax(-1)


def grid_of(count: int, x: Tensor) -> tuple[int, int] | None:
    """Rows and columns of that many patches of images of this shape; None if they fill none, or may as well lie otherwise.

    Squares side by side fill one grid alone, whatever their side: as it grows rows and columns get fewer. Of patches that overlap, or reach
    beyond the image, it is the grid of the image's own proportions.
    """
    if count < 1:
        return None
    h, w = x.shape[2:]
    side = max(1, math.isqrt(h * w // count))
    while side > 1 and (h // side) * (w // side) < count:
        side -= 1
    if (h // side) * (w // side) == count:
        return h // side, w // side
    rows = (count * h / w) ** 0.5
    near = [i for i in {math.floor(rows), math.ceil(rows)} if i and count % i == 0]
    return (near[0], count // near[0]) if near == [round(rows)] else None


class _TokenMap(nn.Module):
    """The patch tokens behind the last block as a map, for a network that pools them by their mean: (n, c, h, w) to (n, c, i, j).

    A layer norm of the mean is linear in the tokens but for the deviation that it divides by, which is taken as the image's own: what is
    in the map is normed already, and the norm's bias is left for the head.
    """

    def __init__(self, network: nn.Module, norm: nn.LayerNorm | None, layout: Layout) -> None:
        super().__init__()
        self.network, self.norm, self.layout = network, norm, layout

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c i j"]:
        with _said(x):
            tokens = self.layout.tokens(self.network, x)[:, self.layout.prefix :]
        if self.norm is not None:
            deviation = (tokens.mean(1, keepdim=True).var(2, correction=0, keepdim=True) + self.norm.eps).sqrt()
            tokens = (tokens - tokens.mean(2, keepdim=True)) / deviation * self.norm.weight
        return tokens.mT.unflatten(2, grid_of(tokens.shape[1], x) or (1, -1))


class _PooledTokens(nn.Module):
    """The end of a network that pools its patch tokens: (n, c, i, j) to (n, d). Where tokens of the prefix stood there are zeros."""

    def __init__(self, end: nn.Module, norm: nn.LayerNorm | None, layout: Layout) -> None:
        super().__init__()
        self.end, self.norm, self.layout = end, norm, layout

    def forward(self, features: Float[Tensor, "n c i j"]) -> Float[Tensor, "n d"]:
        tokens = features.flatten(2).mT
        tokens = tokens if self.norm is None else tokens + self.norm.bias
        return self.layout.finish(self.end, F.pad(tokens, (0, 0, self.layout.prefix, 0)))


class PatchShares(nn.Module):
    """What each patch gives the tokens that are read, in the last attention, and packed behind it what no patch gives.

    (n, c, h, w) to (n, c + k, i, j): the first c channels are weight times value of a patch, head by head, for each token that is read; the
    last k hold the sum of the same over class and register tokens, and the tokens before the block, as `_pack` spreads them.
    """

    def __init__(self, network: nn.Module, stage: nn.Module, layout: Layout) -> None:
        super().__init__()
        self.network, self.stage, self.layout = network, stage, layout
        self.is_pool = layout.stage.endswith(("attn_pool", "head"))  # what reads is no token of its own

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n e i j"]:
        given, named = self._reach(x)
        (q, k, v, mask, scale), _ = self._attend(given, named)
        reads = self.layout.reads
        weights = weights_of(q[:, :, :reads], k, mask if mask is None or mask.shape[-2] == 1 else mask[..., :reads, :], scale)
        shares = (weights.unsqueeze(4) * v.unsqueeze(2)).permute(0, 2, 1, 4, 3).flatten(1, 3)  # (n, c, t): of each token
        grid, prefix = self._cells(shares.shape[2], x)
        rest = torch.cat([shares[..., :prefix].sum(2), given[self.layout.at][:, :reads].flatten(1)], 1)
        if rest.dtype.itemsize < 4:  # which cannot hold numbers so small
            shares, rest = shares.float(), rest.float()
        return torch.cat([shares[..., prefix:].unflatten(2, grid), _pack(rest, grid)], 1)

    def _cells(self, count: int, x: Tensor) -> tuple[tuple[int, int], int]:
        """The grid of patches, and how many of the tokens come before them."""
        for prefix in (self.layout.prefix, 0):  # an attention pool may leave them out
            if grid := grid_of(count - prefix, x):
                return grid, prefix
        raise InputError(f"expected patches that fill one grid, got {count - self.layout.prefix} for images of {tuple(x.shape[2:])} pixels")

    def _reach(self, x: Tensor) -> tuple[tuple[Any, ...], dict[str, Any]]:
        with _said(x):
            return until(lambda: self.layout.embed(self.network, x), "its last block")

    def _attend(self, given: Sequence[Any], named: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        def stop(*args: Any) -> Tensor:
            raise _Reached(*args)

        def run() -> None:
            with Attention(stop):
                self.stage(*given, **named)

        return until(run, ATTENTION)

    def replay(self, x: Tensor) -> dict[str, Any]:
        """What `_FromShares` must know to run the stage for the tokens that are read alone: numbers, and arguments without the others."""
        given, named = self._reach(x)
        (_, k, v, *_), _ = self._attend(given, named)
        _, prefix = self._cells(k.shape[2], x)
        patches, tokens = k.shape[2] - prefix, {k.shape[2], given[self.layout.at].shape[1]}
        width = given[self.layout.at].shape[2]

        def spare(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(map(spare, value))
            if not isinstance(value, Tensor):
                return value
            of_patches = next((k for k, s in enumerate(value.shape) if s == patches), None)
            return torch.empty([0 if k == of_patches else self.layout.reads if s in tokens else s for k, s in enumerate(value.shape)])

        args = [spare(value) for value in given]
        kept = {name: spare(value) for name, value in named.items()}
        return {"heads": v.shape[1], "depth": v.shape[3], "width": width, "args": args, "named": kept}


class _FromShares(nn.Module):
    """The tokens that are read from what each token gave them, through the rest of the network: (n, c + k, i, j) to (n, d).

    The stage runs on these tokens alone, with the sum of the shares in place of its attention's answer: all else in it works token by
    token.
    """

    takes_single = True  # precision, whatever its own is

    def __init__(self, stage: nn.Module, replay: dict[str, Any], layout: Layout, network: nn.Module) -> None:
        super().__init__()
        self.stage, self.replay, self.layout = stage, replay, layout
        c = layout.reads * replay["heads"] * replay["depth"]
        self.sizes = (c, layout.reads * replay["width"])
        tokens = torch.zeros(1, c + sum(self.sizes) + 1, 1, 1).to(next(stage.parameters()))
        self.end = network
        self.end = _end(network, layout, self._tokens(tokens))

    def forward(self, features: Float[Tensor, "n e i j"]) -> Float[Tensor, "n d"]:
        return self.layout.finish(self.end, self._tokens(features))

    def _tokens(self, features: Float[Tensor, "n e i j"]) -> Float[Tensor, "n t c"]:
        c, width = self.sizes
        reads, heads = self.layout.reads, self.replay["heads"]
        kept, own = _unpack(features[:, c:]).split((c, width), 1)
        own = own.to(next(self.stage.parameters()).dtype)
        answer = (features[:, :c].sum((2, 3)) + kept).to(own).unflatten(1, (reads, heads, -1)).transpose(1, 2)  # (n, heads, reads, d)
        args = [self._like(value, own) for value in self.replay["args"]]
        args[self.layout.at] = own.unflatten(1, (reads, -1))
        with Attention(lambda *_: answer):
            out = self.stage(*args, **{name: self._like(value, own) for name, value in self.replay["named"].items()})
        return out[0] if isinstance(out, tuple) else out

    def _like(self, value: Any, own: Tensor) -> Any:
        """An argument that only its shape matters of, on the right device and for as many images."""
        if isinstance(value, tuple):
            return tuple(self._like(item, own) for item in value)
        if not isinstance(value, Tensor):
            return value
        n = own.shape[0]  # not len(), which is a number even where the batch is to stay unknown
        shape = [n if k == 0 and value.ndim == 3 else s for k, s in enumerate(value.shape)]
        return torch.zeros(shape, dtype=own.dtype, device=own.device)


def _pack(rest: Float[Tensor, "n e"], grid: tuple[int, int]) -> Float[Tensor, "n e+1 i j"]:
    """Numbers as channels of a map, the same in all cells, for the head alone: so small, by a power of two, that no sum feels them.

    The last one is a one, by which `_unpack` divides: a map that was scaled, or whose cells were summed, holds the same numbers still.
    """
    numbers = torch.cat([rest, torch.ones_like(rest[:, :1])], 1) * _small(rest.dtype)
    return numbers[..., None, None].expand(*numbers.shape, *grid)


@contextmanager
def patches_alone() -> Iterator[None]:
    """In its scope heads take what no patch gives for constant, so that derivatives with respect to a map are those of its patches.

    Beyond it gradients pass: those of an embedding with respect to an image go through class and register tokens, too.
    """
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


def _unpack(channels: Float[Tensor, "n e+1 i j"]) -> Float[Tensor, "n e"]:
    """What was packed; zeros if the map is."""
    numbers = (channels.detach() if _alone.get() else channels).sum((2, 3))
    one = numbers[:, -1:]
    return numbers[:, :-1] / torch.where(one == 0, 1, one)


def _small(dtype: torch.dtype) -> float:
    return 2.0 ** (math.frexp(torch.finfo(dtype).tiny)[1] // 4)


def _end(network: nn.Module, layout: Layout, tokens: Tensor) -> nn.Module:
    """The network without the modules that `layout.finish` does not use."""
    used: set[nn.Module] = set()
    hooks = [m.register_forward_pre_hook(lambda module, given: used.add(module)) for m in network.modules()]
    try:
        layout.finish(network, tokens)
    finally:
        for hook in hooks:
            hook.remove()
    return _only(network, used)


def replaced(module: nn.Module, path: str, new: nn.Module) -> nn.Module:
    """A shallow copy that holds another module under a name; all others are shared."""
    if not path:
        return new
    own, (name, _, rest) = copy.copy(module), path.partition(".")
    own._modules = {**module._modules, name: replaced(module.get_submodule(name), rest, new)}
    return own


def _only(network: nn.Module, used: set[nn.Module]) -> nn.Module:
    """A shallow copy that holds of the modules below only those that were used, or that hold one."""
    own = copy.copy(network)
    own._modules = {
        name: child if child is None or child in used else _only(child, used)
        for name, child in network._modules.items()
        if child is None or used & set(child.modules())
    }
    return own


@contextmanager
def _said(x: Tensor) -> Iterator[None]:
    """What networks say of images of a size that they cannot take, as one line."""
    try:
        yield
    except (AssertionError, RuntimeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise InputError(f"expected images of a size that the network takes, got {tuple(x.shape[2:])} pixels: {reason}") from error

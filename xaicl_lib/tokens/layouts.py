"""How the networks of each library make an embedding of tokens: a row per family, read from the network's own attributes."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Layout(ABC):
    """How a network makes its embedding of tokens: a row of the table."""

    stage: str  # name of the module whose attention gathers last; empty if the embedding is a mean of patch tokens
    prefix: int = 1  # tokens before those of patches: class token, registers
    reads: int = 1  # tokens that are read of what the stage returns: 1, or 2 with a distillation token
    at: int = 0  # which argument of the stage holds the tokens that are read
    family: str = ""  # for messages
    classifier: str = ""  # name of a module behind the embedding; empty if there is none

    @abstractmethod
    def embed(self, net: Any, x: Tensor) -> Tensor:
        """The network's own embeddings (n, d)."""

    @abstractmethod
    def tokens(self, net: Any, x: Tensor) -> Tensor:
        """All tokens that `finish` reads, where there is no stage."""

    @abstractmethod
    def finish(self, net: Any, tokens: Tensor) -> Tensor:
        """Embeddings (n, d) of what the stage returns or, without one, of `tokens`."""

    @staticmethod
    def last_of(net: nn.Module, stack: str) -> str:
        """Name of the last module of a stack."""
        return f"{stack}.{list(net.get_submodule(stack).named_children())[-1][0]}"

    def norm_of_mean(self, net: Any) -> str:
        """Name of the layer norm that the mean of patch tokens goes through; empty if there is none."""
        return ""


@dataclass(frozen=True)
class _Timm(Layout):
    """Of timm: blocks, a norm, and a head that pools by `global_pool` or `attn_pool`."""

    family: str = "timm"
    classifier: str = "head"

    @staticmethod
    def of(net: Any) -> "_Timm | None":
        if not (callable(getattr(net, "forward_head", None)) and callable(getattr(net, "forward_features", None))):
            return None
        prefix, pool = int(getattr(net, "num_prefix_tokens", 0)), getattr(net, "global_pool", "")
        if getattr(net, "attn_pool", None) is not None:
            return _Timm("attn_pool", prefix)
        if isinstance(getattr(net, "blocks_token_only", None), nn.ModuleList):  # CaiT, whose class token comes in at the end
            return _Timm(Layout.last_of(net, "blocks_token_only"), 1, at=1)
        if isinstance(getattr(net, "transformers", None), nn.Module) and hasattr(net, "cls_token"):  # PiT, in stages of fewer tokens
            reads = net.cls_token.shape[1]
            return _Timm(Layout.last_of(net, f"{Layout.last_of(net, 'transformers')}.blocks"), reads, reads=reads)
        if not isinstance(getattr(net, "blocks", None), nn.Sequential | nn.ModuleList) or pool not in ("token", "avg"):
            return None
        if pool == "avg":
            return _Timm("", prefix)
        return _Timm(Layout.last_of(net, "blocks"), prefix, reads=2 if hasattr(net, "dist_token") else 1) if prefix else None

    def embed(self, net: Any, x: Tensor) -> Tensor:
        return net.forward_head(net.forward_features(x), pre_logits=True)

    def tokens(self, net: Any, x: Tensor) -> Tensor:
        return net.forward_features(x)

    def finish(self, net: Any, tokens: Tensor) -> Tensor:
        if self.stage == "attn_pool":
            return net.fc_norm(tokens) if hasattr(net, "fc_norm") else tokens
        return net.forward_head(net.norm(tokens) if self.stage else tokens, pre_logits=True)

    def norm_of_mean(self, net: Any) -> str:
        return "fc_norm" if type(getattr(net, "fc_norm", None)).__name__ == "LayerNorm" else ""


@dataclass(frozen=True)
class _Torchvision(Layout):
    """Of torchvision: `encoder.layers`, `encoder.ln`, a class token."""

    family: str = "torchvision"
    classifier: str = "heads"

    @staticmethod
    def of(net: Any) -> "_Torchvision | None":
        ours = hasattr(net, "class_token") and hasattr(net, "_process_input") and hasattr(getattr(net, "encoder", None), "layers")
        return _Torchvision(Layout.last_of(net, "encoder.layers")) if ours else None

    def embed(self, net: Any, x: Tensor) -> Tensor:
        return self.tokens(net, x)[:, 0]

    def tokens(self, net: Any, x: Tensor) -> Tensor:
        return net.encoder(torch.cat([net.class_token.expand(x.shape[0], -1, -1), net._process_input(x)], 1))

    def finish(self, net: Any, tokens: Tensor) -> Tensor:
        return net.encoder.ln(tokens)[:, 0]


@dataclass(frozen=True)
class _OpenClip(Layout):
    """Image towers of open_clip's own: `transformer.resblocks`, pooled by `pool_type` or `attn_pool`, then projected."""

    family: str = "open_clip"

    @staticmethod
    def of(net: Any) -> "_OpenClip | None":
        if not hasattr(getattr(net, "transformer", None), "resblocks") or not hasattr(net, "_embeds"):
            return None
        if net.attn_pool is not None:
            return None if net.attn_pool_contrastive is not None else _OpenClip("attn_pool")
        return _OpenClip("" if net.pool_type == "avg" else Layout.last_of(net, "transformer.resblocks"))

    def embed(self, net: Any, x: Tensor) -> Tensor:
        return _project(net, net._pool(self.tokens(net, x))[0])

    def tokens(self, net: Any, x: Tensor) -> Tensor:
        return net.transformer(net._embeds(x))

    def finish(self, net: Any, tokens: Tensor) -> Tensor:
        if self.stage == "attn_pool":
            return _project(net, net._global_pool(net.ln_post(tokens))[0])
        return _project(net, net._pool(tokens)[0])

    def norm_of_mean(self, net: Any) -> str:
        return "ln_post" if net.final_ln_after_pool and isinstance(net.ln_post, nn.LayerNorm) else ""


def _project(net: Any, token: Tensor) -> Tensor:
    return token if net.proj is None else token @ net.proj


@dataclass(frozen=True, kw_only=True)
class _Trunk(Layout):
    """Image towers that open_clip takes from timm: `trunk`, then `head`."""

    inner: _Timm
    family: str = "open_clip"

    @staticmethod
    def of(net: Any) -> "_Trunk | None":
        inner = _Timm.of(net.trunk) if hasattr(net, "trunk") and hasattr(net, "head") else None
        if inner is None:
            return None
        return _Trunk(inner.stage and f"trunk.{inner.stage}", inner.prefix, inner.reads, inner.at, inner=inner)

    def embed(self, net: Any, x: Tensor) -> Tensor:
        return net(x)

    def tokens(self, net: Any, x: Tensor) -> Tensor:
        return self.inner.tokens(net.trunk, x)

    def finish(self, net: Any, tokens: Tensor) -> Tensor:
        return net.head(self.inner.finish(net.trunk, tokens))

    def norm_of_mean(self, net: Any) -> str:
        name = self.inner.norm_of_mean(net.trunk)
        return name and f"trunk.{name}"


@dataclass(frozen=True, kw_only=True)
class _Transformers(Layout):
    """Of transformers: a list of blocks, a norm, and a class token, an attention pool (`head.probe`) or a mean."""

    within: str  # name of the module that holds the blocks' stack and the norm; empty for the model itself
    norm: str
    kind: str  # of pooling: "class", "probe", "mean", "pooler" for a mean in a module of its own

    NORMS = ("layernorm", "post_layernorm", "layer_norm", "norm")
    STACKS = ("layer", "layers")

    @staticmethod
    def of(net: Any) -> "_Transformers | None":
        config = getattr(net, "config", None)
        if not hasattr(config, "model_type") or not hasattr(net, "main_input_name"):
            return None
        within = "vision_model" if isinstance(getattr(net, "vision_model", None), nn.Module) else ""
        inner = net.get_submodule(within)
        stacks = (n for n, m in inner.named_modules() if isinstance(m, nn.ModuleList) and n.rpartition(".")[2] in _Transformers.STACKS)
        norm = next((n for n in _Transformers.NORMS if isinstance(getattr(inner, n, None), nn.Module)), "")
        if not (stack := next(stacks, "")) or not norm or not hasattr(inner.config, "num_attention_heads"):
            return None
        own = {name.rpartition(".")[2] for name, _ in inner.named_parameters()}
        registers = int(getattr(inner.config, "num_register_tokens", 0) or 0)
        prefix = len(own & {"cls_token", "class_embedding"}) + len(own & {"distillation_token"}) + registers
        begin, kind = within and f"{within}.", "class"
        if hasattr(getattr(inner, "head", None), "probe"):
            kind, stage = "probe", f"{begin}head"
        elif getattr(inner.config, "use_mean_pooling", False) and isinstance(getattr(inner, "pooler", None), nn.Module):
            kind, stage = "pooler", ""
        else:
            kind, stage = ("class", f"{begin}{Layout.last_of(inner, stack)}") if prefix else ("mean", "")
        return _Transformers(stage, prefix, within=within, norm=norm, kind=kind, family=f"transformers ({inner.config.model_type})")

    def embed(self, net: Any, x: Tensor) -> Tensor:
        hidden = self.tokens(net, x)
        behind = self.kind == "class" and self.norm == "post_layernorm"  # CLIP's hidden state is not normed, only what is pooled
        return self.finish(net, hidden) if behind or self.kind != "class" else _visual(net, hidden[:, 0])

    def tokens(self, net: Any, x: Tensor) -> Tensor:
        inner = net.get_submodule(self.within)
        able = "interpolate_pos_encoding" in inspect.signature(type(inner).forward).parameters
        size = getattr(inner.config, "image_size", None)
        other = able and isinstance(size, int) and tuple(x.shape[2:]) != (size, size)
        return inner(pixel_values=x, **({"interpolate_pos_encoding": True} if other else {})).last_hidden_state

    def finish(self, net: Any, tokens: Tensor) -> Tensor:
        if self.kind == "probe" and tokens.ndim == 2:  # what the pool returns
            return tokens
        inner = net.get_submodule(self.within)
        if self.kind == "class":
            return _visual(net, getattr(inner, self.norm)(tokens)[:, 0])
        if self.kind == "probe":
            return inner.head(tokens)
        return inner.pooler(tokens) if self.kind == "pooler" else tokens[:, self.prefix :].mean(1)

    def norm_of_mean(self, net: Any) -> str:
        return "pooler.layernorm" if isinstance(getattr(getattr(net, "pooler", None), "layernorm", None), nn.LayerNorm) else ""


def _visual(net: Any, token: Tensor) -> Tensor:
    return net.visual_projection(token) if hasattr(net, "visual_projection") else token


@dataclass(frozen=True)
class _Registers(Layout):
    """Of this library: `blocks`, `norm`, a class token and registers."""

    family: str = "xaicl_lib"

    @staticmethod
    def of(net: Any) -> "_Registers | None":
        ours = isinstance(getattr(net, "registers", None), nn.Parameter) and hasattr(net, "class_token") and hasattr(net, "patches")
        return _Registers(Layout.last_of(net, "blocks"), 1 + net.registers.shape[1]) if ours else None

    def embed(self, net: Any, x: Tensor) -> Tensor:
        return net(x)

    def tokens(self, net: Any, x: Tensor) -> Tensor:
        raise NotImplementedError("it has a stage")

    def finish(self, net: Any, tokens: Tensor) -> Tensor:
        return net.norm(tokens)[:, 0]


FAMILIES = (_Timm, _Torchvision, _OpenClip, _Trunk, _Transformers, _Registers)


def layout_of(network: nn.Module) -> Layout | None:
    """The row of a network, None if it is of no family that is known here."""
    rows: list[Callable[[Any], Layout | None]] = [family.of for family in FAMILIES]
    return next((layout for of in rows if (layout := of(network)) is not None), None)

"""Image-text models of the open_clip package (extra `clip`): `open_clip/ViT-B-32/laion2b_s34b_b79k`, or your own instance.

Vision transformers, open_clip's own and those that it takes from timm (SigLIP), are opened by `xaicl_lib.tokens`: class token, attention
pool or mean. Similarity is the cosine; the temperature and, of sigmoid models, the bias of their logits change no map.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from xaicl_lib.checkpoints.torch_file import fill_from, shorten
from xaicl_lib.errors import InputError, needing
from xaicl_lib.model import PairModel, resolve_device
from xaicl_lib.tokens import open_tokens
from xaicl_lib.zoo.backbones import fetched


class _ConvolutionMap(nn.Module):
    """The last map of CLIP's ResNets, before their attention pool."""

    def __init__(self, visual: Any) -> None:
        super().__init__()
        self.visual: Any = visual

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c i j"]:
        x = self.visual.stem(x)
        for stage in (self.visual.layer1, self.visual.layer2, self.visual.layer3, self.visual.layer4):
            x = stage(x)
        return x


class _TextSide(nn.Module):
    """Texts to embeddings, by the model's own tokenizer."""

    def __init__(self, network: Any, tokenizer: Callable[[list[str]], Tensor]) -> None:
        super().__init__()
        self.network: Any = network
        self.tokenizer = tokenizer

    def forward(self, texts: list[str]) -> Float[Tensor, "n d"]:
        return self.encode(self.read(texts))

    def read(self, texts: list[str]) -> Int[Tensor, "n t"]:
        """Texts as numbers of tokens, on the network's device."""
        return self.tokenizer(texts).to(next(self.network.parameters()).device)

    def encode(self, tokens: Int[Tensor, "n t"]) -> Float[Tensor, "n d"]:
        """Tokens to embeddings."""
        return self.network.encode_text(tokens)


def _from_open_clip(network: Any, tokenizer: Callable[[list[str]], Tensor], *, name: str = "open_clip", **facts: Any) -> PairModel:
    """A model made by open_clip, with its text side. Facts are `size`, `mean` and `std`, instead of those that the network brings."""
    visual = network.visual
    found = getattr(visual, "image_size", None) or visual.trunk.pretrained_cfg["input_size"][-1]
    size = found[0] if isinstance(found, tuple) else found
    parts = (_ConvolutionMap(visual), visual.attnpool) if hasattr(visual, "attnpool") else open_tokens(visual, size)
    if parts is None:
        raise InputError(f"expected a vision transformer that can be opened or a ResNet of CLIP, got {type(visual).__name__}")
    own = {"size": size, "mean": getattr(visual, "image_mean", None), "std": getattr(visual, "image_std", None)}
    own["interpolation"] = getattr(visual, "preprocess_cfg", {}).get("interpolation", "bicubic")
    given = {key: value for key, value in {**own, **facts}.items() if value is not None}
    network.visual = nn.Identity()  # so that the text side does not hold the images' as well
    try:
        return PairModel(*parts, text=_TextSide(network, tokenizer), name=name, **given)
    finally:
        network.visual = visual


def load_open_clip(name: str, device: str | torch.device = "auto", *, file: str | os.PathLike[str] | None = None) -> PairModel:
    """An image-text model by its names in open_clip.

    Args:
        name: `open_clip/MODEL/WEIGHTS`, both as `open_clip.list_pretrained()` has them, which downloads the weights; or with `file`
            `open_clip/MODEL` for weights of your own, which images are brought to as OpenAI's were.
        device: as for `load_model`.
        file: a state dict, instead of a download.

    Raises:
        InputError: package not installed, unknown names, no network, or a file that does not fit.
    """
    with needing("expected open_clip for open_clip/..., got none; pip install open_clip_torch, or xaicl_lib[clip]"):
        import open_clip
    target, (_, own, tag) = resolve_device(device), (*name.split("/"), "")[:3]
    if own not in open_clip.list_models():
        raise InputError(f"unknown model 'open_clip/{own}'; there are: {shorten(open_clip.list_models())}")
    tags = open_clip.list_pretrained_tags_by_model(own)
    if file is None and tag not in tags:
        raise InputError(
            f"unknown weights {tag!r} of 'open_clip/{own}'; there are: {shorten(tags)}; or give file= with weights of your own"
        )
    network = fetched(name, lambda: open_clip.create_model(own, pretrained=None if file else tag).eval())
    tokenizer = fetched(name, lambda: open_clip.get_tokenizer(own))
    if file is not None:
        fill_from(Path(file), network, name)
    seen = (open_clip.get_pretrained_cfg(own, tag) if tag in tags else {}) or {}
    return _from_open_clip(network, tokenizer, name=name, **{key: seen.get(key) for key in ("mean", "std", "interpolation")}).to(target)

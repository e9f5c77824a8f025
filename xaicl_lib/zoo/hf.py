"""Models of the transformers package (extra `hf`): `hf/facebook/dinov2-small`, `hf/google/siglip2-base-patch16-224`.

Vision transformers are opened by `xaicl_lib.tokens`: the embedding is the class token behind the last norm, projected where the model
projects it, or the model's own pool. Networks whose last hidden state is a map, or tokens that are averaged, are mean-pooled. Models with a
text tower have their text side. Size, mean, deviation and filter are those of the model's processor.
"""

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from xaicl_lib.checkpoints.torch_file import shorten
from xaicl_lib.errors import InputError, needing
from xaicl_lib.layers import channels_of
from xaicl_lib.model import MeanPool, PairModel, resolve_device
from xaicl_lib.notes import note
from xaicl_lib.tokens import grid_of, open_tokens
from xaicl_lib.wrapping import interpolation_of
from xaicl_lib.zoo.backbones import fetched

UNUSED = ("pooler.", "text_model.embeddings.position_ids")  # weights that may be missing, for nothing here depends on them


class _HiddenMap(nn.Module):
    """The last hidden state as a map; of tokens in the order of their patches."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network: Any = network

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c i j"]:
        hidden = self.network(pixel_values=x).last_hidden_state
        return hidden if hidden.ndim == 4 else hidden.mT.unflatten(2, grid_of(hidden.shape[1], x) or (1, -1))


class _TextSide(nn.Module):
    """Texts to embeddings, by the model's own tokenizer."""

    def __init__(self, network: Any, tokenizer: Any) -> None:
        super().__init__()
        self.network: Any = network
        self.tokenizer = tokenizer

    def forward(self, texts: list[str]) -> Float[Tensor, "n d"]:
        return self.encode(self.read(texts))

    def read(self, texts: list[str]) -> Int[Tensor, "n t"]:
        """Texts as numbers of tokens, on the network's device."""
        config = self.network.config
        length = getattr(config.text_config, "max_position_embeddings", None)
        padding = "max_length" if config.model_type.startswith("siglip") else True  # SigLIP was trained with all places filled
        given = self.tokenizer(texts, padding=padding, truncation=True, max_length=length, return_tensors="pt")
        return given["input_ids"].to(next(self.network.parameters()).device)

    def encode(self, tokens: Int[Tensor, "n t"]) -> Float[Tensor, "n d"]:
        """Tokens to embeddings; SigLIP reads all places."""
        masked = {} if self.network.config.model_type.startswith("siglip") else {"attention_mask": self._there(tokens)}
        made = self.network.get_text_features(input_ids=tokens, **masked)
        return made if isinstance(made, Tensor) else made.pooler_output

    def _there(self, tokens: Int[Tensor, "n t"]) -> Int[Tensor, "n t"]:
        """1 where a token is no padding. Where ends are padding, too, the one behind the text is its end."""
        there = (tokens != self.tokenizer.pad_token_id).long()
        if self.tokenizer.pad_token_id == self.tokenizer.eos_token_id:
            there[:, 1:] |= there[:, :-1].clone()
        return there


def load_hf(name: str, device: str | torch.device = "auto", *, file: str | os.PathLike[str] | None = None) -> PairModel:
    """A model of the transformers package by its name on the hub, or from a folder.

    Args:
        name: `hf/OWNER/MODEL`.
        device: as for `load_model`.
        file: a folder that `save_pretrained` wrote, or that was fetched from the hub, with configuration, weights and processor.

    Raises:
        InputError: package not installed, no network, an incomplete folder, weights that are missing, or a model that makes no embedding of
            an image that can be opened.
    """
    with needing("expected transformers for hf/..., got none; pip install transformers, or xaicl_lib[hf]"):
        import transformers
    if file is not None and not Path(file).is_dir():
        raise InputError(f"expected a folder with config.json and weights for file=, got {str(file)!r}, which is none")
    target, source = resolve_device(device), name.removeprefix("hf/") if file is None else os.fspath(file)
    local = {"local_files_only": file is not None}
    kind = "FOLDER" if file is None else ""
    network, said = fetched(name, lambda: transformers.AutoModel.from_pretrained(source, output_loading_info=True, **local), file=kind)
    if missing := [key for key in said["missing_keys"] if not key.startswith(UNUSED)]:
        raise InputError(f"expected all weights of {name}, got none for {shorten(sorted(missing))}")
    if aside := [key for key in said["unexpected_keys"] if "projection" in key]:
        note(f"weights of {name} that its base model has no place for are left aside: {shorten(sorted(aside))}")
    facts = _of_processor(name, fetched(name, lambda: _processor(source, local), file=kind))
    text = _text_side(network.eval(), source, local) if hasattr(network, "get_text_features") else None
    features, head = open_tokens(network, facts["size"]) or _mapped(network, name, facts["size"])
    return PairModel(features, head, text=text, name=name, **facts).to(target)


def _processor(source: str, local: dict[str, bool]) -> dict[str, Any]:
    from transformers.image_processing_base import ImageProcessingMixin

    return ImageProcessingMixin.get_image_processor_dict(source, **local)[0]


def _of_processor(name: str, processor: Mapping[str, Any]) -> dict[str, Any]:
    """Size, mean, deviation and filter as a processor's configuration has them."""
    cropped = processor.get("do_center_crop") and processor.get("crop_size")
    size = cropped or processor.get("size")
    if isinstance(size, Mapping):
        size = size.get("height") or size.get("shortest_edge")
    if not isinstance(size, int):
        raise InputError(f"expected a processor of {name} that says the size of images, got {dict(processor).get('size')!r}")
    scale = processor.get("rescale_factor", 1 / 255) if processor.get("do_rescale", True) else 1.0
    if abs(scale * 255 - 1) > 1e-3:
        raise InputError(f"expected a processor of {name} that divides bytes by 255, got rescale_factor={scale:g}")
    normed = processor.get("do_normalize", True) and processor.get("image_mean") is not None
    mean, std = (processor["image_mean"], processor["image_std"]) if normed else (0.0, 1.0)
    return {"size": size, "mean": mean, "std": std, "interpolation": interpolation_of(processor.get("resample", 2))}


def _text_side(network: Any, source: str, local: dict[str, bool]) -> nn.Module | None:
    """The text tower with its tokenizer; None where no tokenizer comes with the model."""
    import transformers

    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(source, **local)
    except (OSError, ValueError, KeyError, ImportError):
        return None
    vision, network.vision_model = network.vision_model, nn.Identity()  # so that the text side does not hold the images' as well
    try:
        return _TextSide(copy.deepcopy(network), tokenizer)
    finally:
        network.vision_model = vision


@torch.no_grad()
def _mapped(network: Any, name: str, size: int) -> tuple[nn.Module, nn.Module]:
    """The last hidden state as a map and the pool that makes the model's `pooler_output` of it."""
    x = torch.rand(1, channels_of(network, size), size, size, generator=torch.Generator().manual_seed(0))
    features, norm = _HiddenMap(network), getattr(network, "layernorm", None)
    heads = [MeanPool(), *([nn.Sequential(MeanPool(), norm)] if isinstance(norm, nn.Module) else [])]
    try:
        want, f = network(pixel_values=x).pooler_output.flatten(1), features(x)
        for head in heads:
            if (got := head(f)).shape == want.shape and torch.allclose(got, want, rtol=1e-3, atol=1e-4 * float(want.abs().max())):
                return features, head
    except (AttributeError, TypeError, RuntimeError, ValueError):  # no such output, or it takes something else than images
        pass
    raise InputError(f"expected a model that pools a map or tokens of an image, got {name} ({type(network).__name__})")

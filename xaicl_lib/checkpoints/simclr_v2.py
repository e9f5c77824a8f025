"""SimCLRv2 (:cite:t:`chen2020big`): ResNet-50 of one or two times the width with the whole projection head, from Google's TensorFlow files.

Written from the published code's behaviour: convolutions of stride 2 are padded by their size alone, which is torch's padding; max
pooling is SAME (`_SamePool`); batch norms have an epsilon of 1e-5, the last without an offset; no selective kernels (sk0). Pixels are
[0, 1] as they are.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from xaicl_lib.checkpoints.tf_bundle import Bundle, find_bundle
from xaicl_lib.checkpoints.torch_file import Reader, complain
from xaicl_lib.errors import InputError
from xaicl_lib.networks.resnet import ResNet50, perceptron, pooled_head

AVERAGE = "ema_model/"  # of the weights over the training
NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
STEP = 250228  # of the pretrained files; others are fine-tuned or supervised
LAYERS = 3  # of the projection head


class _SamePool(nn.Module):
    """TensorFlow's max pooling 3 x 3 of stride 2 with SAME padding: half the side, rounded up.

    Of an even side only the end is padded (112 pixels at 224), where `MaxPool2d(3, 2, 1)` pads both ends and so looks at
    windows shifted by a pixel; of an odd side both are.
    """

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c i j"]:
        return F.max_pool2d(x, 3, 2, padding=(x.shape[2] % 2, x.shape[3] % 2), ceil_mode=True)


def _network(width: int, *, slim: int = 1, blocks: tuple[int, int, int, int] = (3, 4, 6, 3), out: int = 128) -> nn.ModuleDict:
    """Features up to the last block group and the projection head of three layers, all of which the paper uses.

    Differs: the published code of :cite:t:`sammani2023visualizing` runs a port whose pooling pads both ends of a side; here it
    is as the weights were trained.

    Args:
        width: 1 or 2, a factor on every layer's filters.
        slim: all widths are divided by it, for tests.
        blocks, out: of the stages, of the embedding.
    """
    filters = 64 * width // slim
    c, features = 32 * filters, ResNet50(filters, _SamePool(), blocks)
    return nn.ModuleDict({"features": features, "head": pooled_head(projector=perceptron(c, c, c, out, last_norm="affine"))})


def _read(files: Sequence[Path], empty: nn.Module, **_: object) -> dict[str, Tensor]:
    """Tensors for a `_network(...)` from `model.ckpt-250228.index` and the shard beside it, checksums verified.

    The moving average of the weights is read where the file has one, as the published code of
    :cite:t:`sammani2023visualizing` does. Slots of the optimizer, the classifier on top and counters are left aside.
    """
    index = find_bundle(files[0])
    what = f"SimCLRv2's pretrained checkpoint (model.ckpt-{STEP}.index)"
    step = re.fullmatch(r"model\.ckpt-(\d+)", index.stem)
    if step and int(step[1]) != STEP:
        raise InputError(f"expected {what}, got {index.name!r}: one of another step is fine-tuned or supervised")
    bundle = Bundle(index)
    scope = AVERAGE if any(name.startswith(AVERAGE) for name in bundle.entries) else ""
    state, wanted = empty.state_dict(), dict(_names(empty, scope))
    _check(bundle, wanted, state, scope, index, what)
    out = {name: torch.zeros(value.shape, dtype=value.dtype) for name, value in state.items() if name not in wanted.values()}
    return out | {ours: _turned(bundle.read(theirs)) for theirs, ours in wanted.items()}


def _names(empty: nn.Module, scope: str = AVERAGE) -> Iterator[tuple[str, str]]:
    """TensorFlow's names and ours. Layers are numbered as they are made: in a block that changes the shape, the shortcut's first."""
    layers = [("features.conv1", "features.bn1")]
    for name, block in empty.features.named_modules():  # type: ignore[union-attr]
        if hasattr(block, "downsample"):
            if len(block.downsample):
                layers.append((f"features.{name}.downsample.0", f"features.{name}.downsample.1"))
            layers += [(f"features.{name}.conv{k}", f"features.{name}.bn{k}") for k in (1, 2, 3)]
    for k, (conv, norm) in enumerate(layers):
        number = f"_{k}" if k else ""
        yield f"{scope}base_model/conv2d{number}/kernel", f"{conv}.weight"
        for ours, theirs in NORM.items():
            yield f"{scope}base_model/batch_normalization{number}/{theirs}", f"{norm}.{ours}"
    for j in range(LAYERS):
        begin = f"{scope}head_contrastive/nl_{j}/"
        yield begin + "dense/kernel", f"head.projector.{3 * j}.weight"
        for ours, theirs in NORM.items():
            if theirs != "beta" or j < LAYERS - 1:
                yield f"{begin}batch_normalization/{theirs}", f"head.projector.{3 * j + 1}.{ours}"


def _check(bundle: Bundle, wanted: dict[str, str], state: dict[str, Tensor], scope: str, index: Path, what: str) -> None:
    """Every tensor there, of its shape, and no other of the network; slots are named after the tensor they belong to."""
    own = tuple(scope + part for part in ("base_model/", "head_contrastive/"))
    missing = [name for name in wanted if name not in bundle.entries]
    surplus = [n for n in bundle.entries if n.startswith(own) and n not in wanted and n.rpartition("/")[0] not in wanted]
    wrong = []
    for theirs, ours in wanted.items():
        shape = _turned(state[ours], back=True).shape
        if theirs in bundle.entries and bundle.entries[theirs].shape != shape:
            wrong.append(f"{theirs} {bundle.entries[theirs].shape} for {tuple(shape)}")
    alone = bool(missing) and all("head_contrastive" in name for name in missing)
    complain(index, what, missing, surplus, wrong, "it seems to be a backbone alone, and the head is needed" if alone else "")


def _turned(value: Tensor, back: bool = False) -> Tensor:
    """Kernels from TensorFlow's order (h, w, in, out) or (in, out) to torch's (out, in, h, w) or (out, in), or back; others as they are."""
    if value.ndim == 4:
        return value.permute(2, 3, 1, 0) if back else value.permute(3, 2, 0, 1)
    return value.mT if value.ndim == 2 else value


READER = Reader(_network, _read)

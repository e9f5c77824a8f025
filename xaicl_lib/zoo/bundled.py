"""The models inside the package: weights as half-precision safetensors, each beside the card that its training wrote.

`load_model` and `model_card` pass other names on: `official/...` to published checkpoints, `torchvision/...` and `timm/...` to
backbones, `open_clip/...` and `hf/...` to the packages of image-text models and of transformers.
"""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from xaicl_lib.annotations import require
from xaicl_lib.engines import known_engine
from xaicl_lib.errors import InputError, unknown
from xaicl_lib.model import PairModel, resolve_device
from xaicl_lib.networks.small import branches, build_network, kept
from xaicl_lib.zoo.official import list_official, load_official, official_card

WEIGHTS = Path(__file__).parent / "weights"
HEADS = Path(__file__).parent / "heads"  # of models whose backbone is that of another one
_POOLED = {"head": "none: cosine on the features that the network pools", "features": "the last map, or what each patch gives"}
_KNOWN = {  # of models of other packages, before they are made
    "torchvision": {**_POOLED, "licence": "see torchvision"},
    "timm": {**_POOLED, "licence": "see timm"},
    "open_clip": {
        "head": "the model's own projection into the space that images and texts share",
        "features": "what each patch gives the class token, or the last map of a ResNet",
        "licence": "see open_clip",
    },
    "hf": {
        "head": "the model's own pool and projection",
        "features": "what each patch gives, or the last hidden state",
        "licence": "see its page",
    },
}


def list_models() -> list[str]:
    """Names of the bundled models; `list_official()` has those of published checkpoints."""
    return sorted(path.stem for path in WEIGHTS.glob("*.json"))


def model_card(name: str, folder: Path = WEIGHTS) -> dict[str, Any]:
    """What a model was trained on and how, and how well it does: the JSON that its training wrote.

    Raises:
        InputError: no model of that name.
    """
    if (source := _elsewhere(name)) is not None:
        return {"name": name, **_KNOWN[source]} if source in _KNOWN else official_card(name)
    path = _folder(name, folder) / f"{name}.json"
    if path.parent not in (folder, HEADS) or not path.is_file():
        own = sorted(p.stem for where in {folder, HEADS} for p in where.glob("*.json"))
        raise unknown("model", name, [*own, *list_official(), "torchvision/NAME", "timm/NAME", "open_clip/NAME", "hf/NAME"])
    return json.loads(path.read_text())


def load_model(
    name: str,
    device: str | torch.device = "auto",
    *,
    file: str | os.PathLike[str] | None = None,
    folder: Path = WEIGHTS,
    engine: str = "eager",
) -> PairModel:
    """A model, ready to explain; for a bundled one no network is needed.

    Args:
        name: one of `list_models()` (bundled), one of `list_official()` (a paper's checkpoint, downloaded at its first use), or
            `torchvision/NAME` or `timm/NAME` (a backbone without a head), or `open_clip/NAME/WEIGHTS` (an image-text model), or
            `hf/OWNER/NAME` (a model of transformers).
        device: "auto" (CUDA where there is one), "cpu", "cuda", ...
        file: the file of weights, for models that are not bundled, instead of a download; a folder for those of transformers.
        folder: where the bundled weights and cards are.
        engine: what runs the network where no gradients are asked for: "eager", "onnxruntime", "openvino", "compile" or "auto", see
            `PairModel.engine`.

    Raises:
        InputError: unknown model, device or engine, or weights that are not those the card describes (sha256) or do not fit.
    """
    require(name, str, "the name of a model")
    known_engine(engine)  # before anything is fetched
    if (source := _elsewhere(name)) is not None:
        model = _loader(source)(name, device, file=file)
    elif file is None:
        model = _load_bundled(name, device, folder)
    else:
        raise InputError(
            f"expected a model that is not bundled for file={str(file)!r}, got {name!r}; there are: {', '.join(list_official())}"
        )
    model.engine = engine
    return model


def _load_bundled(name: str, device: str | torch.device, folder: Path) -> PairModel:
    card = model_card(name, folder)
    target = resolve_device(device)
    parts = branches(_network(card, _folder(name, folder)))
    return PairModel(**parts, size=card["size"], mean=card["mean"], std=card["std"], name=name).to(target)


def _folder(name: str, folder: Path) -> Path:
    """Where the weights and the card of a bundled model are."""
    return HEADS if folder == WEIGHTS and (HEADS / f"{name}.json").is_file() else folder


def _elsewhere(name: str) -> str | None:
    """Where a model comes from that is not bundled; None for a name of another form."""
    source, slash, _ = name.partition("/")
    return source if slash and (source == "official" or source in _KNOWN) else None


def _loader(source: str) -> Callable[..., PairModel]:
    """What loads the models of a source, whose package is imported only then."""
    if source == "official":
        return load_official
    if source == "open_clip":
        from xaicl_lib.zoo.open_clip import load_open_clip

        return load_open_clip
    if source == "hf":
        from xaicl_lib.zoo.hf import load_hf

        return load_hf
    from xaicl_lib.zoo.backbones import load_backbone

    return load_backbone


def untrained(name: str) -> PairModel:
    """The network of a bundled model as its training began, named `untrained NAME`: what the architecture does by itself.

    The weights are drawn from the recipe's seed, on the CPU, without touching the global random state.

    Raises:
        InputError: no such bundled model.
    """
    from xaicl_lib.training.recipes import from_facts  # which needs the networks of this package

    card = model_card(name)
    if "backbone" in card:
        raise InputError(f"expected a model trained as a whole, got {name!r}, whose backbone is that of {card['backbone']!r}")
    parts = branches(kept(from_facts(card["recipe"]).network()))
    return PairModel(**parts, size=card["size"], mean=card["mean"], std=card["std"], name=f"untrained {name}")


def load_classifier(name: str, device: str | torch.device = "auto", *, folder: Path = WEIGHTS) -> nn.Module:
    """From embeddings (n, d) to class scores (n, classes), of a model that was trained to classify; arguments as for `load_model`.

    The scores are in the order of the card's `classes`; for scenes in that of `xaicl_lib.data.scenes.SHAPES`.

    Raises:
        InputError: as `load_model`, or a model without a classifier.
    """
    card = model_card(name, folder)
    if not card.get("recipe", {}).get("classes"):
        raise InputError(f"expected a model that was trained to classify, got {name!r}")
    target = resolve_device(device)
    return _network(card, folder)["classifier"].eval().requires_grad_(False).to(target)


def _network(card: dict[str, Any], folder: Path) -> nn.ModuleDict:
    if "backbone" in card:
        return nn.ModuleDict({"features": _network(model_card(card["backbone"]), WEIGHTS)["features"], "head": _head(card, folder)})
    if card["recipe"].get("text"):
        import xaicl_lib.networks.text  # noqa: F401  before the scope, where constants of modules that it brings would hold no values
    with torch.device("meta"):  # no time is spent on random values, none are drawn
        network = kept(build_network(card["recipe"]))
    return _filled(network, card, folder)


def _head(card: dict[str, Any], folder: Path) -> nn.Module:
    recipe = {**model_card(card["backbone"])["recipe"], "hidden": card["recipe"]["hidden"], "embedding": card["recipe"]["embedding"]}
    with torch.device("meta"):
        network = nn.ModuleDict({"head": build_network(recipe)["head"]})
    return _filled(network, card, folder)["head"]


def _filled(network: nn.ModuleDict, card: dict[str, Any], folder: Path) -> nn.ModuleDict:
    """The network with the weights of its card."""
    try:
        network.load_state_dict(_read_weights(folder / f"{card['name']}.safetensors", card["sha256"]), assign=True)
    except RuntimeError as error:
        raise InputError(f"the weights of {card['name']!r} do not fit the network of its card: {error}") from error
    return network


def _read_weights(path: Path, sha256: str) -> dict[str, torch.Tensor]:
    """Tensors of a safetensors file, widened to float32, after its checksum was found right."""
    from safetensors.torch import load

    if not path.is_file():
        raise InputError(f"expected weights at {str(path)!r}, got no such file; reinstall the package")
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise InputError(f"expected weights of sha256 {sha256[:12]}... in {path.name}, got {found[:12]}...: changed or damaged, not loaded")
    return {name: t.float() if t.is_floating_point() else t for name, t in load(data).items()}

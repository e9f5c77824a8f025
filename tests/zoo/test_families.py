"""Families of networks through `PairModel.from_module`: their own embeddings, and maps that leave nothing out."""

import pickle
from pathlib import Path

import pandas as pd
import pytest
import torch

from tests.conftest import assert_close
from tests.zoo.families import MAPS, TRANSFORMERS, answers, images, made
from xaicl_lib import InputError, Pair, PairModel, explain, list_methods
from xaicl_lib.evaluation.fingerprint import model_key
from xaicl_lib.methods.cam import _features_and_gradients
from xaicl_lib.scores import cosine

STORED = pd.read_parquet(Path(__file__).parents[2] / "results" / "families.parquet")
TOKENS = pytest.mark.parametrize("name", list(TRANSFORMERS))


@pytest.mark.parametrize("name", [*TRANSFORMERS, *MAPS])
def test_embeddings_are_the_networks_own(name) -> None:
    family = made(name)
    model, x = family.model(), images(family.size)
    want = family.embed(x)
    for form in (model, model.fast):
        assert_close(form.embed_a(x), want, rtol=0, atol=1e-4 * float(want.abs().max()))
    f = model.features([x])[0]
    assert f.shape[2] == f.shape[3] > 1


@TOKENS
def test_patches_and_what_no_patch_gives_add_up(name) -> None:
    """What the cells add to the embedding, and the embedding of a map without cells, which is what class token and registers give."""
    from xaicl_lib.methods.cells import cell_vectors

    family = made(name)
    model, x = family.model(), images(family.size)
    f = model.features([x])[0]
    with torch.no_grad():
        cells = cell_vectors(model.head_a, f, torch.zeros_like(f[0]), 16)
        alone = model.head_a(without_patches(model, f))
        z = model.head_a(f)
    assert_close(cells.sum(1) + alone, z, rtol=0, atol=1e-4 * float(z.norm(dim=1).max()))
    assert float(cells.sum(1).norm(dim=1).min()) > 1e-3 * float(z.norm(dim=1).max()), "patches give something"


@pytest.mark.parametrize("name", [*TRANSFORMERS, *MAPS])
def test_gradients_with_respect_to_images_are_the_networks_own(name) -> None:
    """Through class and register tokens, too, which are no part of the map."""
    family = made(name)
    x, other = images(family.size), family.embed(images(family.size).flip(0)).detach()

    def slope(embed) -> torch.Tensor:
        leaf = x.clone().requires_grad_()
        return torch.autograd.grad(torch.cosine_similarity(embed(leaf), other).sum(), leaf)[0]

    want, model = slope(family.embed), family.model()
    assert want.norm() > 0
    for form in (model, model.fast):
        assert_close(slope(form.embed_a), want, rtol=0, atol=1e-4 * float(want.abs().max()))
    explained = explain(model, Pair(x, images(family.size).flip(0)), "input_x_gradient")
    map_ = (want * model.normalize(x)).abs().amax(1)
    assert_close(explained.a, map_, rtol=0, atol=1e-4 * float(map_.max()))


@TOKENS
def test_gradients_with_respect_to_a_map_are_those_of_its_patches(name) -> None:
    family = made(name)
    model = family.model()
    pair = Pair(images(family.size), images(family.size).flip(0))
    (f, _), (gradient, _), _ = _features_and_gradients(model, pair, cosine)
    patches = (without_patches(model, f) == 0) & (f != 0)
    assert gradient[patches].abs().max() > 0
    assert not gradient[~patches].any()


def without_patches(model: PairModel, f: torch.Tensor) -> torch.Tensor:
    sizes = getattr(model.head_a, "sizes", getattr(getattr(model.head_a, "0", None), "sizes", None))
    flat = f.clone()
    flat[:, : f.shape[1] if sizes is None else sizes[0]] = 0
    return flat


@TOKENS
def test_the_joint_map_and_its_residual(name) -> None:
    family = made(name)
    pair = Pair(images(family.size), images(family.size).flip(0))
    explained = explain(family.model(), pair, "integrated_jacobians", steps=4)
    za, zb = family.embed(pair.a), family.embed(pair.b)
    assert_close(explained.score, torch.cosine_similarity(za, zb), rtol=0, atol=1e-5)
    assert_close(explained.joint.sum((1, 2, 3, 4)) + explained.residual, explained.score, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", [*TRANSFORMERS, *MAPS])
def test_every_method_explains_every_family(name) -> None:
    """As the stored table says, which `python -m tests.zoo.families` makes: each method, or the sentence that says why not."""
    family = made(name)
    found = answers(family)
    assert list(found) == list_methods()
    stored = STORED[STORED["family"] == name]
    assert dict(zip(stored["method"], stored["answer"], strict=True)) == found
    assert set(stored["layer"]) == {family.layer}
    refused = {method: why for method, why in found.items() if why != "yes"}
    attention = {"attention_rollout", "legrad"} if name in MAPS else set()
    assert set(refused) == attention, refused
    assert all(why.startswith("expected a model with attention among the cells of its map") for why in refused.values())


@pytest.mark.parametrize("name", ["timm DINOv2, registers", "torchvision ViT", "transformers SigLIP", "timm ViT, mean and norm"])
def test_a_model_that_was_opened_can_be_kept_copied_and_moved(name) -> None:
    family = made(name)
    model, x = family.model(), images(family.size)
    want = model.embed_a(x)
    again = pickle.loads(pickle.dumps(model))
    assert torch.equal(again.embed_a(x), want)
    if not name.startswith("transformers"):  # whose configurations change when they are pickled
        assert model_key(again) == model_key(model)
    assert_close(model.copy().to(torch.float64).embed_a(x.double()), want, rtol=0, atol=1e-5 * float(want.abs().max()))
    for dtype in (torch.float16, torch.bfloat16):
        own = family.model().to(dtype)
        close = torch.cosine_similarity(own.embed_a(x.to(dtype)).float(), want)
        assert close.min() > 0.999
        explained = explain(own, Pair(x, x.flip(0)), "integrated_jacobians", steps=2)
        assert explained.joint.isfinite().all()


class Projected(torch.nn.Module):
    """A network within somebody's own class, with what a projection head adds."""

    def __init__(self, backbone: torch.nn.Module, before=lambda x: x, after=lambda z: z) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone, self.before, self.after = backbone, before, after
        self.projector = torch.nn.Sequential(torch.nn.LazyLinear(8), torch.nn.ReLU(), torch.nn.Linear(8, 5))
        self(images(32))
        self.eval().requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.projector(self.after(self.backbone(self.before(x))))


@pytest.mark.parametrize("name", ["timm ViT, mean and norm", "timm SigLIP 2", "torchvision ViT", "open_clip ViT"])
def test_a_transformer_within_a_module_is_opened_with_what_follows(name) -> None:
    family = made(name)
    whole = Projected(family.network)
    model, x = PairModel.from_module(whole, f"backbone.{family.layer}", size=32), images(32)
    assert_close(model.embed_a(x), whole(x), rtol=0, atol=1e-4 * float(whole(x).abs().max()))
    found = explain(model, Pair(x, x.flip(0)), "integrated_jacobians", steps=4)
    assert found.a.shape[1] == found.a.shape[2] > 1
    assert_close(found.joint.sum((1, 2, 3, 4)) + found.residual, found.score, rtol=0, atol=1e-4)


def test_a_transformer_whose_module_makes_another_embedding_is_refused() -> None:
    family = made("torchvision ViT")

    class More(type(family.network)):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x)[:, :3]

    class Else(More):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super(More, self).forward(x) + 1

    for kind, says in ((More, r"its embedding is \(2, 7\), More gives \(2, 3\)"), (Else, "its embedding is not what Else gives")):
        network = made("torchvision ViT").network
        network.__class__ = kind
        with pytest.raises(InputError, match=says):
            PairModel.from_module(network, "encoder", size=32)
    with pytest.raises(InputError, match=r"not what Projected gives.*PairModel.from_module of the module 'backbone' alone"):
        PairModel.from_module(Projected(family.network, before=lambda x: x * 2), "backbone.encoder", size=32)
    hf = made("transformers DINOv2").network
    with pytest.raises(InputError, match="'Tensor' object has no attribute 'pooler_output'"):
        PairModel.from_module(Projected(hf, after=lambda given: given.pooler_output), "backbone.encoder", size=32)


def test_the_output_asked_for_is_the_embedding_or_refused() -> None:
    network, x = made("transformers DINOv2").network, images(32)
    model = PairModel.from_module(network, "encoder", size=32, output="pooler_output")
    assert_close(model.embed_a(x), network(x).pooler_output, rtol=0, atol=1e-4)
    with pytest.raises(InputError, match="its embedding is not what Dinov2Model gives"):
        PairModel.from_module(network, "encoder", size=32, output=lambda given: given.last_hidden_state[:, 1:].mean(1))
    with pytest.raises(InputError, match="unknown output 'nonsense'; there are: last_hidden_state, pooler_output"):
        PairModel.from_module(network, "encoder", size=32, output="nonsense")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    convolutions = transformers.ConvNextModel(transformers.ConvNextConfig(hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1])).eval()
    model = PairModel.from_module(convolutions, "encoder.stages.3", size=64, output="pooler_output")
    assert_close(model.embed_a(images(64)), convolutions(images(64)).pooler_output.detach(), rtol=0, atol=1e-4)
    with pytest.raises(InputError, match=r"expected a tensor from the module, .*output=, .*'pooler_output'"):
        PairModel.from_module(convolutions, "encoder.stages.3", size=64)


@pytest.mark.parametrize("bits", [torch.float16, torch.bfloat16])
def test_maps_in_half_precision_are_those_in_single(bits) -> None:
    family = made("torchvision ViT")
    single, x = family.model(), images(32)
    want, pair = Pair(x, x.flip(0)), Pair(x.to(bits), x.flip(0).to(bits))
    for half in (single.copy().to(bits), PairModel.from_module(made("torchvision ViT").network.to(bits), family.layer, size=32)):
        for method in ("deep_similarity", "grad_cam", "attention_rollout", "legrad", "input_x_gradient"):
            got, as_single = explain(half, pair, method).a.float(), explain(single, want, method).a
            assert (got - as_single).norm() < 0.08 * as_single.norm(), method


def test_layers_of_a_transformer_that_are_no_end_are_named() -> None:
    family = made("torchvision ViT")
    with pytest.raises(
        InputError, match=r"where a vision transformer ends, such as 'encoder\.layers\.encoder_layer_1', got .*which returns tokens"
    ):
        PairModel.from_module(family.network, "encoder.layers.encoder_layer_0", size=family.size)


class Bending(torch.nn.Module):
    """A network that torch.fx cannot trace, for its way depends on values."""

    def __init__(self, bypass: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.end, self.bypass = torch.nn.Conv2d(3, 4, 4, 4), torch.nn.Linear(4, 3), bypass

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        f = self.conv(x)
        if float(f.detach().abs().max()) > 1e6:
            f = f / 2
        return self.end(f.relu().mean((2, 3))) + (x.mean((1, 2, 3)).unsqueeze(1) if self.bypass else 0)


def test_a_network_that_cannot_be_traced_is_cut_by_running_it() -> None:
    network, x = Bending().eval(), images(16)
    model = PairModel.from_module(network, "conv", size=16)
    assert_close(model.embed_a(x), network(x), rtol=1e-5, atol=1e-6)
    assert model.features_a(x).shape == (2, 4, 4, 4)
    with pytest.raises(InputError, match="expected a layer that all data passes through, got 'conv', which something bypasses"):
        PairModel.from_module(Bending(bypass=True), "conv", size=16)

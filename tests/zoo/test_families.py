"""Families of networks through `PairModel.from_module`: their own embeddings, and maps that leave nothing out."""

import pytest
import torch

from tests.conftest import assert_close
from tests.zoo.families import MAPS, TRANSFORMERS, answers, images, made
from xaicl_lib import Pair, PairModel, explain, list_methods

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
    from xaicl_lib.methods.similarity import _cell_vectors

    family = made(name)
    model, x = family.model(), images(family.size)
    f = model.features([x])[0]
    with torch.no_grad():
        cells = _cell_vectors(model.head_a, f, torch.zeros_like(f[0]), 16)
        alone = model.head_a(without_patches(model, f))
        z = model.head_a(f)
    assert_close(cells.sum(1) + alone, z, rtol=0, atol=1e-4 * float(z.norm(dim=1).max()))
    assert float(cells.sum(1).norm(dim=1).min()) > 1e-3 * float(z.norm(dim=1).max()), "patches give something"


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
    """As `python -m tests.zoo.families` prints it: each method, or the sentence that says why not."""
    family = made(name)
    found = answers(family)
    assert list(found) == list_methods()
    refused = {method: why for method, why in found.items() if why != "yes"}
    attention = {"attention_rollout", "legrad"} if name in MAPS else set()
    assert set(refused) == attention, refused
    assert all(why.startswith("expected a model with attention among the cells of its map") for why in refused.values())

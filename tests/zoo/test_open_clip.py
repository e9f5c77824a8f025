"""Models of the open_clip package, tiny and of random weights: the same embeddings as its own, and maps towards texts."""

import pytest
import torch

from tests.conftest import assert_close
from xaicl_lib import InputError, Pair, explain, load_model
from xaicl_lib.scores import corpus_similarity
from xaicl_lib.zoo.open_clip import _from_open_clip

open_clip = pytest.importorskip("open_clip", reason="open_clip is not installed (extra: clip)")
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
IMAGE = {
    "transformer": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "layer scale": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8, "ls_init_value": 0.3},
    "resnet": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8},
}
TEXTS = ["a photo of a cat", "a photo of a dog"]


def tokenize(texts: list[str]) -> torch.Tensor:
    return open_clip.SimpleTokenizer(context_length=16)(texts)


@pytest.fixture(scope="module", params=list(IMAGE))
def network(request):
    torch.manual_seed(0)
    return open_clip.CLIP(embed_dim=12, vision_cfg=IMAGE[request.param], text_cfg=TEXT).eval()


def test_images_and_texts_are_embedded_as_open_clip_does(network) -> None:
    model = _from_open_clip(network, tokenize)
    x = torch.randn(3, 3, model.size, model.size)
    assert model.interpolation == "bicubic"
    assert_close(model.embed_a(x), network.encode_image(x), rtol=1e-4, atol=1e-5)
    assert_close(model.fast.embed_a(x), network.encode_image(x), rtol=1e-3, atol=1e-5)
    assert_close(model.embed_text(TEXTS), network.encode_text(tokenize(TEXTS)), rtol=1e-4, atol=1e-5)
    assert network.visual is not None, "the network given stays as it was"
    assert not isinstance(network.visual, torch.nn.Identity)


def test_maps_towards_a_text(network) -> None:
    model = _from_open_clip(network, tokenize, mean=(0.5, 0.5, 0.5), std=(0.3, 0.3, 0.3))
    z = model.embed_text(TEXTS)
    score, pair = corpus_similarity(z[:1], z[1:]), Pair(torch.rand(2, 3, model.size, model.size))
    for method, params in (("grad_cam", {}), ("conditional_occlusion", {}), ("rise", {"masks": 20}), ("input_x_gradient", {})):
        made = explain(model, pair, method, score=score, **params)
        assert made.b is None
        assert made.a.std() > 0, method
        assert_close(made.score, score(model.embed_a(model.normalize(pair.a)), None), rtol=1e-4, atol=1e-6)


def test_a_tower_of_timm_with_an_attention_pool() -> None:
    """As SigLIP 2 is built: the trunk pools by a latent query, and nothing projects."""
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    vision = {
        "timm_model_name": "vit_tiny_patch16_224",
        "timm_model_pretrained": False,
        "timm_pool": "",
        "timm_proj": "linear",
        "image_size": 224,
    }
    network = open_clip.CLIP(embed_dim=32, vision_cfg=vision, text_cfg=TEXT).eval()
    network.visual.trunk = timm.create_model(
        "vit_base_patch16_siglip_224.v2_webli", num_classes=0, img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2
    ).eval()
    network.visual.head, network.visual.image_size = torch.nn.Linear(32, 8), (32, 32)
    model, x = _from_open_clip(network, tokenize), torch.rand(2, 3, 32, 32)
    assert_close(model.embed_a(x), network.encode_image(x), rtol=1e-4, atol=1e-5)
    assert model.features_a(x).shape[2:] == (4, 4)


def test_what_does_not_fit_is_named(tmp_path) -> None:
    torch.manual_seed(0)
    network = open_clip.CLIP(embed_dim=12, vision_cfg=IMAGE["transformer"], text_cfg=TEXT).eval()
    with pytest.raises(InputError, match=r"expected images of a size that the network takes, got \(40, 32\) pixels"):
        _from_open_clip(network, tokenize).embed_a(torch.rand(1, 3, 40, 32))
    network.visual = torch.nn.Linear(1, 1)
    network.visual.image_size = 32
    with pytest.raises(InputError, match="a vision transformer that can be opened or a ResNet of CLIP, got Linear"):
        _from_open_clip(network, tokenize)
    with pytest.raises(InputError, match="unknown model 'open_clip/none'; there are"):
        load_model("open_clip/none")
    with pytest.raises(InputError, match=r"unknown weights '' of 'open_clip/ViT-B-32'; there are: .*openai"):
        load_model("open_clip/ViT-B-32")


def test_without_the_package_its_name_is_said(monkeypatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(InputError, match=r"pip install open_clip_torch, or xaicl_lib\[clip\]"):
        load_model("open_clip/ViT-B-32")


def test_images_are_brought_to_what_the_weights_named_were_trained_on(tmp_path, monkeypatch, network) -> None:
    given = []
    monkeypatch.setattr(open_clip, "create_model", lambda own, pretrained: given.append(pretrained) or network)
    monkeypatch.setattr(open_clip, "get_tokenizer", lambda own: tokenize)
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    named = load_model("open_clip/ViT-B-16-SigLIP/webli", "cpu", file=tmp_path / "weights.pt")
    assert_close(named._mean.flatten(), torch.full((3,), 0.5), rtol=0, atol=1e-6)
    assert given == [None]

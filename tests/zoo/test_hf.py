"""Models of transformers, tiny and of random weights, from folders as `save_pretrained` writes them."""

import json

import numpy as np
import pytest
import torch

from tests.conftest import assert_close
from xaicl_lib import InputError, PairModel, load_model
from xaicl_lib.cli import main
from xaicl_lib.tokens import grid_of
from xaicl_lib.zoo import model_card

transformers = pytest.importorskip("transformers", reason="transformers is not installed (extra: hf)")
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
IMAGE = {"image_size": 32, "patch_size": 8}
TEXT = {**SMALL, "vocab_size": 40, "max_position_embeddings": 8}
MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
PROCESSOR = {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}, "image_mean": MEAN, "image_std": STD}


def saved(network, folder, **processor):
    torch.manual_seed(0)
    network.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({**PROCESSOR, **processor}))
    return folder


def dinov2():
    small = {k: v for k, v in SMALL.items() if k != "intermediate_size"}
    return transformers.Dinov2Model(transformers.Dinov2Config(**small, **IMAGE)).eval()


def siglip():
    return transformers.SiglipModel(transformers.SiglipConfig(text_config=TEXT, vision_config={**SMALL, **IMAGE})).eval()


def clip():
    config = transformers.CLIPConfig(text_config=TEXT, vision_config={**SMALL, **IMAGE}, projection_dim=12)
    return transformers.CLIPModel(config).eval()


def convnext():
    return transformers.ConvNextModel(transformers.ConvNextConfig(hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1])).eval()


def swin():
    sizes = {"image_size": 32, "patch_size": 2, "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4}
    return transformers.SwinModel(transformers.SwinConfig(**sizes)).eval()


def own(network, x):
    if not hasattr(network, "get_image_features"):
        return network(pixel_values=x).pooler_output.flatten(1)
    made = network.get_image_features(pixel_values=x)
    return made if isinstance(made, torch.Tensor) else made.pooler_output


@pytest.mark.parametrize("make", [dinov2, siglip, clip, convnext, swin], ids=lambda m: m.__name__)
def test_embeddings_are_the_models_own(make, tmp_path) -> None:
    torch.manual_seed(0)
    network = make()
    model = load_model("hf/owner/name", "cpu", file=saved(network, tmp_path))
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        want = own(network, x)
    assert_close(model.embed_a(x), want, rtol=0, atol=1e-4 * float(want.abs().max()))
    assert model.size == 32
    assert_close(model.normalize(torch.zeros(1, 3, 1, 1)).flatten(), -torch.tensor([0.5 / 0.2, 0.4 / 0.3, 0.3 / 0.4]), rtol=1e-5)


@pytest.mark.parametrize("make", [dinov2, clip], ids=lambda m: m.__name__)
def test_patches_lie_where_they_are_on_images_that_are_no_squares(make, tmp_path) -> None:
    """Of another patch its own cell changes most."""
    model = load_model("hf/owner/name", "cpu", file=saved(make(), tmp_path))
    for h, w in ((32, 31), (31, 32), (24, 23), (32, 23), (32, 40), (64, 63)):
        x, (i, j) = torch.rand(1, 3, h, w), (h // 8, w // 8)
        other = x.clone()
        other[..., 8 * (i - 1) : 8 * i, 8:16] = 0
        changed = (model.features_a(other) - model.features_a(x)).abs().sum(1)[0]
        assert changed.shape == (i, j)
        assert divmod(int(changed.argmax()), j) == (i - 1, 1)
    with pytest.raises(InputError, match="images of a size that the network takes"):
        model.features_a(torch.rand(1, 3, 5, 32))


def test_grids_are_those_of_squares_side_by_side_or_refused() -> None:
    for patch in (8, 14, 16):
        for h in range(patch, 10 * patch, 3):
            for w in range(patch, 10 * patch, 5):
                assert grid_of((h // patch) * (w // patch), torch.empty(1, 3, h, w)) == (h // patch, w // patch)
    assert grid_of(27 * 19, torch.empty(1, 3, 224, 160)) == (27, 19)  # of 16 pixels, one begins each 8
    assert grid_of(12 * 13, torch.empty(1, 3, 57, 56)) is None  # they may lie either way
    assert grid_of(7, torch.empty(1, 3, 32, 32)) is None
    assert grid_of(0, torch.empty(1, 3, 32, 32)) is None


def test_models_of_many_channels_from_the_command_line(tmp_path, capsys) -> None:
    small = {k: v for k, v in SMALL.items() if k != "intermediate_size"}
    torch.manual_seed(0)
    network = transformers.Dinov2Model(transformers.Dinov2Config(**small, **IMAGE, num_channels=5)).eval()
    folder = saved(network, tmp_path / "model", image_mean=[0.5] * 5, image_std=[0.2] * 5)
    images = torch.rand(2, 40, 32, 5)
    files = [str(tmp_path / f"{name}.npy") for name in "ab"]
    for file, image in zip(files, images, strict=True):
        np.save(file, image.numpy())
    given = ["explain", *files, "--model", "hf/owner/name", "--file", str(folder), "--device", "cpu", "-o", str(tmp_path / "x.png")]
    assert main([*given, "--channels", "4,2,0"]) == 0
    x = [((images[k].permute(2, 0, 1)[None, :, 4:36] - 0.5) / 0.2) for k in (0, 1)]
    with torch.no_grad():
        want = torch.cosine_similarity(*(own(network, one) for one in x))
    assert f"score {want.item():.3f}" in capsys.readouterr().out
    assert main([*given, "--channels", "4,2"]) == 2
    assert "expected one or three channels of 0 to 4 to be shown, got (4, 2)" in capsys.readouterr().err


@pytest.mark.parametrize(("processor", "name"), [({"resample": 3}, "bicubic"), ({"resample": 1}, "lanczos"), ({}, "bilinear")])
def test_filters_of_processors(processor, name, tmp_path) -> None:
    assert load_model("hf/owner/name", "cpu", file=saved(dinov2(), tmp_path, **processor)).interpolation == name


@pytest.mark.parametrize(
    ("processor", "size"),
    [
        ({"size": {"shortest_edge": 40}, "do_center_crop": True, "crop_size": {"height": 32, "width": 32}}, 32),
        ({"size": {"shortest_edge": 32}, "do_center_crop": False, "crop_size": {"height": 28, "width": 28}}, 32),
        ({"size": 32}, 32),
    ],
)
def test_sizes_of_processors(processor, size, tmp_path) -> None:
    assert load_model("hf/owner/name", "cpu", file=saved(dinov2(), tmp_path, **processor)).size == size


@pytest.mark.parametrize("name", ["CLIPImageProcessor", "ViTImageProcessor"])
def test_sizes_and_filters_of_processors_as_they_are(name) -> None:
    processor = getattr(transformers, name)()
    facts = {"mean": processor.image_mean, "std": processor.image_std, "interpolation": processor.resample}
    assert PairModel(torch.nn.Conv2d(3, 4, 5), size=processor.size, **facts).size == 224


def test_processors_that_do_not_do(tmp_path) -> None:
    saved(dinov2(), tmp_path, rescale_factor=1 / 127.5)
    with pytest.raises(InputError, match=r"divides bytes by 255, got rescale_factor=0\.00784"):
        load_model("hf/owner/name", "cpu", file=tmp_path)
    saved(dinov2(), tmp_path, size={"longest_edge": 32})
    with pytest.raises(InputError, match=r"that says the size of images, got \{'longest_edge': 32\}"):
        load_model("hf/owner/name", "cpu", file=tmp_path)
    saved(dinov2(), tmp_path, do_normalize=False)
    assert_close(load_model("hf/owner/name", "cpu", file=tmp_path).normalize(torch.full((1, 3, 1, 1), 0.3)), torch.full((1, 3, 1, 1), 0.3))


def test_missing_weights_are_named_but_for_a_pooler_that_is_not_used(tmp_path) -> None:
    from safetensors.torch import load_file, save_file

    vit = transformers.ViTModel(transformers.ViTConfig(**SMALL, **IMAGE), add_pooling_layer=False).eval()
    x = torch.rand(1, 3, 32, 32)
    got = load_model("hf/owner/name", "cpu", file=saved(vit, tmp_path)).embed_a(x)
    assert_close(got, vit(pixel_values=x).last_hidden_state[:, 0], rtol=0, atol=1e-5)
    state = load_file(tmp_path / "model.safetensors")
    dropped = next(name for name in state if name.endswith("fc1.bias") or name.endswith("intermediate.dense.bias"))
    save_file({k: v for k, v in state.items() if k != dropped}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"expected all weights of hf/owner/name, got none for .*bias"):
        load_model("hf/owner/name", "cpu", file=tmp_path)


def test_what_cannot_be_had_is_one_line(tmp_path, monkeypatch) -> None:
    with pytest.raises(InputError, match=r"expected a folder with config\.json and weights for file="):
        load_model("hf/owner/name", file=tmp_path / "none")
    with pytest.raises(InputError, match=r"hf/owner/name cannot be had: ") as caught:
        load_model("hf/owner/name", file=tmp_path)
    assert "\n" not in str(caught.value)
    assert "without a network" not in str(caught.value), "a folder was given"
    saved(siglip(), tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"hf/owner/name cannot be had: "):
        load_model("hf/owner/name", file=tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(InputError, match=r"pip install transformers, or xaicl_lib\[hf\]"):
        load_model("hf/owner/name")
    assert model_card("hf/owner/name")["name"] == "hf/owner/name"


@pytest.mark.parametrize(("make", "padding"), [(siglip, "<pad>"), (clip, "<pad>"), (clip, "<end>")])
def test_text_side(make, padding, tmp_path) -> None:
    """By a tokenizer of a few words; SigLIP fills all places, CLIP masks what is none, and may fill with ends. Words are explained."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    from xaicl_lib.methods.words import explain_words

    words = Tokenizer(models.WordLevel({"<pad>": 0, "<unk>": 1, "a": 2, "cat": 3, "dog": 4, "the": 5, "<end>": 39}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(single="$A <end>", special_tokens=[("<end>", 39)])
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, pad_token=padding, unk_token="<unk>", eos_token="<end>")
    network, texts = make(), ["a cat", "a dog a cat"]
    network.config.text_config.eos_token_id = network.text_model.eos_token_id = 39
    tokenizer.save_pretrained(saved(network, tmp_path))
    model = load_model("hf/owner/name", "cpu", file=tmp_path)
    given = dict(tokenizer(texts, padding="max_length", max_length=8, return_tensors="pt"))
    given = {name: given[name] for name in (["input_ids"] if make is siglip else ["input_ids", "attention_mask"])}
    with torch.no_grad():
        made = network.get_text_features(**given)
    assert_close(model.embed_text(texts), made if isinstance(made, torch.Tensor) else made.pooler_output, rtol=0, atol=1e-5)
    found = explain_words(model, torch.rand(2, 3, 32, 32), texts)
    assert [one.words for one in found] == [("a", "cat"), ("a", "dog", "a", "cat")]
    assert max(abs(one.error) for one in found) <= 1e-3
    with pytest.warns(UserWarning, match="the model reads 8 tokens, with which the text ends at 'a'; words left out: 2"):
        model.embed_text(["a cat a dog a cat a dog a"])

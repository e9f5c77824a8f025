"""Published checkpoints from the network or a file to a model: checked, kept, and refused where something is not as it was."""

import io
import json
import shutil
import urllib.error
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.checkpoints.test_simclr_v2 import OPTIONS, TINY, tiny
from tests.conftest import assert_close
from tests.zoo.published import checkpoint, random_state
from tests.zoo.test_methods_on_models import FEW
from xaicl_lib import InputError, Pair, PairModel, explain, list_methods, load_model
from xaicl_lib.checkpoints import simsiam
from xaicl_lib.checkpoints.tf_bundle import Bundle
from xaicl_lib.checkpoints.torch_file import _renamed
from xaicl_lib.cli import main
from xaicl_lib.data import fetch as download
from xaicl_lib.methods import methods
from xaicl_lib.scores import cosine
from xaicl_lib.zoo import list_official, model_card, official
from xaicl_lib.zoo.bundled import load_classifier
from xaicl_lib.zoo.official import OFFICIAL, _empty_network, _fill

NAME = "official/simclrv2_1x"
SHARD = TINY.with_suffix(".data-00000-of-00001")
FILES = [TINY.name, SHARD.name]
FIRST_USE = pytest.mark.filterwarnings("ignore:no checksum is published")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache, a simclrv2_1x of one filter, and no network."""
    monkeypatch.setenv("XAICL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "PAUSE", 0.001)
    monkeypatch.setitem(OFFICIAL, "simclrv2_1x", replace(OFFICIAL["simclrv2_1x"], options=OPTIONS))
    monkeypatch.setattr(download, "_https", offline)
    return tmp_path / "cache" / "official"


def offline(address: str, headers: dict[str, str]):
    raise urllib.error.URLError("Name or service not known")


class Reply(io.BytesIO):
    status = 200

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.headers = {"Content-Length": str(len(data)), "ETag": '"one"'}


@pytest.fixture
def online(monkeypatch) -> list[str]:
    """The two files of the fixture at their official addresses; returns what is asked for."""
    asked: list[str] = []

    def transport(address: str, headers: dict[str, str]) -> Reply:
        asked.append(address)
        return Reply((TINY.parent / address.rpartition("/")[2]).read_bytes())

    monkeypatch.setattr(download, "_https", transport)
    return asked


def same_as_tiny(model: PairModel) -> None:
    x = torch.rand(1, 3, 33, 45)
    net = tiny()
    assert_close(model.embed_a(x), net["head"](net["features"](x)), rtol=1e-6, atol=1e-6)
    assert torch.equal(model.normalize(x), x), "pixels are taken as they are"


def test_first_use_downloads_converts_and_says_the_checksum(online, cache) -> None:
    with pytest.warns(UserWarning, match=r"no checksum is published for official/simclrv2_1x; from now on only this one is taken: model"):
        model = load_model(NAME, "cpu")
    same_as_tiny(model)
    assert model.name == NAME
    begin = "https://storage.googleapis.com/simclr-checkpoints/simclrv2/pretrained/r50_1x_sk0/"
    assert online == [begin + name for name in FILES]
    there = {p.name for p in (cache / "simclrv2_1x").iterdir() if p.suffix != ".lock"}
    assert there == {*FILES, "converted.safetensors", "record.json"}


@FIRST_USE
def test_later_uses_need_neither_network_nor_the_published_files(online, cache, monkeypatch) -> None:
    load_model(NAME, "cpu")
    for name in FILES:
        (cache / "simclrv2_1x" / name).unlink()
    monkeypatch.setattr(download, "_https", offline)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same_as_tiny(load_model(NAME, "cpu"))


def test_offline_says_where_to_get_and_where_to_put_what(cache, capsys) -> None:
    with pytest.raises(InputError) as caught:
        load_model(NAME)
    said = str(caught.value)
    assert "\n" not in said
    for part in (
        OFFICIAL["simclrv2_1x"].addresses[0],
        "no connection (Name or service not known)",
        *FILES,
        str(cache / "simclrv2_1x"),
        "file=PATH",
    ):
        assert part in said
    assert main(["explain", "cat", "coffee", "--model", "official/barlow_twins"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "put checkpoint.pth into" in said


@FIRST_USE
def test_files_put_into_the_cache_by_hand_are_taken(cache) -> None:
    (cache / "simclrv2_1x").mkdir(parents=True)
    for name in FILES:
        shutil.copy(TINY.parent / name, cache / "simclrv2_1x")
    same_as_tiny(load_model(NAME, "cpu"))


@FIRST_USE
@pytest.mark.parametrize("path", [TINY, SHARD, TINY.parent, str(TINY).removesuffix(".index")])
def test_a_file_anywhere_is_taken_and_remembered(path) -> None:
    same_as_tiny(load_model(NAME, "cpu", file=path))
    same_as_tiny(load_model(NAME, "cpu"))


def test_files_that_are_not_there(tmp_path) -> None:
    with pytest.raises(InputError, match=r"expected the file checkpoint\.pth of https://dl.*, got 'nowhere\.pth', which does not exist"):
        load_model("official/barlow_twins", file="nowhere.pth")
    shutil.copy(TINY, tmp_path)
    with pytest.raises(InputError, match="data-00000-of-00001', which does not exist"):
        load_model(NAME, file=tmp_path / TINY.name)
    with pytest.raises(InputError, match="expected a model that is not bundled for file='x', got 'simclr'"):
        load_model("simclr", file="x")


@FIRST_USE
def test_another_file_than_the_first_is_refused(tmp_path, cache) -> None:
    load_model(NAME, "cpu", file=TINY)
    for name in FILES:
        shutil.copy(TINY.parent / name, tmp_path)
    swapped = bytearray(SHARD.read_bytes())
    swapped[-1] ^= 1
    (tmp_path / SHARD.name).write_bytes(swapped)
    with pytest.raises(
        InputError, match=r"expected sha256 .* of 'model.*data.*', got .*another file, not loaded; the first .* in '.*record\.json'"
    ):
        load_model(NAME, "cpu", file=tmp_path)
    (tmp_path / SHARD.name).write_bytes(swapped[:-5])
    with pytest.raises(InputError, match=r"expected 22,\d+ bytes in .*, got 22,\d+: truncated, changed or another file"):
        load_model(NAME, "cpu", file=tmp_path)
    for content in ("{", "[]", '{"files": [1]}', '{"files": {"a": 1}}'):
        (cache / "simclrv2_1x" / "record.json").write_text(content)
        with pytest.raises(InputError, match=r"expected checksums in '.*record\.json', got something else; delete it"):
            load_model(NAME, "cpu", file=TINY)


@FIRST_USE
def test_what_was_kept_is_checked_each_time(cache) -> None:
    load_model(NAME, "cpu", file=TINY)
    path = cache / "simclrv2_1x" / "converted.safetensors"
    changed = bytearray(path.read_bytes())
    changed[-1] ^= 1
    path.write_bytes(changed)
    with pytest.raises(InputError, match=r"expected sha256 .* of 'converted\.safetensors', got .*delete .* to have it made anew"):
        load_model(NAME, "cpu")
    path.unlink()
    same_as_tiny(load_model(NAME, "cpu", file=TINY))
    same_as_tiny(load_model(NAME, "cpu"))


def test_a_file_that_does_not_fit_is_not_remembered(tmp_path, cache) -> None:
    for name in FILES:
        shutil.copy(TINY.parent / name, tmp_path)
    data = bytearray((tmp_path / SHARD.name).read_bytes())
    data[Bundle(TINY).entries["ema_model/head_contrastive/nl_0/dense/kernel"].offset] ^= 1
    (tmp_path / SHARD.name).write_bytes(data)
    with pytest.raises(InputError, match=r"the checksum of .* is wrong"):
        load_model(NAME, "cpu", file=tmp_path)
    assert not (cache / "simclrv2_1x" / "record.json").exists()


@FIRST_USE
def test_a_form_kept_for_another_network_is_made_anew(monkeypatch) -> None:
    """As after an update of the library that names or shapes layers otherwise."""
    load_model(NAME, "cpu", file=TINY)
    record = official._record(official._folder(NAME))
    with torch.device("meta"):
        other = torch.nn.ModuleDict({"features": torch.nn.Linear(2, 2)})
    assert official._kept(official._folder(NAME), record, other) is None
    monkeypatch.setattr(official, "_kept", lambda *_: None)
    same_as_tiny(load_model(NAME, "cpu", file=TINY))


def test_a_page_in_the_cache_is_said_with_what_to_do(cache) -> None:
    (cache / "barlow_twins").mkdir(parents=True)
    (cache / "barlow_twins" / "checkpoint.pth").write_text("<!DOCTYPE html><html><body>Sign in</body></html>")
    with pytest.raises(
        InputError, match=r"expected weights in 'checkpoint\.pth', got a web page .*; delete it from '.*barlow_twins' to have it"
    ):
        load_model("official/barlow_twins")


def test_a_disk_without_room_for_the_converted_file(cache, monkeypatch) -> None:
    def full(tensors: dict, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.warns(UserWarning, match=r"cannot be kept in .*No space left on device\); it is read anew each time"):
        same_as_tiny(load_model(NAME, "cpu", file=TINY))
    assert [p.name for p in (cache / "simclrv2_1x").iterdir() if p.suffix != ".lock"] == []


@FIRST_USE
def test_licences_that_forbid_commerce_are_said_at_load(tmp_path, capsys, monkeypatch) -> None:
    row = replace(OFFICIAL["simsiam"], options={"slim": 32})
    monkeypatch.setitem(OFFICIAL, "simsiam", row)
    state = {_renamed(ours, simsiam._names()): value for ours, value in random_state(_empty_network(row).state_dict()).items()}
    torch.save(checkpoint("simsiam", state), tmp_path / "checkpoint_0099.pth.tar")
    with pytest.warns(UserWarning, match=r"official/simsiam is under CC BY-NC 4\.0: not for commercial use"):
        load_model("official/simsiam", "cpu", file=tmp_path / "checkpoint_0099.pth.tar")
    free = {name for name in OFFICIAL if OFFICIAL[name].licence != official.NON_COMMERCIAL}
    assert free == {"simclrv2_1x", "simclrv2_2x", "barlow_twins", "dino_r50", "dino_vit_s"}
    arguments = ["explain", "cat", "coffee", "--method", "grad_cam", "--model", "official/simsiam"]
    assert main([*arguments, "--device", "cpu", "--file", str(tmp_path / "checkpoint_0099.pth.tar")]) == 0
    assert "note: official/simsiam is under CC BY-NC 4.0" in capsys.readouterr().err


def test_the_table_is_whole() -> None:
    for name, row in OFFICIAL.items():
        assert all(address.startswith("https://") for address in row.addresses)
        assert not any(file.startswith("linear") for file in row.files), name
        if name != "simclrv2_1x":  # which is a small one here
            assert sum(p.numel() for p in _empty_network(row).parameters()) == row.parameters, name
        card = model_card(f"official/{name}")
        assert {"licence", "head", "features", "parameters", "size", "mean", "std", "addresses", "on_disk"} <= set(card)
        assert card["cost"]["pair_cpu_seconds"] > 0
        assert card["cost"]["device"]
        json.dumps(card)


def test_models_are_listed_with_whether_they_are_there(cache, capsys) -> None:
    (cache / "simsiam").mkdir(parents=True)
    (cache / "simsiam" / "checkpoint_0099.pth.tar").write_bytes(b"")
    assert main(["models"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.startswith("official/")}
    assert list(rows) == list_official()
    assert "224 px, ImageNet mean/std  yes      CC BY-NC 4.0" in rows["official/simsiam"]
    assert "projector and predictor, 2048" in rows["official/simsiam"]
    assert "224 px, [0, 1]" in rows["official/simclrv2_2x"]
    assert "  no  " in rows["official/simclrv2_2x"]


def test_unknown_names() -> None:
    for call in (load_model, model_card, load_classifier):
        with pytest.raises(InputError, match="unknown model 'official/simclr'; there are: official/simclrv2_1x"):
            call("official/simclr")
    with pytest.raises(InputError, match=r"unknown model 'clip'; there are: .*official/barlow_twins"):
        load_model("clip")
    with pytest.raises(InputError, match="expected a model that was trained to classify"):
        load_classifier(NAME)


def slim(name: str) -> PairModel:
    """The architecture of an official model with an eighth of its widths and random weights."""
    row = OFFICIAL[name]
    net = _empty_network(replace(row, options={**row.options, "slim": 8}))
    _fill(net, random_state(net.state_dict()))
    return PairModel(**dict(net.items()), size=row.size, mean=row.mean, std=row.std, name=name)


@pytest.mark.parametrize(
    "name", [n for n in OFFICIAL if n not in ("simclrv2_1x", "moco_v3_vit_b")]
)  # each the same as another but in width
def test_every_method_explains_every_architecture(name) -> None:
    model, g = slim(name), torch.Generator().manual_seed(0)
    pair = Pair(*(torch.rand(1, 3, 64, 64, generator=g) for _ in range(2)))
    want = cosine(model.embed_a(model.normalize(pair.a)), model.embed_b(model.normalize(pair.b)))
    assert model.symmetric == ("moco" not in name)
    for method in list_methods():
        if methods[method].facts["family"] == "attention" and "vit" not in name:
            with pytest.raises(InputError, match="expected a model with attention among the cells of its map"):
                explain(model, pair, method)
            continue
        made = explain(model, pair, method, **FEW.get(method, methods[method].cheap))
        torch.testing.assert_close(made.score, want, rtol=1e-3, atol=1e-4)
        assert made.a.isfinite().all(), method
        assert made.a.std() + made.b.std() > 0, method
        if method in ("grad_cam", "interaction_cam", "deep_similarity"):
            assert made.a.shape[1:] == ((4, 4) if "vit" in name else (2, 2))
    if name.startswith("dino_vit"):
        with pytest.raises(InputError, match="expected a network with ReLUs"):
            explain(model, pair, "input_x_gradient", guided=True)
    else:  # in a vision transformer, those of its projection head
        assert not torch.allclose(explain(model, pair, "input_x_gradient", guided=True).a, explain(model, pair, "input_x_gradient").a)


@pytest.mark.parametrize("name", ["simclrv2_2x", "moco_v3_vit_s", "dino_vit_s"])
def test_half_precision_and_the_fast_form_say_nearly_the_same(name) -> None:
    x = torch.rand(2, 3, 64, 64)
    model = slim(name)
    want = model.embed_a(x), model.embed_b(x)
    assert_close(model.fast.embed_a(x), want[0], rtol=1e-2, atol=1e-3 * want[0].abs().max().item())
    half = slim(name).to(torch.bfloat16)
    for got, z in zip((half.embed_a(x.bfloat16()), half.embed_b(x.bfloat16())), want, strict=True):
        assert got.dtype == torch.bfloat16
        assert (cosine(got.float(), z) > 0.98).all()

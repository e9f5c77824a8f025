"""Files of torch.save from anywhere: tensors come out, nothing is run, and what is wrong is said in one line."""

import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from xaicl_lib import InputError
from xaicl_lib.checkpoints import torch_file as checkpoints
from xaicl_lib.checkpoints.torch_file import _read_torch, _refuse_values, _state_of, _translated, _without_owner, shorten
from xaicl_lib.zoo.official import _fill

STATE = OrderedDict(weight=torch.arange(6.0).view(2, 3), bias=torch.zeros(2))


class Runs:
    """Unpickled carelessly, it leaves a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture(params=[True, False], ids=["zip", "legacy"])
def save(request, tmp_path):
    def write(content: object, name: str = "checkpoint.pth") -> Path:
        torch.save(content, tmp_path / name, _use_new_zipfile_serialization=request.param)
        return tmp_path / name

    return write


def test_plain_data_comes_out(save) -> None:
    got = _read_torch(save({"epoch": 3, "arch": "resnet50", "state_dict": STATE, "scaler": {"scale": 2.0, "on": None}}))
    assert got["epoch"] == 3
    assert torch.equal(got["state_dict"]["weight"], STATE["weight"])


def test_code_in_a_pickle_never_runs(save, tmp_path) -> None:
    touched = tmp_path / "touched"
    for content in (Runs(touched), {"state_dict": {**STATE, "x": Runs(touched)}}):
        path = save(content, "evil.pth")
        with pytest.raises(InputError, match=r"tensors alone in 'evil\.pth', not loaded: it asks for .*mkdir, which was not run"):
            _read_torch(path)
        assert not touched.exists()
    torch.load(path, weights_only=False)
    assert touched.exists(), "the trap works, so it was not sprung before"


def test_bare_pickles_and_code_in_an_archive_do_not_run(tmp_path) -> None:
    touched = tmp_path / "touched"
    (tmp_path / "bare.pth").write_bytes(pickle.dumps({"state_dict": Runs(touched)}, protocol=2))
    torch.save(STATE, tmp_path / "good.pth")
    with zipfile.ZipFile(tmp_path / "good.pth") as good, zipfile.ZipFile(tmp_path / "swapped.pth", "w") as swapped:
        for name in good.namelist():
            swapped.writestr(name, pickle.dumps(Runs(touched), protocol=2) if name.endswith("data.pkl") else good.read(name))
    for name in ("bare.pth", "swapped.pth"):
        with pytest.raises(InputError, match=name.replace(".", r"\.")):
            _read_torch(tmp_path / name)
        assert not touched.exists()


def test_the_one_function_that_a_publisher_named_does_nothing(save, monkeypatch) -> None:
    """Barlow Twins' full checkpoint names a function of its script, in the state of the optimizer."""
    import __main__

    def theirs(p):
        raise AssertionError("called")

    theirs.__qualname__ = theirs.__name__ = "exclude_bias_and_norm"
    theirs.__module__ = "__main__"
    monkeypatch.setattr(__main__, "exclude_bias_and_norm", theirs, raising=False)
    path = save({"model": STATE, "optimizer": {"param_groups": [{"weight_decay_filter": theirs}]}})
    monkeypatch.delattr(__main__, "exclude_bias_and_norm")
    got = _read_torch(path)
    assert got["optimizer"]["param_groups"][0]["weight_decay_filter"] is checkpoints.exclude_bias_and_norm
    assert checkpoints.exclude_bias_and_norm(1, 2) is False
    with pytest.raises(pickle.UnpicklingError):  # elsewhere that name is as unknown as before
        torch.load(path, weights_only=True)


def test_truncated_files(save) -> None:
    path = save({"state_dict": {"w": torch.rand(100, 100)}})
    data = path.read_bytes()
    for size in (len(data) - 1, len(data) // 2, 300, 20):
        path.write_bytes(data[:size])
        with pytest.raises(InputError, match=r"'checkpoint\.pth'"):
            _read_torch(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"<!DOCTYPE html>\n<html><body>Please log in</body></html>", "got a web page"),
        (b"\xef\xbb\xbf  <HTML><head>", "got a web page"),
        (b"", "begins with b''"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "expected a file of torch.save"),
        (b"PK\x03\x04" + bytes(99), "truncated or damaged"),
        (b"\x80\x02" + bytes(99), r"'x\.pth'"),
    ],
)
def test_files_of_other_kinds(content, says, tmp_path) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(InputError, match=says):
        _read_torch(tmp_path / "x.pth")


def test_the_state_is_found_under_its_key() -> None:
    path = Path("x.pth")
    assert list(_state_of({"state_dict": {f"module.{k}": v for k, v in STATE.items()}}, "state_dict", path)) == ["weight", "bias"]
    assert list(_state_of(dict(STATE), "state_dict", path)) == ["weight", "bias"]
    for content in ({"epoch": 1, "model": dict(STATE)}, [1, 2], {}, {"state_dict": {1: torch.zeros(1)}}):
        with pytest.raises(InputError, match=r"expected tensors by their names in 'x\.pth'"):
            _state_of(content, "state_dict", path)
    with pytest.raises(InputError, match="at its top there are: epoch, model"):
        _state_of({"epoch": 1, "model": dict(STATE)}, "state_dict", path)


def test_names_are_translated_by_the_longest_beginning() -> None:
    with torch.device("meta"):
        net = nn.ModuleDict({"a": nn.Linear(3, 2), "b": nn.Sequential(nn.Linear(2, 2, bias=False))})
    given = {"enc.weight": torch.ones(2, 3, dtype=torch.float16), "enc.bias": torch.zeros(2), "enc.fc.0.weight": torch.eye(2)}
    out = _translated(given | {"loss.x": torch.zeros(1)}, net, {"a.": "enc.", "b.": "enc.fc."}, path=Path("x"), what="it", aside=["loss."])
    _fill(net, out)
    assert net["a"].weight.dtype == torch.float32
    assert torch.equal(net["b"][0].weight, torch.eye(2))
    with pytest.raises(InputError, match=r"expected it, got 'x', which does not fit; missing: enc\.bias; surplus: loss\.x$"):
        _translated(
            {k: v for k, v in (given | {"loss.x": torch.zeros(1)}).items() if k != "enc.bias"},
            net,
            {"a.": "enc.", "b.": "enc.fc."},
            path=Path("x"),
            what="it",
        )


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_what_parallel_and_compiled_modules_put_before_names_is_left_out(prefix) -> None:
    assert list(_state_of({f"{prefix}{k}": v for k, v in STATE.items()}, None, Path("x"))) == ["weight", "bias"]


def test_the_network_of_a_training_script_is_found() -> None:
    wanted, path = ["0.weight", "0.bias", "1.num_batches_tracked"], Path("x.ckpt")
    own = {"0.weight": torch.ones(1), "0.bias": torch.zeros(1)}
    script = {f"net.backbone.{name}": value for name, value in own.items()} | {"loss.0.weight": torch.ones(3), "centre": torch.ones(2)}
    assert _without_owner(script, wanted, path) == own
    assert _without_owner({**own, "net.0.weight": own["0.bias"]}, wanted, path) == {**own, "net.0.weight": own["0.bias"]}
    assert _without_owner({"net.0.weight": own["0.weight"]}, wanted, path) == {"net.0.weight": own["0.weight"]}, "not a whole network"
    with pytest.raises(InputError, match=r"expected one network in 'x\.ckpt', got student\., teacher\."):
        _without_owner({f"{who}.{name}": value for who in ("student", "teacher") for name, value in own.items()}, wanted, path)


VALUES = {
    "int8": (torch.ones(2, 3, dtype=torch.int8), r"expected floating-point weights in 'x', got torch\.int8 as weight"),
    "NaN": (torch.full((2, 3), torch.nan), "expected finite weights in 'x', got NaN or infinity in weight"),
    "infinity": (torch.full((2, 3), torch.inf).half(), "got NaN or infinity in weight"),
}


@pytest.mark.parametrize("kind", VALUES)
def test_values_that_are_no_weights(kind) -> None:
    value, says = VALUES[kind]
    net = nn.Linear(3, 2)
    with pytest.raises(InputError, match=says):
        _refuse_values({**STATE, "weight": value}, net.state_dict(), Path("x"))
    with torch.device("meta"):
        net = nn.ModuleDict({"a": nn.Linear(3, 2)})
    with pytest.raises(InputError, match=says):
        _translated({**STATE, "weight": value}, net, {"a.": ""}, path=Path("x"), what="it")
    net = nn.Linear(3, 2)
    net.register_buffer("mask", torch.full((2,), -torch.inf))  # as attention has it
    net.register_buffer("count", torch.tensor(3))
    _refuse_values(net.state_dict(), net.state_dict(), Path("x"))


def test_long_lists_are_counted() -> None:
    assert shorten("abcd") == "a, b, c, d"
    assert shorten("abcde") == "a, b, c, d, ... (5 in all)"

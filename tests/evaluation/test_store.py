"""The store: whole or not at all, unchanged or not believed."""

import functools
import os
import time

import pandas as pd
import pytest
import torch

from tests.conftest import build, random_pair
from xaicl_lib import InputError, PairModel
from xaicl_lib.evaluation.fingerprint import _key_of, digest, model_key
from xaicl_lib.evaluation.store import COLUMNS, KEY, LEFT_OVER, Store, pair_keys
from xaicl_lib.scores import cosine, dot


def rows(pairs: list[str], metric: str = "SI", value: float = 0.5) -> pd.DataFrame:
    table = pd.DataFrame({"pair_key": pairs, "value": value, "seconds": 0.1, "seed": 0})
    for name in COLUMNS:
        if name not in table:
            table[name] = metric if "metric" in name else name
    return table[COLUMNS]


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "results").prepare()


def only_file(store: Store):
    (path,) = store.folder.rglob("*.parquet")
    return path


def test_what_was_written_is_read(store) -> None:
    store.write(rows(["p", "q"]))
    store.write(rows(["r"]))
    got = store.read("model_key", "method_key")
    assert sorted(got["pair_key"]) == ["p", "q", "r"]
    assert list(got.columns) == COLUMNS
    assert store.read("another", "method_key").empty


def test_values_written_twice_are_read_once(store) -> None:
    store.write(rows(["p"], value=0.25))
    time.sleep(0.01)
    store.write(rows(["p"], value=0.75))  # another process was slower
    assert len(store.read("model_key", "method_key")) == 1
    assert not store.read("model_key", "method_key").duplicated(KEY).any()


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "other"])
def test_damaged_files_are_set_aside(store, damage) -> None:
    store.write(rows(["p", "q"]))
    path = only_file(store)
    data = path.read_bytes()
    middle = len(data) // 2
    broken = {"cut": data[:-20], "bit": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :], "empty": b"", "other": b"<html>"}
    path.write_bytes(broken[damage])
    with pytest.warns(UserWarning, match="set aside as"):
        assert store.read("model_key", "method_key").empty
    assert not path.exists()
    assert path.with_name(path.name + ".damaged").exists()
    store.write(rows(["p", "q"]))
    assert len(store.read("model_key", "method_key")) == 2


def test_half_written_files_are_neither_read_nor_kept(store) -> None:
    store.write(rows(["p"]))
    folder = only_file(store).parent
    old, new = folder / ".old.part", folder / ".new.part"
    for part in (old, new):
        part.write_bytes(b"PAR1")
    os.utime(old, (0, time.time() - LEFT_OVER - 1))
    assert len(Store(store.folder).prepare().read("model_key", "method_key")) == 1
    assert not old.exists()
    assert new.exists(), "it may be another process's"


def test_a_full_disk_harms_nothing(store, monkeypatch) -> None:
    store.write(rows(["p"]))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left on device; what is stored already is unharmed"):
        store.write(rows(["q"]))
    monkeypatch.undo()
    assert store.read("model_key", "method_key")["pair_key"].tolist() == ["p"]
    assert not list(store.folder.rglob("*.part"))


def test_a_store_that_is_no_folder(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="expected a folder to keep results in"):
        Store(tmp_path / "file").prepare()


def test_keys_of_pairs() -> None:
    pair = random_pair(3)
    keys = pair_keys(pair)
    assert len(set(keys)) == 3
    assert pair_keys(pair[1]) == [keys[1]]
    assert pair_keys(pair.swap()) != keys
    changed = random_pair(3)
    changed.b[2, 0, 0, 0] += 1e-9
    assert [a == b for a, b in zip(pair_keys(changed), keys, strict=True)] == [True, True, False]


def test_keys_of_models() -> None:
    model = build("projected")
    key = model_key(model)
    assert model_key(build("projected")) == key
    assert model_key(model.copy()) == key
    assert model_key(build("headless")) != key
    with torch.no_grad():
        model.features_a[0].weight[0, 0, 0, 0] += 1e-12
    assert model_key(model) != key
    plain = torch.nn.Identity()
    assert model_key(PairModel(plain, size=8)) != model_key(PairModel(plain, size=8, mean=(0.1, 0, 0)))


class Sharp:
    def __init__(self, by: float) -> None:
        self.by = by

    def score(self, za, zb):
        return cosine(za, zb) * self.by


def dressed(function, by: float):
    """A function under the name of another one."""

    @functools.wraps(function)
    def made(za, zb):
        return function(za, zb) * by

    return made


def keyed(za, zb):
    return cosine(za, zb)


keyed.key = "mine"  # type: ignore[attr-defined]


def test_keys_of_functions() -> None:
    assert _key_of(lambda za, zb: za) == _key_of(lambda za, zb: za) != _key_of(lambda za, zb: zb)
    assert _key_of(Sharp(1).score) == _key_of(Sharp(1).score) != _key_of(Sharp(5).score)
    assert len({_key_of(one) for one in (cosine, dot, dressed(cosine, 1), dressed(cosine, 2))}) == 4
    assert _key_of(keyed) == "mine"
    with pytest.raises(InputError, match="give it a `key`"):
        _key_of(torch.jit.script(torch.nn.ReLU()))
    assert digest({"score": cosine}) != digest({"score": "cosine"})
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest(torch.ones(2)) != digest(torch.ones(2, dtype=torch.float64))

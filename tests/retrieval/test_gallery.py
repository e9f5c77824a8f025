"""Embeddings in a file: the right ones under the right names, whatever was killed, moved, broken or exchanged before."""

import json
import struct
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file
from torch import nn

from xaicl_lib import InputError, Pair, PairModel
from xaicl_lib.images import open_photo
from xaicl_lib.retrieval import Gallery, embed_gallery, gallery, retrieve


def small(seed: int = 0) -> PairModel:
    torch.manual_seed(seed)
    return PairModel(nn.Sequential(nn.Conv2d(3, 6, 5, 4), nn.ReLU()), size=24)


@pytest.fixture
def folder(tmp_path):
    """Nine images, one of them in a folder of its own."""
    (tmp_path / "pictures" / "more").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for k in range(9):
        place = "more" if k == 8 else "."
        Image.fromarray(rng.integers(0, 256, (30, 30 + k, 3), np.uint8)).save(tmp_path / "pictures" / place / f"{k}.png")
    return tmp_path / "pictures"


def embedded(model: PairModel, folder, monkeypatch) -> list[int]:
    """The numbers of images that the model embeds from here on."""
    counts: list[int] = []
    whole = PairModel.encode
    monkeypatch.setattr(PairModel, "encode", lambda self, x, *rest: counts.append(len(x)) or whole(self, x, *rest))
    return counts


def test_rows_are_unit_embeddings_of_side_b_in_a_file_of_safetensors(folder, tmp_path) -> None:
    torch.manual_seed(1)
    model = PairModel(nn.Conv2d(3, 4, 5, 4), size=24, features_b=nn.Conv2d(3, 4, 5, 4))
    found = embed_gallery(model, folder, tmp_path / "all.safetensors", chunk=4)
    names = [found.name(k) for k in range(9)]
    assert names == [*(f"{k}.png" for k in range(8)), "more/8.png"]
    want = torch.nn.functional.normalize(model.encode(open_photo([folder / name for name in names], 24), "b"))
    held = load_file(tmp_path / "all.safetensors")
    assert np.allclose(held["embeddings"], want, atol=1e-6)
    assert isinstance(found.embeddings, np.memmap)
    assert torch.equal(found.pixels([8, 2], model), open_photo([folder / "more/8.png", folder / "2.png"], 24))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["all.safetensors", "pictures"]


def test_photos_are_opened_as_the_model_takes_them(folder, tmp_path) -> None:
    """One channel, another filter: what is embedded, shown and asked with is what a pair of the model is made of."""
    model = PairModel(nn.Sequential(nn.Conv2d(1, 6, 5, 4), nn.ReLU()), size=24, interpolation="bicubic", name="grey")
    file = tmp_path / "all.safetensors"
    with warnings.catch_warnings(action="ignore"):  # which tell that colours become grey
        found, want = embed_gallery(model, folder, file), Pair.open(folder / "3.png", None, model).a
        assert torch.equal(found.pixels([3], model), want)
        assert np.allclose(found.embeddings[3], nn.functional.normalize(model.encode(want, "b")), atol=1e-6)
        assert retrieve(model, folder / "3.png", found, 1).indices == (3,)
    other = PairModel(model.features_a, size=24, name="grey")
    with pytest.raises(InputError, match=r"this interpolation .bilinear.*got those of bicubic"):
        embed_gallery(other, folder, file)
    with pytest.raises(InputError, match="expected images resized bilinear, as 'grey' has them, got a gallery of bicubic"):
        retrieve(other, torch.rand(1, 1, 24, 24), file, 1)


def test_a_killed_run_goes_on_and_content_is_embedded_once(folder, tmp_path, monkeypatch) -> None:
    model, file = small(), tmp_path / "all.safetensors"
    whole = embed_gallery(model, folder, tmp_path / "whole.safetensors")
    counts = embedded(model, folder, monkeypatch)
    with monkeypatch.context() as patch:
        add = gallery._Rows.add
        patch.setattr(
            gallery._Rows,
            "add",
            lambda self, m, *ready: add(self, m, *ready) if not counts[1:] else (_ for _ in ()).throw(KeyboardInterrupt),
        )
        with pytest.raises(KeyboardInterrupt):
            embed_gallery(model, folder, file, chunk=2)
    rows = file.with_name("all.safetensors.rows")
    kept = rows.read_bytes()
    with pytest.raises(InputError, match=r"expected embeddings of this model .*all\.safetensors\.rows"):
        embed_gallery(small(1), folder, file)
    assert rows.read_bytes() == kept, "of another model, and not lost"
    with rows.open("ab") as part:
        part.write(b"half a record")
    assert not file.exists()
    (folder / "0.png").rename(folder / "more" / "moved.png")
    counts.clear()
    again = embed_gallery(model, folder, file, chunk=2)
    assert sum(counts) == 9 - 4
    assert not rows.exists()
    order = [*range(1, 8), 8, 0]
    assert np.array_equal(again.embeddings, whole.embeddings[order])
    counts.clear()
    (folder / "3.png").unlink()
    assert len(embed_gallery(model, folder, file)) == 8
    assert not counts
    rows.write_bytes(b'{"mod')  # killed in its first moment
    assert len(embed_gallery(model, folder, file)) == 8


def test_what_cannot_be_read_is_named_counted_and_left_out(folder, tmp_path) -> None:
    whole = embed_gallery(small(), folder, tmp_path / "whole.safetensors")
    (folder / "2a.jpg").write_bytes(b"\xff\xd8\xff")
    for chunk in (2, 4, 100):  # it is among others
        with pytest.warns(UserWarning, match=r"1 of 10 files cannot be read and are left out, such as '2a.jpg'"):
            found = embed_gallery(small(), folder, tmp_path / f"{chunk}.safetensors", chunk=chunk)
        assert list(found.skipped) == ["2a.jpg"]
        assert [found.name(k) for k in range(9)] == [whole.name(k) for k in range(9)]
        assert np.allclose(found.embeddings, whole.embeddings, atol=1e-6)
    only = tmp_path / "only"
    only.mkdir()
    (only / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(
        InputError, match=r"at least one image that can be read in .*, got none of 1, such as 'torn.jpg': expected an image"
    ):
        embed_gallery(small(), only, tmp_path / "none.safetensors")
    (only / "torn.jpg").unlink()
    with pytest.raises(InputError, match="a folder of images"):
        embed_gallery(small(), only, tmp_path / "none.safetensors")


def test_embeddings_of_another_model_or_fit_are_refused(folder, tmp_path) -> None:
    file = tmp_path / "all.safetensors"
    found = embed_gallery(small(), folder, file)
    other = small(1)
    with pytest.raises(InputError, match=r"expected embeddings of 'custom' \(.*got those of another model"):
        retrieve(other, folder / "1.png", file)
    with pytest.raises(InputError, match="expected embeddings of this model"):
        embed_gallery(other, folder, file)
    with pytest.raises(InputError, match=r"expected embeddings of this fit .pad."):
        embed_gallery(small(), folder, file, fit="pad")
    changed = small()
    assert retrieve(changed, folder / "1.png", found, 1).name(0) == "1.png"
    with torch.no_grad():
        changed.features_a[0].weight.mul_(2.0)
    with pytest.raises(InputError, match="another model"):
        retrieve(changed, folder / "1.png", found, 1)


def test_what_is_no_gallery_is_said(folder, tmp_path) -> None:
    for text in (b"", b"nothing of the kind, and long enough to look", b"\x02" + bytes(7) + b"{}"):
        (tmp_path / "odd.safetensors").write_bytes(text)
        with pytest.raises(InputError, match=r"expected a gallery's file, as embed_gallery writes, got 'odd.safetensors'"):
            Gallery.open(tmp_path / "odd.safetensors")
    with pytest.raises(InputError, match="does not exist"):
        Gallery.open(tmp_path / "none.safetensors")
    whole = embed_gallery(small(), folder, tmp_path / "all.safetensors")
    data = (tmp_path / "all.safetensors").read_bytes()
    (tmp_path / "half.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="not one or not whole"):
        Gallery.open(tmp_path / "half.safetensors")
    (folder / "1.png").write_bytes((folder / "2.png").read_bytes())
    with pytest.raises(InputError, match=r"1.png', which is gone or changed; embed the gallery again"):
        whole.pixels([1], small())


def without(**changes):
    """A change of a gallery's header: what its parts, or with `facts` it itself, say otherwise; None is nothing."""

    def change(head: dict) -> None:
        for name, said in changes.items():
            part = head["__metadata__"] if name == "facts" else head
            for key, value in (said if name == "facts" else {name: said}).items():
                part.pop(key) if value is None else part.update({key: value if name == "facts" else {**part[key], **value}})

    return change


BROKEN = [without(facts={name: None}) for name in ("model", "fit", "folder")] + [without(facts={"folder": 3})]
BROKEN += [without(**{name: None}) for name in ("embeddings", "ends", "keys", "names")]
BROKEN += [without(embeddings={"shape": shape, "data_offsets": [0, 4 * int(np.prod(shape))]}) for shape in ([54], [6, 9], [18, 3], [0, 6])]
BROKEN += [without(embeddings=said) for said in ({"shape": [9, 5]}, {"shape": [-9, -6]}, {"dtype": "I64", "shape": [9, 3]})]
BROKEN += [without(embeddings={"data_offsets": [start, start + 216]}) for start in (-100_000, 2**70)]
BROKEN += [
    without(ends={"data_offsets": [0, 72]}),
    without(ends={"shape": [1], "data_offsets": [216, 224]}),
    without(names={"shape": [2, 3]}),
]


@pytest.mark.parametrize("change", BROKEN)
def test_a_gallery_whose_parts_do_not_go_together_is_said(change, folder, tmp_path) -> None:
    file, broken = tmp_path / "all.safetensors", tmp_path / "broken.safetensors"
    embed_gallery(small(), folder, file)
    data = file.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    head = json.loads(data[8 : 8 + length])
    change(head)
    text = json.dumps(head).encode()
    broken.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
    for use in (Gallery.open, lambda file: embed_gallery(small(), folder, file)):
        with pytest.raises(InputError, match=r"got 'broken.safetensors', which is not one or not whole"):
            use(broken)


def test_headers_without_an_end_are_told(folder, tmp_path) -> None:
    deep = b"[" * 100_000
    (tmp_path / "deep.safetensors").write_bytes(struct.pack("<Q", len(deep)) + deep)
    with pytest.raises(InputError, match="which is not one or not whole"):
        Gallery.open(tmp_path / "deep.safetensors")
    for head in (deep, b'{"width": Infinity}', b'{"width": -4}'):  # of what a killed run left
        (tmp_path / "all.safetensors.rows").write_bytes(head + b"\n" + bytes(99))
        assert len(embed_gallery(small(), folder, tmp_path / "all.safetensors")) == 9


def test_the_fingerprint_is_the_models_whatever_was_asked_first() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 4), nn.BatchNorm2d(8), nn.ReLU()).eval()
    first, second = PairModel(network, size=16), PairModel(network, size=16)
    folded = gallery.fingerprint(first.fast)
    assert gallery.fingerprint(first) == gallery.fingerprint(second) != folded
    with torch.no_grad():
        first.features_a[0].weight.add_(1)
    assert gallery.fingerprint(first) != gallery.fingerprint(second)

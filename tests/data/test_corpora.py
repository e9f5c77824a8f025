"""Corpora from images, folders, names and texts; the linear probe."""

import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression

from tests.conftest import assert_close, build
from xaicl_lib import InputError
from xaicl_lib.data.corpora import IMAGENETTE, embed_corpus, photos_of, scenes_of
from xaicl_lib.data.photos import open_photo
from xaicl_lib.data.scenes import SHAPES, scenes
from xaicl_lib.probes import PROBE_C, linear_probe


def test_images_are_embedded_by_side_b_whatever_the_chunk(pair) -> None:
    model = build("two branches")
    want = model.embed_b(model.normalize(pair.b))
    assert_close(embed_corpus(model, pair.b), want)
    assert_close(embed_corpus(model, pair.b, chunk=1), want)
    with pytest.raises(InputError, match=r"expected values in \[0, 1\]"):
        embed_corpus(model, 255 * pair.b)
    with pytest.raises(InputError, match="a text side"):
        embed_corpus(model, ["a disc"])


def photos(root, names: dict[str, int]):
    for folder, count in names.items():
        (root / folder).mkdir(parents=True)
        for k in range(count):
            Image.new("RGB", (30, 24), (40 * k, 90, 200 - 30 * k)).save(root / folder / f"{k}.png")
    return root


def test_folders_with_their_subfolders(tmp_path, projected) -> None:
    root = photos(tmp_path / "photos", {"a": 2, "b/c": 1})
    want = torch.cat([open_photo(path, 24) for path in (root / "a/0.png", root / "a/1.png", root / "b/c/0.png")])
    assert_close(embed_corpus(projected, root), embed_corpus(projected, want))
    assert_close(embed_corpus(projected, str(root), chunk=2), embed_corpus(projected, want))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="without any of"):
        embed_corpus(projected, tmp_path / "empty")


def test_classes_by_their_names(tmp_path) -> None:
    photos(tmp_path, {"train/n03028079": 3, "train/owl": 1})
    got = photos_of("church", 3, 16, root=tmp_path)
    want = torch.cat([open_photo(tmp_path / f"train/n03028079/{k}.png", 16) for k in range(3)])
    assert sorted(map(float, got.mean((1, 2, 3)))) == sorted(map(float, want.mean((1, 2, 3))))
    assert len(photos_of("owl", 1, 16, root=tmp_path)) == 1
    with pytest.raises(InputError, match="unknown class 'cat'; there are: tench"):
        photos_of("cat", 1, 16, root=tmp_path)
    with pytest.raises(InputError, match="1 to 3 photos of 'church', got 4"):
        photos_of("church", 4, 16, root=tmp_path)
    with pytest.raises(InputError, match=r"photos by class in val/"):
        photos_of("church", 1, 16, root=tmp_path, split="val")


def test_names_of_imagenette_are_its_folders(imagenette_folder) -> None:
    assert sorted(IMAGENETTE.values()) == sorted(path.name for path in (imagenette_folder / "train").iterdir())


def test_scenes_of_a_value_have_it() -> None:
    generator = torch.Generator().manual_seed(4)
    images, _, labels = scenes(4 * 5 + 16, 32, torch.Generator().manual_seed(4))
    got = scenes_of("shape", "star", 5, 32, generator=generator)
    assert torch.equal(got[:2], images[labels[:, 0] == SHAPES.index("star")][:2])
    assert got.shape == (5, 3, 32, 32)
    with pytest.raises(InputError, match="unknown shape 'cube'; there are: disc"):
        scenes_of("shape", "cube", 1)
    with pytest.raises(InputError, match="unknown factor 'mood'"):
        scenes_of("mood", "gay", 1)


@pytest.mark.parametrize("classes", [2, 4])
def test_the_probe_is_logistic_regression_on_standardised_embeddings(classes) -> None:
    g = torch.Generator().manual_seed(0)
    z = torch.randn(200, 6, generator=g, dtype=torch.float64) * torch.tensor([1, 10, 0.1, 1, 1, 1]) + 5
    labels = (z[:, 0] - 5 + 0.1 * z[:, 1]).argsort().argsort() * classes // 200
    probe = linear_probe(z, labels)
    scaled = ((z - z.mean(0)) / z.std(0, correction=0)).numpy()
    want = LogisticRegression(C=PROBE_C, max_iter=1000).fit(scaled, labels.numpy()).predict_proba(scaled)
    assert_close(probe(z).softmax(1), torch.from_numpy(want), rtol=1e-6, atol=1e-9)
    assert not probe.weight.requires_grad


def test_labels_that_teach_nothing() -> None:
    z = torch.randn(6, 3)
    with pytest.raises(InputError, match="at least two classes 0, 1"):
        linear_probe(z, torch.zeros(6, dtype=torch.long))
    with pytest.raises(InputError, match="at least two classes 0, 1"):
        linear_probe(z, torch.tensor([0, 2, 0, 2, 2, 0]))
    with pytest.raises(InputError, match="one label for each"):
        linear_probe(z, torch.zeros(5, dtype=torch.long))
    with pytest.raises(InputError, match="finite embeddings"):
        linear_probe(z.index_fill(0, torch.tensor([1]), torch.nan), torch.arange(6) % 2)

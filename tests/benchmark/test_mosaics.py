"""The suite of photo mosaics, on small photos that are drawn here: what is true scores 1, what knows nothing scores chance."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from xaicl_lib import Explanation, InputError, PairModel
from xaicl_lib.benchmark import evaluate_method, mosaics
from xaicl_lib.benchmark.scores import METRICS, scored
from xaicl_lib.benchmark.suite import SURE, USED, Case, _digest, case
from xaicl_lib.cli import main
from xaicl_lib.data.photos import Mosaics
from xaicl_lib.publishing.leaderboard import leaderboard_page
from xaicl_lib.scores import cosine

PUBLIC = ["2cd828402449990d", "e16251f836a473e0"]  # digests of the first five that are drawn of either kind, of photos of Imagenette


def draw_photos(folder: Path, classes: int = 9, suffix: str = "png") -> Path:
    """Three photos of each class: a colour of its own, and a little noise."""
    generator = torch.Generator().manual_seed(0)
    for k in range(classes):
        (folder / "val" / f"class {k}").mkdir(parents=True)
        colour = torch.rand(3, generator=generator)
        for j in range(3):
            pixels = (0.8 * colour + 0.2 * torch.rand(20, 24, 3, generator=generator)) * 255
            Image.fromarray(pixels.byte().numpy()).save(folder / "val" / f"class {k}" / f"{k} {j}.{suffix}")
    return folder


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        made = draw_photos(tmp_path_factory.mktemp("photos"))
        patch.setenv("XAICL_IMAGENETTE", str(made))
        yield made


class Colours(nn.Module):
    """How near each place of 4 x 4 pixels is to each of 64 colours."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        grid = torch.cartesian_prod(*[torch.linspace(0, 1, 4)] * 3)
        x = nn.functional.avg_pool2d(x, 4)
        return torch.exp(-20 * (x.unsqueeze(1) - grid.view(1, 64, 3, 1, 1)).pow(2).sum(2))


@pytest.fixture(scope="module")
def model():
    return PairModel(Colours(), size=32, name="colours")


@pytest.fixture(scope="module")
def found(model):
    return case(model, "one_class", 60)


def means(found, made):
    return {name: (torch.tensor(v).mean().item(), torch.tensor(c).mean().item()) for name, (v, c) in scored(found, made).items()}


def test_the_truth_scores_one_and_its_opposite_nothing(found) -> None:
    truth, n = found.pair.truth, len(found.pair)
    assert n == 60
    right = Explanation(truth.a.float(), truth.b.float(), torch.zeros(n))
    wrong = Explanation(1 - right.a, 1 - right.b, right.score)
    assert set(means(found, right)) == set(METRICS)
    for name, (value, chance) in means(found, right).items():
        assert value >= 0.95, name
        assert chance == pytest.approx({"order": 1 / 2, "strongest_links": 1 / 16}.get(name, 1 / 4))
        assert means(found, wrong)[name][0] == 0, name


def test_the_true_links_score_one(found) -> None:
    a, b = (nn.functional.adaptive_avg_pool2d(mask.float(), 6) for mask in (found.pair.truth.a, found.pair.truth.b))
    made = Explanation(a, b, torch.zeros(len(a)), joint=torch.einsum("nij,nkl->nijkl", a, b))
    assert means(found, made)["strongest_links"][0] == pytest.approx(1)
    turned = torch.einsum("nij,nkl->nijkl", a, 1 - b)
    assert means(found, Explanation(a, b, made.score, joint=turned))["strongest_links"][0] == 0


@pytest.mark.parametrize("cells", [32, 8, 2])
def test_what_knows_nothing_is_at_chance_however_coarse_it_is(found, cells) -> None:
    """Within four standard errors of the mean over sixty pairs and eight draws."""
    n, values = len(found.pair), {name: [] for name in METRICS}
    for _ in range(8):
        maps = torch.rand(2, n, cells, cells) ** 2
        for name, (value, chance) in scored(found, Explanation(maps[0], maps[1], torch.zeros(n))).items():
            values[name].append(torch.tensor(value) - torch.tensor(chance))
    for name, gains in values.items():
        gain = torch.cat(gains)
        assert gain.mean().abs() < 4 * gain.std() / len(gain) ** 0.5, name


def test_order_is_among_all_others(found) -> None:
    """The shared cell behind one of the other three, on either side."""
    one, truth = found.pair[0], found.pair.truth
    maps = [mask[:1].float() + 2 * others[:1, 1].float() for mask, others in zip((truth.a, truth.b), found.others, strict=True)]
    first = type(found)(found.kind, one, tuple(masks[:1] for masks in found.others), found.effects[:, :1], "", found.drawn[:1])
    assert scored(first, Explanation(*maps, torch.zeros(1)))["order"][0] == pytest.approx([2 / 3])


@pytest.mark.parametrize("kind", mosaics.KINDS)
def test_a_pair_is_confirmed_by_other_photos_in_the_places_of_its_own(model, folder, kind) -> None:
    """By hand, for each cell, tiled anew."""
    photos, labels, _ = mosaics._photos(str(folder), 16)
    drawn = Mosaics.draw(40, labels, mosaics.KINDS[kind], torch.Generator().manual_seed(mosaics.SEEDS[kind]))
    z = [model.encode(pixels, side) for side, pixels in zip("ab", drawn.tile(photos, 32).sides, strict=True)]
    falls = torch.zeros(2, 40, 4)
    for k in (0, 1):
        for place in range(4):
            cells = drawn.cells.clone()
            cells[k, :, place] = drawn.spare[:, 0]
            changed = drawn._replace(cells=cells).tile(photos, 32).sides[k]
            falls[k, :, place] = cosine(*z) - cosine(model.encode(changed, "ab"[k]), z[1 - k])
    own = nn.functional.one_hot(drawn.shared, 4).bool()
    shared, most = falls[own].view(2, 40), falls.masked_fill(own, -torch.inf).amax(2)
    used = (shared.mean(0) - falls[~own].view(2, 40, 3).mean((0, 2))).mean()
    rows = ((shared.mean(0) > SURE) & ((shared - most).mean(0) > SURE)).nonzero()[:8, 0]
    assert used > USED
    found = case(model, kind, 8)
    assert torch.equal(found.pair.a, drawn.tile(photos, 32).a[rows])
    assert torch.allclose(found.effects, torch.stack([shared, most], 2)[:, rows], atol=1e-5)


def test_models_are_asked_once_for_the_same_pairs(model, monkeypatch) -> None:
    monkeypatch.setattr(mosaics, "_answers", {})
    before = case(model, "one_photo", 6)
    asked = []
    monkeypatch.setattr(PairModel, "encode", lambda self, x, side="a", chunk=None: asked.append(len(x)) or torch.ones(len(x), 2))
    assert torch.equal(case(model, "one_photo", 6).effects, before.effects)
    assert asked == []
    assert case(model, "one_photo", 6, seed=1) is None, "everything is as like as everything"
    assert sum(asked) == 10 * 6 * mosaics.DRAWN


def test_pairs_are_told_apart_by_the_names_of_their_photos_whatever_their_format(model, tmp_path, monkeypatch) -> None:
    digests = [case(model, "one_photo", 6).digest, case(model, "one_photo", 6, seed=1).digest]
    monkeypatch.setenv("XAICL_IMAGENETTE", str(draw_photos(tmp_path / "same", suffix="bmp")))
    assert case(model, "one_photo", 6).digest == digests[0] != digests[1]
    for path in list((tmp_path / "same").rglob("*.bmp")):
        path.rename(path.with_stem(path.stem + "x"))
    mosaics._photos.cache_clear()
    assert case(model, "one_photo", 6).digest not in digests


def test_without_photos_one_line_says_what_to_do(model, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("XAICL_IMAGENETTE", str(draw_photos(tmp_path, 7)))
    with pytest.raises(InputError, match=r"expected photos of at least 8 classes in .*, got 7"):
        case(model, "one_photo", 2)
    monkeypatch.setenv("XAICL_IMAGENETTE", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"expected a folder of images, got .*val"):
        case(model, "one_photo", 2)
    monkeypatch.delenv("XAICL_IMAGENETTE")
    assert main(["benchmark", "edges", "--suite", "mosaics-v1", "-o", str(tmp_path / "x.json")]) == 2
    said = capsys.readouterr().err.strip()
    assert said.endswith(f"got none: unpack {mosaics.ADDRESS} and name its folder by XAICL_IMAGENETTE")
    assert len(said.splitlines()) == 1


def test_the_file_is_as_its_schema_says_and_the_page_shows_the_suite_when_it_has_rows(tmp_path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    assert "osaic" not in leaderboard_page(tmp_path)
    way = {"suite": "mosaics-v1", "models": ["supervised"], "kinds": ["one_photo"], "count": 2}
    (tmp_path / mosaics.NAME).mkdir()
    for name in ("edges", "grad_cam"):
        evaluate_method(name, **way, out=tmp_path / mosaics.NAME / f"{name}.json")
    written = json.loads((tmp_path / mosaics.NAME / "grad_cam.json").read_text())
    jsonschema.validate(written, json.loads(Path(mosaics.__file__).with_name("schema.json").read_text()))
    assert (written["suite"], written["metrics"]) == (mosaics.NAME, METRICS)
    assert (written["cells"][0]["cost"]["forwards"], len(written["cells"][0]["pairs"])) == (2, 16)
    page = leaderboard_page(tmp_path)
    assert page.count("No results are stored yet.") == 2, "of the other suites"
    assert "## Mosaics of photos" in page
    assert "`supervised`: photo (2)" in page
    assert "### One photo" in page
    assert "### One class" not in page
    assert page.count("| `grad_cam` |") == 1


def test_the_public_pairs_never_change(imagenette_folder, monkeypatch) -> None:
    monkeypatch.setenv("XAICL_IMAGENETTE", str(imagenette_folder))
    colours = PairModel(Colours(), size=96, name="colours")
    drawn = [
        mosaics.drawn(colours, kind, 1, seed)[1](torch.arange(5)) for kind, seed in (("one_photo", 0), ("one_class", 0), ("one_photo", 1))
    ]
    assert [_digest(codes) for *_, codes in drawn][:2] == PUBLIC
    assert _digest(drawn[2][2]) not in PUBLIC
    pair, others, _ = drawn[1]
    found = Case("one_class", pair, others, torch.zeros(2, 5, 2), "", tuple(range(5)))
    truth = Explanation(pair.truth.a.float(), pair.truth.b.float(), torch.zeros(5))
    assert all(value >= 0.95 for value, _ in means(found, truth).values())

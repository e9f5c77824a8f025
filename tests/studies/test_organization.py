"""RLD against loops straight from the formula, networkx' modularity and closed forms; its intervals against independent draws."""

import math

import networkx
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import nn

from tests.conftest import assert_close, build, random_pair
from xaicl_lib import InputError, PairModel, load_model
from xaicl_lib.data.scenes import FACTORS, SHAPES, scene_set
from xaicl_lib.networks.small import _SlimViT
from xaicl_lib.studies import side_by_side
from xaicl_lib.studies.organization import (
    curves,
    images_at_hand,
    kept_far,
    layer_features,
    layer_table,
    layers_of,
    modularity,
    near_and_far,
    relative_to,
    rld,
    rld_by_factor,
    similarity_graph,
    toy_spaces,
    two_triangles,
    with_intervals,
)
from xaicl_lib.zoo import untrained


def clouds(n: int = 24, d: int = 5, classes: int = 3, apart: float = 2.0, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(classes, (n,), generator=g)
    centres = apart * torch.eye(classes, d, dtype=torch.float64)
    return centres[y] + torch.randn(n, d, generator=g, dtype=torch.float64), y


def slow_graph(x: torch.Tensor, temperature: float) -> list[list[float]]:
    """A, number by number, as the paper writes it."""
    n, d = x.shape
    distance = [[math.sqrt(sum((x[i, k] - x[j, k]).item() ** 2 for k in range(d))) / math.sqrt(d) for j in range(n)] for i in range(n)]
    mean = sum(distance[i][j] for i in range(n) for j in range(i + 1, n)) / (n * (n - 1) / 2)
    e = [[math.exp(-distance[i][j] / mean / temperature) if i != j else 0.0 for j in range(n)] for i in range(n)]
    return [[n**2 * e[i][j] ** 2 / (sum(e[i]) * sum(e[k][j] for k in range(n))) for j in range(n)] for i in range(n)]


def slow_modularity(a: list[list[float]], y: list[int]) -> float:
    n, degrees = len(a), [sum(row) for row in a]
    two_m = sum(degrees)
    return sum((a[i][j] - degrees[i] * degrees[j] / two_m) * (y[i] == y[j]) for i in range(n) for j in range(n)) / two_m


@pytest.mark.parametrize("temperature", [0.05, 0.3, 3.0])
def test_equals_loops_over_the_formula(temperature: float) -> None:
    x, y = clouds()
    a = slow_graph(x, temperature)
    assert_close(similarity_graph(x, temperature), torch.tensor(a, dtype=torch.float64), 1e-7)
    assert rld(x, y, temperature).item() == pytest.approx(slow_modularity(a, y.tolist()), abs=1e-9)


def test_equals_the_modularity_of_networkx() -> None:
    x, y = clouds(30)
    for temperature in (0.05, 0.2, 1.0):
        graph = networkx.from_numpy_array(similarity_graph(x, temperature).numpy())
        communities = [set(np.flatnonzero(y.numpy() == c).tolist()) for c in range(3)]
        want = networkx.community.modularity(graph, communities, weight="weight")
        assert rld(x, y, temperature).item() == pytest.approx(want, abs=1e-12)


def test_strips_change_nothing_and_temperatures_share_a_call(monkeypatch) -> None:
    x, y = clouds(50)
    t = [0.02, 0.1, 1.0]
    whole = rld(x, y, t)
    assert whole.dtype == torch.float64
    graph = similarity_graph(x, 0.1)
    for block in (1, 170, 50 * 49):
        monkeypatch.setattr("xaicl_lib.studies.organization.BLOCK", block)
        assert_close(rld(x, y, t), whole)
        assert_close(similarity_graph(x, 0.1), graph)
    assert_close(torch.stack([rld(x, y, value) for value in t]), whole)


def test_low_temperatures_see_mutual_nearest_neighbours_and_do_not_underflow() -> None:
    x, y = clouds(40, apart=1.0)
    d = torch.cdist(x, x).fill_diagonal_(torch.inf)
    nearest = d.argmin(1)
    joined = [(i, int(j)) for i, j in enumerate(nearest) if int(nearest[j]) == i]  # both directions
    same = sum(bool(y[i] == y[j]) for i, j in joined) / len(joined)
    shares = [sum(int(y[i]) == c for i, _ in joined) / len(joined) for c in range(3)]
    want = same - sum(s**2 for s in shares)
    assert rld(x, y, 1e-5).item() == pytest.approx(want, abs=1e-9)
    assert rld(x.float(), y, 1e-5).item() == pytest.approx(want, abs=1e-9), "in the type that models give"


def test_high_temperatures_join_all_points_alike() -> None:
    x, y = clouds(40)
    shares = torch.bincount(y) / 40
    want = -(1 - shares.square().sum().item()) / 39
    assert rld(x, y, 1e8).item() == pytest.approx(want, abs=1e-7)


def test_order_unit_origin_and_names_of_classes_do_not_matter() -> None:
    x, y = clouds()
    t = [0.05, 0.5]
    want = rld(x, y, t)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(1))
    assert_close(rld(x[order], y[order], t), want)
    assert_close(rld(1e3 * x + 1e6, y, t), want, 1e-6)
    assert_close(rld(x.numpy(), [("red", "green", "blue")[c] for c in y.tolist()], t), want)
    assert_close(rld(x, 7 - y, t), want)


def test_separate_classes_are_communities_and_shuffled_ones_are_not() -> None:
    x, y = clouds(60, apart=50.0)
    found = rld(x, y, [0.01, 0.1])
    degrees = similarity_graph(x, 0.1).sum(1)
    shares = torch.stack([degrees[y == c].sum() for c in range(3)]) / degrees.sum()
    assert found[1].item() == pytest.approx(1 - shares.square().sum().item(), abs=1e-6), "all weight is within"
    assert found[1] > 0.6
    shuffled = y[torch.randperm(60, generator=torch.Generator().manual_seed(0))]
    assert rld(x, shuffled, [0.05, 0.1]).abs().max() < 0.15


def test_duplicates_are_no_trouble() -> None:
    x, y = clouds(12)
    found = rld(torch.cat([x, x]), torch.cat([y, y]), [1e-4, 0.1, 10])
    assert found.isfinite().all()
    assert found[0] > 0.5, "each item and its twin are of one class"


X, Y = clouds(8)
NAN = X.clone()
NAN[2, 1] = torch.nan
BAD = [
    ((NAN, Y, 0.1), "finite numbers, got NaN or infinity in 1 of 8"),
    ((X[:, 0], Y, 0.1), r"\(n, d\)"),
    ((X[:2], Y[:2], 0.1), "at least 3 items"),
    ((torch.ones(8, 3), Y, 0.1), "8 that are all alike"),
    ((X, None, 0.1), "got none"),
    ((X, Y[:5], 0.1), r"label for each of 8 embeddings, got labels of shape \(5,\)"),
    ((X, torch.where(Y == 1, -1, Y), 0.1), "missing ones"),
    ((X, torch.zeros(8, dtype=torch.long), 0.1), "at least two classes, got only"),
    ((X, Y, 0.0), "temperatures above 0"),
    ((X, Y, [0.1, float("nan")]), "temperatures above 0"),
    ((X, Y, []), "temperatures above 0"),
]


@pytest.mark.parametrize(("given", "said"), BAD)
def test_bad_input_is_named(given: tuple, said: str) -> None:
    with pytest.raises(InputError, match=said):
        rld(*given)


def test_intervals_are_as_wide_as_independent_draws_differ() -> None:
    t = [0.05, 0.5]
    drawn = torch.stack([rld(*clouds(150, seed=seed), t) for seed in range(60)])
    errors = []
    for seed in range(8):
        x, y = clouds(150, seed=seed)
        errors.append(with_intervals(curves({"m": x}, y, t, halves=30))["se"].tolist())
    ratio = torch.tensor(errors).double().square().mean(0).sqrt() / drawn.std(0)
    assert (ratio > 0.75).all()
    assert (ratio < 1.4).all()


def test_intervals_of_few_halves_are_students() -> None:
    values = [0.5, 0.42, 0.55, 0.61, 0.47]
    rows = [{"model": "m", "temperature": 0.1, "draw": k, "value": v, "n": 20 if k == 0 else 10} for k, v in enumerate(values)]
    found = with_intervals(pd.DataFrame(rows)).iloc[0]
    want = stats.t.interval(0.95, 3, 0.5, np.std(values[1:], ddof=1))
    assert (found["low"], found["high"]) == pytest.approx(want)


def test_curves_hold_all_items_and_the_same_halves_for_all_models() -> None:
    x, y = clouds()
    table = curves({"one": x, "same": 2 * x, "other": x[:, :2]}, y, [0.1, 1.0], halves=5)
    assert len(table) == 3 * 6 * 2
    whole = table[(table["draw"] == 0) & (table["model"] == "one")]
    assert whole["value"].tolist() == rld(x, y, [0.1, 1.0]).tolist()
    assert set(table[table["draw"] > 0]["n"]) == {12}
    wide = table.pivot(index=["draw", "temperature"], columns="model", values="value")
    assert np.allclose(wide["one"], wide["same"]), "the unit does not matter, and halves are shared"
    difference = with_intervals(relative_to(table, "model", "one"))
    zero = difference[difference["model"] == "same"]
    assert np.allclose(zero[["mean", "low", "high"]], 0)
    cold = relative_to(table, "temperature", 0.1)
    row = cold[(cold["model"] == "other") & (cold["draw"] == 3)].iloc[0]
    assert row["value"] == pytest.approx(wide.loc[(3, 1.0), "other"] - wide.loc[(3, 0.1), "other"])
    with pytest.raises(InputError, match="reference of model, got 'none'"):
        relative_to(table, "model", "none")
    with pytest.raises(InputError, match="same items"):
        curves({"one": x, "two": x[:5]}, y)
    assert with_intervals(curves({"one": x}, y, [0.1], halves=0))["low"].isna().all()


def test_layers_are_what_the_modules_give() -> None:
    model, photos = untrained("simclr"), random_pair(3, (32, 32)).a.float()
    found = layer_features(model, photos)
    assert list(found) == ["block 1", "block 2", "block 3", "features", "embedding"]
    x = model.normalize(photos)
    assert_close(found["block 2"], model.features_a[:5](x).mean((2, 3)), 1e-4, 1e-5)
    assert_close(found["features"], model.features_a(x).mean((2, 3)), 1e-4, 1e-5)
    assert_close(found["embedding"], model.embed_a(x), 1e-4, 1e-4)
    as_bytes = layer_features(model, (photos * 255).round().byte())
    assert_close(as_bytes["features"], found["features"], 0.05, 0.01)
    assert not any(m._forward_hooks for m in model.fast.features_a.modules()), "hooks are gone"


def test_layers_of_a_transformer_and_of_any_model() -> None:
    torch.manual_seed(0)
    vit = PairModel(_SlimViT((8, 8, 16), 3, 2), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), size=32)
    photos = random_pair(2, (32, 32)).a.float()
    found = layer_features(vit, photos)
    assert list(found) == ["block 1", "block 2", "features", "embedding"]
    net = vit.features_a
    tokens = []
    hook = net.blocks[1].register_forward_hook(lambda _, __, out: tokens.append(out))
    net(vit.normalize(photos))
    hook.remove()
    assert_close(found["block 2"], tokens[0].mean(1), 1e-4, 1e-5)
    plain = build("projected").to(torch.float32)
    assert list(layer_features(plain, photos)) == ["features", "embedding"]


def test_untrained_is_not_the_trained_one() -> None:
    start, end = untrained("supervised"), load_model("supervised", "cpu")
    a, b = (dict(m.features_a.named_parameters()) for m in (start, end))
    assert a.keys() == b.keys()
    assert not torch.allclose(a["3.conv1.weight"], b["3.conv1.weight"], atol=1e-2)
    assert torch.equal(a["3.conv1.weight"], untrained("supervised").features_a[3].conv1.weight)


def test_near_and_far_of_a_curve_in_numbers() -> None:
    x, y = clouds(40)
    table = curves({"a": x, "b": x[:, :2]}, y, [0.05, 0.1, 0.5], halves=8)
    found, curve = near_and_far(with_intervals(table), 0.05, 0.5), with_intervals(table).set_index(["model", "temperature"])
    one = curve.loc["b", 0.5]
    assert found.loc["b", "T = 0.5"] == f"{one['mean']:.3f} ({one['low']:.3f} to {one['high']:.3f})"
    assert found.loc["a", "falls to"] == pytest.approx(curve.loc[("a", 0.5), "mean"] / curve.loc[("a", 0.05), "mean"])
    assert found.loc["a", "at T"] == curve.loc["a"]["mean"].idxmax()
    two = table[table["temperature"] != 0.1]
    kept = kept_far(two, 0.05, "a").set_index("model").loc["b"]
    ratio = curve["mean"].xs(0.5, level=1) / curve["mean"].xs(0.05, level=1)
    assert kept["mean"] == pytest.approx(ratio["b"] / ratio["a"])
    assert kept["low"] < kept["mean"] < kept["high"]
    assert kept["keeps less"] == (kept["high"] < 1)
    assert kept_far(two.astype({"model": "category"}), 0.05, "a")["mean"].item() == kept["mean"], "as a stored table has it"


def test_models_are_in_the_order_of_the_book_and_layers_from_first_to_last() -> None:
    x, y = clouds(20)
    layers = {name: {"embedding": k * x[:, :3] + x[:, 2:], "block 1": x} for k, name in enumerate(("triplet", "simclr"))}
    tables = {name: curves(found, y, [0.1, 1.0], halves=0) for name, found in layers.items()}
    table = side_by_side({name: one.rename(columns={"model": "layer"}) for name, one in tables.items()}, "model")
    found = layer_table(table, 0.1)
    assert found.index.tolist() == ["simclr", "triplet"]
    assert found.columns[found.notna().any()].tolist() == ["block 1", "embedding"]
    assert found.loc["triplet", "embedding"] == rld(layers["triplet"]["embedding"], y, 0.1)
    mixed = pd.concat([table[table["model"] == "simclr"].assign(model="another"), table], ignore_index=True).assign(n=20)
    want = ["simclr", "triplet", "another"]
    assert with_intervals(mixed.astype({"model": "category"}), ["model", "layer", "temperature"])["model"].unique().tolist() == want


def test_without_photos_there_are_scenes(monkeypatch) -> None:
    monkeypatch.delenv("XAICL_IMAGENETTE", raising=False)
    images, labels, classes, photos = images_at_hand(30)
    want, factors, _ = scene_set("val", 64, 30)
    assert torch.equal(images, want)
    assert torch.equal(labels, factors[:, 0])
    assert (classes, photos) == (list(SHAPES), False)
    layers = layers_of(["scenes_simclr"], images, start="scenes_simclr", device="cpu")
    assert list(layers) == ["scenes_simclr", "untrained scenes_simclr"]
    found = rld_by_factor(["scenes_simclr"], 30, 0.1, "cpu")
    assert found.index.tolist() == ["scenes_simclr, features", "scenes_simclr, embedding"]
    of_size = rld(layers["scenes_simclr"]["embedding"], factors[:, list(FACTORS).index("size")], 0.1).item()
    assert found.loc["scenes_simclr, embedding", "size"] == pytest.approx(of_size, abs=1e-6)


def test_modularity_of_two_triangles_is_five_fourteenths() -> None:
    graph, groupings = two_triangles()
    found = modularity(graph, groupings["by triangle"])
    assert found.loc["A"].tolist() == pytest.approx([6 / 14, 1 / 2, 1 / 4, 5 / 28])
    assert found.loc["sum", "adds"] == pytest.approx(5 / 14)
    for labels in groupings.values():
        assert modularity(graph, labels).loc["sum", "adds"] == pytest.approx(slow_modularity(graph.tolist(), [ord(k) for k in labels]))


def test_modularity_of_the_similarity_graph_is_rld() -> None:
    x, y = clouds()
    assert modularity(similarity_graph(x, 0.1), y).loc["sum", "adds"] == pytest.approx(rld(x, y, 0.1).item())


def test_toy_spaces_are_alike_near_and_differ_far() -> None:
    spaces, labels = toy_spaces()
    assert labels.bincount().tolist() == [64, 64]
    beside, among = (rld(places, labels, [0.05, 0.3]) for places in spaces.values())
    assert (beside - among)[0].abs() < 0.01
    assert among[1] < 0.7 * beside[1]

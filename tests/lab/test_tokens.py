"""Transformers in the lab, small ones of random weights: exported and asked by every method in Node, against torch."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.lab.test_engine import ALL_RUNS, BINARY, RUNS, RUNTIME, away, draws, runtime
from tests.lab_node import in_node
from xaicl_lib import Pair, PairModel, explain
from xaicl_lib.networks.small import branches, build_network, kept
from xaicl_lib.tokens import open_tokens
from xaicl_lib.training.recipes import RECIPES

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason="needs xaicl_lib[export]")

from xaicl_lib.lab.export import METHODS, export, graphs  # noqa: E402
from xaicl_lib.lab.export.weights import prepare  # noqa: E402

pytestmark = pytest.mark.usefixtures("brisk_export")
runtime = runtime  # a fixture
SIZE = 32
SMALL = {"widths": (4, 6, 8), "depth": 2, "heads": 2, "hidden": 8, "embedding": 6}
ASKED = {label: run for label, run in RUNS.items() if "guided" not in label and label != "conditional_occlusion, small window"}
ASKED |= {name: (name, {}, {}) for name in ("attention_rollout", "legrad")}


def small(name: str) -> PairModel:
    """A transformer as the recipe has it, but small, with random weights that half precision holds; of two branches where there are two."""
    torch.manual_seed(0)
    network = build_network({**RECIPES[name].facts(), **SMALL, "predictor": RECIPES[name].predictor and 6})
    for p in network.parameters():
        p.data = nn.init.normal_(p.data, float(p.ndim == 1), 0.4).half().float()
    return PairModel(**branches(kept(network)), size=SIZE, name=name)


@pytest.fixture(scope="module")
def pair() -> Pair:
    coarse = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    return Pair(*nn.functional.interpolate(coarse, (SIZE, SIZE), mode="bicubic").clamp(0, 1).split(1))


@pytest.fixture(scope="module")
def asked(runtime: Path, pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A model, the card of its bundle, and what the lab says of the pair by each method."""
    model, folder = small("dino_student"), tmp_path_factory.mktemp("bundles") / "dino_student"
    card = export(model, folder)
    given = {"runtime": (runtime / RUNTIME).as_uri(), "binary": str(runtime / BINARY), "bundle": str(folder), "runs": ASKED}
    sides = {side: x.flatten().tolist() for side, x in zip("ab", pair.sides, strict=True)}
    return model, card, in_node(ALL_RUNS, {**given, **sides, **draws(pair)})


def test_every_method_on_a_transformer_equals_torch(asked: Any, pair: Pair) -> None:
    model, card, found = asked
    assert card["methods"] == list(METHODS)
    assert {name for name, *_ in ASKED.values()} == set(METHODS)
    for label, (name, options, _) in ASKED.items():
        want, got = explain(model, pair, name, **options), found[label]
        assert got["score"] == pytest.approx(want.score.item(), abs=1e-5), label
        assert max(float(m.abs().max()) for m in (want.a, want.b)) > 0, label
        for side, theirs in zip("ab", (want.a, want.b), strict=True):
            assert (got[side]["h"], got[side]["w"]) == tuple(theirs.shape[1:]), label
            if label == "pairwise_occlusion, sharper":  # whose drops are divided by their spread, and so their errors
                assert away(got[side]["data"], theirs) < 1e-3, label
            elif "occlusion" in name:  # differences of scores, as exact as these are
                torch.testing.assert_close(torch.tensor(got[side]["data"]), theirs.flatten(), rtol=1e-4, atol=1e-6, msg=label)
            else:
                assert away(got[side]["data"], theirs) < 1e-4, label
        if want.residual is not None:
            assert got["residual"] == pytest.approx(want.residual.item(), abs=1e-5), label


def test_registers_are_no_cells(asked: Any) -> None:
    """What class token and registers hold is in no cell of a rollout, and so missing from its sum."""
    assert 0.1 < sum(asked[2]["attention_rollout"]["a"]["data"]) < 0.95


def test_attention_of_two_branches_is_that_of_the_methods(pair: Pair) -> None:
    model = small("moco_v3")
    parts, weights = prepare(model)
    made = graphs.functions(graphs.Network(parts, model.symmetric), SIZE, relus=False, cells=False)["attention"]
    s, *maps = made({name: weight.value for name, weight in weights.items()}, *[model.normalize(x) for x in pair.sides])
    for name, (a, b) in {"attention_rollout": maps[:2], "legrad": maps[2:]}.items():
        want = explain(model, pair, name)
        torch.testing.assert_close((s, a, b), (want.score, want.a, want.b), rtol=1e-4, atol=1e-6)
    assert not torch.allclose(maps[2], maps[3], rtol=1e-2)
    assert float(maps[0].sum()) == pytest.approx(1, abs=1e-5), "without registers all of it is in the cells"


def test_a_batch_stays_unknown_where_torch_takes_it_for_a_number(pair: Pair) -> None:
    """Of layers of tokens that are differentiated, by themselves and in PyTorch's own attention module."""
    network = pytest.importorskip("torchvision").models.VisionTransformer(SIZE, 8, 2, 2, 8, 16)
    parts = open_tokens(network, SIZE)
    assert parts is not None
    modules, weights = prepare(PairModel(*parts, size=SIZE))
    values = {name: weight.value for name, weight in weights.items()}
    made = graphs.functions(graphs.Network(modules, True), SIZE, relus=False, cells=False)["pixgrad"]
    images = [torch.cat([x, x.flip(2), x.flip(3)]) for x in pair.sides]
    got = graphs._trace(made, values)(*images, *values.values())
    torch.testing.assert_close(list(got), made(values, *images), rtol=1e-3, atol=1e-6)

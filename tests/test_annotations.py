"""Options are of the type that their functions say, for every annotation in use."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Optional

import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from tests.conftest import random_pair
from tests.test_registry import mirrored
from xaicl_lib import InputError, evaluate, explain, measure
from xaicl_lib.annotations import brief, is_a, parameters
from xaicl_lib.evaluation.store import digest
from xaicl_lib.methods import methods
from xaicl_lib.methods.registry import Method
from xaicl_lib.metrics import metrics
from xaicl_lib.views.figures import label

GOOD_AND_BAD: list[tuple[Any, list[Any], list[Any]]] = [
    (int, [8, np.int64(8), np.int32(8)], [8.0, True, "8", np.float64(8), np.bool_(True), None]),
    (float, [0.5, 1, np.float32(0.5), np.int64(1)], [True, "0.5", None, 1j]),
    (bool, [True, False, np.bool_(True)], [1, 0, "maybe", None]),
    (str, ["mean"], [b"mean", 1, None]),
    (int | None, [None, 3, np.int64(3)], [True, 3.0, "3"]),
    (Optional[float], [None, 3], [True]),  # noqa: UP045
    (bool | float, [True, 0.1, 1], ["yes", None]),
    (tuple, [(1, 2), ()], [[1, 2], 1]),
    (tuple[int, int], [(1, 2), (np.int64(1), 2)], [(1,), (1, 2, 3), (1, 2.5), (True, 1), [1, 2], 1]),
    (tuple[float, ...], [(), (1, 2.5)], [("a",), 1.0]),
    (tuple[int, int] | None, [None, (1, 2)], [(1, "2")]),
    (Literal["mean", "max"], ["mean"], ["median", 0, None]),
    (Literal[1, 2], [1, np.int64(2)], [True, 3, 1.0]),
    (Sequence[int], [[1], (1, 2), []], ["12", [1.5], [True], 3]),
    (list[str], [["a"]], [("a",), [1]]),
    (Mapping[str, float], [{"a": 1}], [{"a": "b"}, {1: 1.0}, []]),
    (Callable | None, [None, abs], [3]),
    (Callable[..., Tensor], [abs, torch.relu], [3, None]),
    (Float[Tensor, "n d"] | None, [None, torch.rand(1, 2)], [torch.rand(1), torch.ones(1, 2, dtype=torch.long), [[1.0]]]),
    (Tensor | None, [None, torch.rand(1)], [1.0]),
    (Any, [1, "a", None], []),
]


@pytest.mark.parametrize(("wanted", "good", "bad"), GOOD_AND_BAD, ids=lambda v: "" if isinstance(v, list) else str(v))
def test_each_annotation(wanted: Any, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert is_a(value, wanted), value
    for value in bad:
        assert not is_a(value, wanted), value


def test_every_default_is_of_its_own_type() -> None:
    for item in [*methods, *metrics]:
        for name, parameter in parameters(item.function).items():
            if parameter.default is not parameter.empty:
                assert is_a(parameter.default, parameter.annotation), (item.name, name)


def test_options_of_methods(projected) -> None:
    pair = random_pair(1)
    made = explain(projected, pair, "conditional_occlusion", window=np.int64(8), stride=np.int32(8), chunk=np.int64(4))
    assert type(made.params["window"]) is int
    assert torch.equal(made.a, explain(projected, pair, "conditional_occlusion", window=8, stride=8).a)
    assert digest({"window": np.int64(8)}) == digest({"window": 8})
    for name, given, wanted in (("window", True, r"int \| None"), ("stride", 2.5, r"int \| None")):
        with pytest.raises(InputError, match=f"expected {name} of conditional_occlusion to be {wanted}, got {given}"):
            explain(projected, pair, "conditional_occlusion", **{name: given})
    with pytest.raises(InputError, match="expected chunk to be a whole number of images of at least 1, got True"):
        explain(projected, pair, "grad_cam", chunk=True)


def test_a_method_with_other_annotations(projected) -> None:
    def shaped(model, pair, *, shape: tuple[int, int] = (2, 2), how: Literal["mean", "max"] = "mean", later: "int" = 1):
        return explain(model, pair, "grad_cam")

    method = Method("shaped", shaped, {"one_sided": False, "gradient": True})
    pair = random_pair(1)
    assert method(projected, pair, shape=(3, 3), how="max", later=2).params == {"shape": (3, 3), "how": "max", "later": 2, "seed": 0}
    for name, given in (("shape", (3,)), ("shape", [3, 3]), ("how", "least"), ("later", "two")):
        with pytest.raises(InputError, match=f"expected {name} of shaped to be "):
            method(projected, pair, **{name: given})


def test_options_of_metrics(projected) -> None:
    pair = random_pair(1)
    made = explain(projected, pair, "grad_cam")
    want = measure(projected, pair, made, ["SI", "max_sensitivity"], 12, draws=2)
    assert measure(projected, pair, made, ["SI", "max_sensitivity"], np.int64(12), draws=np.int64(2)) == want
    for given, message in (
        ({"draws": True}, "expected draws of max_sensitivity to be int, got True"),
        ({"radius": "wide"}, "expected radius of max_sensitivity to be float, got 'wide'"),
        ({"step": 2.5}, r"expected step of SI to be int \| None, got 2\.5"),
        ({"insertion": 3}, "expected insertion of SI to be str, got 3"),
    ):
        with pytest.raises(InputError, match=message):
            measure(projected, pair, made, ["SI", "max_sensitivity"], **given)


def test_titles_have_room_for_every_value(projected) -> None:
    noise = torch.rand(6, 6, 6, dtype=torch.float64)
    made = explain(projected, random_pair(1), "integrated_jacobians", steps=2, reference=noise)
    assert label(made) == "integrated_jacobians(steps=2, reference=tensor(6, 6, 6))"
    assert label(explain(projected, random_pair(1), "averaged_transforms", transform=mirrored)) == "averaged_transforms(transform=mirrored)"
    assert label(explain(projected, random_pair(1), "interaction_cam", reduction="max")) == "interaction_cam(reduction=max)"
    assert brief(np.zeros((2, 3))) == "ndarray(2, 3)"
    assert len(brief("long " * 100)) == 60
    assert "\n" not in brief("two\nlines")
    ways = [("integrated_jacobians", {"steps": 2, "reference": noise})]
    assert evaluate(projected, random_pair(1), ways, ["SI"])["method"].tolist() == [label(made)]
    with pytest.raises(InputError, match=r"to be int, got tensor\(6, 6, 6\)$"):
        explain(projected, random_pair(1), "integrated_jacobians", steps=noise)

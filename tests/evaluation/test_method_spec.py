"""Methods by name, with parameters, under labels: one form for all of them."""

import pytest
import torch
from torch.testing import assert_close

from tests.conftest import random_pair
from xaicl_lib import InputError, PairModel, explain, load_model
from xaicl_lib.evaluation.method_spec import MethodSpec, method_specs, possible, short

GUIDED = {name: (name, {"guided": True}) for name in ("input_x_gradient", "smooth_grad")}


def test_every_form_becomes_the_same() -> None:
    max_ = MethodSpec("interaction_cam", {"reduction": "max"})
    assert max_.label == "interaction_cam(reduction=max)"
    assert method_specs("rise") == method_specs(["rise"]) == method_specs(MethodSpec("rise")) == {"rise": MethodSpec("rise")}
    assert method_specs(("rise", "edges")) == method_specs(["rise", "edges"]), "a tuple of names is no method with parameters"
    assert method_specs([("interaction_cam", {"reduction": "max"}), "rise"]) == {max_.label: max_, "rise": MethodSpec("rise")}
    assert method_specs([max_]) == {max_.label: max_}


def test_a_label_is_a_call() -> None:
    label = "averaged_transforms(level=0.15, sigma=published, guided=True, samples=4)"
    spec = method_specs(label)[label]
    assert (spec.name, spec.params) == ("averaged_transforms", {"level": 0.15, "sigma": "published", "guided": True, "samples": 4})
    assert MethodSpec(spec.name, spec.params).label == label
    assert method_specs({"yours": "rise(masks=8)"})["yours"] == MethodSpec("rise", {"masks": 8}, "yours")
    assert method_specs("rise(")["rise("].name == "rise(", "which no registry knows"
    assert method_specs(["rise()", "rise(masks=8,centred=True)"]) == method_specs(["rise", "rise(masks=8, centred=True)"])


def test_labels_for_narrow_places() -> None:
    assert short("interaction_cam(reduction=max, gradient_interaction=False)") == "Int-CAM, max, no GI"
    assert short("smooth_grad(guided=True)") == "Smooth-Grad, guided"
    assert short("another way") == "another way"


@pytest.mark.parametrize("given", ["rise", ("rise", {}), MethodSpec("rise"), MethodSpec("rise", {}, "mine")])
def test_a_mapping_gives_labels(given) -> None:
    assert method_specs({"yours": given}) == {"yours": MethodSpec("rise", {}, "yours")}


@pytest.mark.parametrize(("given", "said"), [([], "at least one method, each name once, got none"), (["rise", "rise"], "got rise twice")])
def test_none_and_one_twice(given, said) -> None:
    with pytest.raises(InputError, match=said):
        method_specs(given)


def test_maps_are_those_of_explain(projected) -> None:
    pair = random_pair(2)
    made = MethodSpec("smooth_grad", {"samples": 2}).explain(projected, pair, generator=torch.Generator().manual_seed(3))
    assert_close(made.a, explain(projected, pair, "smooth_grad", samples=2, generator=torch.Generator().manual_seed(3)).a)
    assert made.params["samples"] == 2


def test_guided_methods_need_a_relu(projected) -> None:
    methods = method_specs({**GUIDED, "edges": "edges"})
    assert possible(methods, projected) == methods
    assert possible(methods, load_model("moco_v3", "cpu")) == methods, "ReLUs in the head are enough"
    smooth = PairModel(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.GELU()), size=24)
    assert list(possible(methods, smooth)) == ["edges"]
    assert possible({}, smooth) == {}


def test_a_label_that_was_written_is_read_again() -> None:
    for params in ({"scale": (0.1, 0.3), "masks": 4}, {"sigma": "published"}, {"guided": True, "level": 0.15}):
        label = MethodSpec("smooth_grad", params).label
        assert method_specs(label)[label].params == params
    assert method_specs("not a (label")["not a (label"].params == {}

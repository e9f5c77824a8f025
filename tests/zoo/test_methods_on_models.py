"""Every method explains every bundled model: convolutional or transformer, one branch or two."""

import pytest
import torch

from xaicl_lib import InputError, Pair, explain, list_methods, list_models, load_model
from xaicl_lib.data.photos import open_photo
from xaicl_lib.methods import methods
from xaicl_lib.scores import cosine

FEW = {"conditional_occlusion": {"window": 32, "stride": 32}, "rise": {"masks": 16}}  # where the network itself takes long
TRANSFORMERS = ("moco_v3", "dino_student")
MODELS = pytest.mark.parametrize("name", list_models())


def photos(size: int) -> Pair:
    return Pair(torch.cat([open_photo("cat", size)] * 2), torch.cat([open_photo("astronaut", size), open_photo("cat", size).flip(3)]))


@MODELS
def test_every_method_explains_every_model(name) -> None:
    model = load_model(name, "cpu")
    pair = photos(model.size)
    want = cosine(model.embed_a(model.normalize(pair.a)), model.embed_b(model.normalize(pair.b)))
    for method in list_methods():
        if methods[method].facts["family"] == "attention" and name not in TRANSFORMERS:
            with pytest.raises(InputError, match="expected a model with attention among the cells of its map"):
                explain(model, pair, method)
            continue
        made = explain(model, pair, method, **FEW.get(method, methods[method].cheap))
        torch.testing.assert_close(made.score, want, rtol=1e-4, atol=1e-5)
        assert made.a.isfinite().all(), method
        assert made.a[0].std() + made.b[0].std() > 0, method  # pairwise occlusion may credit one side alone


@MODELS
def test_guided_where_there_are_relus_in_both_branches(name) -> None:
    """Those of the head are enough: a vision transformer has no others."""
    model = load_model(name, "cpu")
    branches = [(model.features_a, model.head_a), (model.features_b, model.head_b)]
    relus = [sum(isinstance(m, torch.nn.ReLU) for part in branch for m in part.modules()) for branch in branches]
    if all(relus):
        plain, guided = (explain(model, photos(model.size), "input_x_gradient", guided=g) for g in (False, True))
        assert not torch.allclose(plain.a, guided.a)
        assert not torch.allclose(plain.b, guided.b)
    else:
        with pytest.raises(InputError, match="expected a network with ReLUs"):
            explain(model, photos(model.size), "input_x_gradient", guided=True)

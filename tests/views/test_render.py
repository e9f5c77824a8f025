"""The book's form of a figure holds each photo once, and nothing of it is lost."""

import json

import numpy as np

from tests.conftest import build, random_pair
from xaicl_lib import explain
from xaicl_lib.views.figures import pair_figure
from xaicl_lib.views.render import figure_json


def unshare(node, shared):
    """What the book's script does."""
    if isinstance(node, dict):
        return shared[node["shared"]] if isinstance(node.get("shared"), int) else {k: unshare(v, shared) for k, v in node.items()}
    return [unshare(v, shared) for v in node] if isinstance(node, list) else node


def test_photos_are_written_once() -> None:
    model, pair = build("projected"), random_pair(1)
    figure = pair_figure(pair, [explain(model, pair, name) for name in ("grad_cam", "interaction_cam", "conditional_occlusion")])
    plain = json.loads(figure.to_json())
    plain["layout"].pop("template", None)
    text = figure_json(figure)
    assert text.count("data:image/jpeg") == 2  # of twelve places
    spec = json.loads(text)
    shared = spec.pop("shared")
    assert unshare(spec, shared) == plain


def test_maps_travel_as_numbers() -> None:
    model, pair = build("projected"), random_pair(1)
    made = explain(model, pair)
    spec = json.loads(figure_json(pair_figure(pair, made)))
    heat = next(trace for trace in spec["data"] if trace["type"] == "heatmap")
    import base64

    got = np.frombuffer(base64.b64decode(heat["z"]["bdata"]), heat["z"]["dtype"])
    np.testing.assert_allclose(got, made.a[0].flatten(), rtol=1e-6)

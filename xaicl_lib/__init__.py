"""Explanations for contrastive models: why does a model find two images alike?"""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from xaicl_lib.errors import InputError
from xaicl_lib.methods import explain, list_methods
from xaicl_lib.metrics import list_metrics, measure
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Explanation, Pair, Truth
from xaicl_lib.zoo import list_models, load_model

try:
    __version__ = version("xaicl_lib")
except PackageNotFoundError:  # run from a checkout that was not installed
    __version__ = "0+unknown"


def evaluate(*args: Any, **kwargs: Any) -> Any:
    """See `xaicl_lib.evaluation.evaluate.evaluate`, which needs pandas and is imported when it is called."""
    from xaicl_lib.evaluation.evaluate import evaluate

    return evaluate(*args, **kwargs)


__all__ = [
    "Explanation", "InputError", "Pair", "PairModel", "Truth", "evaluate", "explain", "list_methods", "list_metrics", "list_models",
    "load_model", "measure",
]  # fmt: skip

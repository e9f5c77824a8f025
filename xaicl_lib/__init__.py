"""Explanations for contrastive models: why does a model find two images alike?"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from xaicl_lib.errors import InputError
from xaicl_lib.methods import explain, list_methods
from xaicl_lib.metrics import measure
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Explanation, Pair
from xaicl_lib.zoo import list_models, load_model

if TYPE_CHECKING:
    from xaicl_lib.evaluation.evaluate import evaluate
    from xaicl_lib.statistics.paired import compare
    from xaicl_lib.views.page import show

try:
    __version__ = version("xaicl_lib")
except PackageNotFoundError:  # run from a checkout that was not installed
    __version__ = "0+unknown"

# What needs pandas or plotly is imported when it is first asked for: a question to a model should not wait for tables and figures.
_LATER = {"compare": "xaicl_lib.statistics.paired", "evaluate": "xaicl_lib.evaluation.evaluate", "show": "xaicl_lib.views.page"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "Explanation", "InputError", "Pair", "PairModel", "compare", "evaluate", "explain", "list_methods", "list_models", "load_model",
    "measure", "show",
]  # fmt: skip

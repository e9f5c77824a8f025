"""A benchmark for explanations of similarity: pairs whose shared evidence is known and whose use by the model was confirmed."""

from xaicl_lib.benchmark.result import Result, ranking
from xaicl_lib.benchmark.run import evaluate_method

__all__ = ["Result", "evaluate_method", "ranking"]

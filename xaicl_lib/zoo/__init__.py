"""Models to explain."""

from xaicl_lib.zoo.bundled import list_models, load_classifier, load_model, model_card, untrained
from xaicl_lib.zoo.official import list_official

__all__ = ["list_models", "list_official", "load_classifier", "load_model", "model_card", "untrained"]

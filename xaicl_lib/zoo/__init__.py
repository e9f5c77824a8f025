"""Models to explain."""

from xaicl_lib.zoo.bundled import list_models, load_classifier, load_model, model_card

__all__ = ["list_models", "load_classifier", "load_model", "model_card"]

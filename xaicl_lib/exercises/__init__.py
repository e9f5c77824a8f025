"""Checks for the exercises of the book: each gives a hint, and none of them ever stops a notebook."""

from xaicl_lib.exercises.checking import Mistake, Verdict, check_choice, check_function, check_number
from xaicl_lib.exercises.studies import (
    check_corpus_score,
    check_holm,
    check_modularity,
    check_overlap_of,
    check_partial,
    check_relative_error,
    check_spread,
    check_texture_bias,
    check_times_chance,
    check_why_not,
)
from xaicl_lib.exercises.tasks import (
    check_area,
    check_box,
    check_cosine,
    check_interval,
    check_normalised,
    check_pointing,
    check_shared_scale,
    check_signed_cam,
    check_solarised,
    check_target,
)

__all__ = [
    "Mistake", "Verdict", "check_area", "check_box", "check_choice", "check_corpus_score", "check_cosine",
    "check_function", "check_holm", "check_interval", "check_modularity", "check_normalised", "check_number", "check_overlap_of",
    "check_partial", "check_pointing", "check_relative_error", "check_shared_scale", "check_signed_cam",
    "check_solarised", "check_spread", "check_target", "check_texture_bias",
    "check_times_chance", "check_why_not",
]  # fmt: skip

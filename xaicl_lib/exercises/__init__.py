"""Checks for the exercises of the book: each gives a hint, and none of them ever stops a notebook."""

from xaicl_lib.exercises import studies, tasks  # noqa: F401  whose checks are then known by their names
from xaicl_lib.exercises.checking import Verdict, check, check_function, check_number

__all__ = ["Verdict", "check", "check_function", "check_number"]

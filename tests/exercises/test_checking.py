"""What checks say of answers: right, wrong in a known way, wrong in an unknown way, broken, not given."""

import pytest
import torch

from xaicl_lib import InputError
from xaicl_lib.exercises import check, check_function, check_number


def double(x):
    return 2 * x


X = torch.tensor([[1.0, 2.0], [3.0, -4.0]])
TASK = {
    "right": double,
    "cases": [(X,)],
    "expected": "twice the input",
    "nudge": "multiply by two",
    "mistakes": {
        "this is the square": lambda x: x**2,
        "nothing happens yet": lambda x: x,
    },
    "afterword": "Well done.",
}


def test_a_right_answer_is_right_in_other_number_types_too():
    for answer in (double, lambda x: x + x, lambda x: (2 * x).numpy(), lambda x: (2 * x).tolist(), lambda x: (2 * x).double()):
        said = check_function(answer, **TASK)
        assert said.right is True
        assert str(said) == repr(said) == "right. Well done."


@pytest.mark.parametrize("answer", [None, ..., lambda x: None, lambda x: ...])
def test_a_placeholder_is_not_an_error(answer):
    said = check_function(answer, **TASK)
    assert said.right is None
    assert said.text.startswith("not yet answered")


def test_an_answer_that_is_not_implemented_is_a_placeholder():
    def answer(x):
        raise NotImplementedError

    assert check_function(answer, **TASK).right is None


def test_what_pytorch_does_not_implement_is_an_answer_that_stopped():
    said = check_function(lambda x: (x > 0).mean(), **TASK)
    assert said.right is False
    assert "mean()" in said.text


@pytest.mark.parametrize(
    ("answer", "parts"),
    [
        (
            lambda x: x**2,
            ["Expected: twice the input", "at [0, 0]: 2 was expected, you have 1", "3 of 4 values", "Hint: this is the square"],
        ),
        (lambda x: x, ["Hint: nothing happens yet"]),
        (lambda x: 2 * x.abs(), ["at [1, 1]: -8 was expected, you have 8", "1 of 4 values differ", "Hint: multiply by two"]),
        (lambda x: 2 * x[0], ["shape (2,), and shape (2, 2) was expected", "multiply by two"]),
        (lambda x: 2.0, ["a single number, and shape (2, 2) was expected"]),
        (lambda x: "two", ["str 'two'", "shape (2, 2)"]),
        (lambda x: 2 * x * float("nan"), ["you have nan"]),
        (lambda x: x @ torch.ones(3), ["stopped with RuntimeError", "multiply by two"]),
        (lambda: 1, ["stopped with TypeError"]),
    ],
)
def test_a_wrong_answer_gets_its_own_hint(answer, parts):
    said = check_function(answer, **TASK)
    assert said.right is False
    for part in parts:
        assert part in said.text


def test_an_answer_that_writes_into_its_argument_is_told_so_and_spoils_nothing():
    case = X.clone()
    said = check_function(lambda x: x.mul_(2), **{**TASK, "cases": [(case,)]})
    assert said.right is False
    assert "changes what it is given" in said.text
    assert torch.equal(case, X)


def test_what_is_no_function_is_named():
    assert "expected a function, got int 3" in check_function(3, **TASK).text


def test_later_trials_count():
    said = check_function(lambda x: x + 1, **{**TASK, "cases": [(torch.tensor(1.0),), (torch.tensor(5.0),)]})
    assert "On trial 2, the first difference is: 10 was expected, you have 6." in said.text


def test_predicted_numbers():
    words = {"expected": "a share between 0 and 1", "nudge": "think of chance"}
    assert check_number(None, 0.3, **words).right is None
    assert check_number(0.32, 0.3, **words).right
    low, high = check_number(0.1, 0.3, **words), check_number("0.9", 0.3, **words)
    assert not low.right
    assert "it is higher than that" in low.text
    assert "it is lower than that" in high.text
    assert "think of chance" in high.text
    assert "0.3" not in high.text  # the number itself is not given away
    assert "expected a number" in check_number("many", 0.3, **words).text


class Unfinished:
    def __float__(self):
        raise KeyError("later")


ODD = [10**400, torch.tensor(1j), torch.empty((), device="meta"), torch.ones(2), float("nan"), Unfinished()]


@pytest.mark.parametrize("odd", ODD, ids=["huge", "complex", "without values", "several", "nan", "unfinished"])
def test_what_is_no_number_is_told_and_not_raised(odd) -> None:
    said = check_number(odd, 0.3, expected="a share between 0 and 1", nudge="think of chance")
    assert said.right is False
    assert "expected a number, a share between 0 and 1, got " in said.text


def test_an_exercise_that_is_not_there_is_said() -> None:
    with pytest.raises(InputError, match="unknown exercise 'boxes'; there are: "):
        check("boxes", lambda area: area)

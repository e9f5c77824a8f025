"""The questions that people ask have short answers with a way on, and the page for those who know captum runs."""

import re
from collections.abc import Iterator

import pytest

from xaicl_lib.publishing.run import ROOT

FAQ = (ROOT / "book" / "faq.md").read_text(encoding="utf-8")
CAPTUM = (ROOT / "book" / "captum.md").read_text(encoding="utf-8")
ANSWERS = dict(re.findall(r"^### (.+)\n((?:(?!#).+\n?)+)", FAQ, re.MULTILINE))
GENERATED = {"reference/methods.md", "reference/api.md", "reference/benchmark.md"}


def calls(text: str) -> Iterator[str]:
    """Names in code of a page that are called."""
    for code in re.findall(r"`([^`]+)`", text):
        yield from re.findall(r"\b(explain|measure|evaluate|compare|show|load_model|Pair\.open|PairModel\.from_module|model\.like)\(", code)


def test_thirty_questions_have_an_answer_of_five_lines_and_a_link() -> None:
    assert len(ANSWERS) == 30
    assert [question for question, text in ANSWERS.items() if len(text.strip().splitlines()) > 5] == []
    for question, text in ANSWERS.items():
        links = re.findall(r"\]\(([^)#]+)\)", text)
        assert links, question
        missing = [link for link in links if link not in GENERATED and not (ROOT / "book" / link).is_file()]
        assert not missing, question


def test_what_is_called_there_is_there() -> None:
    import xaicl_lib
    from xaicl_lib import Pair, PairModel

    owners = {"Pair": Pair, "PairModel": PairModel, "model": PairModel}
    found = set(calls(FAQ + CAPTUM))
    assert {"explain", "model.like", "PairModel.from_module"} <= found
    for name in found:
        owner, _, own = name.rpartition(".")
        assert hasattr(owners[owner] if owner else xaicl_lib, own), name


def test_the_same_question_both_ways_runs(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("captum", reason="needs xaicl_lib[adapters]")
    (code,) = re.findall(r"```python\n(.*?)```", CAPTUM, re.DOTALL)
    exec(compile(code, "captum.md", "exec"), {})
    score, rest = capsys.readouterr().out.split(maxsplit=1)
    assert -1 <= float(score) <= 1
    assert rest.strip() == "torch.Size([1, 12, 12, 12, 12]) torch.Size([1, 96, 96])"

"""The questions of the chapters: one file, true answers, a section for each page, and an export that parses."""

import base64
import html
import io
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
import yaml
from PIL import Image

from tests.lab_node import in_node
from xaicl_lib import load_model, measure
from xaicl_lib.errors import InputError
from xaicl_lib.lab.gallery import MODELS, PAIRS, menu
from xaicl_lib.publishing.quizzes import FILE, _answer, _mixed, _region_of, moodle_xml, read_quizzes, section, teachers_page
from xaicl_lib.publishing.run import ROOT
from xaicl_lib.views import LivePair

QUIZZES = read_quizzes(ROOT / "book" / FILE)
QUESTIONS = [question for questions in QUIZZES.values() for question in questions]


def test_every_chapter_asks_at_least_three() -> None:
    parts = yaml.safe_load((ROOT / "_toc.yml").read_text())["parts"]
    chapters = {Path(e["file"]).name for part in parts for e in part["chapters"] if e["file"].startswith("notebooks/")}
    assert set(QUIZZES) == chapters
    assert {question["kind"] for question in QUESTIONS} == {"choice", "number", "order", "place", "control", "code"}


def test_places_and_controls_are_those_of_the_library() -> None:
    pairs = {pair[:2] for pair in PAIRS}
    for question in QUESTIONS:
        if question["kind"] in ("place", "control"):
            assert (question["a"], question["b"]) in pairs, "only of these results are stored"
            assert question["model"] in MODELS
        if question["kind"] == "control":
            assert set(question["maps"]) <= set(menu())
        if question["kind"] == "place":
            made = LivePair(question["model"], question["method"], question["a"], question["b"]).explanation()
            found = getattr(made, question["side"])[0]
            row, column = divmod(int(found.argmax()), found.shape[1])
            where = ((column + 0.5) / found.shape[1], (row + 0.5) / found.shape[0])
            assert question["at"] == pytest.approx(where, abs=1e-3), question["id"]


def test_scores_that_an_answer_names_are_those_of_the_library() -> None:
    def score(change: tuple[str, float] | None = None) -> str:
        return f"{LivePair(change=change).explanation().score.item():.2f}"

    told = {question["id"]: question["says"] for question in QUESTIONS if question["kind"] == "order"}
    blurs = [score(), *(score(("blur", float(sigma))) for sigma in (1, 2, 3))]
    assert re.findall(r"0\.\d\d", told["harmful-blur"]) == blurs
    changes = [score(change) for change in (("grayscale", 1.0), ("hue", 0.5), ("rotation", 90.0), ("blur", 3.0))]
    assert re.findall(r"0\.\d\d", told["dissection-order"]) == changes
    assert blurs == sorted(blurs, reverse=True)
    assert changes == sorted(changes, reverse=True)


def test_a_section_can_be_read_without_scripts_and_names_cannot_become_html() -> None:
    question = {"id": "x", "kind": "choice", "ask": "<b>?", "hint": "h", "options": [{"text": "</script><i>", "right": True, "says": "s"}]}
    text = section([question])
    assert "<i>" not in text
    assert "&lt;b&gt;?" in text
    assert "<summary>Answer</summary><p>&lt;/script&gt;&lt;i&gt; s</p>" in text
    (data,) = re.findall(r'<script type="application/json">(.*?)</script>', text)
    assert json.loads(data) == question


def test_what_is_to_be_ordered_can_be_read_without_scripts_and_not_in_its_order() -> None:
    orders = [question for question in QUESTIONS if question["kind"] == "order"]
    assert orders
    for question in orders:
        shown = re.findall("<li>(.*?)</li>", section([question]))
        assert sorted(shown) == sorted(map(html.escape, question["items"]))
        assert shown != [html.escape(item) for item in question["items"]]


def test_moodle_gets_every_question_with_its_answer() -> None:
    quick = {"conditional_occlusion": "grad_cam"}  # another map, for its cost
    asked = {name: [q | {"maps": [quick.get(m, m) for m in q.get("maps", ())]} for q in questions] for name, questions in QUIZZES.items()}
    root = ElementTree.fromstring(moodle_xml(asked, {}))
    made = {q.findtext("name/text"): q for q in root if q.get("type") != "category"}
    assert sum(q.get("type") == "category" for q in root) == len(QUIZZES)
    assert set(made) == {question["id"] for question in QUESTIONS}
    for question in QUESTIONS:
        one = made[question["id"]]
        full = [a for a in one.findall("answer") if a.get("fraction") == "100"]
        if question["kind"] == "order":
            parts = sorted((int(part.findtext("answer/text")), part.findtext("text")) for part in one.findall("subquestion"))
            assert len(parts) == len(question["items"])
            continue
        if question["kind"] == "code":
            assert json.dumps(question["cases"][0][0]) in one.findtext("questiontext/text")
            assert one.findtext("graderinfo/text") == f"<pre>{html.escape(question['solution'])}</pre>"
            continue
        assert len(full) == 1, question["id"]
        if question["kind"] == "number":
            assert float(full[0].findtext("text")) == pytest.approx(question["value"], abs=1e-5)
            assert float(full[0].findtext("tolerance")) == question["tolerance"]
        if question["kind"] == "place":
            assert full[0].findtext("text") == _region_of(question["at"])
        if question["kind"] in ("place", "control"):
            files = one.findall("questiontext/file")
            assert len(files) == (2 if question["kind"] == "place" else len(question["maps"]))
            for file in files:
                assert f"@@PLUGINFILE@@{file.get('path')}{file.get('name')}" in one.findtext("questiontext/text")
                assert Image.open(io.BytesIO(base64.b64decode(file.text))).size == (224, 224)


JUDGED = """
const { verdict } = await import(given.cell);
const ready = new Promise((resolve) => { globalThis.self = { postMessage: resolve }; });
await import(given.worker);
await ready;
const run = (names, cases, code) => {
  let got;
  self.postMessage = (data) => { got = data; };
  self.onmessage({ data: { names, cases, code } });
  return got;
};
const out = {};
for (const { id, names, cases, start, solution, wrong, says, hint } of given.questions) {
  const gives = (code) => run(names, cases, code);
  const known = wrong.map((one) => ({ says: one.says, gives: gives(one.code) }));
  const judge = (code) => verdict(gives(code), gives(solution), { says, hint, wrong: known });
  const [first, ...others] = gives(solution);
  const near = verdict([first + 2e-5, ...others], [0, ...others], { says, hint, wrong: [], answer: first });
  const [right, begun, unknown, nothing, odd] = [solution, start, "return cases;", "let x = 1;", "return 7e9;"].map(judge);
  out[id] = { values: gives(solution), right, near, begun, unknown, nothing, odd, wrong: wrong.map(({ code }) => judge(code)) };
}
answer(out);
"""


@pytest.fixture(scope="module")
def judged() -> dict[str, Any]:
    static = ROOT / "book" / "_static"
    given = {"cell": (static / "code_cell.js").as_uri(), "worker": (static / "code_worker.js").as_uri()}
    return in_node(JUDGED, given | {"questions": [question for question in QUESTIONS if question["kind"] == "code"]})


def test_code_is_code_on_the_teachers_page() -> None:
    question = next(one for one in QUESTIONS if one["kind"] == "code")
    page = teachers_page({"01_methods": [question]}, {})
    assert f"`` {' '.join(question['solution'].split())} ``. " in page
    assert all(f"- `` {' '.join(wrong['code'].split())} `` *" in page for wrong in question["wrong"])


def test_code_is_judged_by_what_it_gives(judged: dict[str, Any]) -> None:
    for question in (one for one in QUESTIONS if one["kind"] == "code"):
        made = judged[question["id"]]
        assert made["right"] == made["near"] == {"right": True, "says": question["says"]}
        assert not made["begun"]["right"]
        assert made["wrong"] == [{"right": False, "says": one["says"]} for one in question["wrong"]], question["id"]
        assert made["nothing"]["says"] == "It returns nothing instead of a number."
        assert made["unknown"]["says"].startswith('It stops with "cases is not defined')
        assert made["odd"]["says"].endswith(question["hint"])
        assert len(question["solution"].splitlines()) <= 10


def test_code_gives_what_the_library_gives(judged: dict[str, Any]) -> None:
    """The first example is a pair's, stored for where no engine computes: what is right of it is what the library says of the pair."""
    questions = {question["id"]: question for question in QUESTIONS if question["kind"] == "code"}
    values = {name: made["values"] for name, made in judged.items()}
    for (za, zb), got in zip(questions["methods-cosine"]["cases"], values["methods-cosine"], strict=True):
        assert got == pytest.approx(torch.cosine_similarity(torch.tensor([za]).float(), torch.tensor([zb]).float()).item(), abs=1e-6)
    for (scores,), got in zip(questions["metrics-area-code"]["cases"], values["metrics-area-code"], strict=True):
        assert got == pytest.approx(torch.trapezoid(torch.tensor(scores).float(), dx=1 / (len(scores) - 1)).item(), abs=1e-6)
    live = LivePair(**{key: value for key, value in questions["methods-cosine"]["pair"].items() if key != "answer"})
    assert all(question["pair"] | {"answer": ""} == questions["methods-cosine"]["pair"] | {"answer": ""} for question in questions.values())
    made, model = live.explanation(), load_model(live.model, "cpu")
    found, curves = measure(model, live.pair(), made, ["CD", "CAD"], step=model.size**2 // 16, curves=True)
    assert values["methods-cosine"][0] == pytest.approx(made.score.item(), abs=5e-4)
    assert questions["metrics-area-code"]["cases"][0][0] == pytest.approx(curves.points["CD"][0, 0].tolist(), abs=6e-4)
    assert questions["metrics-drop-code"]["cases"][0][0] == pytest.approx(made.score.item(), abs=6e-4)
    assert values["metrics-drop-code"][0] == pytest.approx(found["CAD"].item(), abs=2e-3)
    assert values["metrics-drop-code"][1:] == pytest.approx([0.1875, 0.25])


def test_the_teachers_page_has_every_answer() -> None:
    page = teachers_page(QUIZZES, {"01_methods": "Ways to explain"})
    assert "## [Ways to explain](../notebooks/01_methods.ipynb)" in page
    assert len(re.findall(r"^\d+\. \*\*", page, re.MULTILINE)) == len(QUESTIONS)
    assert "0.3333, within 0.005" in page


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "essay"}, "to be a choice, number"),
        ({"hint": None, "extra": 1}, "to say .* got .*extra"),
        ({"options": [{"text": "a", "right": False, "says": ""}]}, "one right option"),
        ({"id": "b1"}, "'b1' twice"),
    ],
)
def test_a_faulty_question_is_named(tmp_path: Path, change: dict, says: str) -> None:
    def question(name: str) -> dict:
        return {"id": name, "kind": "choice", "ask": "?", "hint": "!", "options": [{"text": "a", "right": True, "says": ""}]}

    file = tmp_path / FILE
    file.write_text(json.dumps({"one": [question("b1"), question("b2"), question("b3") | change]}))
    with pytest.raises(InputError, match=says):
        read_quizzes(file)
    file.write_text("{")
    with pytest.raises(InputError, match="expected questions in quizzes"):
        read_quizzes(file)
    file.write_text(json.dumps({"one": [question("b1")]}))
    with pytest.raises(InputError, match="at least 3 questions of one, got 1"):
        read_quizzes(file)


def test_an_answer_is_said_in_words() -> None:
    assert [_answer(q) for q in QUESTIONS if not _answer(q).strip()] == []


def test_the_right_answer_is_not_always_the_first_one_shown() -> None:
    choices = [question for question in QUESTIONS if question["kind"] == "choice"]
    mixed = [_mixed(question)["options"] for question in choices]
    first = sum(options[0]["right"] for options in mixed)
    assert 0.15 < first / len(choices) < 0.6, "a third, by chance"
    assert all(sorted(map(str, one["options"])) == sorted(map(str, options)) for one, options in zip(choices, mixed, strict=True))
    assert json.dumps(mixed[0][0]["text"], ensure_ascii=False) in section(choices[:1])

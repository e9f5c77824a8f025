"""Questions of the chapters, from one file: a section of each page, a page for teachers, and an export for Moodle."""

import hashlib
import html
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from xaicl_lib.errors import InputError

FILE = "quizzes.json"  # in the book's folder
LEAST = 3  # questions of a chapter
KEYS = {  # of each kind, beside id, kind, ask and hint
    "choice": {"options"},
    "number": {"value", "tolerance", "says", "wrong"},
    "order": {"items", "says"},
    "place": {"a", "b", "side", "model", "method", "at", "within", "says"},
    "control": {"a", "b", "model", "maps", "control", "says"},
    "code": {"names", "pair", "cases", "start", "solution", "says", "wrong"},
}
ROWS, COLUMNS = ("top", "middle", "bottom"), ("left", "centre", "right")
Question = Mapping[str, Any]
Quizzes = dict[str, list[dict[str, Any]]]


def read_quizzes(path: Path) -> Quizzes:
    """The questions of every chapter, by the name of its notebook.

    Raises:
        InputError: no such file, no JSON, or a question that lacks something.
    """
    try:
        quizzes: Quizzes = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"expected questions in {path.name}, got {error}") from error
    seen: set[str] = set()
    for chapter, questions in quizzes.items():
        if len(questions) < LEAST:
            raise InputError(f"expected at least {LEAST} questions of {chapter}, got {len(questions)}")
        for question in questions:
            _check(question, chapter, seen)
    return quizzes


def _check(question: Question, chapter: str, seen: set[str]) -> None:
    name, kind = question.get("id", "?"), question.get("kind")
    where = f"question {name!r} of {chapter}"
    if kind not in KEYS:
        raise InputError(f"expected {where} to be a {', '.join(KEYS)}, got {kind!r}")
    if set(question) != (want := KEYS[kind] | {"id", "kind", "ask", "hint"}):
        raise InputError(f"expected {where} to say {', '.join(sorted(want))}, got {', '.join(sorted(question))}")
    if name in seen:
        raise InputError(f"expected every question to have a name of its own, got {name!r} twice")
    seen.add(name)
    if kind == "choice" and sum(option["right"] for option in question["options"]) != 1:
        raise InputError(f"expected one right option of {where}")
    if kind == "control" and question["control"] not in question["maps"]:
        raise InputError(f"expected the control of {where} among its maps")


def _answer(question: Question) -> str:
    """The right answer in words."""
    return _ANSWERS[question["kind"]](question)


def _chosen(question: Question) -> str:
    right = next(option for option in question["options"] if option["right"])
    return f"{right['text']} {right['says']}"


_ANSWERS: dict[str, Callable[[Question], str]] = {
    "choice": _chosen,
    "number": lambda q: f"{_number(q['value'])}, within {_number(q['tolerance'])}. {q['says']}",
    "order": lambda q: f"{', then '.join(q['items'])}. {q['says']}",
    "place": lambda q: f"At the {_region_of(q['at'])}. {q['says']}",
    "control": lambda q: f"The map of {q['control']}. {q['says']}",
    "code": lambda q: f"{q['solution']}\n\n{q['says']}",
}


def _number(value: float) -> str:
    return f"{value:.4g}"


def _region_of(at: Sequence[float]) -> str:
    """In words, the ninth of a picture that holds a place (across, down).

    >>> _region_of((0.1, 0.5))
    'middle left'
    """
    across, down = (min(2, int(3 * share)) for share in at)
    return _region(ROWS[down], COLUMNS[across])


def _region(down: str, across: str) -> str:
    return "centre" if (down, across) == (ROWS[1], COLUMNS[1]) else f"{down} {across}"


def section(questions: Sequence[Question], answers: bool = True) -> str:
    """Markdown for the end of a chapter: each question with its answer folded or without, which the page's script makes one to be tried."""
    forms = "\n".join(_form(number, question, answers) for number, question in enumerate(questions, start=1))
    return (
        "## Check yourself\n\n```{raw} html\n"
        '<p class="xaicl-screen">Predict, then check; what you answer stays in this browser.</p>\n'
        f'<div class="xaicl-quiz">\n{forms}\n</div>\n```'
    )


def _mixed(question: Question) -> Question:
    """The question with its options in another order than the author's, who writes the right one first; the same for everybody."""
    if question["kind"] != "choice":
        return question
    return {**question, "options": _shuffled(question, question["options"], lambda option: option["text"])}


def _shuffled(question: Question, things: Sequence[Any], text: Callable[[Any], str]) -> list[Any]:
    return sorted(things, key=lambda one: hashlib.sha256(f"{question['id']} {text(one)}".encode()).digest())


def _listed(question: Question) -> list[str]:
    """What a question has to choose from or to order, never in the right order."""
    if question["kind"] != "order":
        return [option["text"] for option in question.get("options", ())]
    items = _shuffled(question, question["items"], str)
    return [*items[1:], items[0]] if items == question["items"] else items


def _form(number: int, question: Question, answers: bool) -> str:
    question = _mixed(question)
    data = json.dumps(question, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    ask, told = html.escape(question["ask"]), f"<details><summary>Answer</summary><p>{html.escape(_answer(question))}</p></details>"
    items = _listed(question)
    shown = f"<ul>{''.join(f'<li>{html.escape(item)}</li>' for item in items)}</ul>" if items else ""
    return (
        f'<div class="xaicl-question" id="quiz-{question["id"]}"><script type="application/json">{data}</script>'
        f'<div class="xaicl-ask"><b>{number}.</b> {ask}</div>{shown}{told if answers else ""}</div>'
    )


def quiz_slides(questions: Sequence[Question], answers: bool = True) -> list[str]:
    """Markdown of a slide for each question with options, its answer in the speaker's notes or left out."""
    made = []
    for question in map(_mixed, (one for one in questions if one["kind"] == "choice")):
        options = "\n".join(f"- **{letter}** {_plain(one['text'])}" for letter, one in zip("ABCDEF", question["options"], strict=False))
        notes = f"\nNotes:\n{_plain(_answer(question))}\n" if answers else ""
        made.append(f"## Vote\n\n{_plain(question['ask'])}\n\n{options}\n{notes}")
    return made


def teachers_page(quizzes: Quizzes, titles: Mapping[str, str]) -> str:
    """Markdown: every question with its answer and what is said of wrong ones, chapter by chapter, and the export to take away."""
    count = sum(map(len, quizzes.values()))
    parts = [
        "# Questions and answers\n",
        f"The {count} questions that the chapters ask at their ends, with their answers, for whoever teaches with this book. They are "
        "checked in the reader's browser; nothing is sent anywhere, and nobody's answers are collected.\n",
        'For a course of your own: <a href="../_static/xaicl-moodle.xml" download>all of them as Moodle XML</a> (in Moodle: *Question '
        "bank, Import, Moodle XML*). Orders are asked there as matching, places as one of nine regions, code as an essay.\n",
    ]
    for chapter, questions in quizzes.items():
        parts.append(f"## [{titles.get(chapter, chapter)}](../notebooks/{chapter}.ipynb)\n")
        parts += [
            f"{n}. **{_plain(q['ask'])}**\\\n   {_answered(q)}\\\n   *Hint:* {_plain(q['hint'])}{_wrongs(q)}\n"
            for n, q in enumerate(questions, 1)
        ]
    return "\n".join(parts)


def _wrongs(question: Question) -> str:
    wrong = [(o["text"], o["says"]) for o in question.get("options", ()) if not o["right"]]
    wrong = [(_plain(text), says) for text, says in wrong]
    wrong += [(_span(w["code"]) if "code" in w else _plain(_number(w["value"])), w["says"]) for w in question.get("wrong", ())]
    return "".join(f"\n   - {text} *{_plain(says)}*" for text, says in wrong)


def _answered(question: Question) -> str:
    return f"{_span(question['solution'])}. {_plain(question['says'])}" if question["kind"] == "code" else _plain(_answer(question))


def _span(code: str) -> str:
    """Code in one line, of which Markdown changes nothing."""
    return f"`` {' '.join(code.split())} ``"


def _plain(text: str) -> str:
    """Text in one line that Markdown leaves as it is."""
    return "".join(f"\\{c}" if c in "*_`[]|$<" else c for c in " ".join(text.split()))


# ---------------------------------------------------------------- Moodle XML


def moodle_xml(quizzes: Quizzes, titles: Mapping[str, str]) -> bytes:
    """All questions as Moodle XML, a category for each chapter."""
    quiz = ElementTree.Element("quiz")
    for chapter, questions in quizzes.items():
        category = ElementTree.SubElement(quiz, "question", type="category")
        _text(ElementTree.SubElement(category, "category"), f"$course$/xaicl/{titles.get(chapter, chapter).replace('/', '//')}")
        for question in questions:
            _MOODLE[question["kind"]](quiz, question)
    ElementTree.indent(quiz)
    return ElementTree.tostring(quiz, encoding="utf-8", xml_declaration=True)


def _text(parent: ElementTree.Element, text: str) -> None:
    ElementTree.SubElement(parent, "text").text = text


def _asked(quiz: ElementTree.Element, question: Question, kind: str, ask: str = "") -> ElementTree.Element:
    made = ElementTree.SubElement(quiz, "question", type=kind)
    _text(ElementTree.SubElement(made, "name"), question["id"])
    _text(ElementTree.SubElement(made, "questiontext", format="html"), f"<p>{html.escape(question['ask'])}</p>{ask}")
    _text(ElementTree.SubElement(made, "generalfeedback", format="html"), html.escape(_answer(question)))
    _text(ElementTree.SubElement(made, "hint", format="html"), html.escape(question["hint"]))
    return made


def _option(made: ElementTree.Element, text: str, right: bool, says: str) -> None:
    option = ElementTree.SubElement(made, "answer", fraction="100" if right else "0", format="html")
    _text(option, html.escape(text))
    _text(ElementTree.SubElement(option, "feedback", format="html"), html.escape(says))


def _single(made: ElementTree.Element, shuffled: bool) -> None:
    ElementTree.SubElement(made, "single").text = "true"
    ElementTree.SubElement(made, "shuffleanswers").text = str(shuffled).lower()
    ElementTree.SubElement(made, "answernumbering").text = "abc"


def _moodle_choice(quiz: ElementTree.Element, question: Question) -> None:
    made = _asked(quiz, question, "multichoice")
    _single(made, True)
    for option in question["options"]:
        _option(made, option["text"], option["right"], option["says"])


def _moodle_number(quiz: ElementTree.Element, question: Question) -> None:
    made = _asked(quiz, question, "numerical")
    for value, says, fraction in [(question["value"], question["says"], "100"), *((w["value"], w["says"], "0") for w in question["wrong"])]:
        option = ElementTree.SubElement(made, "answer", fraction=fraction)
        _text(option, f"{value:.6g}")
        ElementTree.SubElement(option, "tolerance").text = f"{question['tolerance']:.6g}"
        _text(ElementTree.SubElement(option, "feedback", format="html"), html.escape(says))


def _moodle_order(quiz: ElementTree.Element, question: Question) -> None:
    made = _asked(quiz, question, "matching")
    ElementTree.SubElement(made, "shuffleanswers").text = "true"
    for place, item in enumerate(question["items"], start=1):
        part = ElementTree.SubElement(made, "subquestion", format="html")
        _text(part, html.escape(item))
        _text(ElementTree.SubElement(part, "answer"), str(place))


def _moodle_place(quiz: ElementTree.Element, question: Question) -> None:
    made = _asked(quiz, question, "multichoice", "<p>Picture A and picture B:</p>" + _pictured("a", "b"))
    for side in "ab":
        _attach(made, side, _photo(question[side]))
    _single(made, False)
    for down in ROWS:
        for across in COLUMNS:
            _option(made, _region(down, across), _region(down, across) == _region_of(question["at"]), question["says"])


def _moodle_control(quiz: ElementTree.Element, question: Question) -> None:
    names = [f"map{k}" for k in range(1, len(question["maps"]) + 1)]
    made = _asked(quiz, question, "multichoice", "<p>Map 1, 2 and 3:</p>" + _pictured(*names))
    for name, method in zip(names, question["maps"], strict=True):
        _attach(made, name, _map(question, method))
    _single(made, False)
    for number, method in enumerate(question["maps"], start=1):
        _option(made, f"map {number}", method == question["control"], question["says"])


def _moodle_code(quiz: ElementTree.Element, question: Question) -> None:
    examples = "\n".join(", ".join(map(json.dumps, case)) for case in question["cases"])
    made = _asked(quiz, question, "essay", f"<pre>function ({', '.join(question['names'])})</pre><p>Examples:</p><pre>{examples}</pre>")
    _text(ElementTree.SubElement(made, "graderinfo", format="html"), f"<pre>{html.escape(question['solution'])}</pre>")


def _pictured(*names: str) -> str:
    return "<p>" + " ".join(f'<img src="@@PLUGINFILE@@/{name}.jpg" alt="{name}" width="224" height="224">' for name in names) + "</p>"


def _attach(made: ElementTree.Element, name: str, image: Any) -> None:
    from xaicl_lib.views.figures import data_uri

    text = made.find("questiontext")
    assert text is not None  # it is made before its pictures
    ElementTree.SubElement(text, "file", name=f"{name}.jpg", path="/", encoding="base64").text = data_uri(image).partition(",")[2]


def _photo(name: str) -> Any:
    from xaicl_lib.lab.gallery import PICTURES
    from xaicl_lib.views.figures import to_image

    return to_image(PICTURES[name].draw(224)[0])


def _map(question: Question, method: str) -> Any:
    from xaicl_lib.views import LivePair

    return LivePair(question["model"], method, question["a"], question["b"]).picture("a")


_MOODLE: dict[str, Callable[[ElementTree.Element, Question], None]] = {
    "choice": _moodle_choice,
    "number": _moodle_number,
    "order": _moodle_order,
    "place": _moodle_place,
    "control": _moodle_control,
    "code": _moodle_code,
}

"""The catalogues of the book's translations, held beside the book that is.

    python -m tests.publishing.catalogues [LANGUAGE [PAGE ...]]

brings those of a language (of all languages) up to date: what is new in the book comes without a translation, what was changed comes with
its old one, marked fuzzy. Pages named that have no catalogue get one: `python -m tests.publishing.catalogues fr book/intro`.
"""

import re
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import nbformat
import yaml
from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po, write_po

from xaicl_lib.publishing.book import _stage_notebook
from xaicl_lib.publishing.chapters import with_chapters
from xaicl_lib.publishing.quizzes import FILE, read_quizzes
from xaicl_lib.publishing.run import ROOT
from xaicl_lib.publishing.translations import LOCALE, _build, _languages, _lay_out

COMPLETE = "complete"  # a line of its header: this catalogue promises to have no gaps
HEADER = f"# Translations of xaicl.\n# {COMPLETE}"
COMMAND = "python -m tests.publishing.catalogues"


def path_of(language: str, page: str, root: Path = ROOT) -> Path:
    return root / "book" / LOCALE / language / "LC_MESSAGES" / f"{page}.po"


def catalogues(root: Path = ROOT) -> list[tuple[str, str]]:
    """Language and page of each."""
    return [(language, page) for language, pages in _languages(root).items() for page in pages]


def messages(pages: list[str], root: Path = ROOT) -> dict[str, Catalog]:
    """What there is to translate of each page, in its order: of all editions, in what is generated, too."""
    with tempfile.TemporaryDirectory() as folder:
        source, work = Path(folder) / "source", Path(folder) / "work"
        _stage(root, source, pages)
        _lay_out(source, work / "src", "en", pages)
        if _build(work, "gettext", pages):
            raise AssertionError("Sphinx could not read the pages")
        return {page: _worded(read_po((work / "gettext" / f"{page}.pot").open("rb"))) for page in pages}


def _stage(root: Path, source: Path, pages: list[str]) -> None:
    """The book's sources, as a build would lay them out, without what is executed."""
    shutil.copytree(root / "book", source / "book", ignore=shutil.ignore_patterns(LOCALE))
    shutil.copytree(root / "notebooks", source / "notebooks", ignore=shutil.ignore_patterns(".*"))
    (source / "book" / LOCALE / "en").mkdir(parents=True)
    for name in ("_toc.yml", "_config.yml"):
        shutil.copy(root / name, source)
    toc = yaml.safe_load((root / "_toc.yml").read_text())
    chapters = {path.stem: path for path in (root / "notebooks").glob("*.ipynb")}
    quizzes = read_quizzes(root / "book" / FILE)
    for page in pages:
        if page.startswith("book/"):
            path = source / f"{page}.md"
            path.write_text(with_chapters(path.read_text(encoding="utf-8"), toc, chapters), encoding="utf-8")
        else:
            path = source / f"{page}.ipynb"
            _stage_notebook(root / f"{page}.ipynb", path, "teacher", quizzes)
            notebook = nbformat.read(path, as_version=4)
            for cell in notebook.cells:
                cell.source = cell.source if cell.cell_type == "markdown" else ""
            nbformat.write(notebook, path)


def _worded(template: Catalog) -> Catalog:
    """A catalogue of those messages that have words: formulas and code stay as they are."""
    made = Catalog(header_comment=HEADER)
    for message in template:
        if has_words(str(message.id)):
            made.add(message.id)
    return made


def has_words(text: str) -> bool:
    """Whether there is anything to translate; a formula on lines of its own begins with an empty one.

    >>> has_words("`a`, `b`"), has_words("2"), has_words("says")
    (False, False, True)
    """
    return bool(text) and not text.startswith("\n") and re.search(r"[^\W\d_]", re.sub(r"`[^`]*`|\$[^$]*\$", "", text)) is not None


def read(language: str, page: str) -> Catalog:
    with path_of(language, page).open("rb") as file:
        return read_po(file, locale=language)


def state(catalogue: Catalog, there: Catalog) -> dict[str, int]:
    """How many messages of a page lack a translation, have one of an older text, or are no longer there."""
    found = {str(message.id): message for message in catalogue if message.id}
    wanted = [str(message.id) for message in there if message.id]
    fuzzy = [name for name in wanted if name in found and found[name].fuzzy]
    return {
        "untranslated": sum(name not in found or not found[name].string for name in wanted),
        "fuzzy": len(fuzzy),
        "obsolete": len(catalogue.obsolete) + len(set(found) - set(wanted)),
    }


def kept(text: str) -> Counter[str]:
    """What a translation must not lose: formulas, roles, code, the targets of links, and numbers outside of these.

    >>> sorted(kept("at 0.9, see [this](a.md#b) and {cite:p}`key`: `x = 1`"))
    ['0.9', '`x = 1`', 'a.md#b', '{cite:p}`key`']
    """
    found: Counter[str] = Counter()
    for pattern in (r"\$[^$]+\$", r"\{[\w:]+\}`[^`]*`", r"`[^`]*`", r"\]\(([^)]*)\)", r"(?<![\w.])-?\d+(?:\.\d+)*"):
        found.update(re.findall(pattern, text))
        text = re.sub(pattern, " ", text)
    return found


def changed(message: Message) -> str:
    """What of the original a translation lacks and what it has besides; empty if they have the same."""
    original, translated = kept(str(message.id)), kept(str(message.string))
    said = {"lacks": original - translated, "has besides": translated - original}
    return "; ".join(f"{what} {', '.join(some.elements())}" for what, some in said.items() if some)


def _empty(language: str) -> Catalog:
    facts = {"project": "xaicl", "version": "book", "msgid_bugs_address": "see CITATION.cff", "last_translator": "the xaicl authors"}
    facts["language_team"] = language
    return Catalog(locale=language, header_comment=HEADER.replace(COMPLETE, "under way"), fuzzy=False, **facts)


def update(language: str, page: str, there: Catalog) -> Catalog:
    """Write the catalogue of a page as the page is now."""
    path = path_of(language, page)
    made = read(language, page) if path.is_file() else _empty(language)
    made.update(there, update_creation_date=False)
    made.obsolete.clear()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        write_po(file, made, width=120, no_location=True)
    return made


def main(arguments: list[str]) -> None:
    known = catalogues()
    wanted = [one for one in known if not arguments or one[0] == arguments[0]]
    wanted += [(arguments[0], page) for page in arguments[1:] if (arguments[0], page) not in known]
    there = messages(sorted({page for _, page in wanted}))
    for language, page in wanted:
        counts = state(update(language, page, there[page]), there[page])
        print(f"{path_of(language, page).relative_to(ROOT)}: {', '.join(f'{count} {what}' for what, count in counts.items())}")


if __name__ == "__main__":
    main(sys.argv[1:])

"""The book's pages in other languages: each page that has a catalogue is built again, and links lead from one language to the other.

The catalogues are `book/locale/<language>/LC_MESSAGES/<page>.po`. What one lacks, its page says in English; links to pages without one
lead to the English page. `python -m tests.publishing.catalogues` brings them up to date with the book.
"""

import json
import os
import posixpath
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from babel import Locale, UnknownLocaleError
from babel.messages.pofile import read_po

from xaicl_lib.errors import InputError, NotebookError
from xaicl_lib.publishing.book import check_pages
from xaicl_lib.publishing.pool import guarded, surroundings

LOCALE = "locale"  # in the book's folder
NOTE = (  # below the title of each translated page, in its language
    "Translated from the English. Figures, code, controls and the questions at the end of chapters are in English; pages that are not "
    "translated yet lead to the English ones."
)
NOTED = "xaicl-translated"  # class of that note
WHOLE = ("book/glossary", "book/references")  # read although they are not translated: links lead to places in them
BUTTONS = '<div class="article-header-buttons">'  # the theme's, at the top of a page
ENGLISH = (  # what of a translated page stays in English: classes of elements, and links with the titles of pages that are not translated
    "untranslated", "cell_input", "cell_output", "xaicl-figure", "xaicl-quiz", "xaicl-screen", "xaicl-cite", "xaicl-stamp", "xl-lab",
)  # fmt: skip
TITLED = (
    r'<li class="toctree-[^"]*"><a [^>]*hreflang="en"',
    r'<a class="sd-stretched-link[^>]*hreflang="en"',
    r'<a [^>]*hreflang="en"[^>]*>(?:(?!</a>).)*?class="prev-next-title"',
)


def add_translations(source: Path, html: Path, work: Path) -> None:
    """Add the translated pages to a built book, below a folder of each language, and the links between languages to all of them.

    `html` was built of `source`, with catalogues in its `book/locale`; the folder `work` is gone afterwards.

    Raises:
        InputError: a catalogue of no language or of no page.
        NotebookError: Sphinx warned, or a page lacks outputs.
    """
    languages = _languages(source)
    for language, pages in languages.items():
        print(f"Jupyter Book: building {len(pages)} pages in {_own_name(language)}", flush=True)
        _add_language(source, html, work, language, pages)
    base = _settings(source)["sphinx"]["config"].get("html_baseurl", "")
    for page in {page for pages in languages.values() for page in pages}:
        versions = ["", *(f"{language}/" for language, pages in languages.items() if page in pages)]
        for version in versions:
            file = html / f"{version}{page}.html"
            file.write_text(_joined(file.read_text(encoding="utf-8"), page, version, versions, base), encoding="utf-8")


def _languages(source: Path) -> dict[str, list[str]]:
    """The translated pages by language: those that have a catalogue."""
    found: dict[str, list[str]] = {}
    for catalogue in sorted((source / "book" / LOCALE).glob("*/LC_MESSAGES/**/*.po")):
        language, _, *parts = catalogue.relative_to(source / "book" / LOCALE).with_suffix("").parts
        _own_name(language)
        if _file(source, page := "/".join(parts)) is None:
            raise InputError(f"expected book/{LOCALE} to hold catalogues of the book's pages, got {page!r} in {language}")
        found.setdefault(language, []).append(page)
    return found


def _own_name(language: str) -> str:
    """What a language calls itself.

    >>> _own_name("de")
    'Deutsch'
    """
    try:
        name = Locale.parse(language).get_language_name()
    except (ValueError, UnknownLocaleError) as error:
        raise InputError(f"expected folders of book/{LOCALE} to be languages such as de, got {language!r}") from error
    return str(name).capitalize()


def _file(source: Path, page: str) -> Path | None:
    return next((path for suffix in (".md", ".ipynb") if (path := source / f"{page}{suffix}").is_file()), None)


def _settings(source: Path) -> Any:
    return yaml.safe_load((source / "_config.yml").read_text(encoding="utf-8"))


# ---------------------------------------------------------------- building the pages of a language


def _add_language(source: Path, html: Path, work: Path, language: str, pages: list[str]) -> None:
    shutil.rmtree(work, ignore_errors=True)
    _lay_out(source, work / "src", language, pages)
    code, said = guarded([f"{__name__}:_main", str(work), "html", *pages], surroundings())
    made = work / "html"
    if code:
        found = [line for line in said.splitlines() if "WARNING" in line or "ERROR" in line] or said.splitlines()[-5:]
        raise NotebookError(f"the pages in {_own_name(language)} could not be built: {'; '.join(found[:5])}")
    for page in pages:
        target = html / language / f"{page}.html"
        target.parent.mkdir(parents=True, exist_ok=True)
        english = (html / f"{page}.html").read_text(encoding="utf-8")
        text = _placed((made / f"{page}.html").read_text(encoding="utf-8"), english, page, language, pages)
        target.write_text(_tagged(text), encoding="utf-8")
    check_pages([source / f"{page}.ipynb" for page in pages if page.startswith("notebooks/")], html / language / "notebooks")
    (html / language / "index.html").write_text((html / "index.html").read_text())
    if (words := made / "_static" / "translations.js").is_file():  # Sphinx's own, of the languages that it knows
        (html / language / "_static").mkdir()
        shutil.copy(words, html / language / "_static")
    shutil.rmtree(work)


def _main() -> int:
    """Sphinx on a folder that was laid out: `WORK BUILDER PAGE ...`, in a process of its own."""
    return _build(sys.argv[1], sys.argv[2], sys.argv[3:])


def _build(work: str | os.PathLike[str], builder: str, pages: Iterable[str]) -> int:
    """Let Sphinx make `<work>/<builder>` of some pages laid out in `<work>/src`; returns its exit code."""
    from jupyter_book.sphinx import build_sphinx

    source = Path(work) / "src"
    options: dict[str, Any] = {"noconfig": True, "freshenv": True, "keep_going": True, "warningiserror": builder == "html", "quiet": True}
    options["really_quiet"] = builder != "html"
    files = [str(_file(source, page)) for page in pages]
    code = build_sphinx(
        str(source), str(Path(work) / builder), path_config=str(source / "_config.yml"), builder=builder, filenames=files,
        confoverrides={"latex_individualpages": False, "nitpicky": True}, **options,
    )  # fmt: skip
    return int(code) if isinstance(code, int) else 1


def _lay_out(source: Path, target: Path, language: str, pages: list[str]) -> None:
    """What Sphinx reads of a language: its pages and catalogues, of all other pages the titles, and the settings."""
    for path in (*source.glob("notebooks/*.ipynb"), *source.glob("book/**/*.md")):
        name = path.relative_to(source).with_suffix("").as_posix()
        text = path.read_text(encoding="utf-8")
        if name in pages:
            text = _described(_with_note(text, path.suffix), _said(source, language, name))
        elif name not in WHOLE:
            text = _title_alone(text, path.suffix)
        (target / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
        (target / path.relative_to(source)).write_text(text, encoding="utf-8")
    (target / "book" / "_static").mkdir()
    for name in ("references.bib", "_static/logo.svg", "_static/favicon.svg", *(f"{LOCALE}/{language}",)):
        copy = shutil.copytree if (source / "book" / name).is_dir() else shutil.copy
        copy(source / "book" / name, target / "book" / name)
    said = _said(source, language, "book/intro")  # the book's title and its parts' names are among it; Sphinx takes them from settings
    toc = yaml.safe_load((source / "_toc.yml").read_text(encoding="utf-8"))
    for part in toc.get("parts", ()):
        part["caption"] = said.get(part["caption"], part["caption"])
    (target / "_toc.yml").write_text(yaml.safe_dump(toc, sort_keys=False))
    (target / "_config.yml").write_text(yaml.safe_dump(_translated(_settings(source), language, said), sort_keys=False))


def _said(source: Path, language: str, page: str) -> dict[str, str]:
    """What the catalogue of a page says; nothing if there is none."""
    path = source / "book" / LOCALE / language / "LC_MESSAGES" / f"{page}.po"
    if not path.is_file():
        return {}
    with path.open("rb") as file:
        return {str(one.id): str(one.string) for one in read_po(file) if one.string and not one.fuzzy}


def _described(text: str, said: Mapping[str, str]) -> str:
    """A page's source with its description translated, which Sphinx would leave as it is."""
    return re.sub(
        r'^(    description: )"(.*)"$', lambda found: f'{found[1]}"{said.get(found[2], found[2])}"', text, count=1, flags=re.MULTILINE
    )


def _translated(config: dict[str, Any], language: str, said: Mapping[str, str]) -> dict[str, Any]:
    """The book's settings for one of its languages."""
    kept = {key: value for key, value in config["sphinx"]["config"].items() if key not in ("html_static_path", "html_extra_path")}
    if base := kept.get("html_baseurl"):
        kept["html_baseurl"] = f"{base.rstrip('/')}/{language}/"
    how = {
        "language": language,
        "locale_dirs": [f"book/{LOCALE}"],
        "gettext_compact": False,
        "translation_progress_classes": "untranslated",
    }
    title, *edition = config["title"].partition(" (")
    return {**config, "title": "".join([said.get(title, title), *edition]), "sphinx": {**config["sphinx"], "config": {**kept, **how}}}


def _with_note(text: str, suffix: str) -> str:
    """A page's source with the note below its title."""
    note = f"```{{div}} {NOTED}\n{NOTE}\n```"
    if suffix == ".md":
        return re.sub(r"^# .*$", lambda title: f"{title[0]}\n\n{note}", text, count=1, flags=re.MULTILINE)
    notebook = json.loads(text)
    cell = notebook["cells"][0]
    cell["source"] = _with_note("".join(cell["source"]), ".md")
    return json.dumps(notebook)


def _title_alone(text: str, suffix: str) -> str:
    """A page's source without all but its title."""
    if suffix == ".md":
        found = re.search(r"^# .*$", text, re.MULTILINE)
        return f"{found[0]}\n" if found else "# \n"
    notebook = json.loads(text)
    first = next("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    notebook["cells"] = [{"cell_type": "markdown", "id": "title", "metadata": {}, "source": _title_alone(first, ".md")}]
    return json.dumps(notebook)


# ---------------------------------------------------------------- their place in the book


def _placed(text: str, english: str, page: str, language: str, pages: list[str]) -> str:
    """A page (its address has no ending) built on its own, for its place below the book: what is not of its language is the book's.

    The `english` page names the versions of scripts and styles; `pages` are those that the language has.
    """
    own = {f"{name}.html" for name in pages} | {"_static/translations.js"}
    versions = dict(re.findall(r'_static/([^"?]+)(\?[^"]*)"', english))
    here = posixpath.dirname(f"{language}/{page}")

    def lead(match: re.Match[str]) -> str:
        before, address, rest = match.groups()
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page), address))
        if not address or address.startswith("/") or target in own:
            return match[0]
        made = posixpath.relpath(target, here) + "/" * address.endswith("/")
        tongue = ' hreflang="en"' if before.startswith("<a ") and made.endswith(".html") else ""
        return f'{before}{made}{rest or versions.get(target.removeprefix("_static/"), "")}"{tongue}'

    return re.sub(r'((?:<a [^>]*?href=|\b(?:href|src|action|data-content_root)=|\bfrom )")([^"#?:]*)([?#][^"]*)?"', lead, text)


def _tagged(text: str) -> str:
    """A page whose parts that stay in English say so, to screen readers among others; Sphinx's own mark, which tints them, goes.

    >>> _tagged('<p class="untranslated">Text</p> <div class="untranslated math">x</div>')
    '<p lang="en">Text</p> <div class="math">x</div>'
    """
    one = rf"(?<![\w-])(?:{'|'.join(ENGLISH)})(?![\w-])"
    text = re.sub(rf'\bclass="(?=[^"]*{one})(?![^"]*(?<![\w-])math(?![\w-]))', 'lang="en" class="', text)
    text = re.sub(r'(\bclass="(?:[^"]* )?)untranslated(?: |(?="))', r"\1", text).replace(' lang="en" class=""', ' lang="en"')
    return re.sub(f"({'|'.join(TITLED)})", r'\1 lang="en"', text, flags=re.DOTALL)


def _joined(text: str, page: str, version: str, versions: list[str], base: str) -> str:
    """A page with links to the same in other languages: for search engines in its head, for readers among the buttons at its top.

    Versions are folders, "" for English, else like "de/"; `base` is where the book is, if its settings say so.
    """
    here = posixpath.dirname(f"{version}{page}")
    names = {one: one.rstrip("/") or "en" for one in versions}
    links = {one: posixpath.relpath(f"{one}{page}.html", here) for one in versions}
    full = {one: f"{base.rstrip('/')}/{one}{page}.html" if base else links[one] for one in versions}
    head = "\n".join(f'<link rel="alternate" hreflang="{names[one]}" href="{full[one]}" />' for one in versions)
    buttons = "".join(
        f'<a class="btn btn-sm xaicl-language" href="{links[one]}" hreflang="{names[one]}" lang="{names[one]}">{_own_name(names[one])}</a>'
        for one in versions if one != version
    )  # fmt: skip
    return text.replace("</head>", f"{head}\n</head>", 1).replace(BUTTONS, f"{BUTTONS}\n{buttons}", 1)

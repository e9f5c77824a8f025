"""What Sphinx does to every page of the book beyond its own: links to the glossary, a description, docstrings that Sphinx can read."""

import html
import re
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

from xaicl_lib.publishing.site import stamp

GLOSSARY = "book/glossary"
UNLINKED = (GLOSSARY, "book/reference/", "book/references")  # pages whose words stay as they are
WITHIN = (  # text in these is never linked
    nodes.title, nodes.rubric, nodes.reference, nodes.literal, nodes.literal_block, nodes.math, nodes.math_block, nodes.raw, nodes.term,
    nodes.target, nodes.footnote, nodes.citation, nodes.caption, nodes.comment, addnodes.pending_xref, addnodes.desc, addnodes.glossary,
)  # fmt: skip
ENOUGH = 160  # letters of a description
NOTED = "xaicl-translated"  # class of the note on a page that was translated


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("builder-inited", _load_terms)
    app.connect("builder-inited", _search_the_book)
    app.connect("doctree-read", _link_terms)
    app.connect("html-page-context", _describe)
    app.connect("autodoc-process-docstring", _untyped, priority=400)  # before Napoleon's 500
    app.connect("autodoc-process-docstring", _readable)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": 1}


def _glossary_terms(text: str) -> list[str]:
    """The terms that a Markdown page with a `{glossary}` defines, in its order.

    >>> _glossary_terms('''```{glossary}
    ... pair
    ...   Two images.
    ...
    ... feature map
    ...   The last one.
    ... ```''')
    ['pair', 'feature map']
    """
    blocks = re.findall(r"^```\{glossary\}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line.strip() for block in blocks for line in block.splitlines() if line and not line[0].isspace() and line[0] != ":"]


def _load_terms(app: Sphinx) -> None:
    page = app.srcdir / f"{GLOSSARY}.md"
    terms = _glossary_terms(page.read_text(encoding="utf-8")) if page.is_file() else []
    app.env.xaicl_terms = {term.lower(): term for term in terms}  # type: ignore[attr-defined]


def _search_the_book(app: Sphinx) -> None:
    """Pages in another language have no index of their own: the whole book's is searched from them."""
    if app.config.language != "en":
        app.builder.search = False  # type: ignore[attr-defined]


def _link_terms(app: Sphinx, doctree: nodes.document) -> None:
    """The first use of each term of the glossary on a page becomes a link to it."""
    terms: dict[str, str] = app.env.xaicl_terms  # type: ignore[attr-defined]
    name = app.env.docname
    if not terms or name.startswith(UNLINKED):
        return
    longest = "|".join(re.escape(term) for term in sorted(terms, key=len, reverse=True))
    pattern = re.compile(rf"(?<![\w-])({longest})(?:e?s)?(?![\w-])", re.IGNORECASE)
    seen: set[str] = set()
    for text in list(doctree.findall(nodes.Text)):
        if not _is_prose(text):
            continue
        if (made := _linked(text.astext(), pattern, terms, seen, name)) is not None:
            text.parent.replace(text, made)


def _is_prose(text: nodes.Text) -> bool:
    node, within = text.parent, False
    while node is not None:
        if isinstance(node, WITHIN):
            return False
        within = within or isinstance(node, nodes.paragraph)
        node = node.parent
    return within


def _linked(text: str, pattern: re.Pattern[str], terms: dict[str, str], seen: set[str], page: str) -> list[nodes.Node] | None:
    """The text in pieces, with links where terms stand that were not seen before; None if there are none."""
    pieces: list[nodes.Node] = []
    end = 0
    for match in pattern.finditer(text):
        term = terms[match[1].lower()]
        named = match[0][0].isupper() and term[0].islower() and re.search(r"[A-Z]\w* $", text[: match.start()])  # as in Barlow Twins
        if term in seen or named:
            continue
        seen.add(term)
        link = addnodes.pending_xref(
            "", nodes.inline(match[0], match[0], classes=["xaicl-term"]),
            refdomain="std", reftype="term", reftarget=term, refexplicit=True, refwarn=True, refdoc=page,
        )  # fmt: skip
        pieces += [nodes.Text(text[end : match.start()]), link]
        end = match.end()
    return [*pieces, nodes.Text(text[end:])] if pieces else None


def _describe(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """A description of the page for those who find it in a list: its first paragraph, shortened; and signatures as plain lines."""
    if "body" in context:
        context["body"] = _unlisted(context["body"])
    if doctree is not None:
        context["body"] += _citation(page, context.get("title") or page, app.config)
    if 'name="description"' in context.get("metatags", ""):
        return
    said = _description(doctree) if doctree is not None else ""
    said = said or f"{context.get('title') or page}: a page of {app.config.html_title}."
    context["metatags"] = context.get("metatags", "") + f'\n<meta name="description" content="{html.escape(said, quote=True)}" />'


def _citation(page: str, title: str, config: Any) -> str:
    """How to cite a page, behind a button at its foot. Where the book's settings have no address, the page's script adds the reader's."""
    plain = html.unescape(re.sub(r"<[^>]*>", "", title))
    written = re.sub(r"([&%#_$])", r"\\\1", plain)
    base = str(getattr(config, "html_baseurl", "") or "")
    url = f"\n  url = {{{base.rstrip('/')}/{page}.html}}," if base else ""
    built = stamp()
    lines = (
        f"@incollection{{xaicl-{page.rpartition('/')[2]},", f"  title = {{{written}}},", f"  author = {{{{{config.author}}}}},",
        f"  booktitle = {{{config.html_title}}},", f"  year = {{{built[-10:-6]}}},", f"  note = {{{built}}},",
    )  # fmt: skip
    text = html.escape("\n".join(lines), quote=False)
    return (
        '<details class="xaicl-cite"><summary>Cite this page</summary><div class="highlight notranslate"><pre>'
        f'{text}<span class="xaicl-url">{html.escape(url)}</span>\n}}</pre></div></details>'
    )


def _unlisted(body: str) -> str:
    """HTML whose lists are lists for screen readers, and nothing else is.

    Sphinx writes signatures over several lines as lists of definitions without terms, and calls works in its list of references entries of
    a bibliography, a role that a list may no longer have below it.

    >>> _unlisted('<div role="list"><div class="citation" id="id7" role="doc-biblioentry">A book</div></div>')
    '<div role="list"><div class="citation" id="id7" role="listitem">A book</div></div>'
    >>> _unlisted('<dl><dd><em class="sig-param">x</em>,</dd></dl> <dl><dt>t</dt><dd>d</dd></dl>')
    '<dl role="presentation"><dd role="presentation"><em class="sig-param">x</em>,</dd></dl> <dl><dt>t</dt><dd>d</dd></dl>'
    """
    body = re.sub(r'(<div class="citation"[^>]*) role="doc-biblioentry"', r'\1 role="listitem"', body)
    lined = re.sub(r'<dd>(?=<em class="sig-param">)', '<dd role="presentation">', body)
    return re.sub(r'<dl>(?=\s*<dd role="presentation">)', '<dl role="presentation">', lined)


def _description(doctree: nodes.document) -> str:
    """The first paragraph of a page that is more than a few words, cut at a word; not the note of a translated page."""
    for paragraph in doctree.findall(lambda node: isinstance(node, nodes.paragraph) and NOTED not in node.parent.get("classes", ())):
        text = " ".join(re.sub(r"\\[a-z]+|[{}$]", " ", paragraph.astext()).split())
        if len(text) >= 40:
            return text if len(text) <= ENOUGH else text[:ENOUGH].rsplit(" ", 1)[0].rstrip(",;:") + " …"
    return ""


def _untyped(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Types stand in our signatures; Napoleon would take what an attribute's docstring says before its first colon for one."""
    if what in ("attribute", "property", "data") and lines and lines[0]:
        lines[0] = f": {lines[0]}"


def _readable(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Bars stand for lengths in our docstrings; reStructuredText would look for a substitution."""
    lines[:] = [_escaped(line) for line in lines]


def _escaped(line: str) -> str:
    r"""A line of a docstring whose bars and lone stars are characters, outside of literals, roles and doctests.

    >>> _escaped("for |z_a| |z_b| and `a | b`, (x, *, y), *stressed*, :math:`|x|`")
    'for \\|z_a\\| \\|z_b\\| and `a | b`, (x, \\*, y), *stressed*, :math:`|x|`'
    """
    if line.lstrip().startswith((">>>", "...", ".. ")):
        return line
    pieces = re.split(r"(`+[^`]*`+|\*{1,2}\w(?:[^*]*[^*\s])?\*{1,2})", line)
    return "".join(piece if k % 2 else re.sub(r"(?<!\\)([|*])", r"\\\1", piece) for k, piece in enumerate(pieces))

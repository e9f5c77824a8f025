"""A self-contained HTML page of one explanation, for the command line."""

import html
from string import Template

import plotly.graph_objects as go

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; font-weight: 600; overflow-wrap: anywhere; }
table { border-collapse: collapse; margin-top: 1rem; } td { padding: .2rem 1.2rem .2rem 0; vertical-align: top; }
td:first-child { color: #666; } .scroll { overflow-x: auto; } .note { border-left: 3px solid #c77700; padding-left: .8rem; }
</style>
</head>
<body>
<h1>$title</h1>
$notes
<div class="scroll" role="img" aria-label="$alt">$figure</div>
<table>$facts</table>
</body>
</html>
""")


def explanation_page(figure: go.Figure, *, title: str, alt: str, facts: dict[str, object], notes: list[str]) -> str:
    """HTML text that shows the figure, its facts and notes with nothing loaded from anywhere.

    All text is escaped: titles carry file names, which come from outside.
    """
    rows = "".join(f"<tr><td>{html.escape(k)}</td><td>{html.escape(str(v))}</td></tr>" for k, v in facts.items())
    return _PAGE.substitute(
        title=html.escape(title),
        alt=html.escape(alt),
        notes="".join(f'<p class="note">{html.escape(note)}</p>' for note in notes),
        facts=rows,
        figure=figure.to_html(full_html=False, include_plotlyjs=True, config={"displayModeBar": False, "displaylogo": False}),
    )

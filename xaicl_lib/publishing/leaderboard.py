"""The page of the benchmark: how to take part, and how the methods rank, from the stored results."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from xaicl_lib.benchmark import Result, mosaics, ranking, shortcuts
from xaicl_lib.benchmark.scores import METRICS
from xaicl_lib.benchmark.suite import DRAWN, NAME, SURE, USED
from xaicl_lib.evaluation.method_spec import short
from xaicl_lib.publishing import markdown

NULLS = {
    "random pixels": "a number drawn for each pixel",
    "centre": "the middle of the picture",
    "edges": "strength of the edges, which never saw the model",
    "one-sided Grad-CAM": "what makes an embedding long, whatever is on the other side",
    "same pixels": "parts of one picture that are found again in the other, without a model",
}
TEXT = f"""# A benchmark for explanations of similarity

Nobody can say which explanation of a *pair* of photos is right. Of drawn scenes one can: `{NAME}` holds pairs of scenes with two
objects a side, of which one is shared, or one factor of it (its texture, its colour, its shape). The other two objects differ in
everything. A map that finds objects, whoever asks, is right in half of the cases.

Whether a model *uses* what is shared is asked, not assumed: the same scenes are drawn again without the shared object, and
without the other one. A kind of pair counts for a model if the score falls by {USED} more without the shared object, on average
over all that are drawn; a pair counts if its own score falls by {SURE}, and by {SURE} more than without the other object. {DRAWN}
pairs are drawn for each that is wanted. No grey square is painted anywhere.

That choice is no neutral one: it keeps the pairs whose score falls when a thing is taken away, and taking things away is what occlusion
does. Its rows, above all under *order*, answer nearly the question by which the pairs were chosen.

## Take part

```python
from xaicl_lib.benchmark import evaluate_method


def mine(model, pair):  # pair.a, pair.b: (1, 3, h, w) in [0, 1]
    a, b = model.normalize(pair.a), model.normalize(pair.b)
    z = model.embed_b(b)  # (1, d)
    a.requires_grad_()
    (model.embed_a(a) * z).sum().backward()
    return a.grad.abs().sum(1), b.abs().sum(1)  # two maps (1, i, j)


found = evaluate_method(mine, out="mine.json")
print(found.summary())
```

Or `python -m xaicl_lib benchmark my_module:mine -o mine.json`. A method may also return an `Explanation`, or a third thing:
`joint` (i, j, k, l), which cell of one map goes with which cell of the other. A run that was stopped goes on where it was.
`seed=7` draws pairs that nobody has tuned a method on. The file, as `xaicl_lib/benchmark/schema.json` describes it, holds every
value pair by pair, the first line of the function's docstring, and the versions of the packages that its attribute `packages` names.

## What is measured

"""
READ = """
Methods share a rank where Wilcoxon's signed-rank test over the pairs that both have, corrected by Holm's procedure for all
comparisons of the table, does not tell them apart; a rank is one more than the number of better methods. The models are asked of the
same drawn pairs, and confirm many of the same: a pair that several were asked is one pair, with the mean of its values. Intervals are
bootstraps over pairs: they say what other pairs would give on *these* models, not what other models would. Chance is what a map of
independent random pixels gets. A method without links is scored as if every cell of one map went with every cell of the other. *No GI*
is without gradient interaction; RISE has a fourth of its usual masks. A row in italics is no explanation of the pair; a method that
does not beat it has not shown here that it is one:

"""

SHORTCUTS = f"""## Planted shortcuts

A suite of its own, `{shortcuts.NAME}`, asks the reverse question. [Heads were trained](../../notebooks/12_clever_hans.ipynb) on scenes
that wear stickers. One learned from pairs of which nearly all wear the same, one never saw a sticker, and both rest on stickers:
exchanged on one side, they cost the score {USED} more than they cost their twin, on average over all pairs that are drawn ({SURE} in a
pair that counts). The twin saw the same stickers where they said nothing. A method is given the same pair on both and should put more
on the sticker where the model rests on it; a method that never looks past the backbone, which they share, is at chance. To take part:
`evaluate_method(mine, "{shortcuts.NAME}")`, or `--suite {shortcuts.NAME}`. The unit is the pair: another training of the heads may
order methods otherwise; the chapter has several of each.
"""
MOSAICS = f"""## Mosaics of photos

A suite of its own, `{mosaics.NAME}`, asks *where* of photos. A pair is two mosaics of four photos. One photo is on both sides, at
different places (`one_photo`), or two photos of one class are (`one_class`); the other six show six other classes. Whether a model uses
what is shared is asked with photos, too: one of an eighth class is put in the place of the shared photo, and of each other one. A kind
counts for a model if the first costs the score {USED} more than the others do, on average over all that are drawn
({mosaics.DRAWN} for each that is wanted). A pair counts if it costs {SURE}, and {SURE} more than any of the others.

No photo is bundled. To take part, unpack [Imagenette]({mosaics.ADDRESS}), name its folder by `XAICL_IMAGENETTE`, and call
`evaluate_method(mine, "{mosaics.NAME}")`, or give `--suite {mosaics.NAME}`. The hash of the pairs is one of the names of their photos and
of their places: it says whether yours are the same.

Its traps:

- Edges, things and the middle of the picture tell little, for all four cells are photos: maps that never ask what is on the other side,
  nor what the model makes of it, are right in a quarter of the pairs. (Edges in some more of those of one class: the photos that count
  there have stronger ones.)
- Who asks the model, but not the other side, may be right more often (*one-sided Grad-CAM*): pairs are chosen where the shared photo
  counts, and a photo that counts here may count anywhere. A method that is not ahead of that row has not shown that it read the pair.
- The very same photo is found without any model, pixel by pixel (*same pixels*). So the kinds are ranked apart: two photos of one class
  share no pixels.
- Pairs are chosen by what putting something else in a place does, which is what occlusion measures, here as above.
- A mosaic is four small photos at once, which no model here was trained on.
"""
OTHER_PAIRS = """## With other pairs

The public pairs are one draw of many. The same methods on pairs of other seeds, which models confirm for themselves as they do the
public ones; behind each public mean is its interval. Of two draws of one size the interval of the first holds the mean of the second in
five cases of six, if nothing but the draw differs. The rows of a seed share their pairs, so that a draw which is a little harder shows
in all of them:

"""
OTHERS = """
Methods of others came through their own packages ({cite:t}`kokhlikyan2020captum`; xaitk-saliency, which follows
{cite:t}`dong2019explainability`) or were written anew after their papers ({cite:t}`eberle2022building`, {cite:t}`meijer2025explainable`),
all in `benchmarks/peers.py`. What each was asked decides as much as what it is: a pair that is emptied on both sides at once ends as two
equal pictures, the most alike there are. And occlusion is not one method: `conditional_occlusion` draws the number of a window at its
centre; captum and xaitk-saliency give it to all its pixels. So this is how each was called. Their rows are in words, for these are no
names of this library.
"""


def leaderboard_page(folder: Path) -> str:
    """Markdown of the page; without results it says how to make some.

    Raises:
        InputError: a file in the folder that is no result, or results on different pairs.
    """
    results, of_mosaics, of_shortcuts = (_stored(folder / part) for part in ("", mosaics.NAME, shortcuts.NAME))
    says = [f"- **{_words(name)}**: {what}." for name, what in METRICS.items()]
    tables = [line for name in METRICS for line in _ranked(results, name)] if results else ["No results are stored yet."]
    nulls = [f"- *{name}*: {what}." for name, what in NULLS.items() if name in results or not results]
    others = _others({**of_shortcuts, **of_mosaics, **results})
    drawn = [found for part in sorted(folder.glob("seed-*")) if (found := _stored(part))]  # of a run that was stopped there is none yet
    moved = _other_pairs(results, drawn) if results and drawn else []
    pairs = [*says, READ, *nulls, *others, "", *(_about(results) if results else []), *tables, *moved]
    return TEXT + "\n".join([*pairs, *_mosaics(of_mosaics), SHORTCUTS, *_shortcuts(of_shortcuts), ""])


def _stored(folder: Path) -> dict[str, Result]:
    return {one.method: one for one in map(Result.open, sorted(folder.glob("*.json")))}


def _other_pairs(results: Mapping[str, Result], drawn: Sequence[Mapping[str, Result]]) -> list[str]:
    """What methods get on the public pairs, and on pairs of other seeds."""
    rows, within = [], []
    for name in sorted(set(results).intersection(*drawn)):
        public, *others = (found[name].summary() for found in (results, *drawn))
        for metric, row in public.iterrows():
            means = [other.loc[metric, "mean"] for other in others]
            within += [row["low"] <= mean <= row["high"] for mean in means]
            own = f"{row['mean']:.3f} ({row['low']:.3f} to {row['high']:.3f})"
            rows.append([_named(results[name]), _words(str(metric)), own, *(f"{mean:.3f}" for mean in means)])
    seeds = [f"seed {next(iter(found.values())).facts['seed']}" for found in drawn]
    told = f"Here it does in {sum(within)} cases of {len(within)}."
    return [OTHER_PAIRS, *markdown.table(["method", "measure", "public pairs", *seeds], rows), "", told, ""] if rows else []


def _others(results: Mapping[str, Result]) -> list[str]:
    """A line for each method that says what it does, with the versions of what it came through."""
    told = {name: one.facts for name, one in sorted(results.items()) if one.facts.get("about") and name not in NULLS}
    return (
        [OTHERS, *(f"- **{_words(name)}**{_versions(facts)}: {html.escape(facts['about'], quote=False)}" for name, facts in told.items())]
        if told
        else []
    )


def _versions(facts: Mapping[str, Any]) -> str:
    packages = facts.get("packages", {})
    return f" ({', '.join(f'{name} {version}' for name, version in packages.items())})" if packages else ""


def _shortcuts(results: Mapping[str, Result]) -> list[str]:
    says = [f"- **{_words(name)}**: {what}." for name, what in shortcuts.METRICS.items()]
    tables = [line for name in shortcuts.METRICS for line in _ranked(results, name)] if results else ["No results are stored yet."]
    return [*says, "", *(_about(results) if results else []), *tables]


def _mosaics(results: Mapping[str, Result]) -> list[str]:
    """All measures of a kind in one table; nothing without results."""
    kinds = [kind for kind in mosaics.KINDS if any(cell["kind"] == kind for one in results.values() for cell in one.cells)]
    return [MOSAICS, *_about(results), *(line for kind in kinds for line in _of_kind(results, kind))] if results else []


def _of_kind(results: Mapping[str, Result], kind: str) -> list[str]:
    of_kind = {name: replace(one, cells=[cell for cell in one.cells if cell["kind"] == kind]) for name, one in results.items()}
    tables = {metric: ranking({name: one for name, one in of_kind.items() if one.cells}, metric) for metric in METRICS}
    order = tables["relevance_rank"].index
    head = ["method", *map(_words, METRICS), "ms a pair"]
    rows = [
        [_named(of_kind[one]), *(f"{t.loc[one, 'mean']:.2f} ({t.loc[one, 'rank']})" for t in tables.values()), _ms(of_kind[one])]
        for one in order
    ]
    chances = ["chance", *(f"{table['chance'].mean():.2f}" for table in tables.values()), ""]
    explained = "Means, with ranks in brackets, in the order of relevance rank; milliseconds of processor:"
    beside = _beside_nulls(tables["relevance_rank"])
    said = f"By relevance rank, {beside[:1].lower()}{beside[1:]}" if beside else ""
    return [f"### {_words(kind).capitalize()}", "", explained, "", *markdown.table(head, [*rows, chances]), "", said, ""]


def _words(name: str) -> str:
    """A name, or what a file says, as text of the page."""
    return html.escape(name.replace("_", " "), quote=False)


def _about(results: Mapping[str, Result]) -> list[str]:
    first = next(iter(results.values()))
    used: dict[str, list[str]] = {}
    for cell in first.cells:
        used.setdefault(cell["model"], []).append(f"{_words(cell['kind']).removeprefix('one ')} ({len(cell['effects'])})")
    asked = "suite `{suite}`, seed {seed}, {count} pairs asked for of each model and kind".format(**first.facts)
    models = "; ".join(f"`{name}`: {', '.join(kinds)}" for name, kinds in used.items())
    chosen = (
        "These pairs are chosen for it; how often a model uses a thing at all is [another question](../../notebooks/A2_ground_truth.ipynb)."
    )
    return [f"Stored results: {asked}. What the models use, with the number of confirmed pairs: {models}. {chosen}", ""]


def _ranked(results: Mapping[str, Result], metric: str) -> list[str]:
    table = ranking(results, metric)
    head = ["rank", "method", "mean", "95 % interval", "chance", "pairs", "processor ms a pair"]
    rows = [[int(row["rank"]), _named(results[name]), *_numbers(row), int(row["n"]), _ms(results[name])] for name, row in table.iterrows()]
    return [f"## {_words(metric).capitalize()}", "", *markdown.table(head, rows), "", _beside_nulls(table), ""]


def _beside_nulls(table: pd.DataFrame) -> str:
    """How many methods beat the best row that is no explanation: as many as put it behind its first rank."""
    nulls = table.loc[[name for name in table.index if name in NULLS], "mean"]
    if nulls.empty:
        return ""
    best = nulls.idxmax()
    ahead = int(table.loc[best, "rank"]) - 1
    many = "No method is" if not ahead else "One method is" if ahead == 1 else f"{ahead} methods are"
    return f"{many} told to be better than the best row that is no explanation, *{best}* ({nulls.max():.3f})."


def _numbers(row: "pd.Series[float]") -> list[str]:
    return [f"{row['mean']:.3f}", f"{row['low']:.3f} to {row['high']:.3f}", f"{row['chance']:.3f}"]


def _named(result: Result) -> str:
    if result.method in NULLS:
        return f"*{result.method}*"
    if result.facts.get("about"):
        return _words(result.method)
    name = result.method.partition("(")[0]
    return f"`{name}`{short(result.method).removeprefix(short(name))}"


def _ms(result: Result) -> str:
    mean = 1000 * pd.Series([cell["cost"]["seconds"] for cell in result.cells]).mean()
    return f"{mean:,.0f}" if mean >= 1000 else f"{mean:.3g}"

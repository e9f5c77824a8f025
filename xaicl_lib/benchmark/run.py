"""Anyone's method on the suite, in one call."""

import datetime
import inspect
import json
import os
import platform
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from xaicl_lib import annotations
from xaicl_lib.benchmark import mosaics, shortcuts
from xaicl_lib.benchmark.guard import Method, Watch, explained
from xaicl_lib.benchmark.result import Result
from xaicl_lib.benchmark.scores import scored
from xaicl_lib.benchmark.suite import COUNT, KINDS, MODELS, NAME, Case, case
from xaicl_lib.errors import InputError, require, unknown
from xaicl_lib.evaluation.fingerprint import digest, model_key
from xaicl_lib.evaluation.method_spec import method_specs
from xaicl_lib.evaluation.sources import code_digest
from xaicl_lib.files import output_file, written_whole
from xaicl_lib.methods import methods
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Explanation
from xaicl_lib.zoo import load_model

DIGITS = 5
SUITES: dict[str, tuple[Sequence[str], Sequence[str], int]] = {  # models, kinds of pairs, and how many of each
    NAME: (MODELS, KINDS, COUNT),
    mosaics.NAME: (mosaics.MODELS, tuple(mosaics.KINDS), mosaics.COUNT),
    shortcuts.NAME: (tuple(shortcuts.TWINS), shortcuts.KINDS, shortcuts.COUNT),
}


def evaluate_method(
    method: Method | str,
    suite: str = NAME,
    *,
    models: Sequence[str] | None = None,
    kinds: Sequence[str] | None = None,
    count: int | None = None,
    seed: int = 0,
    limit: float = 60.0,
    name: str | None = None,
    out: str | os.PathLike[str] | None = None,
    device: str = "cpu",
) -> Result:
    """Score a method of explaining pairs where the evidence is known.

    Args:
        method: `fn(model, pair)`, which is given one pair at a time and returns an `Explanation`, (map_a, map_b), or
            (map_a, map_b, joint); maps (i, j) of any size, joint (i, j, k, l). Or a method of this library, such as "smooth_grad" or
            "smooth_grad(guided=True)". The first line of a function's docstring goes to the result; if it has `packages`, names of
            distributions, their versions do, too.
        suite: "pairs-v1"; "mosaics-v1", of photos in the folder that XAICL_IMAGENETTE names; or "shortcuts-v1", of stickers that one
            model rests on and its twin does not.
        models, kinds: a part of the suite; by default all of it.
        count: pairs of each model and kind; None is as many as the suite has.
        seed: 0 for the public pairs; another number draws pairs that nobody has tuned a method on.
        limit: seconds that one pair may take.
        name: of the method; by default that of the function.
        out: FILE.json. What is done is kept beside it as FILE.json.part, and a run that was stopped goes on from there, with the same
            function and what it holds.

    Returns:
        Values pair by pair, with `summary()` and `save(path)`.

    Raises:
        InputError: an unknown suite, model, kind or method; no photos; or a method that fails, takes too long, changes
            the model, or gives maps of another shape, number or kind than it should. The message names the pair.

    Example:
        >>> found = evaluate_method("grad_cam", models=["scenes_simclr"], kinds=["one_shared"], count=2)
        >>> float(found.summary().loc["order", "chance"])
        0.5
    """
    require("suite", SUITES, suite)
    all_models, all_kinds, all_pairs = SUITES[suite]
    models, kinds = (list(dict.fromkeys(all_ if some is None else some)) for some, all_ in ((models, all_models), (kinds, all_kinds)))
    count = all_pairs if count is None else count
    for value, what in ((count, "count"), (seed, "seed")):
        annotations.require(value, int, what)
    if count < 1 or seed < 0 or not models or not kinds or not limit > 0:
        asked = f"count={count}, seed={seed}, models={models}, kinds={kinds}, limit={limit}"
        raise InputError(f"expected at least one pair, model and kind, a seed of at least 0 and a limit above 0, got {asked}")
    require("kind of pair", all_kinds, *kinds)
    run, called = _callable(method, name)
    told = _told(method)
    facts = {"suite": suite, "seed": seed, "count": count, "code": _source(method)}
    path = None if out is None else output_file(out, (".json",))
    cells = [] if path is None else _kept(path, called, facts)
    cells = [cell for cell in cells if cell["model"] in models and cell["kind"] in kinds]  # of a part that was asked for before
    known = {(cell["model"], cell["kind"]) for cell in cells}
    for one in models:
        model = load_model(one, device)
        for kind in kinds:
            if (one, kind) in known:
                continue
            measured = shortcuts.measured if suite == shortcuts.NAME else _measured
            cell = measured(run, model, kind, count, seed, limit)
            if cell is not None:
                cells.append(cell)
                _keep(path, called, facts, cells)
    if not cells:
        raise InputError(f"expected a model that uses what its pairs share, got none of {', '.join(models)} for {', '.join(kinds)}")
    made = Result(called, cells, {**facts, **told, **_surroundings(device)})
    if path is not None:
        made.save(path)
        _part(path).unlink(missing_ok=True)
    return made


def _callable(method: Method | str, name: str | None) -> tuple[Method, str]:
    if isinstance(method, str):
        [(label, spec)] = method_specs(method).items()
        if spec.name not in methods:
            raise unknown("method", spec.name, [one.name for one in methods])
        return spec.explain, name or label
    if not callable(method):
        raise InputError(f"expected a function of a model and a pair, or the name of a method, got {type(method).__name__}")
    return method, str(name or getattr(method, "__name__", type(method).__name__))


def _measured(run: Method, model: PairModel, kind: str, count: int, seed: int, limit: float) -> dict[str, Any] | None:
    """What a case says of a method, in plain values; None for a model that does not use what its pairs share."""
    found = case(model, kind, count, seed)
    if found is None:
        return None
    watch, seconds, parts = Watch(model), 0.0, []
    try:
        for k in tqdm(range(len(found.pair)), desc=f"{model.name}, {found.kind}", leave=False, disable=None):
            began = time.process_time()
            made = explained(run, model, found.pair[k], k, limit)
            seconds += time.process_time() - began
            parts.append(_of_one(found, k, made))
    finally:
        watch.close()
    values, chances = ({name: [round(part[name][j][0], DIGITS) for part in parts] for name in parts[0]} for j in (0, 1))
    effects = [[round(v, DIGITS) for v in row] for row in found.effects.mean(0).tolist()]
    costs = {"seconds": round(seconds / len(parts), 6), **{key: round(value / len(parts), 3) for key, value in watch.count.items()}}
    return {
        "model": model.name, "weights": model_key(model)[:16], "kind": found.kind, "pairs": found.digest, "drawn": list(found.drawn),
        "effects": effects, "values": values, "chances": chances, "cost": costs,
    }  # fmt: skip


def _of_one(found: Case, k: int, made: Explanation) -> dict[str, tuple[list[float], list[float]]]:
    others: Any = tuple(mask[k : k + 1] for mask in found.others)
    one = Case(found.kind, found.pair[k], others, found.effects[:, k : k + 1], "", found.drawn[k : k + 1])
    return scored(one, made.to("cpu"))


def _source(method: Method | str) -> str:
    """Of what a method computes and of the library's code, so that a changed one begins anew; empty where it cannot be read."""
    try:
        return digest(method, code_digest("xaicl_lib.methods", "xaicl_lib.benchmark"))
    except InputError:
        return ""


def _told(method: Method | str) -> dict[str, Any]:
    """What a function says of itself: its docstring's first line, and versions of the packages that it names."""
    about = (inspect.getdoc(method) or "").partition("\n")[0] if inspect.isroutine(method) else ""
    named = getattr(method, "packages", ())
    try:
        packages = {str(one): version(one) for one in named}
    except (PackageNotFoundError, TypeError, ValueError) as error:
        raise InputError(f"expected names of installed packages as packages of the method, got {named!r}: {error}") from error
    return {key: value for key, value in {"about": about, "packages": packages}.items() if value}


def _surroundings(device: str) -> dict[str, str]:
    from xaicl_lib import __version__

    where = torch.cuda.get_device_name() if device.startswith("cuda") else platform.machine()
    return {"device": where, "torch": torch.__version__, "xaicl_lib": __version__, "date": str(datetime.date.today())}


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _keep(path: Path | None, called: str, facts: dict[str, Any], cells: list[dict[str, Any]]) -> None:
    if path is not None:
        with written_whole(_part(path)) as part:
            part.write_text(json.dumps({"method": called, "facts": facts, "cells": cells}), encoding="utf-8")


def _kept(path: Path, called: str, facts: dict[str, Any]) -> list[dict[str, Any]]:
    """The finished parts of a run of the same method on the same pairs."""
    try:
        given = json.loads(_part(path).read_text(encoding="utf-8"))
        same = given["method"] == called and given["facts"] == facts and facts["code"]
        return list(given["cells"]) if same else []
    except (OSError, ValueError, KeyError, TypeError):
        return []

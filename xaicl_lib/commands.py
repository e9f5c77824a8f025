"""What the commands of `python -m xaicl_lib` do; `__main__` says how they are called."""

import argparse
import ast
import importlib
import os
import sys
import time
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xaicl_lib.errors import InputError
from xaicl_lib.files import output_file, written_whole


def _run_explain(arguments: argparse.Namespace) -> None:
    """Explain the similarity of two images: what is found on the terminal, and a page or a picture where asked for."""
    import torch

    from xaicl_lib import Pair, explain, load_model
    from xaicl_lib.methods import methods
    from xaicl_lib.scores import resolve_score

    output = None if arguments.output is None else output_file(arguments.output, (".html", ".png"))
    method = methods[arguments.method]
    params = _params(arguments.set, "the method", {"model", "pair", "method", "score", "generator", "chunk"})
    params |= {"score": resolve_score(arguments.score)} if arguments.score else {}
    notes: list[str] = []
    with _noted(notes):
        model = load_model(arguments.model, arguments.device, file=arguments.file, engine=arguments.engine)
        pair = Pair.open(arguments.a, arguments.b, model, arguments.fit)
    for source, image in ((arguments.a, pair.a), (arguments.b, pair.b)):
        if image is not None and bool((image.amax((2, 3)) - image.amin((2, 3)) < 1 / 255).all()):
            raise InputError(f"expected a picture of something, got {Path(source).name!r}, whose pixels all have one colour")
    with _noted(notes):
        began = time.perf_counter()
        made = explain(model, pair, method.name, generator=torch.Generator().manual_seed(arguments.seed), **params)
        seconds = time.perf_counter() - began
    if pair.b is not None and torch.equal(pair.a, pair.b):
        notes.insert(0, "both images are identical")
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"score {made.score.item():.4f}  {method.name} on {model.name}: {seconds:.2f} s")
    if output:
        from xaicl_lib.squares import FITS
        from xaicl_lib.views.figures import PHOTO_SIDE
        from xaicl_lib.views.page import show

        names = _shown(arguments.a), _shown(arguments.b)
        title = f"Why {model.name} finds {names[0]} and {names[1]} {made.score.item():.2f} alike"
        facts = {"model": model.name, "photos": FITS[arguments.fit], "time": f"{seconds:.2f} s"}
        with _noted([]):  # they are known
            photos = Pair.open(arguments.a, arguments.b, PHOTO_SIDE, arguments.fit, model.channels)
        made_square = {"crop": "", "pad": "padded ", "stretch": "stretched "}[arguments.fit]
        told = {"title": title, "facts": facts, "notes": notes, "channels": arguments.channels}
        show(pair, made, output, names=(made_square + names[0], made_square + names[1]), photos=photos, **told)
        print(f"written: {output}")


def _run_retrieve(arguments: argparse.Namespace) -> None:
    """Search a folder of images, and explain what came back."""
    from xaicl_lib import load_model
    from xaicl_lib.retrieval import Gallery, embed_gallery, explain_results, retrieve

    output = None if arguments.output is None else output_file(arguments.output, (".html",))
    gallery, notes = Path(arguments.gallery), list[str]()
    with _noted(notes):
        model = load_model(arguments.model, arguments.device, file=arguments.file)
        if gallery.suffix != ".safetensors":
            file = arguments.embeddings or gallery / f"{model.name.replace('/', '_')}.safetensors"
            fit = arguments.fit or (Gallery.open(file).fit if Path(file).exists() else "crop")
            gallery = embed_gallery(model, gallery, file, fit=fit)  # type: ignore[assignment]
        options = {name: getattr(arguments, name) for name in ("text", "minus", "fit")}
        began = time.perf_counter()
        results = retrieve(model, arguments.query, gallery, arguments.k, **options)
        seconds = time.perf_counter() - began
        why = explain_results(model, results) if output else None
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"{results}\n{len(results.gallery)} images searched by {model.name} in {seconds:.2f} s")
    if why is not None and output is not None:
        from xaicl_lib.views.retrieval import write_results

        facts = {"model": model.name, "gallery": f"{len(results.gallery)} images", "search": f"{seconds:.2f} s"}
        asked = [_shown(arguments.query)] if arguments.query else []
        asked += [f"{sign}{text}" for sign, text in (("", arguments.text), ("minus ", arguments.minus)) if text]
        write_results(why, output, title=f"Why {model.name} finds these for {' '.join(asked)}", facts=facts, notes=notes)
        print(f"written: {output}")


@contextmanager
def _noted(notes: list[str]) -> Iterator[None]:
    """Warnings as notes, each once."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    notes += dict.fromkeys(text for w in caught if (text := str(w.message)) not in notes)


def _params(pairs: list[str], of: str, reserved: Collection[str] = ()) -> dict[str, Any]:
    """NAME=VALUE as Python values where they are such, as text otherwise."""
    params: dict[str, Any] = {}
    for item in pairs:
        name, sign, value = item.partition("=")
        if not sign or not name.isidentifier() or name in reserved:
            raise InputError(f"expected NAME=VALUE of a parameter of {of} after --set, got {item!r}")
        try:
            params[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError, TypeError):  # the last of a key that cannot be one
            params[name] = value
    return params


def _run_evaluate(arguments: argparse.Namespace) -> None:
    """Measure methods on models, pair by pair, into a table."""
    from xaicl_lib import load_model
    from xaicl_lib.metrics import PAPER
    from xaicl_lib.studies.tables import METHODS, evaluated, pairs_from, with_provenance

    output = output_file(arguments.output, (".csv", ".parquet"))
    models = [load_model(name, arguments.device, engine=arguments.engine) for name in arguments.models]
    methods = list(dict.fromkeys(label for name in arguments.methods for label in (METHODS if name == "paper" else [name])))
    sizes = {model.size for model in models}
    if len(sizes) > 1:
        raise InputError(f"expected models of one input size, got {', '.join(f'{m.name} of {m.size}' for m in models)}")
    pairs = pairs_from(arguments.pairs, arguments.count, sizes.pop(), arguments.seed, arguments.fit)
    names = arguments.metrics or PAPER
    kept = {"store": arguments.store, "seed": arguments.seed}
    kept |= {name: value for name in ("adaptive", "score") if (value := getattr(arguments, name))}  # not every metric knows them
    table = with_provenance(evaluated(models, pairs, methods, names, **kept), models[0], arguments.pairs)
    if arguments.fit != "crop":
        table = table.assign(pairs=table["pairs"] + f", {arguments.fit}")
    with written_whole(output) as part:
        table.to_csv(part, index=False) if output.suffix.lower() == ".csv" else table.to_parquet(part, index=False)
    print(f"written: {output}, {len(table)} rows")


def _run_benchmark(arguments: argparse.Namespace) -> None:
    """Score a method on pairs whose evidence is known."""
    from xaicl_lib.benchmark import evaluate_method

    own = {name: value for name in ("models", "kinds", "count") if (value := getattr(arguments, name)) is not None}
    method = _function(arguments.method) if ":" in arguments.method else arguments.method
    found = evaluate_method(
        method, arguments.suite, seed=arguments.seed, limit=arguments.limit, device=arguments.device, out=arguments.output, **own
    )
    rows = [
        (name, f"{row['mean']:.3f}", f"{row['low']:.3f} to {row['high']:.3f}", f"{row['chance']:.3f}", str(int(row["n"])))
        for name, row in found.summary().iterrows()
    ]
    _table(("metric", "mean", "95 % interval", "chance", "pairs"), rows)
    print(f"written: {arguments.output}")


def _function(address: str) -> Any:
    """The function that MODULE:FUNCTION names; modules of the working directory are found, too."""
    name, _, attribute = address.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        return getattr(importlib.import_module(name), attribute)
    except Exception as error:  # whatever the module raises when it is imported
        raise InputError(f"expected MODULE:FUNCTION that can be imported, got {address!r}: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(os.getcwd())


def _shown(path: str) -> str:
    """A file's name as text that can be written, whatever bytes it has."""
    return os.fsencode(Path(path).name).decode("utf-8", "replace")


def _run_models(arguments: argparse.Namespace) -> None:
    """List the bundled and the published models."""
    from xaicl_lib.training import heads
    from xaicl_lib.zoo import list_models, list_official, model_card

    rows = []
    for card in map(model_card, list_models()):
        trained = f"{card['recipe']['loss']} on {card['recipe'].get('data', 'photos')}"
        accuracies = [f"{card[key]:.3f}" if key in card else "" for key in ("knn_accuracy", "linear_accuracy", "accuracy")]
        size = f"{card['parameters'] / 1e6:.2f}M", f"{card['size']} px"
        rows.append((card["name"], trained, *size, *accuracies, str(card["epochs"]), card["licence"]))
    _table(("name", "trained by", "parameters", "input", "k-NN", "linear probe", "classifier", "epochs", "licence"), rows)
    print("k-NN and linear probe: accuracy on mean-pooled features (photos: the class, scenes: the shape); classifier: the model's own\n")
    _table(("name", "head", "parameters", "input", "on disk", "licence"), [_official(model_card(name)) for name in list_official()])
    print("published checkpoints, fetched at their first use; also torchvision/NAME and timm/NAME: backbones, cosine on pooled features")
    print(f"heads on the backbone of scenes_simclr, which have learned shortcuts or not: {', '.join(heads.RECIPES)}")


def _official(card: dict[str, Any]) -> tuple[str, ...]:
    space = "[0, 1]" if max(card["mean"]) == 0 else "ImageNet mean/std"
    where = "yes" if card["on_disk"] else "no"
    return card["name"], card["head"], f"{card['parameters'] / 1e6:.1f}M", f"{card['size']} px, {space}", where, card["licence"]


def _run_methods(arguments: argparse.Namespace) -> None:
    """List the methods and their parameters."""
    from xaicl_lib.methods import methods

    rows = []
    for method in methods:
        params = ", ".join(f"{k}={v!r}" for k, v in method.defaults.items())
        rows.append((method.name, method.facts["family"], f"{method.facts['paper']}, {method.facts['where']}", params, method.summary))
    _table(("name", "family", "source", "parameters", "says"), rows)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[k]) for row in [head, *rows]) for k in range(len(head))]
    for row in [head, *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _run_export(arguments: argparse.Namespace) -> None:
    """Write a model's bundle for the lab."""
    from xaicl_lib import load_model
    from xaicl_lib.lab.export import export

    card = export(load_model(arguments.name, "cpu", file=arguments.file), arguments.output)
    total = card["weights"]["bytes"] + sum(graph["bytes"] for graph in card["graphs"].values())
    weights = card["weights"]["bytes"] / 1e6
    print(f"written: {arguments.output}, {total / 1e6:.2f} MB, {weights:.2f} of them weights; {len(card['methods'])} methods")


def _run_element(arguments: argparse.Namespace) -> None:
    """Write what a live pair needs on a page of one's own."""
    from xaicl_lib.publishing.build import write_element

    write_element(arguments.output, arguments.models, arguments.out, arguments.jobs)
    total = sum(path.stat().st_size for path in Path(arguments.output).rglob("*") if path.is_file())
    print(f"written: {arguments.output}, {total / 1e6:.1f} MB; a page names page/pair.js in it, see `book/lab.md`")


def _run_train(arguments: argparse.Namespace) -> None:
    """Train a recipe, from where it stopped."""
    from dataclasses import replace

    from xaicl_lib.errors import require
    from xaicl_lib.model import resolve_device
    from xaicl_lib.training import heads
    from xaicl_lib.training.data import load_data, training_labels
    from xaicl_lib.training.finish import check_epochs, finish, keeper
    from xaicl_lib.training.train import RECIPES, Trainer

    if arguments.name in heads.RECIPES:
        _train_head(heads.RECIPES[arguments.name], arguments)
        return
    require("recipe", [*RECIPES, *heads.RECIPES], arguments.name)
    if arguments.epochs is not None and arguments.epochs < 1:
        raise InputError(f"expected at least one epoch, got {arguments.epochs}")
    given = {k: getattr(arguments, k) for k in ("epochs", "seed") if getattr(arguments, k) is not None}
    recipe = replace(RECIPES[arguments.name], **given)
    device = resolve_device(arguments.device)
    train, test = load_data(recipe, arguments.data)
    out = Path(arguments.out or Path("runs") / recipe.name)
    trainer = Trainer(recipe, train[0], out, device, training_labels(train), _teacher(recipe.teacher))
    check_epochs(arguments.keep, trainer, out / "snapshots")
    trainer.run(keeper(arguments.keep, out / "snapshots"))
    print("measuring ...")
    card = finish(trainer, train, test, out)
    before, after = card["knn_accuracy_untrained"], card["knn_accuracy"]
    probe = card["linear_accuracy"]
    print(f"{recipe.name}: k-NN accuracy {after:.3f} (untrained {before:.3f}), linear probe {probe:.3f}; weights and card in {out}")


def _teacher(name: str) -> Any:
    """Images to embeddings by the model a recipe learns from, if it does."""
    if not name:
        return None
    from torch import nn

    from xaicl_lib.zoo import load_model

    model = load_model(name, "cpu")
    return nn.Sequential(model.features_a, model.head_a)


def _train_head(recipe: Any, arguments: argparse.Namespace) -> None:
    """Train a head on a frozen backbone; it takes seconds, on the CPU."""
    from dataclasses import replace

    from xaicl_lib.training.heads import make_head
    from xaicl_lib.zoo import load_model

    if arguments.epochs is not None or arguments.keep or arguments.data or arguments.device not in ("auto", "cpu"):
        raise InputError(f"expected no --epochs, --keep, --data or --device but cpu for {recipe.name!r}, a head of {recipe.steps} steps")
    out = Path(arguments.out or Path("runs") / recipe.name)
    recipe = recipe if arguments.seed is None else replace(recipe, seed=arguments.seed)
    make_head(recipe, load_model(recipe.backbone, "cpu"), out)
    print(f"{recipe.name}: weights and card in {out}")


def _run_book(arguments: argparse.Namespace) -> None:
    """Execute the notebooks and build the book."""
    from xaicl_lib.publishing.build import build_book

    build_book(arguments.out, arguments.profile, arguments.edition, arguments.jobs, arguments.timeout)


def _run_site(arguments: argparse.Namespace) -> None:
    """Copy the built book for a host, or for a room without internet."""
    from xaicl_lib.publishing.run import ROOT
    from xaicl_lib.publishing.site import make_classroom, make_site, make_version

    out = Path(arguments.out).resolve()
    folder = Path(arguments.folder or out / ("classroom" if arguments.classroom else "site")).resolve()
    if arguments.classroom:
        make_classroom(ROOT, out / "html", folder, wheels=not arguments.no_wheels)
    elif arguments.version is not None:
        folder = make_version(out / "html", folder, arguments.version, out / "editions")
    else:
        make_site(out / "html", folder, out / "editions")
    print(f"made: {folder}")


def _run_editions(arguments: argparse.Namespace) -> None:
    """Write the built book as a PDF and an ePub."""
    from xaicl_lib.publishing.printing import make_editions

    out = Path(arguments.out).resolve()
    for path in make_editions(out / "html", Path(arguments.folder or out / "editions")):
        print(f"written: {path}, {path.stat().st_size / 1e6:.1f} MB")


def _run_links(arguments: argparse.Namespace) -> None:
    """Ask every link that leads to another host."""
    from xaicl_lib.publishing.build import check_outer_links

    check_outer_links(out=arguments.out)


def _run_execute(arguments: argparse.Namespace) -> None:
    """Execute notebooks, those that changed."""
    from xaicl_lib.publishing.run import run_notebooks

    out = arguments.out or f"_build/notebooks/{arguments.profile}"
    given, limits = _params(arguments.set, "the notebooks"), {"jobs": arguments.jobs, "timeout": arguments.timeout}
    run_notebooks(arguments.names or None, profile=arguments.profile, out=out, parameters=given, **limits)


def _run_check(arguments: argparse.Namespace) -> None:
    """Run executed notebooks again and compare."""
    from xaicl_lib.publishing.check import check_notebooks

    check_notebooks(arguments.names or None, out=arguments.out, jobs=arguments.jobs)


def _run_serve(arguments: argparse.Namespace) -> None:
    """Serve the built book until interrupted."""
    from xaicl_lib.publishing.build import serve

    serve(arguments.port, out=arguments.out)


_COMMANDS = {
    "explain": _run_explain, "retrieve": _run_retrieve, "evaluate": _run_evaluate, "benchmark": _run_benchmark,
    "models": _run_models, "methods": _run_methods, "export": _run_export, "element": _run_element, "train": _run_train, "book": _run_book,
    "run": _run_execute, "check": _run_check, "site": _run_site, "editions": _run_editions, "links": _run_links, "serve": _run_serve,
}  # fmt: skip


def run(arguments: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    _COMMANDS[arguments.command](arguments)

"""The command line: explain two photos, list models and methods, train, build the book."""

import argparse
import os
import signal
import sys
from typing import Any

from xaicl_lib.commands import run
from xaicl_lib.devices import keep_memory
from xaicl_lib.errors import InputError, NotebookError

Commands = Any  # what argparse gives for subparsers; its name there is private


def main(argv: list[str] | None = None) -> int:
    """Run a command; 0 if it worked, 1 if a notebook or page failed, 2 (and one line on standard error) if its input could not be used."""
    arguments = _parser().parse_args(argv)
    try:
        run(arguments)
        print(end="", flush=True)  # a full disk is told of here, not at Python's end
    except NotebookError as error:
        print(f"xaicl: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("xaicl: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has left, as `head` does
        _drop_output()
    except (InputError, OSError) as error:  # the latter as the system says it: no permission, no space, a name that is too long
        print(f"xaicl: {' '.join(str(error).split())}", file=sys.stderr)
        _drop_output()
        return 2
    return 0


def _drop_output() -> None:
    """Leave what cannot be written, of which Python would complain once more at its end."""
    try:
        print(end="", flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="xaicl", description="Why does a contrastive model find two images alike?")
    commands = parser.add_subparsers(required=True, dest="command", metavar="COMMAND")
    books = (_add_book, _add_run, _add_site, _add_serve)
    for add in (_add_explain, _add_retrieve, _add_evaluate, _add_benchmark, _add_lists, _add_export, _add_element, _add_train, *books):
        add(commands)
    return parser


def _add_explain(commands: Commands) -> None:
    explain = commands.add_parser("explain", help="explain the similarity of two images")
    explain.add_argument("a", help="an image file, or a sample photo: astronaut, cat, coffee, rocket, temple, flower")
    explain.add_argument("b", help="likewise")
    explain.add_argument("--model", default="simclr", help="see `models` (default: %(default)s)")
    explain.add_argument("--file", help="the file of weights of a model that is not bundled, instead of a download")
    explain.add_argument("--method", default="interaction_cam", help="see `methods` (default: %(default)s)")
    explain.add_argument("--score", help="what is explained: cosine or dot (default: cosine)")
    explain.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the method; may be repeated")
    _add_fit(explain)
    explain.add_argument("--seed", type=_seed, default=0, help="of methods that draw random numbers (default: %(default)s)")
    explain.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default: %(default)s)")
    explain.add_argument("--channels", type=_numbers, help="what is shown of images that are not RGB: one channel or three, such as 3,2,1")
    _add_engine(explain)
    explain.add_argument("-o", "--output", help="FILE.html (interactive, self-contained) or FILE.png")


def _add_retrieve(commands: Commands) -> None:
    retrieve = commands.add_parser("retrieve", help="search a folder by a picture or words, and explain what comes back")
    retrieve.add_argument("query", nargs="?", help="an image file, or a sample photo; none to search with --text alone")
    retrieve.add_argument("--gallery", required=True, help="a folder of images, or the .safetensors file of one that was embedded")
    retrieve.add_argument("--embeddings", help="FILE.safetensors for a folder's embeddings (default: GALLERY/MODEL.safetensors)")
    retrieve.add_argument("--text", help="words to be like, for models that read")
    retrieve.add_argument("--minus", help="words to be unlike")
    retrieve.add_argument("-k", type=_whole, help="results (default: 5, or all of a smaller gallery)")
    retrieve.add_argument("--model", default="simclr", help="see `models` (default: %(default)s)")
    retrieve.add_argument("--file", help="the file of weights of a model that is not bundled, instead of a download")
    retrieve.add_argument("--fit", help="of photos that are no squares: crop, pad, stretch (default: as in the gallery's file, or crop)")
    retrieve.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default: %(default)s)")
    retrieve.add_argument("-o", "--output", help="FILE.html, interactive and self-contained: results, links, why not the next one")


def _add_fit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--fit", default="crop", help="of photos that are no squares: crop, pad or stretch (default: %(default)s)")


def _add_engine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--engine", default="eager", help="eager, auto, onnxruntime, openvino or compile (default: %(default)s)")


def _add_evaluate(commands: Commands) -> None:
    evaluate = commands.add_parser("evaluate", help="measure methods on models, pair by pair, into a table")
    evaluate.add_argument("--models", nargs="+", default=["simclr"], metavar="NAME", help="see `models` (default: simclr)")
    evaluate.add_argument(
        "--methods",
        nargs="+",
        default=["paper"],
        metavar="NAME",
        help="see `methods`, with options as in 'rise(masks=500)'; `paper`: all of its rows and ours",
    )
    evaluate.add_argument("--score", help="what is explained and measured: cosine or dot (default: cosine)")
    evaluate.add_argument("--metrics", nargs="+", metavar="NAME", help="default: SI SD CI CD SAD CAD")
    evaluate.add_argument(
        "--pairs",
        default="samples",
        help="`samples`, a folder of photos (each beside a view of itself), or a kind of scenes such as same_object",
    )
    _add_fit(evaluate)
    evaluate.add_argument("--count", type=int, default=6, help="pairs (default: %(default)s)")
    evaluate.add_argument("--seed", type=_seed, default=0, help="of pairs and methods (default: %(default)s)")
    evaluate.add_argument("--store", help="folder where values are kept as they come; a run that was stopped goes on from there")
    evaluate.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default: %(default)s)")
    _add_engine(evaluate)
    evaluate.add_argument("-o", "--output", required=True, help="FILE.csv or FILE.parquet")
    evaluate.add_argument("--adaptive", action="store_true", help="areas within 0.005, from a fifth of the encodings at 225 points")


def _add_benchmark(commands: Commands) -> None:
    benchmark = commands.add_parser("benchmark", help="score a method, ours or yours, on pairs whose evidence is known")
    benchmark.add_argument("method", help="MODULE:FUNCTION of yours, called with a model and a pair, or a name, see `methods`")
    benchmark.add_argument("--suite", default="pairs-v1", help="pairs-v1, mosaics-v1 or shortcuts-v1 (default: %(default)s)")
    benchmark.add_argument("--models", nargs="+", metavar="NAME", help="a part of the suite (default: all of its models)")
    benchmark.add_argument("--kinds", nargs="+", metavar="KIND", help="likewise, of its kinds of pairs")
    benchmark.add_argument("--count", type=int, help="pairs of each model and kind (default: 200; 40 of shortcuts)")
    benchmark.add_argument("--seed", type=_seed, default=0, help="0: the public pairs; others nobody has seen (default: %(default)s)")
    benchmark.add_argument("--limit", type=float, default=60.0, help="seconds that one pair may take (default: %(default)s)")
    benchmark.add_argument("--device", default="cpu", help="cpu, cuda, ... (default: %(default)s)")
    benchmark.add_argument("-o", "--output", required=True, help="FILE.json; a run that was stopped goes on from FILE.json.part")


def _add_lists(commands: Commands) -> None:
    commands.add_parser("models", help="list the models")
    commands.add_parser("methods", help="list the methods and their parameters")


def _add_export(commands: Commands) -> None:
    export = commands.add_parser("export", help="write a model for the lab in the reader's browser")
    export.add_argument("name", help="see `models`; your own: `from xaicl_lib.lab.export import export`")
    export.add_argument("--file", help="the file of weights of a model that is not bundled, instead of a download")
    export.add_argument("-o", "--output", required=True, metavar="FOLDER", help="for the bundle; an older one there is replaced")


def _add_element(commands: Commands) -> None:
    element = commands.add_parser("element", help="write what <xaicl-pair>, a live pair, needs on a page of your own")
    element.add_argument("-o", "--output", required=True, metavar="FOLDER", help="to put beside the page; an older one there is replaced")
    element.add_argument("--models", nargs="+", default=["simclr"], metavar="NAME", help="of the lab (default: simclr)")
    element.add_argument("--out", default="_build", help="where a book was built, whose models are taken (default: %(default)s)")
    element.add_argument("--jobs", type=_whole, help="processes at a time (default: as many as there are cores)")


def _add_train(commands: Commands) -> None:
    train = commands.add_parser("train", help="train a bundled model anew; stop and start again at will")
    train.add_argument("name", help="name of a recipe, such as simclr")
    train.add_argument(
        "--data", help="folder with train/ and val/ of photos by class (default: XAICL_IMAGENETTE, or a download of Imagenette)"
    )
    train.add_argument("--epochs", type=int, help="instead of the recipe's, which suit a CPU; on a GPU give a few hundred")
    train.add_argument("--seed", type=_seed, help="instead of the recipe's")
    train.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default: %(default)s)")
    train.add_argument("--out", help="folder for checkpoint, weights and card (default: runs/NAME)")
    train.add_argument(
        "--keep", type=_numbers, default=(), metavar="N,N,...", help="epochs after which to keep a snapshot in OUT/snapshots; 0: untrained"
    )


def _add_book(commands: Commands) -> None:
    book = commands.add_parser("book", help="execute the notebooks and build the book")
    book.add_argument("--profile", default="quick", choices=["quick", "full"], help="default: %(default)s")
    book.add_argument("--out", default="_build", help="default: %(default)s")
    book.add_argument("--edition", default="reader", choices=["reader", "teacher", "student"], help="solutions folded, open, or left out")
    _add_pool(book)


def _add_run(commands: Commands) -> None:
    execute = commands.add_parser("run", help="execute notebooks, and nothing else; what did not change is kept")
    execute.add_argument("names", nargs="*", metavar="NOTEBOOK", help="such as 02_metrics (default: all)")
    execute.add_argument("--profile", default="quick", choices=["quick", "full"], help="default: %(default)s")
    execute.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the notebooks; may be repeated")
    execute.add_argument("--out", help="folder for the executed notebooks (default: where `book` looks for them)")
    _add_pool(execute)

    check = commands.add_parser("check", help="run executed notebooks again and compare each output (needs nbval)")
    check.add_argument("names", nargs="*", metavar="NOTEBOOK", help="such as 02_metrics (default: all)")
    check.add_argument("--out", default="_build/notebooks/quick", help="folder of the executed notebooks (default: %(default)s)")
    check.add_argument("--jobs", type=_whole, metavar="N", help="notebooks at a time (default: the cores there are)")


def _add_pool(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=_whole, metavar="N", help="notebooks at a time, one thread each (default: the cores there are)")
    parser.add_argument("--timeout", type=_seconds, default=21600, metavar="SECONDS", help="for each notebook (default: %(default)s)")


def _add_site(commands: Commands) -> None:
    site = commands.add_parser("site", help="copy the built book into one folder that any static host serves")
    site.add_argument("--out", default="_build", help="where the book was built (default: %(default)s)")
    site.add_argument("--folder", help="default: OUT/site, or OUT/classroom")
    kind = site.add_mutually_exclusive_group()
    kind.add_argument("--version", help="such as v0.2: below the folder, beside the versions that are there")
    kind.add_argument("--classroom", action="store_true", help="with a server, the notebooks and wheels, for a room without internet")
    site.add_argument("--no-wheels", action="store_true", help="without the wheels")

    editions = commands.add_parser("editions", help="print the built book as a PDF and an ePub; needs Chromium and playwright")
    editions.add_argument("--out", default="_build", help="where the book was built (default: %(default)s)")
    editions.add_argument("--folder", help="default: OUT/editions")

    links = commands.add_parser("links", help="ask every link of the built book that leads to another host")
    links.add_argument("--out", default="_build", help="where the book was built (default: %(default)s)")


def _add_serve(commands: Commands) -> None:
    serve = commands.add_parser("serve", help="serve the built book on localhost")
    serve.add_argument("--out", default="_build", help="default: %(default)s")
    serve.add_argument("--port", type=int, default=8000, help="default: %(default)s")


def _seed(text: str) -> int:
    """A seed that torch takes."""
    if not text.isdecimal() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to 2**63 - 1, got {text!r}")
    return int(text)


def _whole(text: str) -> int:
    """A number of things."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    """A time that passes."""
    try:
        if float(text) > 0:
            return float(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"expected a number of seconds above 0, got {text!r}")


def _numbers(text: str) -> tuple[int, ...]:
    """Numbers in a list with commas, such as epochs."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"expected whole numbers with commas between, such as 0,1,2,4, got {text!r}")
    return tuple(map(int, parts))


def program() -> int:
    """The program itself: asked to end, it ends as after Ctrl-C, with all that it has started."""
    signal.signal(signal.SIGTERM, _end)
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]  # jsonschema would compile its grammar, which nothing here uses
    keep_memory()
    return main()


def _end(number: int, frame: object) -> None:
    raise KeyboardInterrupt

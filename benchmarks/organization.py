"""The larger runs behind the page on how models organise images, with where they came from; and what RLD costs in time and memory.

    python benchmarks/organization.py curves layers classifiers widths temperatures [--models simclr ...] [-n 2000] [--keep FOLDER]
    python benchmarks/organization.py memory [-n 10000] [--device cuda]

Photos are those of XAICL_IMAGENETTE (validation part). With `--keep` the features of a model are computed once. `curves` and `layers`
write results/organization.parquet, the others results/organization_classifiers.parquet; rows of the same part and models are replaced.

`memory` counts what RLD of n random embeddings needs beside them: the largest resident set of the process minus that before the call (on
a GPU torch's own count). Time and memory grow as n^2 and as n, so for 50,000 photos multiply the time of 10,000 by 25; memory hardly moves.
"""

import argparse
import functools
import resource
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from studies import with_provenance

from xaicl_lib import list_models, load_model
from xaicl_lib.data.photos import imagenette
from xaicl_lib.studies.graph_classifier import HEADS, TEMPERATURE, WIDTHS, classify
from xaicl_lib.studies.organization import TEMPERATURES, curves, layer_features, rld
from xaicl_lib.zoo import untrained

Features = dict[str, torch.Tensor]
BEFORE = "untrained simclr"
LABELLED = (1, 5, 20)  # of each class


@functools.cache
def photos(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    return imagenette("val", 96, limit=n)[:2]


def features_of(name: str, n: int, device: str, keep: Path | None) -> tuple[Features, torch.Tensor]:
    """Features by layer, and labels."""
    path = None if keep is None else keep / f"{name}_{n}.pt"
    if path is not None and path.is_file():
        return torch.load(path)
    images, labels = photos(n)
    found = layer_features((untrained("simclr") if name == BEFORE else load_model(name)).to(device), images), labels
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(found, path)
    return found


def draw_curves(name: str, features: Features, labels: torch.Tensor) -> pd.DataFrame:
    return curves({name: features["features"]}, labels, halves=12).assign(layer="features")


def draw_layers(name: str, features: Features, labels: torch.Tensor) -> pd.DataFrame:
    others = {layer: z for layer, z in features.items() if layer != "features"}
    return curves(others, labels, halves=4).rename(columns={"model": "layer"}).assign(model=name)


def classifiers(name: str, features: Features, labels: torch.Tensor) -> pd.DataFrame:
    found = classify({name: features["features"]}, labels, per_class=LABELLED, heads=HEADS, repeats=5)
    return found.assign(temperature=TEMPERATURE)


def widths(name: str, features: Features, labels: torch.Tensor) -> pd.DataFrame:
    own = {label: head for label, head in WIDTHS.items() if label not in HEADS}
    return classify({name: features["features"]}, labels, per_class=(5, 20), heads=own, repeats=3).assign(temperature=TEMPERATURE)


def temperatures(name: str, features: Features, labels: torch.Tensor) -> pd.DataFrame:
    some = {"GCN": HEADS["GCN"]}
    tables = [classify({name: features["features"]}, labels, per_class=(5,), heads=some, temperature=t, repeats=4).assign(temperature=t)
              for t in (0.03, 0.05, 0.2)]  # fmt: skip
    return pd.concat(tables)


PARTS: dict[str, tuple[str, Callable[[str, Features, torch.Tensor], pd.DataFrame]]] = {
    "curves": ("organization", draw_curves),
    "layers": ("organization", draw_layers),
    "classifiers": ("organization_classifiers", classifiers),
    "widths": ("organization_classifiers", widths),
    "temperatures": ("organization_classifiers", temperatures),
}


def memory(n: int, device: str, d: int = 192) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, d, generator=generator).to(device)
    y = torch.randint(10, (n,), generator=generator)
    on_gpu = x.device.type == "cuda"
    rld(x[:100], y[:100], TEMPERATURES[:1])  # what the first call of anything loads
    before = torch.cuda.memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    wall, processor = time.perf_counter(), time.process_time()
    rld(x, y, TEMPERATURES)
    after = torch.cuda.max_memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    spent = f"{time.perf_counter() - wall:.1f} s ({time.process_time() - processor:.1f} s of processor)"
    print(
        f"n = {n}, d = {d}, {len(TEMPERATURES)} temperatures on {x.device}: {spent}, {(after - before) / 1e6:.0f} MB beside the embeddings"
    )


def write(path: Path, part: str, table: pd.DataFrame) -> None:
    """Add the rows of one part and model to a file, in place of those it had."""
    if path.is_file():
        old = pd.read_parquet(path)
        table = pd.concat([old[~((old["part"] == part) & old["model"].isin(table["model"]))], table], ignore_index=True)
    texts = {column: "category" for column in table if table[column].dtype in (object, "str", "category")}
    table.astype(dict.fromkeys(texts, str)).astype(texts).to_parquet(path, index=False)
    print(f"{path}: {len(table)} rows", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=[*PARTS, "memory"])
    parser.add_argument("--models", nargs="*", default=[*(name for name in list_models() if "scenes" not in name), BEFORE])
    parser.add_argument("-n", type=int, help="photos (2,000), or embeddings (10,000)")
    parser.add_argument("--keep", type=Path, help="folder for features")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("-o", "--output", type=Path, default=Path("results"))
    given = parser.parse_args()
    if "memory" in given.parts:
        memory(given.n or 10_000, given.device)
        return
    n = given.n or 2000
    for part in given.parts:
        file, make = PARTS[part]
        for name in given.models:
            table = make(name, *features_of(name, n, given.device, given.keep))
            made = with_provenance(table, n, given.device).rename(columns={"pairs": "photos"}).assign(part=part)
            write(given.output / f"{file}.parquet", part, made)


if __name__ == "__main__":
    main()

"""The paper's Tables I to V for the bundled models of photos, once, with where they came from; page 02 shows them beside its own quick run.

    python benchmarks/tables.py [--models simclr ...] [-n 24] [--shaken 6] [--add] [--store FOLDER] [-o results/metrics.parquet]

Pairs are validation photos of XAICL_IMAGENETTE, each with one view; fewer are the first of more. Areas are adaptive: within 0.005 of
those of all points. Max sensitivity explains every pair eleven times, so it is measured on fewer pairs, and the slowest methods have
it on the first model alone.
"""

import argparse
import os
from pathlib import Path

import pandas as pd

from xaicl_lib import evaluate, load_model
from xaicl_lib.errors import InputError
from xaicl_lib.evaluation.method_spec import possible
from xaicl_lib.studies.tables import METHODS, PUBLISHED, pairs_from, with_provenance

MOST = 200  # pairs of which the first are taken, since the views of a larger number are others
MODELS = ["simclr", "barlow_twins", "simsiam", "moco_v3", "supervised", "supcon", "triplet"]
SLOW = ("conditional_occlusion", PUBLISHED, "integrated_jacobians")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("-n", type=int, default=24, help="pairs")
    parser.add_argument("--shaken", type=int, default=6, help="pairs for max sensitivity")
    parser.add_argument("--store", help="what it has is not computed again")
    parser.add_argument("-o", "--output", default="results/metrics.parquet")
    parser.add_argument("--add", action="store_true", help="keep the rows of other models in the file that is there")
    arguments = parser.parse_args()
    folder = os.environ.get("XAICL_IMAGENETTE")
    if not folder:
        raise InputError("expected the folder of Imagenette in XAICL_IMAGENETTE")
    made = []
    for name in arguments.models:
        model = load_model(name, "auto")
        pairs = pairs_from(str(Path(folder) / "val"), max(MOST, arguments.n), model.size)[: arguments.n]
        methods = possible([*METHODS, PUBLISHED], model)
        made.append(evaluate(model, pairs, methods, store=arguments.store, adaptive=True))
        if name != arguments.models[0]:
            methods = {label: spec for label, spec in methods.items() if label not in SLOW}
        made.append(evaluate(model, pairs[: arguments.shaken], methods, ["max_sensitivity"], store=arguments.store))
        print(f"{name}: {len(made[-2]) + len(made[-1])} values", flush=True)
    table = with_provenance(pd.concat(made, ignore_index=True), model, "Imagenette (val), each photo with one view")
    if arguments.add and Path(arguments.output).is_file():
        old = pd.read_parquet(arguments.output)
        table = pd.concat([old[~old["model"].isin(arguments.models)], table], ignore_index=True)
    Path(arguments.output).parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(arguments.output, index=False)


if __name__ == "__main__":
    main()

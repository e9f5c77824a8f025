"""The paper's Tables I to V for the bundled models of photos, once, with where they came from; page 02 shows them beside its own quick run.

    python benchmarks/tables.py [--models simclr ...] [-n 24] [--shaken 6] [--store FOLDER] [-o results/metrics.parquet]

Pairs are validation photos of XAICL_IMAGENETTE, each with one view. Areas are adaptive: within 0.005 of those of all points. Max
sensitivity explains every pair eleven times, so it is measured on fewer pairs, and the two slowest methods have it on the first
model alone.
"""

import argparse
import os
from pathlib import Path

import pandas as pd

from xaicl_lib import evaluate, load_model
from xaicl_lib.errors import InputError
from xaicl_lib.evaluation.method_spec import possible
from xaicl_lib.studies.tables import WAYS, pairs_from, with_provenance

MODELS = ["simclr", "barlow_twins", "simsiam", "moco_v3", "supervised", "supcon", "triplet"]
SLOW = ("conditional_occlusion", "integrated_jacobians")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("-n", type=int, default=24, help="pairs")
    parser.add_argument("--shaken", type=int, default=6, help="pairs for max sensitivity")
    parser.add_argument("--store", help="what it has is not computed again")
    parser.add_argument("-o", "--output", default="results/metrics.parquet")
    arguments = parser.parse_args()
    folder = os.environ.get("XAICL_IMAGENETTE")
    if not folder:
        raise InputError("expected the folder of Imagenette in XAICL_IMAGENETTE")
    made = []
    for name in arguments.models:
        model = load_model(name, "auto")
        pairs = pairs_from(str(Path(folder) / "val"), arguments.n, model.size)
        ways = possible(WAYS, model)
        made.append(evaluate(model, pairs, ways, store=arguments.store, adaptive=True))
        if name != arguments.models[0]:
            ways = {label: way for label, way in ways.items() if label not in SLOW}
        made.append(evaluate(model, pairs[: arguments.shaken], ways, ["max_sensitivity"], store=arguments.store))
        print(f"{name}: {len(made[-2]) + len(made[-1])} values", flush=True)
    table = with_provenance(pd.concat(made, ignore_index=True), model, "Imagenette (val), each photo with one view")
    Path(arguments.output).parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(arguments.output, index=False)


if __name__ == "__main__":
    main()

"""The larger runs behind the page about retrieval, once, with where they came from; the page shows them beside its own quick runs.

    python benchmarks/search.py [apart links measured words weights frames] [-n 80] [-o results/search.parquet]

Parts that are asked for replace those of the file that is there.
"""

import argparse
from pathlib import Path

import pandas as pd
import torch

from xaicl_lib import load_model
from xaicl_lib.studies import retrieval as study
from xaicl_lib.studies.tables import with_provenance


def main() -> None:
    torch.set_num_threads(1)
    reader, sighted = load_model("scenes_clip", "cpu"), load_model("scenes_simclr", "cpu")
    parts = {
        "apart": lambda n: study.told_apart(reader, 10 * n, seed=1),
        "links": lambda n: study.true_links(sighted, n, seed=1),
        "measured": lambda n: study.words_measured(reader, n, seed=1),
        "words": lambda n: study.words_on_objects(reader, n, seed=1),
        "weights": lambda n: study.weights_of_words(reader, n, seed=1),
        "frames": lambda n: study.frames_found([reader, sighted], n // 4, seed=1),
    }
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(parts)} (default: all)")
    parser.add_argument("-n", type=int, default=80, help="scenes; of questions without maps ten times as many")
    parser.add_argument("-o", "--output", type=Path, default=Path("results/search.parquet"))
    arguments = parser.parse_args()
    for part in arguments.parts or parts:
        table = with_provenance(parts[part](arguments.n).assign(part=part), reader, "scenes of two objects").assign(n=arguments.n)
        before = pd.read_parquet(arguments.output) if arguments.output.exists() else table[:0]
        pd.concat([before[before["part"] != part], table], ignore_index=True).to_parquet(arguments.output, index=False)
        print(f"{part}: {len(table)} rows", flush=True)


if __name__ == "__main__":
    main()

"""What maps of the cells of a feature map find as they are drawn, and moved to where the cells look: results/cells.parquet.

    python benchmarks/cells.py [-n 64] [-o results/cells.parquet]

Pairs are those of `localisation` in `benchmarks/studies.py`: scenes that share an object, mosaics of photos that share a photo.
"""

import argparse
from pathlib import Path

import pandas as pd
from studies import mosaics, photos, seeded

from xaicl_lib import load_model
from xaicl_lib.data.scenes import scene_pairs, scenes
from xaicl_lib.studies.pitfalls import moved_cells, where_cells_look
from xaicl_lib.studies.tables import with_provenance

MODELS = ("scenes_simclr", "scenes_simclr_no_jitter", "scenes_supervised", "simclr", "barlow_twins", "supervised")
LOOKED = 16  # images by which a model is asked where its cells look


def rows(name: str, n: int) -> pd.DataFrame:
    model = load_model(name, "cpu")
    drawn = name.startswith("scenes")
    images = scenes(LOOKED, model.size, seeded(7))[0] if drawn else photos(LOOKED, model.size)[0]
    by = where_cells_look(model, images)
    pair = scene_pairs(n, "one_shared", model.size, seeded()) if drawn else mosaics(n, model.size, "photo")
    print(f"{name}: {by[0]:+.2f} down, {by[1]:+.2f} right, of {model.size} pixels", flush=True)
    return with_provenance(moved_cells(model, pair, by).assign(down=by[0], right=by[1]), model, "scenes" if drawn else "mosaics")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=64, help="pairs")
    parser.add_argument("-o", "--output", type=Path, default=Path("results/cells.parquet"))
    given = parser.parse_args()
    pd.concat([rows(name, given.n) for name in MODELS], ignore_index=True).to_parquet(given.output, index=False)


if __name__ == "__main__":
    main()

"""What a cluster costs: the same evaluation in one process and on the workers of a local Dask cluster.

    python benchmarks/cluster.py [--workers 2] [--pairs 32] [--shard 4]

Run with OMP_NUM_THREADS=1, so that a worker is a core. Efficiency is the time of one process over the workers' times their number, without
the time they take to start.
"""

import argparse
import tempfile
import time
from pathlib import Path

from distributed import Client, LocalCluster

from xaicl_lib import evaluate
from xaicl_lib.studies.tables import pairs_from

METHODS, METRICS = ["grad_cam", "interaction_cam", "deep_similarity", "edges"], ["SI", "SD", "CI", "CD"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=32)
    parser.add_argument("--shard", type=int, default=4)
    arguments = parser.parse_args()
    pair = pairs_from("samples", arguments.pairs, 96)

    def run(**where: object) -> tuple[float, int, int]:
        with tempfile.TemporaryDirectory() as store:
            evaluate("simclr", pair[:1], METHODS, METRICS, store=Path(store) / "first", device="cpu", **where)  # loads the model
            began = time.perf_counter()
            evaluate("simclr", pair, METHODS, METRICS, store=store, shard=arguments.shard, device="cpu", **where)
            seconds = time.perf_counter() - began
            files = [path for path in Path(store).rglob("*.parquet") if "first" not in path.parts]
            return seconds, len(files), sum(path.stat().st_size for path in files)

    alone, files, size = run()
    with LocalCluster(n_workers=arguments.workers, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        together, *_ = run(client=client)
    values = arguments.pairs * len(METHODS) * len(METRICS)
    print(f"{values} values: one process {alone:.1f} s, {arguments.workers} workers {together:.1f} s")
    print(f"efficiency {alone / together / arguments.workers:.2f}")
    print(f"{files} files of {size / files / 1000:.1f} kB, {size / values:.0f} bytes a value")


if __name__ == "__main__":
    main()

"""What a cluster costs: the same evaluation in one process and on the workers of a local Dask cluster.

    python benchmarks/cluster.py [--workers 2] [--pairs 32] [--shard 4]

Run with OMP_NUM_THREADS=1, so that a worker is a core. Efficiency is the time of one process over the workers' times their number, without
the time they take to start; it wants a machine of its own. The other figure does not mind company: processor seconds of one process
over those of all processes together, the scheduler's among them, which is what the cluster itself costs.
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

    def processor(client: Client | None) -> float:
        workers = client.run(time.process_time).values() if client else ()
        return time.process_time() + sum(workers)

    def run(client: Client | None = None) -> tuple[float, float, int, int]:
        where = {"device": "cpu", "client": client}
        with tempfile.TemporaryDirectory() as store:
            evaluate("simclr", pair[:1], METHODS, METRICS, store=Path(store) / "first", shard=1, **where)  # loads the model
            began, used = time.perf_counter(), processor(client)
            evaluate("simclr", pair, METHODS, METRICS, store=store, shard=arguments.shard, **where)
            seconds, used = time.perf_counter() - began, processor(client) - used
            files = [path for path in Path(store).rglob("*.parquet") if "first" not in path.parts]
            return seconds, used, len(files), sum(path.stat().st_size for path in files)

    alone, alone_used, files, size = run()
    with LocalCluster(n_workers=arguments.workers, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        together, together_used, *_ = run(client)
    values = arguments.pairs * len(METHODS) * len(METRICS)
    print(f"{values} values: one process {alone:.1f} s, {arguments.workers} workers {together:.1f} s")
    print(f"efficiency {alone / together / arguments.workers:.2f} by the clock, {alone_used / together_used:.2f} by processor seconds")
    print(f"{files} files of {size / files / 1000:.1f} kB, {size / values:.0f} bytes a value")


if __name__ == "__main__":
    main()

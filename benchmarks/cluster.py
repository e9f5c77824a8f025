"""What a cluster costs: the same evaluation in one process and on the workers of a local Dask cluster, one of which is killed.

    python benchmarks/cluster.py [--workers 1 2 4] [--pairs 32] [--shard 4] [-o results/cost_cluster.parquet]

Run with OMP_NUM_THREADS=1, so that a worker is a core, and with memory kept, as book/evaluations.md says. `efficiency` is processor seconds
of one process over those of all processes, the scheduler's among them, which is what the cluster itself costs; busy neighbours make it
worse. `speed` is the clock's, the time that workers take to start left out; it wants a core for each worker. In the last row a worker is
killed as soon as a value is stored: its seconds are lost to the count, so there is no efficiency, but `same` says whether the table is that
of a single process.
"""

import argparse
import datetime
import os
import platform
import signal
import tempfile
import threading
import time
from pathlib import Path

import pandas as pd
import torch
from distributed import Client, LocalCluster

from xaicl_lib import evaluate
from xaicl_lib.evaluation.cluster import _load
from xaicl_lib.studies.tables import pairs_from

METHODS, METRICS = ["grad_cam", "interaction_cam", "deep_similarity", "edges"], ["SI", "SD", "CI", "CD"]


def processor(client: Client | None) -> float:
    """Seconds of this process and all workers."""
    return time.process_time() + sum(client.run(time.process_time).values() if client else ())


def kill_at_first_value(client: Client, store: Path) -> None:
    """End one worker's process as soon as something is stored."""
    pid = next(iter(client.run(os.getpid).values()))

    def wait() -> None:
        while not [path for path in store.rglob("*.parquet") if "first" not in path.parts]:
            time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()


def load() -> None:
    """Have the model at hand, as jobs find it."""
    _load("simclr", "cpu").encode(torch.rand(1, 3, 96, 96))


def run(pair: object, shard: int, client: Client | None = None, kill: bool = False) -> tuple[pd.DataFrame, dict[str, float]]:
    """The table, and what it cost once every worker has the model."""
    where = {"device": "cpu", "client": client}
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder)
        if client:
            client.run(load)
        evaluate("simclr", pair[:1], METHODS[:1], METRICS[:1], store=store / "first", shard=1, **where)
        if kill and client:
            kill_at_first_value(client, store)
        began, used = time.perf_counter(), processor(client)
        table = evaluate("simclr", pair, METHODS, METRICS, store=store, shard=shard, **where)
        cost = {"seconds": time.perf_counter() - began, "processor_seconds": processor(client) - used}
        files = [path for path in store.rglob("*.parquet") if "first" not in path.parts]
        return table, {**cost, "files": len(files), "bytes": sum(path.stat().st_size for path in files)}


def same(x: pd.DataFrame, y: pd.DataFrame) -> bool:
    """Whether two tables hold the same values, up to the rounding that other batches make, in whatever order."""
    columns = [name for name in x if x[name].dtype == object or name == "pair"]
    x, y = (each.sort_values(columns).reset_index(drop=True) for each in (x, y))
    return x[columns].equals(y[columns]) and bool((x["value"] - y["value"]).abs().max() < 1e-5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--pairs", type=int, default=32)
    parser.add_argument("--shard", type=int, default=4)
    parser.add_argument("-o", "--out", type=Path)
    given = parser.parse_args()
    pair = pairs_from("samples", given.pairs, 96)
    alone, cost = run(pair, given.shard)
    rows = [{"workers": 0, "killed": False, **cost}]
    for count, kill in [*((count, False) for count in given.workers), (2, True)]:
        with LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
            table, here = run(pair, given.shard, client, kill)
        rows.append({"workers": count, "killed": kill, **here, "same": same(alone, table)})
        rows[-1] |= {} if kill else {"efficiency": cost["processor_seconds"] / here["processor_seconds"]}
        rows[-1] |= {"speed": cost["seconds"] / here["seconds"]}
        print(rows[-1], flush=True)
    source = {"values": len(alone), "pairs": given.pairs, "shard": given.shard, "device": platform.machine(), "torch": torch.__version__}
    made = pd.DataFrame(rows).assign(**source, date=str(datetime.date.today()))
    if given.out:
        made.to_parquet(given.out, index=False)


if __name__ == "__main__":
    main()

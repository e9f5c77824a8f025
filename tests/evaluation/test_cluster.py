"""The same evaluation on the workers of a local Dask cluster, one of which dies."""

import os
import signal
import time

import pandas as pd
import pytest

from tests.conftest import build, random_pair
from xaicl_lib import InputError, evaluate
from xaicl_lib.data.scenes import scene_pairs

distributed = pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
METHODS, METRICS = ["grad_cam", ("conditional_occlusion", {"window": 8, "stride": 2})], ["SI", "CD", "max_sensitivity"]


@pytest.fixture(scope="module")
def client(forks):
    dask = pytest.importorskip("dask")
    with (
        dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def values(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns="seconds")


def kill_one_when(store, count: int, pids: list[int]) -> None:
    """Kill a worker as soon as the store has so many files."""
    until = time.monotonic() + 60
    while len(list(store.rglob("*.parquet"))) < count and time.monotonic() < until:
        time.sleep(0.005)
    os.kill(pids[0], signal.SIGKILL)


def test_a_worker_dies_and_nothing_is_lost(client, tmp_path) -> None:
    from threading import Thread

    models, pair = [build("projected"), build("headless")], random_pair(12)
    want = evaluate(models, pair, METHODS, METRICS)
    pids = list(client.run(os.getpid).values())
    killer = Thread(target=kill_one_when, args=(tmp_path, 6, pids))
    killer.start()
    got = evaluate(models, pair, METHODS, METRICS, store=tmp_path, shard=2, client=client)
    killer.join()
    assert pids[0] not in client.run(os.getpid, on_error="ignore").values(), "the worker did not die"
    pd.testing.assert_frame_equal(values(got), values(want))
    files = [path.name.split(".")[0] + path.parent.name + path.parent.parent.name for path in tmp_path.rglob("*.parquet")]
    assert len(files) == len(set(files)) == 2 * 2 * 6, "a finished shard was computed again"
    assert not list(tmp_path.glob(".pairs-*")), "the pairs' files are still there"
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    again = evaluate(models, pair, METHODS, METRICS, store=tmp_path, shard=2, client=client)
    pd.testing.assert_frame_equal(again, got)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")} == before


def test_models_by_name_and_truth(client, tmp_path) -> None:
    pair = scene_pairs(4, "same_object", 32)
    arguments = (["scenes_simclr"], pair, ["grad_cam", "edges"], ["relevance_mass", "SD"])
    got = evaluate(*arguments, store=tmp_path, shard=3, client=client, device="cpu")
    want = evaluate(*arguments, device="cpu")
    # In single precision other batches round otherwise, which turns the order of pixels that a map holds for equal.
    pd.testing.assert_frame_equal(values(got), values(want), rtol=1e-4, atol=3e-3)


def test_errors_of_workers_reach_the_caller(client, tmp_path) -> None:
    with pytest.raises(InputError, match="truth"):
        evaluate(build("projected"), random_pair(2), ["grad_cam"], ["relevance_mass"], store=tmp_path, client=client)
    assert not list(tmp_path.glob(".pairs-*"))


def test_workers_need_a_store(client) -> None:
    with pytest.raises(InputError, match="expected store="):
        evaluate(build("projected"), random_pair(2), ["grad_cam"], ["SI"], client=client)

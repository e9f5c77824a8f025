"""The shards of an evaluation on the workers of a Dask cluster; results travel through the store."""

import functools
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from xaicl_lib.errors import InputError
from xaicl_lib.evaluation.shard import Shard, run
from xaicl_lib.evaluation.store import Store
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Pair, Truth

IN_FLIGHT = 3  # shards per thread of the cluster: enough to keep it busy, few enough to hold in memory


def on_workers(
    client: Any, models: Mapping[str, str | PairModel], shards: Iterable[Shard], store: Store | None, device: str
) -> Iterator[tuple[Shard, pd.DataFrame]]:
    """Jobs and their rows in the order in which they are done.

    Only so many shards are handed out at a time; their pairs lie in files beside the results until the last shard on them is
    done, so that a worker's death loses nothing: Dask runs its shards elsewhere, and what was stored is not computed again.

    Args:
        client: a `dask.distributed.Client`.
        models: by name: a name that workers load once each, or a model of one's own, which is sent to all of them.
        shards: what to do.
        store: on a disk that all workers see.
        device: where workers run models given by name.

    Raises:
        InputError: no store, or what a shard raised.
    """
    from distributed import as_completed

    if store is None:
        raise InputError("expected store=, a folder on a disk that all workers see, got none")
    sent = {name: model if isinstance(model, str) else client.scatter(model, broadcast=True) for name, model in models.items()}
    folder = store.folder.resolve() / f".pairs-{uuid.uuid4().hex}"
    folder.mkdir()
    waiting: dict[Any, Shard] = {}
    ready = as_completed(with_results=True)
    try:
        for shard in shards:
            if not shard.lacking():
                yield shard, shard.known
                continue
            task = replace(shard, pair=_keep(shard.pair, folder / f"{shard.first}.safetensors"))  # type: ignore[arg-type]
            future = client.submit(_work, sent[shard.model], task, store.folder.resolve(), device, pure=False, retries=2)
            waiting[future] = shard
            ready.add(future)
            if len(waiting) >= IN_FLIGHT * max(1, sum(client.nthreads().values())):
                future, rows = next(ready)
                yield waiting.pop(future), rows
            _forget(folder, shard, waiting)
        for future, rows in ready:
            yield waiting.pop(future), rows
    finally:
        client.cancel(list(waiting))
        for path in folder.glob("*"):
            path.unlink()
        folder.rmdir()


def _forget(folder: Path, shard: Shard, waiting: Mapping[Any, Shard]) -> None:
    """Remove the files of pairs that no shard waits for; those of the latest shard may still be asked for."""
    wanted = {shard.first, *(other.first for other in waiting.values())}
    for path in folder.glob("*.safetensors"):
        if int(path.stem) not in wanted:
            path.unlink()


def _keep(pair: Pair, path: Path) -> Path:
    from safetensors.torch import save_file

    if not path.exists():
        tensors = dict(zip("ab", pair.sides, strict=False))
        if pair.truth is not None:
            tensors |= {"truth_a": pair.truth.a, "truth_b": pair.truth.b}
        save_file({name: t.contiguous() for name, t in tensors.items()}, path)
    return path


def _fetch(path: Path) -> Pair:
    from safetensors.torch import load_file

    tensors = load_file(path)
    truth = Truth(tensors["truth_a"], tensors["truth_b"]) if "truth_a" in tensors else None
    return Pair(tensors["a"], tensors.get("b"), truth)


@functools.lru_cache(maxsize=8)
def _load(name: str, device: str) -> PairModel:
    from xaicl_lib.zoo import load_model

    return load_model(name, device)


def _work(model: str | PairModel, task: Shard, folder: Path, device: str) -> pd.DataFrame:
    """One shard on a worker. What a worker that died has stored is taken from the store."""
    store = Store(folder)
    known = [task.known]
    for metrics, rows in task.lacking().items():
        keys = [task.plan.metric_keys[metric] for metric in metrics]
        known.append(store.read(task.model_key, task.plan.method_key, ([task.pair_keys[k] for k in rows], keys)))
    shard = replace(task, known=pd.concat([frame for frame in known if len(frame)] or known[:1]))
    if shard.lacking():
        shard = replace(shard, pair=_fetch(task.pair))  # type: ignore[arg-type]
    with torch.inference_mode(False):
        return run(_load(model, device) if isinstance(model, str) else model, shard, store)

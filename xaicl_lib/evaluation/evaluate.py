"""Methods by models by metrics, pair by pair: one table, resumable, on one machine or many."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from xaicl_lib.annotations import require
from xaicl_lib.errors import InputError, unknown
from xaicl_lib.evaluation.fingerprint import model_key
from xaicl_lib.evaluation.method_spec import Methods, method_specs, require_distinct
from xaicl_lib.evaluation.shard import Plan, Shard, run
from xaicl_lib.evaluation.store import COLUMNS, Store, pair_keys
from xaicl_lib.methods import methods as registry
from xaicl_lib.metrics import PAPER
from xaicl_lib.metrics import metrics as metric_registry
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Pair
from xaicl_lib.scores import resolve_score

TIDY = ["model", "method", "pair", "metric", "value", "seconds", "seed", "version"]


def evaluate(
    models: str | PairModel | Sequence[str | PairModel],
    pairs: Pair | Iterable[Pair],
    methods: Methods,
    metrics: Sequence[str] = PAPER,
    *,
    store: str | Any | None = None,
    seed: int = 0,
    shard: int = 16,
    chunk: int | None = None,
    device: str = "auto",
    client: Any | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Every metric of every method on every model, pair by pair.

    Args:
        models: names from `list_models()`, or models of your own with names that differ.
        pairs: n pairs, or batches of them one after the other, which then are never held all at once.
        methods: names from `list_methods()`, with parameters as in "smooth_grad(guided=True)" or (name, parameters), or each a
            `MethodSpec`; as a mapping, with labels of your own.
        metrics: names from `list_metrics()`.
        store: a folder where values are kept as they come; what it has is not computed again, whatever killed the run before. Values are
            kept under the content they depend on, so nothing old is ever taken for new. Several processes may share one.
        seed: of everything random.
        shard: pairs explained and stored together; what a kill can lose.
        chunk: images in flight.
        device: where models given by name run.
        client: a `dask.distributed.Client`: the shards go to its workers; the store, then required, must be on a disk they all see.
        options: of the metrics, and `score` (a function, or the name of one), for methods and metrics alike.

    Returns:
        One row per model, method, pair (counted from 0) and metric: value, seconds (to explain and to measure, per pair, when it was
        computed), seed, version of the code.

    Raises:
        InputError: no models, pairs or methods; a name given twice; unknown names or options; a store that cannot be written.
    """
    metrics = [metrics] if isinstance(metrics, str) else metrics
    options |= {"score": resolve_score(options["score"])} if "score" in options else {}
    given = [models] if isinstance(models, str | PairModel) else list(models)
    plans = _plans(methods, metrics, options, seed, chunk)
    loaded = _models(given, device)
    place = None if store is None else Store(store).prepare()
    shards = _shards(loaded, plans, pairs, shard, place)
    if client is None:
        done: Iterable[tuple[Shard, pd.DataFrame]] = ((one, run(loaded[one.model], one, place)) for one in shards)
    else:
        from xaicl_lib.evaluation.cluster import on_workers

        done = on_workers(client, dict(zip(loaded, given, strict=True)), shards, place, device)
    frames = [_numbered(one, rows) for one, rows in _with_bar(done, pairs, len(loaded) * len(plans))]
    if not frames:
        raise InputError("expected at least one pair, got none")
    table = pd.concat(frames, ignore_index=True)
    order = {"model": list(loaded), "method": [plan.method.label for plan in plans], "metric": list(metrics)}
    return table.sort_values(
        ["model", "method", "pair", "metric"], key=lambda c: c.map(order[c.name].index) if c.name in order else c, ignore_index=True
    )[TIDY]


def _with_bar(done: Iterable[tuple[Shard, pd.DataFrame]], pairs: Any, each: int) -> Iterator[tuple[Shard, pd.DataFrame]]:
    total = len(pairs) * each if isinstance(pairs, Pair) else None
    quiet = True if os.environ.get("XAICL_BOOK") else None  # None: only on a terminal or in a live notebook
    with tqdm(desc="explaining and measuring", unit="pair", total=total, disable=quiet, smoothing=0.05) as bar:
        for shard, rows in done:
            yield shard, rows
            bar.set_postfix_str(f"{shard.model}, {shard.plan.method.label}")
            bar.update(len(shard.pair))


def _models(given: Sequence[str | PairModel], device: str) -> dict[str, PairModel]:
    from xaicl_lib.zoo import load_model

    for model in given:
        require(model, str | PairModel, "model")
    loaded = [load_model(model, device) if isinstance(model, str) else model for model in given]
    require_distinct("model", [model.name for model in loaded])
    return {model.name: model for model in loaded}


def _plans(methods: Methods, metrics: Sequence[str], options: dict[str, Any], seed: int, chunk: int | None) -> list[Plan]:
    known = dict.fromkeys(["score", *(option for metric in metrics for option in metric_registry[metric].options)])
    for option in options:
        if option not in known or option in ("generator", "chunk"):
            raise unknown("option", option, [name for name in known if name not in ("generator", "chunk")])
    specs = method_specs(methods).values()
    for spec in specs:
        registry[spec.name]
    require_distinct("metric", list(metrics))
    return [Plan(spec, tuple(metrics), options, seed, chunk) for spec in specs]


def _shards(
    models: Mapping[str, PairModel], plans: Sequence[Plan], pairs: Pair | Iterable[Pair], size: int, store: Store | None
) -> Iterator[Shard]:
    """Shard by shard what there is to do, each with what the store knows of it."""
    if size < 1:
        raise InputError(f"expected at least one pair a shard, got {size}")
    keys = {name: model_key(model) for name, model in models.items()}
    nothing = pd.DataFrame(columns=COLUMNS)
    stored = {
        (name, plan.method.label): (store.read(key, plan.method_key) if store else nothing).set_index("pair_key", drop=False)
        for name, key in keys.items()
        for plan in plans
    }
    first = 0
    for batch in [pairs] if isinstance(pairs, Pair) else pairs:
        for start in range(0, len(batch), size):
            part = batch[start : start + size]
            names = pair_keys(part)
            for name, key in keys.items():
                for plan in plans:
                    rows = stored[name, plan.method.label]
                    known = rows.loc[rows.index.intersection(names)].reset_index(drop=True)
                    own = list(plan.metric_keys.values())
                    yield Shard(name, key, plan, first, part, names, known[known["metric_key"].isin(own)])
            first += len(part)


def _numbered(shard: Shard, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of a shard as the table has them: pairs by number, names as given this time."""
    metrics = {key: metric for metric, key in shard.plan.metric_keys.items()}
    numbers = pd.DataFrame({"pair_key": shard.pair_keys, "pair": range(shard.first, shard.first + len(shard.pair_keys))})
    table = numbers.merge(rows.drop_duplicates(["pair_key", "metric_key"]), on="pair_key", how="left")
    return table.assign(model=shard.model, method=shard.plan.method.label, metric=table["metric_key"].map(metrics))

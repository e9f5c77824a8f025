"""Small networks, pairs and photos that the tests share."""

import functools
import gc
import logging
import multiprocessing
import os
import random
import sys
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: tests share out the processors, not the work of each

if "rfc3987_syntax" not in sys.modules:
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]  # a grammar that jsonschema would compile in each process

import numpy as np
import pytest
import torch
from filelock import FileLock
from torch import nn

from xaicl_lib import Pair, PairModel, load_model
from xaicl_lib.devices import keep_memory
from xaicl_lib.networks.small import _SlimViT

keep_memory()  # a tenth of the tests' time
collect_ignore = ["checkpoints/fixtures"]  # made once by packages that the project does not need
logging.getLogger("torch.__trace").setLevel(logging.WARNING)  # its thousands of debug lines would all be kept by pytest
DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Each test draws the same numbers whatever ran before it in its process; `TEST_SEED` asks whether other ones would do as well."""
    seed = int(os.environ.get("TEST_SEED", "0"))
    for sow in (random.seed, np.random.seed, torch.manual_seed):
        sow(seed)


@pytest.fixture(autouse=True)
def _answering(request: pytest.FixtureRequest) -> Iterator[None]:
    """A browser that does not answer for a quarter of an hour is ended: its test fails, and is run once more in a new one."""
    if not request.path.name.startswith("check_"):
        yield
        return
    from tests.check_pages import ended_after

    with ended_after(900):
        yield


def pytest_collection_finish() -> None:
    """What is imported by now stays, and tests make millions of objects: to look through all of them again and again is a twentieth."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def pytest_sessionfinish() -> None:
    """Else what packages take apart at their end is still held, and some say so at length."""
    gc.unfreeze()


@pytest.fixture(scope="session")
def forks() -> Iterator[ForkServerContext]:
    """Processes that begin as copies of one that has imported what evaluations and runs need; each on its own takes seconds for it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.conftest", "xaicl_lib.evaluation.evaluate", "distributed.nanny", "xaicl_lib.publishing.run"])
    forkserver.ensure_running()
    yield context
    forkserver._forkserver._stop()  # waits for it, so that nothing outlives the tests


@pytest.fixture(scope="session")
def brisk_export() -> Iterator[None]:
    """Exports without what torch does for each graph anew, reading its table of ONNX operators, and for error messages alone, noting
    where each node was made.
    """
    registry = pytest.importorskip("torch.onnx._internal.exporter._registration").ONNXRegistry
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "from_torchlib", staticmethod(functools.cache(registry.from_torchlib)))
        patch.setattr("torch.fx.config.do_not_emit_stack_traces", True, raising=False)
        yield


@pytest.fixture(scope="session")
def bundle_of(tmp_path_factory: pytest.TempPathFactory, brisk_export: None) -> Callable[[str], Path]:
    """Folder with the export of a bundled model, made once for all files of tests and all processes that run them; not to be changed."""
    from xaicl_lib.lab.export import export

    own = tmp_path_factory.getbasetemp()  # which with several processes lies in the folder of all
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "bundles"
    folder.mkdir(exist_ok=True)

    def get(name: str) -> Path:
        with FileLock(folder / f"{name}.lock"):
            if not (folder / name).exists():
                export(load_model(name, "cpu"), folder / name)
        return folder / name

    return get


def small_features(seed: int = 0, channels: int = 6) -> nn.Sequential:
    """Two convolutions with batch norms whose statistics are not the defaults; stride 4, float64."""
    torch.manual_seed(seed)
    norms = [nn.BatchNorm2d(5), nn.BatchNorm2d(channels)]
    for norm in norms:
        nn.init.normal_(norm.running_mean, std=0.1)
        nn.init.uniform_(norm.running_var, 0.5, 2)
        nn.init.normal_(norm.weight, 1, 0.1)
        nn.init.normal_(norm.bias, std=0.1)
    layers = [nn.Conv2d(3, 5, 3, 2, 1), norms[0], nn.ReLU(), nn.Conv2d(5, channels, 3, 2, 1, bias=False), norms[1], nn.ReLU()]
    return nn.Sequential(*layers).double()


def small_head(seed: int = 0, channels: int = 6) -> nn.Sequential:
    torch.manual_seed(seed + 100)
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*pool, nn.Linear(channels, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 7)).double()


STATS = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.25, 0.3)}


def small_tokens(seed: int = 0, channels: int = 8) -> nn.Module:
    """A transformer of two blocks whose patch tokens are the map; stride 8, float64."""
    torch.manual_seed(seed)
    return _SlimViT((4, 4, channels), depth=2, heads=2).double()


def build(kind: str, tokens: bool = False) -> PairModel:
    features, channels = (small_tokens(), 8) if tokens else (small_features(), 6)
    if kind == "headless":
        return PairModel(features, size=24, name=kind, **STATS)
    if kind == "two branches":
        return PairModel(features, small_head(0, channels), size=24, head_b=small_head(1, channels), name=kind, **STATS)
    return PairModel(features, small_head(0, channels), size=24, name=kind, **STATS)


@pytest.fixture(params=["projected", "headless", "two branches"])
def model(request) -> PairModel:
    return build(request.param)


@pytest.fixture
def projected() -> PairModel:
    return build("projected")


@pytest.fixture
def headless() -> PairModel:
    return build("headless")


def random_pair(n: int = 3, a: tuple[int, int] = (24, 24), b: tuple[int, int] = (24, 24), seed: int = 0) -> Pair:
    g = torch.Generator().manual_seed(seed)
    return Pair(*(torch.rand(n, 3, *side, generator=g, dtype=torch.float64) for side in (a, b)))


@pytest.fixture
def pair() -> Pair:
    return random_pair()


@pytest.fixture
def imagenette_folder() -> Path:
    folder = DATA / "imagenette2-128"
    if not folder.is_dir():
        pytest.skip("no Imagenette photos here")
    return folder


def assert_close(got: torch.Tensor, want: torch.Tensor, rtol: float = 1e-9, atol: float = 1e-12) -> None:
    torch.testing.assert_close(got, want, rtol=rtol, atol=atol, check_dtype=False)

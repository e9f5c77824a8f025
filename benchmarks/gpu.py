"""The paper's Table VI on a GPU: seconds to explain a pair by each method, on a ResNet-50 at 224 pixels, beside the paper's RTX 3090.

    python benchmarks/gpu.py [--device cuda] [--model resnet50] [--runs 5] [--quick] [-o results/cost_gpu.parquet]

By precision: float32; tf32, in which tensor cores round to 10 bits; draft, bfloat16 with proof, of the method that knows it.
Written for whoever has a GPU: so far it was run on processors alone, and no figure of it is stored.
"""

import argparse
import datetime
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import torch
from methods import network

from xaicl_lib import Pair, PairModel
from xaicl_lib.evaluation.method_spec import method_specs
from xaicl_lib.studies.paper import _seconds, seconds


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Whether matrices and convolutions of CUDA may round their inputs to 10 bits."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def rows(model: PairModel, pair: Pair, runs: int, quick: bool) -> pd.DataFrame:
    """Table VI by precision."""
    found = []
    for name in ("float32", "tf32"):
        with tf32(name == "tf32"):
            found.append(seconds(model, pair, quick=quick, runs=runs).reset_index().assign(precision=name))
    (draft,) = method_specs(["conditional_occlusion(precision='draft')"]).values()
    with tf32(False), warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        taken = _seconds(draft, model, pair, runs, 0.0)
    said = "; ".join(str(note.message) for note in notes if "draft" in str(note.message))
    return pd.concat(
        [*found, pd.DataFrame([{"method": "conditional_occlusion", "precision": "draft", "seconds here": taken, "note": said}])]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="without the rows that take long")
    parser.add_argument("-o", "--out", type=Path)
    given = parser.parse_args()
    model = network(given.model, given.device)
    pair = Pair.open("cat", "astronaut", model).to(model.device)
    where = torch.cuda.get_device_name() if model.device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    table = rows(model, pair, given.runs, given.quick)
    table = table.assign(model=given.model, device=where, torch=torch.__version__, runs=given.runs, date=str(datetime.date.today()))
    print(table.drop(columns=["device", "torch", "date", "runs", "model"]).to_string(index=False, float_format=lambda v: f"{v:.3g}"))
    if given.out:
        table.to_parquet(given.out, index=False)


if __name__ == "__main__":
    main()

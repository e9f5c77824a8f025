"""What methods cost beside an earlier commit, and whether their maps are the same: both builds by turns, one thread, processor seconds.

    python benchmarks/before.py [--base b2a8562] [--models simclr ...] [--methods integrated_jacobians ...] [-o results/cost_before.parquet]

Run from the environment of `make setup`. Each build answers in processes of its own, which take turns; the least of all rounds counts.
"""

import argparse
import datetime
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import torch

ROOT = Path(__file__).resolve().parent.parent
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
PAIRS = 4
CNNS = "simclr barlow_twins simsiam supervised supcon triplet scenes_simclr scenes_supervised scenes_clip"

# Runs in either build: one model, its methods, each twice, of which the second counts.
ANSWER = """
import sys, time, torch
from xaicl_lib import Pair, explain, load_model
torch.set_num_threads(1)
name, out, *methods = sys.argv[1:]
model = load_model(name, "cpu")
images = torch.rand(2, PAIRS, 3, model.size // 8, model.size // 8, generator=torch.Generator().manual_seed(0))
pair = Pair(*torch.nn.functional.interpolate(images.flatten(0, 1), model.size, mode="bicubic").clamp(0, 1).chunk(2))
found = {}
for method in methods:
    explain(model, pair, method)
    began = time.process_time()
    made = explain(model, pair, method)
    found[method] = (time.process_time() - began, made.a, made.b)
torch.save(found, out)
""".replace("PAIRS", str(PAIRS))


def answers(build: Path, name: str, methods: list[str], folder: Path) -> dict[str, tuple[float, torch.Tensor, torch.Tensor]]:
    """Seconds and maps of one build's methods on one model."""
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(build), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", ANSWER, name, str(folder / "found.pt"), *methods]
    subprocess.run(command, cwd=folder, env=environment, check=True, stderr=subprocess.DEVNULL)
    return torch.load(folder / "found.pt")


def compared(base: Path, name: str, methods: list[str], rounds: int, folder: Path) -> list[dict[str, object]]:
    """A row for each method: the least seconds of both builds, their ratio, and how far their maps are apart, relative to their length."""
    old, new = zip(*[[answers(build, name, methods, folder) for build in (base, ROOT)] for _ in range(rounds)], strict=True)
    rows = []
    for method in methods:
        seconds = [min(one[method][0] for one in each) for each in (old, new)]
        away = max(float((x - y).norm() / x.norm()) for x, y in zip(old[0][method][1:], new[0][method][1:], strict=True))
        rows.append({"model": name, "method": method, "base_seconds": seconds[0], "seconds": seconds[1], "ratio": seconds[0] / seconds[1]})
        rows[-1]["away"] = away
        print(f"{name:>24} {method:<24} {seconds[0]:8.3f} s {seconds[1]:8.3f} s {seconds[0] / seconds[1]:7.1f} x, maps {away:.1e} away")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="b2a8562")
    parser.add_argument("--models", nargs="+", default=CNNS.split())
    parser.add_argument("--methods", nargs="+", default=["deep_similarity", "integrated_jacobians"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("-o", "--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder, base = Path(made), Path(made) / "base"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(base)], check=True)
        subprocess.run(["git", "-C", str(base), "checkout", "--quiet", "--detach", arguments.base], check=True)
        rows = [row for name in arguments.models for row in compared(base, name, arguments.methods, arguments.rounds, folder)]
    if arguments.out:
        code = subprocess.check_output(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], text=True).strip()
        source = {"base": arguments.base, "code": code, "device": platform.machine(), "torch": torch.__version__, "pairs": PAIRS}
        pd.DataFrame(rows).assign(**source, date=str(datetime.date.today())).to_parquet(arguments.out)


if __name__ == "__main__":
    main()

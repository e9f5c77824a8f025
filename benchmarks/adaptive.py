"""How well the adaptive areas keep their promise, on real curves: errors, bounds and points against every point.

python benchmarks/adaptive.py [--models simclr supervised] [--pairs samples | FOLDER] [--count 16] [--points 225] [-o FILE.parquet]
"""

import argparse
from pathlib import Path

import pandas as pd
import torch

from xaicl_lib import load_model, measure
from xaicl_lib.evaluation.method_spec import method_specs
from xaicl_lib.metrics.quadrature import adaptive
from xaicl_lib.metrics.registry import Curves
from xaicl_lib.studies.tables import pairs_from

METHODS = ("grad_cam", "interaction_cam", "smooth_grad", "conditional_occlusion", "random_map")


class Known:
    """A sweep whose every point is known already."""

    def __init__(self, curves: Curves, name: str) -> None:
        self.scores = torch.cat([curves.points[f"S{name}"], curves.points[f"C{name}"]], 1).mT  # (n, k + 1, c)

    @property
    def shape(self) -> tuple[int, int]:
        return self.scores.shape[0], self.scores.shape[1]

    def points(self, item: torch.Tensor, k: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.scores[item, k], torch.ones_like(item)


def rows(curves: Curves, tolerance: float) -> list[dict[str, float]]:
    """One row for each pair and area."""
    out = []
    for name in "ID":
        few, every = adaptive(Known(curves, name), tolerance), curves.areas()
        for kind in "SC":
            error = (few.areas()[kind] - every[kind + name]).abs()
            bound = few.error[kind]
            found = zip(error.tolist(), bound.tolist(), few.encoded.tolist(), strict=True)
            out += [{"metric": kind + name, "pair": k, "error": e, "bound": b, "points": p} for k, (e, b, p) in enumerate(found)]
    return out


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="+", default=["simclr", "supervised"])
    parser.add_argument("--pairs", default="samples")
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--points", type=int, default=225)
    parser.add_argument("--tolerance", type=float, default=0.005)
    parser.add_argument("-o", "--output")
    arguments = parser.parse_args()
    table = []
    for name in arguments.models:
        model = load_model(name)
        pair = pairs_from(arguments.pairs, arguments.count, model.size)
        step = -(-(model.size**2) // (arguments.points - 1))
        for label, spec in method_specs(METHODS).items():
            explanation = spec.explain(model, pair)
            _, curves = measure(model, pair, explanation, ["SI", "SD", "CI", "CD"], step=step, curves=True)
            count = next(iter(curves.points.values())).shape[2]
            table += [{"model": name, "method": label, "of": count, **row} for row in rows(curves, arguments.tolerance)]
    frame = pd.DataFrame(table)
    frame["within"], frame["met"], frame["share"] = (
        frame["error"] <= arguments.tolerance,
        frame["error"] <= frame["bound"],
        frame["points"] / frame["of"],
    )
    print(frame.groupby("model")[["within", "met", "share", "error"]].mean().round(4).to_string())
    print(f"{len(frame)} areas: within {arguments.tolerance} {frame['within'].mean():.2%}, bound met {frame['met'].mean():.2%}")
    worst, high = frame["error"].max(), frame["error"].quantile(0.99)
    print(f"points {frame['share'].mean():.1%}, largest error {worst:.4f}, 99th percentile {high:.4f}")
    if arguments.output:
        Path(arguments.output).parent.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(arguments.output, index=False)


if __name__ == "__main__":
    main()

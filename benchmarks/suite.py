"""Our own methods, and what knows nothing, on the suite of pairs with known evidence: the rows of the leaderboard.

    python benchmarks/suite.py [METHOD ...] [-s pairs-v1] [-n COUNT] [--seed 0] [-o results/benchmark]

A file for each method; those that are there are kept, and a run that was stopped goes on where it was. Photos of `mosaics-v1` are those of
XAICL_IMAGENETTE.
"""

import argparse
import re
from pathlib import Path

import torch
import torch.nn.functional as F

from xaicl_lib import Explanation, explain
from xaicl_lib.benchmark import evaluate_method
from xaicl_lib.studies.tables import METHODS


def random_pixels(model, pair):
    return explain(model, pair, "random_map", cells=model.size)


def one_sided_grad_cam(model, pair):
    """Grad-CAM of the length of either embedding, which asks nothing of the other side."""
    a, b = (model.features([model.normalize(side)])[0].detach().requires_grad_() for side in pair.sides)
    maps = []
    for f, head in ((a, model.head_a), (b, model.head_b)):
        head(f).norm().backward()
        maps.append((f * f.grad.clamp_min(0)).sum(1).detach())
    return tuple(maps)


def centre(model, pair):
    """The middle of the picture, for photographers put there what they mean."""
    line = torch.linspace(-1, 1, model.size)
    blob = torch.exp(-2 * (line[:, None] ** 2 + line**2))
    return blob, blob


def same_pixels(model, pair):
    """Parts of 8 x 8 pixels that are found again in the other picture, without a model."""
    a, b = (F.unfold(side, 8, stride=8)[0].T for side in pair.sides)  # (cells, 192)
    cells = model.size // 8
    joint = torch.exp(-4 * (a[:, None] - b).pow(2).mean(2).sqrt().div(0.1)).view(1, *[cells] * 4)
    return Explanation(joint.amax((3, 4)), joint.amax((1, 2)), torch.zeros(1), joint=joint)


ROWS = {
    "random pixels": random_pixels,
    "centre": centre,
    "one-sided Grad-CAM": one_sided_grad_cam,
    **{
        name: name
        for name in (
            "edges", "grad_cam", "interaction_cam", "deep_similarity", "integrated_jacobians", "input_x_gradient", "averaged_transforms",
            "pairwise_occlusion", "smooth_grad", "conditional_occlusion",
        )
    },
}  # fmt: skip
# The other rows of the paper's tables, and RISE with a fourth of its masks: of pairs-v1 alone.
VARIANTS = {name: name for name in (*(label for label in METHODS if "(" in label), "rise(masks=500)")}
MOSAICS = {"same pixels": same_pixels}  # a trap of that suite: the shared photo is the very same


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", metavar="METHOD", help=f"of {', '.join(ROWS | VARIANTS)} (default: all)")
    parser.add_argument(
        "-s", "--suite", default="pairs-v1", help="or mosaics-v1 or shortcuts-v1, whose results are in a folder of that name"
    )
    parser.add_argument("-n", "--count", type=int, help="pairs of each model and kind (default: as many as the suite has)")
    parser.add_argument("--seed", type=int, default=0, help="of pairs-v1: another draw of pairs, whose results are in a folder seed-N")
    parser.add_argument("-o", "--out", type=Path, default=Path("results/benchmark"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.seed and arguments.suite != "pairs-v1":
        parser.error("other seeds are of pairs-v1")
    folder = f"seed-{arguments.seed}" if arguments.seed else arguments.suite.replace("pairs-v1", "")
    out = arguments.out / folder
    rows = ROWS | {"mosaics-v1": MOSAICS, "pairs-v1": VARIANTS}.get(arguments.suite, {})
    if unknown := [name for name in arguments.methods if name not in rows]:
        parser.error(f"{arguments.suite} has no row {', '.join(map(repr, unknown))}; there are: {', '.join(rows)}")
    out.mkdir(parents=True, exist_ok=True)
    for name in arguments.methods or rows:
        path = out / (re.sub(r"[^\w-]+", "_", name).strip("_") + ".json")
        if not path.is_file():
            found = evaluate_method(rows[name], arguments.suite, count=arguments.count, seed=arguments.seed, name=name, out=path)
            print(name, found.summary().round(3).to_string(), sep="\n", flush=True)


if __name__ == "__main__":
    main()

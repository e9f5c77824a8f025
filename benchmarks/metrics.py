"""What measuring costs: all four areas of one pair against the raw forwards it cannot do without; everything interleaved in one run.

    python benchmarks/metrics.py [--model simclr | resnet50] [--rounds 3] [--step 224] [-o results/cost_metrics.parquet]

The floor is the number of points of an insertion and a deletion of both sides, 4 x 225 at 224 pixels, times what one image
costs the bare network at its best batch size. Beside it, on the same pair and map: Quantus' PixelFlipping (one deletion curve of one
side), and a loop that encodes both images at every point of each of the six single curves, one image at a time, as the paper's
published program does (2,700 images at 224 pixels).
"""

import argparse
import platform
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import quantus
import torch
from methods import Run, interleaved, network, raw

from xaicl_lib import Explanation, Pair, PairModel, explain, measure
from xaicl_lib.data.photos import open_photo
from xaicl_lib.metrics.perturbation import ranks
from xaicl_lib.pair import resize_map
from xaicl_lib.scores import cosine

AREAS = ["SI", "SD", "CI", "CD"]


def loop(model: PairModel, pair: Pair, explanation: Explanation, step: int, share: float) -> int:
    """Both images encoded at each point of each curve, one at a time; of each curve only a share of the points. How many images."""
    sides = [model.normalize(side) for side in pair.sides]
    places = [ranks(resize_map(m, s.shape[2:])) for m, s in zip((explanation.a, explanation.b), sides, strict=True)]
    points = range(0, sides[0][0, 0].numel() + 1, step)
    some = points[: max(1, round(share * len(points)))]
    count = 0
    with torch.no_grad():
        for moving in ((0, 1), (0,), (1,)) * 2:  # the same work for insertion and deletion
            for k in some:
                x = [
                    s.masked_fill((p < k).unsqueeze(1), 0) if j in moving else s for j, (s, p) in enumerate(zip(sides, places, strict=True))
                ]
                cosine(model.embed_a(x[0]), model.embed_b(x[1]))
                count += 2
    return count


class Similarity(torch.nn.Module):
    """The score of side a with a fixed side b as one logit, for a library that knows classes only."""

    def __init__(self, model: PairModel, pair: Pair) -> None:
        super().__init__()
        self.model, self.parts = model, model._parts
        with torch.no_grad():
            self.z_b = model.embed_b(model.normalize(pair.b))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.model.embed_a(x)
        return cosine(z, self.z_b.expand_as(z)).unsqueeze(1)


def flipping(model: PairModel, pair: Pair, explanation: Explanation, step: int) -> Run:
    """Quantus' deletion curve of side a."""
    x = model.normalize(pair.a).numpy()
    saliency = resize_map(explanation.a, pair.a.shape[2:]).unsqueeze(1).numpy()
    metric = quantus.PixelFlipping(features_in_step=step, perturb_baseline=0.0, disable_warnings=True, display_progressbar=False)
    given = {"x_batch": x, "y_batch": np.zeros(1, int), "a_batch": saliency, "device": "cpu", "softmax": False}
    wrapped = Similarity(model, pair).eval()
    return lambda: metric(model=wrapped, **given)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="simclr")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--step", type=int, help="pixels at a time (default: the image's side, as the paper)")
    parser.add_argument("--share", type=float, default=0.1, help="of the points that the slow loop does; its time is scaled up")
    parser.add_argument("-o", "--output")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    model = network(arguments.model, "cpu")
    step = arguments.step or model.size
    pair = Pair(open_photo("cat", model.size), open_photo("astronaut", model.size))
    explanation = explain(model, pair, "grad_cam")
    points = -(-(model.size**2) // step) + 1
    batches = (8, 12, 16, 20, 32) if model.size < 200 else (2, 4, 5, 8)
    runs = {"four areas": lambda: measure(model, pair, explanation, AREAS, step=step)}
    runs["adaptive"] = lambda: measure(model, pair, explanation, AREAS, step=step, adaptive=True)
    runs |= {f"raw {b}": raw(model, pair, b, False) for b in batches}
    runs["Quantus PixelFlipping"] = flipping(model, pair, explanation, step)
    runs["one at a time"] = lambda: loop(model, pair, explanation, step, arguments.share)
    seconds = interleaved(runs, arguments.rounds, "cpu")
    best = min(seconds[f"raw {b}"] / b for b in batches)
    did = loop(model, pair, explanation, step, arguments.share)
    seconds["one at a time"] *= 12 * points / did
    _, curves = measure(model, pair, explanation, AREAS, step=step, adaptive=True, curves=True)
    images = {"four areas": 4 * points, "adaptive": int(curves.encoded), "Quantus PixelFlipping": points, "one at a time": 12 * points}
    rows = [{"name": name, "seconds": seconds[name], "images": n, "times_floor": seconds[name] / (n * best)} for name, n in images.items()]
    table = pd.DataFrame(rows).assign(
        model=arguments.model, size=model.size, step=step, raw_images_per_second=1 / best, rounds=arguments.rounds, torch=torch.__version__,
        device=f"{platform.machine()} CPU, {torch.get_num_threads()} threads",
    )  # fmt: skip
    print(table[["name", "seconds", "images", "times_floor"]].to_string(index=False, float_format=lambda v: f"{v:.3f}"))
    print(f"raw network: {1 / best:.0f} images/s; {table['device'][0]}")
    if arguments.output:
        Path(arguments.output).parent.mkdir(parents=True, exist_ok=True)
        table.to_parquet(arguments.output, index=False)


if __name__ == "__main__":
    main()

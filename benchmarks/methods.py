"""What each method costs, against the raw network and against captum and pytorch-grad-cam; everything interleaved in one run.

    python benchmarks/methods.py [--model simclr | resnet50] [--rounds 5] [--device cpu] [-o results/cost.parquet]

For each method: its median seconds for a few pairs at once, the passes it cannot do without, what these take by the bare network at its
best batch size and layout (`floor`), and floor / seconds. A rival's row names the method of ours that answers the same question.
"""

import argparse
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import captum.attr
import pandas as pd
import torch
import torchvision
from pytorch_grad_cam import GradCAMElementWise
from torch import nn

from xaicl_lib import Pair, PairModel, explain, load_model
from xaicl_lib.adapters import ScoreTarget
from xaicl_lib.data.photos import open_photo
from xaicl_lib.model import MeanPool
from xaicl_lib.scores import cosine

Run = Callable[[], object]


def network(name: str, device: str) -> PairModel:
    """A bundled model, or a ResNet-50 of random weights with a projection head, the paper's architecture and size."""
    if name != "resnet50":
        return load_model(name, device)
    torch.manual_seed(0)
    net = torchvision.models.resnet50().eval()
    head = nn.Sequential(MeanPool(), nn.Linear(2048, 2048), nn.ReLU(), nn.Linear(2048, 2048), nn.ReLU(), nn.Linear(2048, 128))
    return PairModel(nn.Sequential(*list(net.children())[:-2]), head, size=224, name=name).to(device)


def ours(model: PairModel, pair: Pair) -> dict[str, tuple[Run, int, int]]:
    """Our methods: how to run them, and the forward passes and passes forward and back that they cannot do without."""
    places = explain(model, pair[0], "conditional_occlusion", grid="published").a[0].numel()
    passes = {
        "conditional_occlusion": (2 * places + 2, 0),
        "pairwise_occlusion": (202, 0),
        "rise": (4002, 0),
        "input_x_gradient": (0, 2),
        "smooth_grad": (2, 100),
        "averaged_transforms": (2, 10),
        "grad_cam": (2, 0),
        "interaction_cam": (2, 0),
        "deep_similarity": (2, 0),
        "integrated_jacobians": (2, 0),
    }
    n = len(pair)
    return {name: (lambda name=name: explain(model, pair, name), n * f, n * b) for name, (f, b) in passes.items()}


def rivals(model: PairModel, pair: Pair) -> dict[str, tuple[Run, str]]:
    """The same questions put to captum and pytorch-grad-cam, on the plain form of the network as their users have it."""
    sides = tuple(model.normalize(side) for side in pair.sides)
    window, stride = round(model.size * 64 / 224), round(model.size * 8 / 224)

    def forward(x_a: torch.Tensor, x_b: torch.Tensor) -> torch.Tensor:
        return cosine(model.embed_a(x_a), model.embed_b(x_b))

    def occlusion() -> object:
        shapes = ((3, window, window),) * 2
        return captum.attr.Occlusion(forward).attribute(
            sides, shapes, ((3, stride, stride),) * 2, perturbations_per_eval=max(1, 16 // len(pair))
        )

    def noise() -> object:
        tunnel = captum.attr.NoiseTunnel(captum.attr.Saliency(forward))
        return tunnel.attribute(sides, nt_type="smoothgrad", nt_samples=50, nt_samples_batch_size=max(1, 8 // len(pair)), stdevs=0.5)

    whole = nn.Sequential(model.features_a, model.head_a)
    pair_score = PairScore(model)

    def layer() -> object:
        cam = captum.attr.LayerGradCam(pair_score, pair_score.features)
        return cam.attribute(torch.cat([s.detach().requires_grad_() for s in sides]), attr_dim_summation=True)

    def library() -> object:
        both = []
        for this, other in ((sides[0], pair.b), (sides[1], pair.a)):
            targets = [ScoreTarget(model, one) for one in other.split(1)]
            with GradCAMElementWise(whole, [model.features_a]) as cam:
                both.append(cam(this.detach().requires_grad_(), targets))
        return both

    return {
        "captum Occlusion": (occlusion, "conditional_occlusion"),
        "captum Saliency": (lambda: captum.attr.Saliency(forward).attribute(sides), "input_x_gradient"),
        "captum NoiseTunnel": (noise, "smooth_grad"),
        "captum LayerGradCam": (layer, "grad_cam"),
        "pytorch-grad-cam": (library, "grad_cam"),
    }


class PairScore(nn.Module):
    """The score of both sides stacked into one batch, for captum's layer methods, which know one input."""

    def __init__(self, model: PairModel) -> None:
        super().__init__()
        self.features, self.head = model.features_a, model.head_a

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z_a, z_b = self.head(self.features(x)).chunk(2)
        return cosine(z_a, z_b).repeat(2)


def raw(model: PairModel, pair: Pair, batch: int, backward: bool) -> Run:
    """One batch through the bare network at its fastest layout, forward or forward and back to the pixels."""
    x = model.fast.normalize(pair.a[:1].expand(batch, -1, -1, -1)).contiguous(memory_format=torch.channels_last)

    def run() -> None:
        if not backward:
            with torch.inference_mode():
                model.fast.embed_a(x)
            return
        leaf = x.detach().requires_grad_()
        torch.autograd.grad(model.fast.embed_a(leaf).sum(), leaf)

    return run


def interleaved(runs: dict[str, Run], rounds: int, device: str, clock: Callable[[], float] = time.perf_counter) -> dict[str, float]:
    """Median seconds of each; taken in turn, so that a change of the machine's speed meets all alike.

    With `time.process_time` as the clock and one thread, other work on the machine counts little.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    for k in range(rounds + 1):
        for name, run in runs.items():
            began = clock()
            run()
            if device != "cpu":
                torch.cuda.synchronize()
            if k:  # the first round warms up
                times[name].append(clock() - began)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="simclr")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--processor", action="store_true", help="processor seconds on one thread, for machines that others use, too")
    parser.add_argument("-o", "--output")
    arguments = parser.parse_args()
    if arguments.processor:
        torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    model = network(arguments.model, arguments.device)
    side_a, side_b = (open_photo(name, model.size).expand(arguments.pairs, -1, -1, -1) for name in ("cat", "astronaut"))
    pair = Pair(side_a, side_b).to(arguments.device)
    own, theirs = ours(model, pair), rivals(model, pair)
    batches = (8, 12, 16, 20, 32) if model.size < 200 else (2, 4, 5, 8)
    floors = {(b, back): raw(model, pair, b, back) for b in batches for back in (False, True)}
    runs = {name: run for name, (run, *_) in own.items()} | {name: run for name, (run, _) in theirs.items()}
    runs |= {f"raw {b} {back}": run for (b, back), run in floors.items()}
    seconds = interleaved(runs, arguments.rounds, arguments.device, time.process_time if arguments.processor else time.perf_counter)
    per_image = {back: min(seconds[f"raw {b} {back}"] / b for b in batches) for back in (False, True)}
    rows = []
    for name, (_, forwards, both) in own.items():
        floor = forwards * per_image[False] + both * per_image[True]
        rows.append({"name": name, "seconds": seconds[name], "forwards": forwards, "forward_backwards": both, "floor": floor})
        rows[-1]["floor_share"] = floor / seconds[name]
    for name, (_, same) in theirs.items():
        rows.append({"name": name, "seconds": seconds[name], "asks_like": same, "times_ours": seconds[name] / seconds[same]})
    table = pd.DataFrame(rows)
    where = torch.cuda.get_device_name() if arguments.device != "cpu" else f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    table = table.assign(
        model=arguments.model, size=model.size, device=where, torch=torch.__version__, rounds=arguments.rounds, pairs=arguments.pairs
    ).assign(clock="processor" if arguments.processor else "wall")
    print(
        table.drop(columns=["device", "torch", "rounds", "model", "size", "pairs", "clock"]).to_string(
            index=False, float_format=lambda v: f"{v:.3f}"
        )
    )
    print(f"raw network: {1 / per_image[False]:.0f} images/s forward, {1 / per_image[True]:.0f} forward and back; {where}")
    if arguments.output:
        Path(arguments.output).parent.mkdir(parents=True, exist_ok=True)
        table.to_parquet(arguments.output, index=False)


if __name__ == "__main__":
    main()

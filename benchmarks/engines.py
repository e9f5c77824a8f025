"""Engines and drafts beside an earlier commit and captum: processor seconds of one thread, and how far maps and areas are away.

    python benchmarks/engines.py [--models simclr resnet50] [--ways eager openvino ...] [--rounds 2] [-o results/cost_engines.parquet]

Each way answers in a process of its own, which take turns; the least seconds of all rounds count, building an engine not among them: it is
in a column of its own. `floor` is what the same images take by the bare eager network at its best batch size. A ResNet-50 is of random
weights (its norms' statistics are those of the photos), for none is at hand; its grids are coarser, as the ratios do not depend on them.
"""

import argparse
import datetime
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import torch
from before import ONE_THREAD, ROOT
from scipy.stats import spearmanr

from xaicl_lib import Pair

WAYS = ("eager", "onnxruntime", "openvino", "compile", "draft, eager", "draft, openvino", "captum", "floor")
METHODS = ("conditional_occlusion", "areas")

# Runs in either build: one model in one way.
ANSWER = """
import sys, time, torch
from xaicl_lib import Explanation, Pair, PairModel, explain, load_model, measure
torch.set_num_threads(1)
name, way, out = sys.argv[1:]
BATCHES = (8, 12, 16) if name != "resnet50" else (2, 4, 8)
NAMES = ["SI", "SD", "CI", "CD"]

def network():
    if name != "resnet50":
        return load_model(name, "cpu")
    import torchvision
    torch.manual_seed(0)
    net = torchvision.models.resnet50()
    for norm in net.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.momentum = None
    with torch.no_grad():
        net.train()(torch.cat(photos[224].sides))
    net.fc = torch.nn.Identity()
    return PairModel.from_module(net.eval(), "layer4", size=224, name=name)

photos = {size: Pair(*images) for size, images in torch.load("photos.pt").items()}
model = network()
small = model.size < 200
pair = photos[model.size][: 2 if small else 1]
maps = Explanation(*torch.rand(2, len(pair), 7, 7, generator=torch.Generator().manual_seed(0)), torch.zeros(len(pair)))
occlusion, area = ({}, {"step": model.size}) if small else ({"stride": 16}, {"step": 2 * model.size})
occlusion |= {} if way == "base" else {"grid": "published"}  # a cell per place, as the base has it
draft, engine = way.startswith("draft, "), way.removeprefix("draft, ")
if engine not in ("base", "eager", "captum", "floor"):
    model.engine = engine
rough = {"precision": "draft"} if draft else {}

def occlude(**options):
    return explain(model, pair, "conditional_occlusion", **{**occlusion, **rough, **options})

def areas(**options):
    return measure(model, pair, maps, NAMES, curves=True, **{**area, **rough, **options})

def timed(run):
    began = time.process_time()
    made = run()
    return made, time.process_time() - began

found = {}
if way == "captum":
    import captum.attr
    from xaicl_lib.scores import cosine
    sides = [model.normalize(side) for side in pair.sides]
    window, stride = round(model.size * 64 / 224), occlusion.get("stride", round(model.size * 8 / 224))
    method = captum.attr.Occlusion(lambda a, b: cosine(model.embed_a(a), model.embed_b(b)))
    with torch.no_grad():
        _, seconds = timed(lambda: method.attribute(
            tuple(sides), ((3, window, window),) * 2, ((3, stride, stride),) * 2, perturbations_per_eval=max(1, 16 // len(pair))))
    found["conditional_occlusion"] = {"seconds": seconds}
elif way == "floor":
    def best(batch):
        x = model.fast.normalize(pair.a[:1].expand(batch, -1, -1, -1))
        with torch.inference_mode():
            return min(timed(lambda: model.fast.embed_a(x))[1] for _ in range(4)) / batch
    image = min(map(best, BATCHES))
    grid = explain(model, pair[:1], "conditional_occlusion", **occlusion)  # by which the places are counted
    points = -(-model.size**2 // area["step"])
    found["conditional_occlusion"] = {"seconds": image * 2 * len(pair) * (grid.a[0].numel() + 1)}
    found["areas"] = {"seconds": image * 4 * len(pair) * (points + 1)}
else:
    def first():
        if draft:
            model.encode_inputs([model.normalize(pair.a[:1].expand(4, -1, -1, -1))], draft=True)
        occlude(stride=2 * model.size // 5)

    _, build = timed(first)
    areas(step=model.size**2 // 3)
    made, seconds = timed(occlude)
    found["conditional_occlusion"] = {"seconds": seconds, "build": build, "values": [made.a, made.b]}
    (made, curves), seconds = timed(areas)
    found["areas"] = {"seconds": seconds, "values": [torch.stack([made[n] for n in NAMES])]}
torch.save(found, out)
"""


def answer(build: Path, name: str, way: str, folder: Path) -> dict[str, dict[str, object]]:
    """What one build finds for one model in one way."""
    path = os.pathsep.join([str(build), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": path, "PYTHONWARNINGS": "ignore"}
    subprocess.run([sys.executable, "-c", ANSWER, name, way, str(folder / "found.pt")], cwd=folder, env=environment, check=True)
    return torch.load(folder / "found.pt", weights_only=False)


def compared(base: Path, name: str, ways: list[str], rounds: int, folder: Path) -> list[dict[str, object]]:
    """A row for each method and way, the base among them."""
    found: dict[str, list[dict]] = {way: [] for way in ["base", *ways]}
    for _ in range(rounds):
        for way, each in found.items():
            each.append(answer(base if way == "base" else ROOT, name, way, folder))
            print(f"{name:>12} {way:<16}", *(f"{m} {one['seconds']:.2f} s" for m, one in each[-1].items()), flush=True)
    rows = []
    for method in METHODS:
        for way in (way for way in found if method in found[way][0]):
            seconds, before = (min(one[method]["seconds"] for one in found[w]) for w in (way, "base"))
            row = {"model": name, "method": method, "way": way, "seconds": seconds, "ratio": before / seconds}
            row |= {"build_seconds": found[way][0][method].get("build")}
            rows.append(row | apart(found[way][0][method], found["base"][0][method]))
    return rows


def apart(found: dict, base: dict) -> dict[str, float]:
    """How far values are from the base's: the largest difference, the least rank correlation of a map, and that of extremes."""
    if "values" not in found:
        return {}
    pairs = [(x, y) for ours, theirs in zip(found["values"], base["values"], strict=True) for x, y in zip(ours, theirs, strict=True)]
    row = {"away": max(float((x - y).abs().max()) for x, y in pairs)}
    if pairs[0][0].ndim == 2:
        row["rank"] = min(float(spearmanr(x.flatten(), y.flatten())[0]) for x, y in pairs)
        row["extreme_away"] = max(float((f(x) - f(y)).abs()) for x, y in pairs for f in (torch.amax, torch.amin))
    return row


def processor() -> str:
    """The processor's name with what it has for bfloat16."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    name = next((line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name")), "unknown")
    return f"{name}, {', '.join(flag for flag in ('avx512_bf16', 'amx_bf16') if flag in text) or 'no bfloat16'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="b2a8562")
    parser.add_argument("--models", nargs="+", default=["simclr", "resnet50"])
    parser.add_argument("--ways", nargs="+", choices=WAYS, help="default: all but compile, of those installed")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("-o", "--out", type=Path)
    given = parser.parse_args()
    engines = {name: importlib.util.find_spec(name) for name in ("onnxruntime", "openvino")}
    ways = given.ways or [way for way in WAYS if way != "compile" and engines.get(way.removeprefix("draft, "), True)]
    with tempfile.TemporaryDirectory() as made:
        folder, base = Path(made), Path(made) / "base"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(base)], check=True)
        subprocess.run(["git", "-C", str(base), "checkout", "--quiet", "--detach", given.base], check=True)
        names = ["cat", "coffee", "rocket", "temple"], ["astronaut", "temple", "flower", "cat"]
        torch.save({size: Pair.open(*names, size).sides for size in (96, 224)}, folder / "photos.pt")
        rows = [row for name in given.models for row in compared(base, name, ways, given.rounds, folder)]
    code = subprocess.check_output(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], text=True).strip()
    source = {"base": given.base, "code": code, "device": processor(), "torch": torch.__version__, "rounds": given.rounds}
    source |= {name: importlib.metadata.version(name) if there else "" for name, there in engines.items()}
    table = pd.DataFrame(rows).assign(**source, date=str(datetime.date.today()))
    print(table.drop(columns=[*source, "date"]).to_string(index=False, float_format=lambda v: f"{v:.3g}"))
    if given.out:
        table.to_parquet(given.out, index=False)


if __name__ == "__main__":
    main()

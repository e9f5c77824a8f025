"""Time and memory of the published architectures, with random weights of full size in the publishers' own formats.

    python benchmarks/official.py [--only NAME ...] [--rounds 3] [--threads 1] [-o results/official.parquet]

For each, a file as published is written (less the state of the optimizer, which is not read), and then measured, in processes of
their own: its first use (checksum, reading, fitting, writing the converted form), and a later one (checksum, reading), the embeddings
of one pair of photos by the fast form, Interaction-CAM and Input x Gradient on it, and the largest memory of the process after each
part. Beside the time on the clock stands that of the processor, which other work on the machine changes less, and the load that there was.
The cards of the models take their figures from the file that this writes beside the zoo.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import google_crc32c
import pandas as pd
import torch
from torch import Tensor

from xaicl_lib import Pair, explain, load_model
from xaicl_lib.checkpoints.torch_file import _renamed
from xaicl_lib.data.photos import open_photo
from xaicl_lib.zoo.official import COSTS, OFFICIAL, _empty_network

SHOWN = ("first_use_cpu_seconds", "load_cpu_seconds", "load_megabytes", "pair_cpu_seconds", "pair_megabytes")


def random_weights(name: str) -> dict[str, Tensor]:
    """By our names; sizes that keep activations from growing through the layers."""
    g, out = torch.Generator().manual_seed(0), {}
    for key, value in _empty_network(OFFICIAL[name]).state_dict().items():
        drawn = torch.empty(value.shape)
        if value.ndim > 1:
            drawn.normal_(0, value[0].numel() ** -0.5, generator=g)
        else:
            drawn.uniform_(*((0.5, 1.0) if key.endswith(("weight", "var")) else (-0.3, 0.3)), generator=g)
        out[key] = torch.tensor(0) if key.endswith("num_batches_tracked") else drawn
    return out


def write_published(name: str, folder: Path) -> Path:
    """A file of the row's format and names."""
    row, weights = OFFICIAL[name], random_weights(name)
    reader = import_module(f"xaicl_lib.checkpoints.{row.reader}")
    path = folder / row.files[0]
    if row.reader == "simclr_v2":
        names = dict(reader._names(_empty_network(row)))
        write_bundle(path, {theirs: reader._turned(weights[ours], back=True).contiguous() for theirs, ours in names.items()})
        return path
    state = {f"module.{_renamed(ours, reader._names(**row.options))}": value for ours, value in weights.items()}
    torch.save(state if row.reader == "dino" else {"model" if row.reader == "barlow_twins" else "state_dict": state}, path)
    return path


def write_bundle(path: Path, tensors: dict[str, Tensor]) -> None:
    """A TensorFlow checkpoint of float32 tensors: one shard, an index of one block."""

    def varint(value: int) -> bytes:
        return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)

    def field(number: int, value: int | bytes) -> bytes:
        return varint(number << 3) + varint(value) if isinstance(value, int) else varint(number << 3 | 2) + varint(len(value)) + value

    def checksum(data: object) -> bytes:
        crc = google_crc32c.value(bytes(data))
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    def block(pairs: dict[bytes, bytes]) -> bytes:
        body = b"".join(b"\0" + varint(len(k)) + varint(len(v)) + k + v for k, v in pairs.items()) + struct.pack("<II", 0, 1) + b"\0"
        return body + checksum(body)

    pairs, at = {b"": field(1, 1)}, 0
    with path.with_suffix(".data-00000-of-00001").open("wb") as shard:
        for name, value in sorted(tensors.items()):
            data = value.numpy().reshape(-1).view("u1")
            shape = b"".join(field(2, field(1, side)) for side in value.shape)
            crc = varint(6 << 3 | 5) + checksum(data)
            pairs[name.encode()] = field(1, 1) + field(2, shape) + field(4, at) + field(5, len(data)) + crc
            shard.write(data)
            at += len(data)
    first = block(pairs)
    meta, index = block({}), block({b"\xff": varint(0) + varint(len(first) - 5)})
    handles = varint(len(first)) + varint(len(meta) - 5) + varint(len(first) + len(meta)) + varint(len(index) - 5)
    path.write_bytes(first + meta + index + handles.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57))


def megabytes() -> float:
    """The largest memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def seconds(what: str, run: Callable[[], object], rounds: int) -> dict[str, float]:
    """Medians of the time on the clock and of the processor."""
    clock, processor = [], []
    for _ in range(rounds):
        began, busy = time.perf_counter(), time.process_time()
        run()
        clock.append(time.perf_counter() - began)
        processor.append(time.process_time() - busy)
    return {f"{what}_seconds": statistics.median(clock), f"{what}_cpu_seconds": statistics.median(processor)}


def measure(name: str, file: str | None, rounds: int) -> dict[str, float]:
    """The figures of one model; from a published file, or without one from the form it was converted to."""
    before, models = megabytes(), []
    row = seconds("first_use" if file else "load", lambda: models.append(load_model(f"official/{name}", "cpu", file=file)), 1)
    if file:
        return row | {"first_use_megabytes": megabytes()}
    model = models.pop()
    row |= {"load_megabytes": megabytes(), "bare_megabytes": before}
    pair = Pair(open_photo("cat", model.size), open_photo("astronaut", model.size))
    with torch.inference_mode():
        sides = [model.fast.normalize(side) for side in pair.sides]
        model.fast.embed(sides)
        row |= seconds("pair", lambda: model.fast.embed(sides), rounds)
    row["pair_megabytes"] = megabytes()
    for method in ("interaction_cam", "input_x_gradient"):
        explain(model, pair, method)
        row |= seconds(method, lambda method=method: explain(model, pair, method), rounds)
    row["methods_megabytes"] = megabytes()
    return row


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", metavar="NAME")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--output")
    parser.add_argument("--write", help=argparse.SUPPRESS)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--file", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    if arguments.write:
        print(write_published(arguments.write, Path(arguments.file)))
        return
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.file, arguments.rounds)))
        return
    for name in arguments.only or OFFICIAL:
        row = figures(name, arguments.rounds, arguments.threads)
        print({key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()}, flush=True)
        if arguments.output:
            keep(row, Path(arguments.output))


def figures(name: str, rounds: int, threads: int) -> dict[str, object]:
    """The row of one model, measured in processes of their own."""
    with tempfile.TemporaryDirectory() as folder:

        def run(*words: str) -> str:
            made = [sys.executable, __file__, "--rounds", str(rounds), "--threads", str(threads), *words]
            return subprocess.run(made, env=os.environ | {"XAICL_CACHE": folder}, check=True, capture_output=True, text=True).stdout.strip()

        file = run("--write", name, "--file", folder)
        row = {"model": f"official/{name}", "parameters": OFFICIAL[name].parameters}
        row |= json.loads(run("--measure", name, "--file", file)) | json.loads(run("--measure", name))
    where = f"{platform.machine()} CPU, {threads} thread{'s' if threads > 1 else ''}"
    facts = {"size": 224, "pairs": 1, "weights": "random", "device": where, "torch": torch.__version__, "rounds": rounds}
    return row | {"load_average": os.getloadavg()[0]} | facts


def keep(row: dict[str, object], path: Path) -> None:
    """The table with this row instead of an older one of the same model, and from it the figures of the cards."""
    rows = pd.read_parquet(path).to_dict("records") if path.is_file() else []
    rows = [old for old in rows if old["model"] != row["model"]] + [row]
    pd.DataFrame(rows).to_parquet(path, index=False)
    costs = {}
    for r in rows:
        facts = {"device": r["device"], "torch": r["torch"], "weights": "random, of full size"}
        costs[str(r["model"]).removeprefix("official/")] = {key: round(r[key], 2) for key in SHOWN} | facts
    COSTS.write_text(json.dumps({name: costs[name] for name in OFFICIAL if name in costs}, indent=1) + "\n")


if __name__ == "__main__":
    main()

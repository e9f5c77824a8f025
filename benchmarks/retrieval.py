"""What search costs: embedding a folder beside the model alone, a query against many embeddings, words and regions beside a training step.

    python benchmarks/retrieval.py FOLDER [PART ...] [-o results/cost_retrieval.parquet]

FOLDER has photos, such as those of XAICL_IMAGENETTE. Times are of one thread on one core, processor time unless said, the least of several
tries. What a gallery of files is measured by is twofold: the model alone, with pixels at hand, and a plain loop that opens the same files
and runs the same model, for to decode takes its time on any core.
"""

import argparse
import os
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from xaicl_lib import PairModel, load_model
from xaicl_lib.images import list_images, open_photo
from xaicl_lib.methods.words import explain_words
from xaicl_lib.retrieval import embed_gallery
from xaicl_lib.retrieval.gallery import _unit
from xaicl_lib.retrieval.search import nearest
from xaicl_lib.studies.tables import with_provenance
from xaicl_lib.zoo.open_clip import _from_open_clip

CORES = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


@contextmanager
def on_cores(count):
    """Within, the process may use so many cores: one for the model, which has one thread, the other to read ahead."""
    if hasattr(os, "sched_setaffinity"):
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, set(sorted(CORES)[-count:]))
    yield
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, before)


def least(run, tries=3, timer=time.process_time):
    """Processor time, the least of several tries."""
    times = []
    for _ in range(tries):
        began = timer()
        run()
        times.append(timer() - began)
    return min(times)


def vit_b_32():
    """A model of open_clip of random weights, and the network itself."""
    import open_clip

    torch.manual_seed(0)
    network = open_clip.create_model("ViT-B-32").eval()
    return _from_open_clip(network, open_clip.SimpleTokenizer(), name="ViT-B-32, random"), network


def embedding(model: PairModel, folder: Path, count: int):
    """Photos a second of processor time: of pixels at hand by the model alone, of files by a plain loop, and of files into a gallery."""
    paths, fast = list_images(folder, recursive=True)[:count], model.fast
    step = model.chunk(model.size**2)
    pixels = open_photo(paths, model.size, interpolation=model.interpolation)

    def alone():
        for part in pixels.split(step):
            _unit(fast.encode(part, "b"))

    def plain():
        for start in range(0, count, step):
            photos = torch.stack([bare(path, model) for path in paths[start : start + step]])
            with torch.no_grad():
                torch.nn.functional.normalize(fast.embed_b(fast.normalize(photos)))

    with tempfile.TemporaryDirectory() as place:
        pictures = Path(place) / "pictures"
        pictures.mkdir()
        for k, path in enumerate(paths):
            (pictures / f"{k:05d}{path.suffix}").symlink_to(path.absolute())
        runs = iter(range(100))
        folder_of_files = lambda: embed_gallery(model, pictures, Path(place) / f"{next(runs)}.safetensors")  # noqa: E731
        raw, loop, files = turns(alone, plain, folder_of_files)
        with on_cores(2):
            clock = turns(alone, folder_of_files, timer=time.perf_counter)
    yield f"embedding, {model.name}: the model alone, photos/s", count / raw
    yield f"embedding, {model.name}: a plain loop over files, photos/s", count / loop
    yield f"embedding, {model.name}: a folder of files, share of that loop", loop / files
    yield f"embedding, {model.name}: a folder of files, share of the model alone", raw / files
    yield f"embedding, {model.name}: a folder of files, share of the model alone by the clock, two cores", clock[0] / clock[1]


def bare(path: Path, model: PairModel):
    """A photo as it is opened without looking: Pillow's decoder, the middle square, resized, in [0, 1]."""
    with Image.open(path) as photo:
        side, rgb = min(photo.size), photo.convert("RGB")
    left, top = (rgb.width - side) // 2, (rgb.height - side) // 2
    how = getattr(Image.Resampling, model.interpolation.upper())
    square = rgb.resize((model.size, model.size), how, (left, top, left + side, top + side))
    return torch.from_numpy(np.array(square)).permute(2, 0, 1).float() / 255


def turns(*runs, tries=8, timer=time.process_time):
    """Processor time of several things, the least of several tries; in turns, so that what slows the machine slows each."""
    times = [[least(run, 1, timer) for run in runs] for _ in range(tries)]
    return [min(column) for column in zip(*times, strict=True)]


def own_memory() -> float:
    """MB that are the process's own; pages of a file that is mapped are not."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("RssAnon"))) / 1024


def searching(n: int, d: int):
    """A query against n embeddings in a file: milliseconds, and memory beyond the file."""
    with tempfile.TemporaryDirectory() as place:
        rng, path = np.random.default_rng(0), Path(place) / "many"
        with path.open("wb") as out:
            for _ in range(0, n, 1000):
                z = rng.standard_normal((1000, d), np.float32)
                out.write((z / np.linalg.norm(z, axis=1, keepdims=True)).tobytes())
        held = np.memmap(path, "<f4", "r", 0, (n, d))
        q = np.array(held[12345])
        before, most = own_memory(), 0.0
        wall = []
        for _ in range(20):
            began = time.perf_counter()
            assert nearest(held, q, 6)[0] == 12345
            wall.append(time.perf_counter() - began)
            most = max(most, own_memory() - before)
        yield f"a query against {n} x {d}: ms of processor time", 1000 * least(lambda: nearest(held, q, 6), 20)
        yield f"a query against {n} x {d}: ms by the clock", 1000 * min(wall)
        yield f"a query against {n} x {d}: MB beyond the file", most


def words(model: PairModel, network: torch.nn.Module, text: str):
    """Words and regions of a picture, in forward-and-backward passes of picture and text as the model is trained."""
    x = torch.rand(1, 3, model.size, model.size)
    tokens = model._parts["text"].read([text])
    learning = network.requires_grad_(True)

    def step():
        z = torch.nn.functional.normalize(learning.encode_image(model.normalize(x)))
        (z @ torch.nn.functional.normalize(learning.encode_text(tokens)).T).sum().backward()
        learning.zero_grad()

    step()
    one = least(step)
    made = explain_words(model, x, [text])[0]
    times = f"words x regions, {model.name}, {len(made.words)} words"
    yield f"{times}: forward and backward, s", one
    yield f"{times}: times that", least(lambda: explain_words(model, x, [text])) / one
    yield f"{times}: points, picture", made.steps[0]
    yield f"{times}: points, text", made.steps[1]
    yield f"{times}: |error|", abs(made.error)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help="of a query, words, embedding: rows that begin so are made anew (default: all)"
    )
    parser.add_argument("-n", type=int, default=960, help="photos; for the larger model a thirty-second part")
    parser.add_argument("-o", "--output", type=Path, default=Path("results/cost_retrieval.parquet"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    small, (large, network) = load_model("simclr", "cpu"), vit_b_32()
    parts = {
        "a query": (searching(100_000, 128), searching(100_000, 512)),
        "words": (words(large, network, "a photo of a red cat left of a blue dog on grass"),),
        "embedding": (embedding(small, arguments.folder, arguments.n), embedding(large, arguments.folder, arguments.n // 32)),
    }
    for part in arguments.parts or parts:
        rows = [(what, value) for made in parts[part] for what, value in made]
        print(*(f"{what}: {value:.4g}" for what, value in rows), sep="\n", flush=True)
        table = with_provenance(pd.DataFrame(rows, columns=["what", "value"]), small, str(arguments.n))
        before = pd.read_parquet(arguments.output) if arguments.output.exists() else table[:0]
        kept = before[~before["what"].str.startswith(part)]
        pd.concat([kept, table], ignore_index=True).to_parquet(arguments.output, index=False)


if __name__ == "__main__":
    main()

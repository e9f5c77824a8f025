"""How long the bundled models take to load, and how many procedural scenes are drawn in a second.

Run: python benchmarks/zoo.py
"""

import statistics
import time

import torch

from xaicl_lib import list_models, load_model
from xaicl_lib.data.scenes import scenes


def loading(name: str, times: int = 5) -> float:
    """Median seconds to load a model on the CPU."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        load_model(name, "cpu")
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def drawing(size: int, count: int) -> float:
    """Scenes a second, after a first batch."""
    scenes(200, size)
    began = time.perf_counter()
    scenes(count, size)
    return count / (time.perf_counter() - began)


if __name__ == "__main__":
    load_model(list_models()[0], "cpu")  # imports are not part of it
    for name in list_models():
        print(f"load {name}: {loading(name) * 1000:.0f} ms")
    for size, count in ((64, 4000), (224, 400)):
        print(f"scenes of {size} px: {drawing(size, count):,.0f} a second on {torch.get_num_threads()} threads")

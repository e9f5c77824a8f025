"""Conditional occlusion against the raw network and captum's Occlusion: same network, images, places; one run, interleaved.

    python benchmarks/occlusion.py [--model simclr] [--rounds 5]

Prints images per second and the ratios between the rows. Captum perturbs side a only, so ours is timed on side a alone
(a one-sided pair with the embedding of b in its score), and captum is given the embedding of b as well, in its favour.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from captum.attr import Occlusion

from xaicl_lib import Pair, explain, load_model
from xaicl_lib.data.photos import open_photo
from xaicl_lib.scores import cosine


def seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="simclr")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    model = load_model(arguments.model, arguments.device)
    pair = Pair(open_photo("cat", model.size), open_photo("astronaut", model.size))
    x_a, x_b = model.normalize(pair.a), model.normalize(pair.b)
    z_b = model.embed_b(x_b)
    window, stride = round(model.size * 64 / 224), round(model.size * 8 / 224)
    side = (model.size - window) // stride + 1

    def ours() -> torch.Tensor:
        one_sided = Pair(pair.a)
        made = explain(
            model, one_sided, "conditional_occlusion", window=window, stride=stride, score=lambda za, _: cosine(za, z_b.expand_as(za))
        )
        return made.a[0]

    def captum(per_eval: int) -> Callable[[], torch.Tensor]:
        def run() -> torch.Tensor:
            occlusion = Occlusion(lambda x: cosine(model.embed_a(x), z_b.expand(len(x), -1)))
            return occlusion.attribute(x_a, (3, window, window), (3, stride, stride), perturbations_per_eval=per_eval)[0]

        return run

    def raw(chunk: int, fast: bool) -> Callable[[], object]:
        network = model.fast if fast else model
        x = network.normalize(pair.a.expand(chunk, -1, -1, -1))

        @torch.inference_mode()
        def run() -> None:
            for _ in range(0, side * side, chunk):
                network.embed_a(x)

        return run

    rows: dict[str, Callable[[], object]] = {"ours": ours, **{f"captum, {k} at once": captum(k) for k in (1, 8, 16, 32)}}
    rows |= {f"forwards alone, {k} at once, {'fast' if f else 'plain'} form": raw(k, f) for f in (True, False) for k in (8, 12, 16, 20)}
    times: dict[str, list[float]] = {name: [] for name in rows}
    for run in rows.values():
        run()
    for _ in range(arguments.rounds):  # interleaved, so that a change of the machine's speed meets all alike
        for name, run in rows.items():
            times[name].append(seconds(run))
    median = {name: statistics.median(values) for name, values in times.items()}
    print(f"{model}, window {window}, stride {stride}: {side}x{side} = {side * side} places, {torch.get_num_threads()} threads")
    for name, value in median.items():
        print(f"{name:48s} {value:7.3f} s   {side * side / value:7.0f} images/s   {value / median['ours']:5.2f} x ours")


if __name__ == "__main__":
    main()

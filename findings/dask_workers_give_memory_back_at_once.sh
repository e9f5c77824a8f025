#!/usr/bin/env bash
# distributed: the same inference takes half as much processor time again in a worker as in a process of one's own.
#
# A worker's nanny sets MALLOC_TRIM_THRESHOLD_ to 65536 before it starts the worker, so that glibc gives freed memory back to the system at
# once; its documentation has memory in mind that seems to leak. A network on a CPU frees and asks for megabytes with every layer, and each
# page then comes back anew, zeroed: time of the system, which no profiler of Python shows. A value that is in the environment of the process
# that makes the cluster goes before the nanny's; other settings of glibc for the worker are taken from there as well.
#
# Seen with distributed 2026.8.0, torch 2.13.0 on Linux with glibc: batches of 32 images through five convolutions, seconds of processor
# (of its own and of the system): in the process itself 2.5 and 1.9, in a worker 3.0 and 3.9, in one that keeps its memory 2.6 and 0.0.
# Exits with 0 while that is so, with 1 when it has changed.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 dask==2026.8.0 distributed==2026.8.0
cat > "$folder/program.py" << 'PROGRAM'
import os
import sys

import dask
import distributed
import torch
from distributed import Client, LocalCluster

ROUNDS = 40


def inference():
    """Seconds of processor, of the program and of the system, that some batches take."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(3 if k == 0 else 32, 32, 3, padding=1) for k in range(5)]
    network, images = torch.nn.Sequential(*layers).eval(), torch.rand(32, 3, 64, 64)
    with torch.inference_mode():
        network(images)
        before = os.times()
        for _ in range(ROUNDS):
            network(images)
        after = os.times()
    return after.user - before.user, after.system - before.system


def in_a_worker():
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        return client.submit(inference, pure=False).result()


if __name__ == "__main__":
    print("torch", torch.__version__, "dask", dask.__version__, "distributed", distributed.__version__)
    set_by_the_nanny = dask.config.get("distributed.nanny.pre-spawn-environ")["MALLOC_TRIM_THRESHOLD_"]
    print("the nanny sets MALLOC_TRIM_THRESHOLD_ to", set_by_the_nanny)
    own, worker = inference(), in_a_worker()
    os.environ |= {"MALLOC_TRIM_THRESHOLD_": str(2**30), "MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TOP_PAD_": str(2**26)}
    kept = in_a_worker()
    for name, (user, system) in (("process itself", own), ("worker", worker), ("worker that keeps its memory", kept)):
        print(f"{name}: {user:.2f} s of its own and {system:.2f} s of the system")
    held = set_by_the_nanny == 65536 and worker[1] > 1.5 * own[1] and kept[1] < own[1]
    print("as described" if held else "has changed")
    sys.exit(not held)
PROGRAM
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore "$folder/program.py"

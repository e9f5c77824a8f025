#!/usr/bin/env bash
# Programs that ask OpenVINO for one thread each all compute on the first core of the machine, though others are free.
#
# With one stream on Linux the thread that calls `infer` takes part in computing, and while it does so it is bound to a core: the first. Its
# binding is taken back when it returns, so that nothing shows between two calls. Two processes, workers of a pool for instance, are bound to
# the same core and take turns; each alone is as fast as it should be, which is how one measures. ENABLE_CPU_PINNING=False leaves the thread
# where the system wants it.
#
# Seen with openvino 2026.4.1 on Linux, x86-64, two cores: bound to core 0 in both of two processes; with the option never. On a machine of one
# core there is nothing to see.
# Exits with 0 while that is so, with 1 when it has changed.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check openvino==2026.4.1 numpy==2.4.6
cat > "$folder/program.py" << 'PROGRAM'
import os
import subprocess
import sys
import threading

import numpy as np
import openvino
import openvino.opset13 as ops


def cores_while_inferring(**options):
    x = ops.parameter([16, 64, 64, 64], np.float32)
    weights = ops.constant(np.ones((64, 64, 3, 3), np.float32))
    model = openvino.Model([ops.convolution(x, weights, [1, 1], [1, 1], [1, 1], [1, 1])], [x])
    given = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, **options}
    request = openvino.compile_model(model, "CPU", given).create_infer_request()
    image, caller, seen, done = np.ones((16, 64, 64, 64), np.float32), threading.get_native_id(), set(), threading.Event()

    def watch():
        while not done.is_set():
            seen.add(tuple(sorted(os.sched_getaffinity(caller))))

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(10):
        request.infer([image])
    done.set()
    watcher.join()
    return seen


free = tuple(sorted(os.sched_getaffinity(0)))
if len(sys.argv) > 1:
    print(min(cores_while_inferring(), key=len))
    sys.exit()
both = [subprocess.Popen([sys.executable, __file__, "bound"], stdout=subprocess.PIPE, text=True) for _ in range(2)]
bound = [one.communicate()[0].strip() for one in both]
left = cores_while_inferring(ENABLE_CPU_PINNING=False)
print(f"openvino {openvino.__version__}; free cores: {free}")
print(f"the caller's cores while it infers, in two processes at once: {' and '.join(bound)}; without pinning: {left}")
sys.exit(not (bound == [str(free[:1])] * 2 and left == {free}))
PROGRAM
"$folder/venv/bin/python" "$folder/program.py"

#!/usr/bin/env bash
# onnxruntime on CPUs: a float16 model that overflows does not overflow, and one run states that a value is infinite and computes on with it.
#
# Where no float16 kernel exists, which on x86 is so of most operators, onnxruntime widens values to float32; one would expect that they are
# rounded back after each operator, as the file's types say, above all with every optimisation off. They are not: between two operators they
# stay float32. ||x|| of an embedding of 512 numbers about 12 is computed from a sum of squares of 74,000, which float16 does not hold, whose
# largest number is 65,504. torch in float16 and ONNX's reference say inf, so that the normalised embedding is 0; onnxruntime gives the right
# one. Asked for the sum as well it returns inf for it and, in the same run, the same finite quotient. So a model tried on a CPU before it is
# shipped in float16 (to browsers, to GPUs) has not been tried.
#
# Seen with onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6, x86-64: sum inf; length of the normalised embedding 1.0 in onnxruntime, with all
# optimisations and with none, 0.0 by ONNX's reference and by numpy's float16, one operator after the other.
# Exits with 0 while that is so, with 1 when it has changed. On other processors there may be kernels of float16.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - << 'PROGRAM'
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

nodes = [
    helper.make_node("Mul", ["embedding", "embedding"], ["squares"]),
    helper.make_node("ReduceSum", ["squares"], ["sum"], keepdims=1),
    helper.make_node("Sqrt", ["sum"], ["length"]),
    helper.make_node("Div", ["embedding", "length"], ["normal"]),
]
made = [helper.make_tensor_value_info(name, TensorProto.FLOAT16, [1, size]) for name, size in (("embedding", 512), ("normal", 512), ("sum", 1))]
model = helper.make_model(helper.make_graph(nodes, "normalise", made[:1], made[1:]), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.checker.check_model(model, full_check=True)
embedding = np.random.default_rng(0).normal(0, 12, (1, 512)).astype(np.float16)


def by_onnxruntime(level):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(["normal", "sum"], {"embedding": embedding})


def by_numpy():
    summed = np.square(embedding).sum(1, keepdims=True, dtype=np.float16)
    return embedding / np.sqrt(summed), summed


levels = onnxruntime.GraphOptimizationLevel
ways = {
    "onnxruntime, no optimisation": by_onnxruntime(levels.ORT_DISABLE_ALL),
    "onnxruntime, all optimisations": by_onnxruntime(levels.ORT_ENABLE_ALL),
    "ONNX's reference": ReferenceEvaluator(model).run(["normal", "sum"], {"embedding": embedding}),
    "numpy in float16": by_numpy(),
}
print("onnxruntime", onnxruntime.__version__, "onnx", onnx.__version__, "numpy", np.__version__)
found = []
for name, (normal, summed) in ways.items():
    length = float(np.linalg.norm(normal.astype(np.float64)))
    found += [(round(length, 2), bool(np.isinf(summed).all()))]
    print(f"{name}: sum of squares {summed.item()}, length of the normalised embedding {length:.3f}, of type {normal.dtype}")
sys.exit(found != [(1.0, True), (1.0, True), (0.0, True), (0.0, True)])
PROGRAM

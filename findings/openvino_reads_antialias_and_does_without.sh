#!/usr/bin/env bash
# OpenVINO: a Resize with antialias=1 in an ONNX file is read, shown by the model it made, and computed without antialiasing.
#
# ONNX has the attribute since opset 18 and torch's exporter writes it for interpolate(antialias=True), as models do that shrink their grid of
# positions or that carry their own resizing of photos. OpenVINO's Interpolate keeps antialias=True, so one would expect it to hold; on the CPU
# linear and cubic come out bit for bit as from the file without it, and nothing warns. Lines at every second of 16 pixels, made 5 pixels wide,
# should be grey within 0.02 and are 0.9, 0.3, 0.5, 0.7, 0.1. (Reported for cubic as issue 35893 of openvinotoolkit/openvino in May 2026.)
#
# Seen with openvino 2026.4.1, onnx 1.23.2, onnxruntime 1.32.0, noise of 16 x 16 made 9 x 9: onnxruntime and ONNX's reference agree to 1e-5;
# OpenVINO is up to 0.28 off for linear and 0.41 for cubic, of values from 0 to 1, and equals what the same file with antialias=0 gives.
# Exits with 0 while that is so, with 1 when it has changed.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check openvino==2026.4.1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - << 'PROGRAM'
import sys

import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator


def resizing(mode, antialias, size):
    """A file of one Resize, for one channel of 16 x 16."""
    image, made = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, one, one]) for name, one in (("image", 16), ("made", size)))
    sizes = numpy_helper.from_array(np.array([1, 1, size, size]), "sizes")
    rule = {"coordinate_transformation_mode": "half_pixel", "cubic_coeff_a": -0.5, "exclude_outside": antialias}
    node = helper.make_node("Resize", ["image", "", "", "sizes"], ["made"], mode=mode, antialias=antialias, **rule)
    graph = helper.make_graph([node], "resizing", [image], [made], [sizes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def by_openvino(model, image):
    onnx.save(model, "model.onnx")
    read = openvino.Core().read_model("model.onnx")
    kept = [one.get_attributes()["antialias"] for one in read.get_ops() if one.get_type_name() == "Interpolate"]
    return openvino.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(image)[0], kept


def by_onnxruntime(model, image):
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"image": image})[0]


print("openvino", openvino.__version__, "onnxruntime", onnxruntime.__version__, "onnx", onnx.__version__)
image, found = np.random.default_rng(0).random((1, 1, 16, 16), dtype=np.float32), []
for mode in ("linear", "cubic"):
    wanted = by_onnxruntime(resizing(mode, 1, 9), image)
    reference = abs(ReferenceEvaluator(resizing(mode, 1, 9)).run(None, {"image": image})[0] - wanted).max()
    made, kept = by_openvino(resizing(mode, 1, 9), image)
    plain = by_openvino(resizing(mode, 0, 9), image)[0]
    found += [(reference, abs(made - wanted).max(), kept == [True])]
    print(f"{mode}: OpenVINO's Interpolate says antialias {kept}; apart from onnxruntime at most {found[-1][1]:.3f}", end="; ")
    print(f"from itself with antialias=0 {abs(made - plain).max():.1e}; ONNX's reference from onnxruntime {reference:.1e}")
lines = np.broadcast_to(np.arange(16, dtype=np.float32) % 2, (1, 1, 16, 16)).copy()
grey, not_grey = by_onnxruntime(resizing("linear", 1, 5), lines)[0, 0, 0], by_openvino(resizing("linear", 1, 5), lines)[0][0, 0, 0]
as_text = [" ".join(f"{value:.2f}" for value in row) for row in (grey, not_grey)]
print(f"lines at every second of 16 pixels, linear, 5 pixels wide: onnxruntime {as_text[0]}, OpenVINO {as_text[1]}")
sys.exit(not all(reference < 1e-4 and off > 0.2 and kept for reference, off, kept in found))
PROGRAM

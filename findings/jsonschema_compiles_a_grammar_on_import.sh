#!/usr/bin/env bash
# jsonschema with rfc3987-syntax: importing it takes a second, spent on compiling a grammar that hardly anybody uses.
#
# JupyterLab needs jupyter-events, which needs jsonschema[format-nongpl], which brings rfc3987-syntax. From then on `import jsonschema`, and so
# `import nbformat`, nbclient and papermill in every process that touches a notebook, builds a lark parser for internationalised addresses
# while it is imported, whether or not anything is checked. Where the package is missing jsonschema does without it and says nothing.
#
# Seen with jsonschema 4.26.0, rfc3987-syntax 1.1.0, lark 1.3.1, Python 3.11: 0.85 s of processor time against 0.05 s.
# Exits with 0 while the import costs at least twice as much with the package as without it, with 1 when that has changed.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check jsonschema==4.26.0 rfc3987-syntax==1.1.0 lark==1.3.1
"$folder/venv/bin/python" - << 'PROGRAM'
import subprocess
import sys

TIMED = "import time; began = time.process_time(); import jsonschema; print(time.process_time() - began)"
WITHOUT = f"import sys; sys.modules['rfc3987_syntax'] = None; {TIMED}"


def seconds(program):
    runs = [subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout for _ in range(4)]
    return min(map(float, runs[1:]))  # the first one may compile bytecode


with_it, without = seconds(TIMED), seconds(WITHOUT)
print(f"import jsonschema: {with_it:.2f} s of processor time with rfc3987-syntax, {without:.2f} s without")
sys.exit(with_it < 2 * without)
PROGRAM

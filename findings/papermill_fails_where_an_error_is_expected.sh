#!/usr/bin/env bash
# papermill: a cell tagged raises-exception does not stop the notebook and yet fails it; one that ends itself passes, the rest unrun.
#
# The tag marks a cell whose error is part of the lesson. nbconvert, which runs notebooks by nbclient, goes on after it and succeeds. papermill
# runs them by nbclient too and goes on as well: all later cells run and have their outputs. Then it looks through the outputs, finds the error
# that was expected, writes a banner about it on top of the notebook and fails. sys.exit(0) is the other way round: nbconvert fails, papermill
# (its change log says so) succeeds, with every later cell empty. So the two judge both notebooks opposite to each other; a book whose pages are
# executed by one and tested by the other passes and fails for the wrong ones.
#
# Seen with papermill 2.7.0, nbclient 0.11.0, nbconvert 7.17.2, ipykernel 7.4.0: tag: papermill fails, nbconvert succeeds, the last cell has run
# in both; sys.exit(0): papermill succeeds without the last cell, nbconvert fails.
# Exits with 0 while that is so, with 1 when it has changed.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  papermill==2.7.0 nbclient==0.11.0 nbconvert==7.17.2 nbformat==5.11.1 ipykernel==7.4.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - << 'PROGRAM'
import pathlib
import subprocess
import sys

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
lesson = new_code_cell("1 / 0", metadata={"tags": ["raises-exception"]})
last = new_code_cell("print('the last cell')")
notebooks = {"tagged": [lesson, last], "ended": [new_code_cell("import sys\nsys.exit(0)"), last]}


def tools(name):
    run = [sys.executable, "-W", "ignore", "-m"]
    yield "papermill", [*run, "papermill", "--no-progress-bar", f"{name}.ipynb", f"papermill_{name}.ipynb"]
    yield "nbconvert", [*run, "nbconvert", "--to", "notebook", "--execute", f"{name}.ipynb", "--output", f"nbconvert_{name}.ipynb"]


def reached(path):
    """Whether the last cell has its output; None without a notebook."""
    if not pathlib.Path(path).exists():
        return None
    return any(out.get("text") == "the last cell\n" for out in nbformat.read(path, 4).cells[-1].outputs)


found = {}
for name, cells in notebooks.items():
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": KERNEL}), f"{name}.ipynb")
    for tool, command in tools(name):
        status = subprocess.run(command, capture_output=True, check=False).returncode
        found[name, tool] = (status == 0, reached(f"{tool}_{name}.ipynb"))
        print(f"{name}: {tool} exits with {status}; the last cell was run: {found[name, tool][1]}")
banner = "Exception was encountered" in nbformat.read("papermill_tagged.ipynb", 4).cells[0].source
print(f"papermill writes a banner on the tagged notebook: {banner}")
tagged, ended = ([found[name, tool] for tool in ("papermill", "nbconvert")] for name in notebooks)
sys.exit(not (banner and tagged == [(False, True), (True, True)] and ended == [(True, False), (False, None)]))
PROGRAM

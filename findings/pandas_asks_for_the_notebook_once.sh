#!/usr/bin/env bash
# pandas: whether it is shown in a notebook or on a terminal is asked once, when it is imported, so the order of two imports changes every table.
#
# In a Jupyter kernel display.max_columns is 20. Where pandas was imported before the kernel's shell exists (a kernel that is started within,
# or forked from, a process that has it already), it is 0 for good: "as many as fit the terminal", which has no width there. The same code in
# the same kernel then shows other columns.
#
# Seen with pandas 3.0.0, ipykernel 7.1.0, Python 3.11: 20 in a kernel that imports pandas itself, 0 in one whose process had imported it.
# Exits with 0 while that is so, with 1 when it has changed.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pandas==3.0.0 ipykernel==7.1.0 jupyter_client==8.6.3
"$folder/venv/bin/python" - << 'PROGRAM'
import sys

from jupyter_client.manager import KernelManager

LAUNCH = "from ipykernel.kernelapp import launch_new_instance; launch_new_instance()"
ASK = "import pandas; print(pandas.get_option('display.max_columns'))"


def asked(first):
    """What a kernel answers whose process runs `first` before the shell is made."""
    manager = KernelManager()
    manager.kernel_spec.argv[:] = [sys.executable, "-c", first + LAUNCH, "-f", "{connection_file}"]
    manager.start_kernel()
    client = manager.blocking_client()
    client.start_channels()
    said = []
    try:
        client.wait_for_ready(timeout=120)
        client.execute_interactive(ASK, timeout=120, output_hook=lambda m: said.append(m["content"].get("text", "")))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    return "".join(said).strip()


found = {"imported in the kernel": asked(""), "imported before the shell": asked("import pandas; ")}
print(found)
sys.exit(found != {"imported in the kernel": "20", "imported before the shell": "0"})
PROGRAM

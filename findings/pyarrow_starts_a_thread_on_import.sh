#!/usr/bin/env bash
# pyarrow: importing it starts a thread of jemalloc, although its memory comes from mimalloc, and choosing another pool does not stop it.
#
# A process that is going to fork (a server of warm kernels or workers) must have no thread but its own, and nothing in pyarrow's names or
# documented pools suggests that one is running: the default pool says "mimalloc". ARROW_DEFAULT_MEMORY_POOL=system changes the pool and
# leaves the thread; only jemalloc's own configuration, under the prefix that pyarrow's build gives it, does without.
#
# Seen with pyarrow 26.0.1 on Linux (x86_64), Python 3.11: threads after the import: jemalloc_bg_thd and the main one, with the pool mimalloc
# and with the pool system; the main one alone with JE_ARROW_MALLOC_CONF=background_thread:false.
# Exits with 0 while that is so, with 1 when it has changed. Linux only.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pyarrow==26.0.1

threads() {
  env "$@" "$folder/venv/bin/python" - << 'PROGRAM'
from pathlib import Path

import pyarrow

names = sorted(path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm"))
print(pyarrow.default_memory_pool().backend_name, *[name for name in names if name != "python"])
PROGRAM
}

export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1
plain="$(threads A=1)"
system="$(threads ARROW_DEFAULT_MEMORY_POOL=system)"
told="$(threads JE_ARROW_MALLOC_CONF=background_thread:false)"
printf 'as it is: %s\npool system: %s\njemalloc told to have none: %s\n' "$plain" "$system" "$told"
[[ "$plain" == "mimalloc jemalloc_bg_thd" && "$system" == "system jemalloc_bg_thd" && "$told" == "mimalloc" ]]

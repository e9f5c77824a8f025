"""The workflows and the Binder configuration fit the project: versions, targets, permissions, requirements."""

import re
import tomllib

import pytest
import yaml

from xaicl_lib.publishing.run import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TARGETS = set(re.findall(r"^([a-z -]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def read(name):
    return yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text())


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_is_bounded_and_may_only_read(path):
    flow = yaml.safe_load(path.read_text())
    assert flow["permissions"] == {"contents": "read"}
    targets = {word for line in TARGETS for word in line.split()}
    for job in flow["jobs"].values():
        assert job["timeout-minutes"] <= 120
        for step in job["steps"]:
            assert re.fullmatch(r"actions/[a-z-]+@(v\d+|[0-9a-f]{40})", step.get("uses", "actions/checkout@v5"))
            if made := re.match(r"make (.*)", step.get("run", "")):
                assert {word for word in made[1].split() if "=" not in word} <= targets


def test_every_supported_python_is_tested():
    low, high = re.match(r">=3\.(\d+),<3\.(\d+)", PROJECT["requires-python"]).groups()
    assert read("tests")["jobs"]["test"]["strategy"]["matrix"]["python"] == [f"3.{k}" for k in range(int(low), int(high))]


def test_only_a_checked_site_is_deployed_and_only_from_main():
    flow = read("pages")
    assert flow[True]["push"] == {"branches": ["main"]}  # YAML reads the key `on` as True
    assert flow["jobs"]["deploy"]["needs"] == "build"
    assert flow["jobs"]["deploy"]["permissions"] == {"pages": "write", "id-token": "write"}
    runs = [step.get("run") or step["uses"] for step in flow["jobs"]["build"]["steps"]]
    assert runs.index("make check-book") < next(k for k, run in enumerate(runs) if "upload-pages-artifact" in run)


def test_binder_installs_what_the_package_needs():
    wanted = {*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["views"], *PROJECT["optional-dependencies"]["adapters"]}
    lines = (ROOT / "binder" / "requirements.txt").read_text().splitlines()
    there = {line.strip() for line in lines if line.strip() and not line.startswith("#")}
    assert wanted <= there
    assert (ROOT / "binder" / "postBuild").stat().st_mode & 0o111
    assert (ROOT / "binder" / "runtime.txt").read_text().strip() in {"python-3.11", "python-3.12", "python-3.13"}

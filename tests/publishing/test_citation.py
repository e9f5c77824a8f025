"""What is said of the project to those who cite it is the same everywhere."""

import json
import re
import tomllib

import yaml

from xaicl_lib.publishing.run import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
ZENODO = json.loads((ROOT / ".zenodo.json").read_text())


def test_the_files_that_are_read_by_archives_agree():
    same = ("title", "version", "license")
    assert {name: ZENODO[name] for name in same} == {name: CITATION[name] for name in same}
    assert [one["name"] for one in ZENODO["creators"]] == [one["name"] for one in CITATION["authors"]]
    assert [one["name"] for one in CITATION["authors"]] == [one["name"] for one in PROJECT["authors"]]
    assert (CITATION["version"], CITATION["license"]) == (PROJECT["version"], PROJECT["license"])
    cited = [one["value"] for reference in CITATION["references"] for one in reference.get("identifiers", [])]
    assert [one["identifier"] for one in ZENODO["related_identifiers"]] == cited


def test_readers_are_told_first_what_this_version_brings():
    versions = re.findall(r"^## (.+)$", (ROOT / "book" / "changes.md").read_text(), re.MULTILINE)
    assert versions[0] == PROJECT["version"]

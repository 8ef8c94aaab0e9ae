"""The lock holds what pyproject.toml asks for, on each Python that it names."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

REPO = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
LOCKED = [
    Requirement(line.rstrip(" \\"))
    for line in re.findall(r"^\S.*==.*$", (REPO / "requirements.lock").read_text(), re.M)
]
#: Decode files of others, or answer a network.
WITH_FLOOR = {"bokeh", "cryptography", "h5py", "netcdf4", "numcodecs", "orjson", "pyarrow", "starlette", "tornado"}


def name(requirement: Requirement) -> str:
    return re.sub(r"[-_.]+", "-", requirement.name).lower()


@pytest.mark.parametrize("python", ["3.11", "3.12"])
def test_lock_and_project_agree(python: str) -> None:
    here = {"python_version": python, "python_full_version": f"{python}.9"}
    locked = {name(r): r for r in LOCKED if r.marker is None or r.marker.evaluate(here)}
    asked = [Requirement(text) for text in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]]
    for wanted in asked:
        (pinned,) = locked[name(wanted)].specifier
        assert wanted.specifier.contains(pinned.version), f"{wanted} is locked at {pinned.version}"


def test_what_meets_strangers_has_a_floor() -> None:
    floors = {
        name(r) for r in map(Requirement, PROJECT["dependencies"]) if any(s.operator == ">=" for s in r.specifier)
    }
    assert floors >= WITH_FLOOR

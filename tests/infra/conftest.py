"""Synthesized templates, each made once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from infra.app import build
from infra.checks.assembly import Assembly
from tests.support.topologies import aws_topology
from xdask_pipelines.topology import Topology


class Synthesized(NamedTuple):
    """A topology, and its templates."""

    topology: Topology
    assembly: Assembly
    folder: Path


Synthesize = Callable[..., Synthesized]


@pytest.fixture(scope="session")
def synthesize(tmp_path_factory: pytest.TempPathFactory) -> Synthesize:
    """Return the function that makes the templates of a topology."""

    @cache
    def synthesized(workers: int, stage: str = "small", **aws: str) -> Synthesized:
        folder = tmp_path_factory.mktemp("synth")
        topology = aws_topology(folder, workers, stage, **aws)
        out = folder / "cdk.out"
        build(topology, str(out)).synth()
        return Synthesized(topology, Assembly.read(out), out)

    return synthesized


@pytest.fixture(scope="session")
def small(synthesize: Synthesize) -> Synthesized:
    """The small stage with three worker Regions."""
    return synthesize(3)


@pytest.fixture(scope="session")
def full(synthesize: Synthesize) -> Synthesized:
    """The full stage with two worker Regions."""
    return synthesize(2, "full")

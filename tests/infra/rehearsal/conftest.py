"""An emulator with a deployed assembly, for tests that change tasks alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.rehearsal.account.clients import EmulatedClients
from infra.rehearsal.account.deploy import Deployment
from infra.rehearsal.account.emulator import Emulator, emulator
from infra.rehearsal.account.proxy import Proxy, proxy
from infra.rehearsal.account.templates import Stack, read_assembly
from infra.rehearsal.servers.loopback import listening
from infra.rehearsal.servers.s3_server import S3Server
from tests.infra.rehearsal.written_assembly import ACCOUNT, written_assembly

DAGSTER = "xdask-dagster-eu-west-2"


@pytest.fixture(scope="session")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> list[Stack]:
    return read_assembly(written_assembly(tmp_path_factory.mktemp("assembly")))


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Emulator]:
    """An emulator of an empty account."""
    with emulator(ACCOUNT, tmp_path / "emulator") as found:
        yield found


@dataclass(frozen=True)
class Deployed:
    """What is deployed, and clients by which it is asked."""

    proxy: Proxy
    operator: EmulatedClients
    dagster: EmulatedClients
    deployment: Deployment


@pytest.fixture(scope="session")
def deployed(stacks: list[Stack], s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    folder = tmp_path_factory.mktemp("deployed")
    with emulator(ACCOUNT, folder / "emulator") as found, proxy(found, folder, s3=s3) as front:
        url = front.listen(listening())
        front.know(DAGSTER)
        operator = EmulatedClients(url=url)
        deployment = Deployment(operator, stacks)
        deployment.deploy()
        yield Deployed(front, operator, EmulatedClients(url=url, role=DAGSTER), deployment)

"""The emulator: loopback alone, one account, no secrets of this machine."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from infra.rehearsal.account.clients import EmulatedClients
from infra.rehearsal.account.emulator import ENVIRONMENT_VARIABLE, Emulator, emulator_python
from tests.infra.rehearsal.written_assembly import ACCOUNT, CLIENT


def test_no_port_is_open_beyond_loopback(empty: Emulator) -> None:
    assert empty.open_ports() == [empty.url.removeprefix("http://")]
    assert empty.ports_beyond_loopback() == []


def test_any_key_is_of_the_topologys_account(empty: Emulator) -> None:
    found = EmulatedClients(url=empty.url).of("sts", CLIENT).get_caller_identity()
    assert found["Account"] == ACCOUNT


def test_an_empty_account_has_no_stack(empty: Emulator) -> None:
    with pytest.raises(ClientError, match="does not exist"):
        EmulatedClients(url=empty.url).of("cloudformation", CLIENT).describe_stacks(StackName="xdask-dns-eu-west-2")


def test_a_missing_environment_is_named_with_what_creates_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "/nowhere")
    with pytest.raises(SystemExit, match=r"make \.venv/\.dev"):
        emulator_python()

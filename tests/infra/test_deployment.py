"""`python -m infra.deployment`: what AWS refuses is reported, with what to do next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner

from infra.deployment import __main__ as deployment
from tests.support.topologies import aws_topology


def refused(*_: object) -> Any:
    raise ClientError({"Error": {"Code": "AccessDenied", "Message": "not authorized"}}, "ListInstanceTypeDetails")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployment, "find_topology", lambda: aws_topology(tmp_path, 1))
    monkeypatch.setattr(deployment, "CdkStacks", lambda *_, **__: None)


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("what", ["deploy", "destroy"])
def test_what_aws_refuses_is_one_error_that_says_to_run_again(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployment, what, refused)
    done = CliRunner().invoke(deployment.main, [what])
    assert done.exit_code == 1
    assert "Error: AWS did not do what was asked" in done.output
    assert "AccessDenied" in done.output
    assert "it goes on where this one stopped" in done.output


@pytest.mark.usefixtures("project")
def test_a_deployment_goes_on_without_the_right_to_ask_for_zones_and_quotas(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    class Reached(Exception):
        """The first stacks are deployed."""

    class Stacks:
        def deploy(self, names: list[str]) -> None:
            raise Reached

    monkeypatch.setattr(deployment.Assembly, "read", lambda out: type("Read", (), {"templates": {}}))
    for name in ("refuse_other_account", "settled_stacks", "create_service_roles", "unprepared_regions"):
        monkeypatch.setattr(deployment, name, lambda *_: [])
    for name in ("zone_problems", "quota_problems"):
        monkeypatch.setattr(deployment, name, refused)
    with pytest.raises(Reached):
        deployment.deploy(aws_topology(tmp_path, 1), None, Stacks())  # type: ignore[arg-type]
    warned = capsys.readouterr().out
    assert "warning: what zones offer could not be asked, and is not checked" in warned
    assert "warning: quotas could not be asked" in warned

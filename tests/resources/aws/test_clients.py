"""Errors of AWS are one message with the Region, the operation, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.rehearsal.account.recorded_calls import Refusal
from tests.support.ecs_twin import EcsTwin, ecs_twin
from xdask_pipelines.errors import AwsError
from xdask_pipelines.resources.aws.clients import call, client, pages
from xdask_pipelines.resources.aws.ecs_service import EcsService


@pytest.fixture
def twin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EcsTwin]:
    with ecs_twin(tmp_path) as found:
        monkeypatch.setenv("AWS_ENDPOINT_URL", found.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        yield found


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("AccessDeniedException", r"has no permission.*Allow ecs:ListTasks for its role"),
        ("ExpiredTokenException", r"have expired.*`aws sso login`"),
        ("ClusterNotFoundException", r"does not exist there.*`make infra-deploy`"),
        ("InvalidParameterException", r"InvalidParameterException: some text\. Read AWS's own message"),
    ],
)
def test_a_refusal_names_region_operation_and_remedy(twin: EcsTwin, code: str, expected: str) -> None:
    twin.refuse["ListTasks"] = Refusal(code, "some text.")
    with pytest.raises(AwsError, match=expected) as caught:
        pages(client("ecs", "us-east-1"), "list_tasks", "taskArns", cluster="xdask-us-east-1")
    assert str(caught.value).startswith("AWS refused ecs:ListTasks in us-east-1. ")
    assert (caught.value.code, caught.value.region) == (code, "us-east-1")


def test_a_service_that_was_not_deployed_is_named(twin: EcsTwin) -> None:
    with pytest.raises(
        AwsError, match=r"no ECS service xdask-pool-us-east-1 in the cluster xdask-us-east-1 of us-east-1"
    ):
        EcsService("us-east-1").state()


def test_no_answer_and_no_credentials_are_told_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(AwsError, match=r"ecs:ListClusters in us-east-1 was not sent.*credentials.*`aws sso login`"):
        call(client("ecs", "us-east-1"), "list_clusters")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with pytest.raises(AwsError, match=r"Could not connect.*Check that this machine reaches AWS"):
        call(client("ecs", "us-east-1", seconds=0.5), "list_clusters")

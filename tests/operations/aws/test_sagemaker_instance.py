"""`xdask notebook` with `notebook: sagemaker`, and the archive that a deployment stores for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from infra.deployment.stored_environment import store_environment
from infra.environment_archive import environment_key
from tests.support.topologies import ACCOUNT, aws_topology
from xdask_pipelines.errors import XdaskError
from xdask_pipelines.operations.aws import notebooks
from xdask_pipelines.topology import Topology

NAME = {"NotebookInstanceName": "xdask-notebook"}
BUCKET = f"xdask-results-{ACCOUNT}-eu-west-2"
Answers = Callable[..., Stubber]


@pytest.fixture
def topology(tmp_path: Path) -> Topology:
    return aws_topology(tmp_path, 1, notebook="sagemaker", egress="nat")


@pytest.fixture
def sagemaker(monkeypatch: pytest.MonkeyPatch) -> Stubber:
    """SageMaker, whose answers fit the API's model."""
    made = boto3.client("sagemaker", "eu-west-2", aws_access_key_id="a", aws_secret_access_key="b")
    monkeypatch.setattr(notebooks, "client", lambda service, region: made)
    stub = Stubber(made)
    stub.activate()
    return stub


def states(stub: Stubber, *found: str, reason: str | None = None) -> None:
    more = {"FailureReason": reason} if reason else {}
    for state in found:
        stub.add_response("describe_notebook_instance", {"NotebookInstanceStatus": state, **more}, NAME)


def test_an_instance_is_started_once_and_opened_when_jupyter_runs(topology: Topology, sagemaker: Stubber) -> None:
    states(sagemaker, "Stopping", "Stopped")
    sagemaker.add_response("start_notebook_instance", {}, NAME)
    states(sagemaker, "Pending", "Pending", "InService", "InService")
    url = "https://xdask-notebook.notebook.eu-west-2.sagemaker.aws?authToken=abc"
    sagemaker.add_response("create_presigned_notebook_instance_url", {"AuthorizedUrl": url}, NAME)
    said: list[str] = []
    assert notebooks.start(topology, said.append, wait=lambda seconds: None) == url
    assert said == ["the instance is Stopping", "the instance is Stopped", "the instance is Pending"]
    sagemaker.assert_no_pending_responses()


def test_a_start_script_that_fails_is_reported_with_its_reason(topology: Topology, sagemaker: Stubber) -> None:
    states(sagemaker, "Failed", reason="Notebook Instance Lifecycle Config ... took longer than 5 minutes")
    with pytest.raises(
        XdaskError, match=r"is Failed: .* longer than 5 minutes\. Read the log of its start script, /aws"
    ):
        notebooks.start(topology, print, wait=lambda seconds: None)


def test_an_instance_is_stopped_and_its_address_says_so(topology: Topology, sagemaker: Stubber) -> None:
    states(sagemaker, "InService")
    sagemaker.add_response("stop_notebook_instance", {}, NAME)
    states(sagemaker, "Stopped", "Stopped")
    assert notebooks.stop(topology, print)
    assert not notebooks.stop(topology, print)
    with pytest.raises(XdaskError, match=r"is Stopped. Start it: `xdask notebook start`"):
        notebooks.instance_address(topology)


class OneClient:
    """AWS of one service."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def of(self, service: str, region: str) -> Any:
        assert (service, region) == ("s3", "eu-west-2")
        return self.client


def test_the_environment_is_stored_once_a_release(topology: Topology, tmp_path: Path) -> None:
    s3 = boto3.client("s3", "eu-west-2", aws_access_key_id="a", aws_secret_access_key="b")
    stored: list[tuple[bytes, str, str]] = []
    s3.upload_file = lambda file, bucket, key: stored.append((Path(file).read_bytes(), bucket, key))
    clients: Any = OneClient(s3)
    with Stubber(s3) as stub:
        asked = {"Bucket": BUCKET, "Key": environment_key()}
        stub.add_client_error("head_object", "404", http_status_code=404, expected_params=asked)
        assert store_environment(clients, topology, print, build=lambda path: path.write_bytes(b"packed") and None)
        assert stored == [(b"packed", BUCKET, environment_key())]
        stub.add_response("head_object", {}, asked)
        assert not store_environment(clients, topology, print)
        stub.add_client_error("head_object", "403", http_status_code=403)
        with pytest.raises(stub.client.exceptions.ClientError):
            store_environment(clients, topology, print)
    assert not store_environment(clients, aws_topology(tmp_path, 1), print), "an ECS task has the image"

"""The proxy: what it records, and what it supplies in place of the emulator."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from infra.rehearsal.account.clients import EmulatedClients
from infra.rehearsal.account.fsx_twin import FsxTwin
from infra.rehearsal.account.recorded_calls import Refusal
from infra.rehearsal.servers.loopback import listening
from infra.rehearsal.servers.s3_server import S3Server
from tests.infra.rehearsal.conftest import DAGSTER, Deployed
from tests.infra.rehearsal.written_assembly import CLIENT, EAST
from xdask_pipelines.topology.aws_names import METRICS_NAMESPACE, cluster_name, pool_service

CLUSTER, POOL = cluster_name(EAST), pool_service(EAST)


@pytest.fixture
def ecs(deployed: Deployed) -> Iterator[object]:
    """ECS of a Region whose pool is at zero before and after."""
    found = deployed.dagster.of("ecs", EAST)
    yield found
    deployed.proxy.states.tasks.clear()
    found.update_service(cluster=CLUSTER, service=POOL, desiredCount=0)
    deployed.proxy.states.messages.clear()


def scaled(deployed: Deployed, ecs: object, count: int) -> list[str]:
    """Tasks of the pool, which run."""
    ecs.update_service(cluster=CLUSTER, service=POOL, desiredCount=count)
    arns = ecs.list_tasks(cluster=CLUSTER, serviceName=POOL)["taskArns"]
    for i, arn in enumerate(arns):
        state = deployed.proxy.states.of(arn)
        state.status, state.address = "RUNNING", f"10.1.0.{i + 1}"
    return arns


def last_call(deployed: Deployed, operation: str):
    return next(call for call in reversed(deployed.proxy.calls) if call.operation == operation)


@pytest.mark.parametrize(
    ("service", "operation", "asked", "recorded"),
    [
        ("ecs", "ListTasks", {"cluster": CLUSTER}, {"cluster": CLUSTER}),
        ("cloudwatch", "PutMetricData", {"Namespace": METRICS_NAMESPACE, "MetricData": [{"MetricName": "a", "Value": 1}]},
         {"Namespace": METRICS_NAMESPACE}),
        ("route53", "ListHostedZonesByName", {"DNSName": "xdask.internal"}, {"dnsname": "xdask.internal"}),
        ("sts", "GetCallerIdentity", {}, {}),
        ("secretsmanager", "ListSecrets", {}, {}),
        ("efs", "DescribeFileSystems", {}, {}),
        ("ec2", "DescribeVpcs", {}, {}),
    ],
)  # fmt: skip
def test_calls_of_every_protocol_are_recorded_with_role_region_and_parameters(
    deployed: Deployed, service: str, operation: str, asked: dict[str, object], recorded: dict[str, object]
) -> None:
    client = deployed.dagster.of(service, EAST)
    getattr(client, next(name for name, of in client.meta.method_to_api_mapping.items() if of == operation))(**asked)
    call = last_call(deployed, operation)
    assert (call.role, call.region, call.service, call.status) == (DAGSTER, EAST, service, 200)
    assert recorded.items() <= call.parameters.items()


def test_the_record_is_a_file_of_json_lines(deployed: Deployed, tmp_path: Path) -> None:
    deployed.dagster.of("sts", CLIENT).get_caller_identity()
    record = Path(deployed.proxy._record.name).read_text().splitlines()
    assert json.loads(record[-1])["operation"] == "GetCallerIdentity"


def test_a_record_of_route_53_is_recorded_with_its_name(deployed: Deployed) -> None:
    route53 = deployed.dagster.of("route53", CLIENT)
    zone = route53.list_hosted_zones_by_name(DNSName="xdask.internal")["HostedZones"][0]["Id"]
    record = {"Name": "a.xdask.internal", "Type": "A", "TTL": 10, "ResourceRecords": [{"Value": "10.0.0.1"}]}
    for action in ("UPSERT", "DELETE"):
        changes = [{"Action": action, "ResourceRecordSet": record}]
        route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": changes})
    call = last_call(deployed, "ChangeResourceRecordSets")
    assert call.parameters["Id"] == zone.rpartition("/")[2]
    assert call.parameters["ChangeBatch"]["Changes"]["Change"]["ResourceRecordSet"]["Name"] == "a.xdask.internal"


def test_s3_is_a_real_server_with_ranges_and_large_uploads(deployed: Deployed, s3: S3Server) -> None:
    s3.client().create_bucket(Bucket="of-the-proxy")
    client = deployed.dagster.of("s3", EAST)
    client.put_object(Bucket="of-the-proxy", Key="a/b c", Body=b"0123456789")
    assert client.get_object(Bucket="of-the-proxy", Key="a/b c", Range="bytes=2-4")["Body"].read() == b"234"
    client.upload_fileobj(io.BytesIO(bytes(9_000_000)), "of-the-proxy", "large")
    assert client.head_object(Bucket="of-the-proxy", Key="large")["ContentLength"] == 9_000_000
    with pytest.raises(ClientError, match="NoSuchKey"):
        client.get_object(Bucket="of-the-proxy", Key="none")
    said = {call.operation for call in deployed.proxy.calls if call.service == "s3" and call.role == DAGSTER}
    assert {"PutObject", "GetObject", "HeadObject", "CreateMultipartUpload", "UploadPart"} <= said


def test_a_task_has_no_address_until_it_runs_and_then_its_own(deployed: Deployed, ecs) -> None:
    ecs.update_service(cluster=CLUSTER, service=POOL, desiredCount=1)
    (arn,) = ecs.list_tasks(cluster=CLUSTER, serviceName=POOL)["taskArns"]
    (task,) = ecs.describe_tasks(cluster=CLUSTER, tasks=[arn])["tasks"]
    assert (task["lastStatus"], task["attachments"][0]["details"]) == ("PROVISIONING", [])
    assert "startedAt" not in task
    scaled(deployed, ecs, 1)
    (task,) = ecs.describe_tasks(cluster=CLUSTER, tasks=[arn])["tasks"]
    details = {each["name"]: each["value"] for each in task["attachments"][0]["details"]}
    assert (task["lastStatus"], details["privateIPv4Address"]) == ("RUNNING", "10.1.0.1")
    interfaces = deployed.dagster.of("ec2", EAST).describe_network_interfaces(
        NetworkInterfaceIds=[details["networkInterfaceId"]]
    )["NetworkInterfaces"]
    assert interfaces[0]["PrivateIpAddress"] == "10.1.0.1"


def test_a_service_ends_tasks_that_are_not_protected(deployed: Deployed, ecs) -> None:
    arns = scaled(deployed, ecs, 3)
    answer = ecs.update_task_protection(cluster=CLUSTER, tasks=arns[1:], protectionEnabled=True, expiresInMinutes=5)
    assert [each["protectionEnabled"] for each in answer["protectedTasks"]] == [True, True]
    ecs.update_service(cluster=CLUSTER, service=POOL, desiredCount=2)
    assert set(ecs.list_tasks(cluster=CLUSTER, serviceName=POOL)["taskArns"]) == set(arns[1:])


def test_protected_tasks_outlive_a_smaller_desired_count(deployed: Deployed, ecs) -> None:
    arns = scaled(deployed, ecs, 2)
    ecs.update_task_protection(cluster=CLUSTER, tasks=arns, protectionEnabled=True)
    service = ecs.update_service(cluster=CLUSTER, service=POOL, desiredCount=1)["service"]
    assert (service["desiredCount"], service["runningCount"]) == (1, 2)
    ecs.update_task_protection(cluster=CLUSTER, tasks=arns[:1], protectionEnabled=False)
    service = ecs.update_service(cluster=CLUSTER, service=POOL, desiredCount=1)["service"]
    assert ecs.list_tasks(cluster=CLUSTER, serviceName=POOL)["taskArns"] == arns[1:]


def test_protection_ends_by_itself(deployed: Deployed, ecs, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(deployed.proxy.states, "clock", lambda: now[0])
    (arn,) = scaled(deployed, ecs, 1)
    ecs.update_task_protection(cluster=CLUSTER, tasks=[arn], protectionEnabled=True, expiresInMinutes=1)
    now[0] = 59.0
    assert ecs.get_task_protection(cluster=CLUSTER, tasks=[arn])["protectedTasks"][0]["protectionEnabled"]
    now[0] = 61.0
    assert not ecs.get_task_protection(cluster=CLUSTER, tasks=[arn])["protectedTasks"][0]["protectionEnabled"]


def test_protection_of_other_tasks_is_refused(deployed: Deployed, ecs) -> None:
    answer = ecs.update_task_protection(cluster=CLUSTER, tasks=["0123"], protectionEnabled=True)
    assert [each["reason"] for each in answer["failures"]] == ["MISSING"]
    (task,) = ecs.run_task(cluster=CLUSTER, taskDefinition=POOL)["tasks"]
    answer = ecs.update_task_protection(cluster=CLUSTER, tasks=[task["taskArn"]], protectionEnabled=True)
    assert [each["reason"] for each in answer["failures"]] == ["TASK_NOT_VALID"]
    ecs.stop_task(cluster=CLUSTER, task=task["taskArn"])
    with pytest.raises(ClientError, match="InvalidParameterException"):
        ecs.update_task_protection(cluster=CLUSTER, tasks=["0123"], protectionEnabled=True, expiresInMinutes=9999)


def test_a_placement_failure_is_an_event_of_the_service(deployed: Deployed, ecs) -> None:
    message = f"(service {POOL}) was unable to place a task. Reason: RESOURCE:ENI."
    deployed.proxy.states.messages[EAST, POOL] = [message]
    (service,) = ecs.describe_services(cluster=CLUSTER, services=[POOL])["services"]
    assert service["events"][0]["message"] == message


def test_faults_are_answered_once_each(deployed: Deployed, ecs) -> None:
    deployed.proxy.faults["ecs", "DescribeServices"] = [Refusal("ClusterNotFoundException", "as the test wants")]
    with pytest.raises(ClientError, match="as the test wants"):
        ecs.describe_services(cluster=CLUSTER, services=[POOL])
    assert ecs.describe_services(cluster=CLUSTER, services=[POOL])["services"]


def test_worker_tasks_reach_nothing_but_s3(deployed: Deployed, s3: S3Server) -> None:
    url = deployed.proxy.listen(listening(), frozenset({"s3"}))
    clients = EmulatedClients(url=url, role="xdask-pool-us-east-1")
    deployed.proxy.know(clients.role)
    assert "Buckets" in clients.of("s3", EAST).list_buckets()
    with pytest.raises(ClientError, match="cannot be reached from here"):
        clients.of("ecs", EAST).list_clusters()
    assert last_call(deployed, "ListClusters").status == 403


def test_file_systems_of_lustre_are_answered_by_their_twin(
    deployed: Deployed, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = FsxTwin(s3=s3.client(), root=tmp_path)
    monkeypatch.setattr(deployed.proxy, "fsx", {EAST: twin}.get)
    twin.file_system("fs-0123456789abcdef0")
    twin.link("s3://era5-pds", "/era5-pds")
    fsx = deployed.dagster.of("fsx", EAST)
    assert fsx.describe_file_systems()["FileSystems"][0]["Lifecycle"] == "AVAILABLE"
    associations = fsx.describe_data_repository_associations()["Associations"]
    assert associations[0]["DataRepositoryPath"] == "s3://era5-pds"
    with pytest.raises(ClientError, match="FileSystemNotFound"):
        fsx.describe_file_systems(FileSystemIds=["fs-1123456789abcdef0"])

"""The contract of roles: calls that no statement allows, and statements that no call needs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from infra.rehearsal.account.recorded_calls import Call
from infra.rehearsal.iam_checks import World
from infra.rehearsal.iam_contract import Contract, deployed_contract
from tests.infra.rehearsal.conftest import DAGSTER, Deployed
from tests.infra.rehearsal.written_assembly import ACCOUNT, CLIENT, EAST, WEST
from xdask_pipelines.topology.aws_names import METRICS_NAMESPACE, cluster_name, pool_service

ROLE = f"arn:aws:iam::{ACCOUNT}:role/xdask-pool-{EAST}"
WORLD = World(ACCOUNT, lambda region, family: [ROLE])


def arn(service: str, region: str, rest: str) -> str:
    return f"arn:aws:{service}:{region}:{ACCOUNT}:{rest}"


def call(of: str, operation: str, region: str = EAST, /, **parameters: Any) -> Call:
    return Call("", region, of, operation, parameters, role="it")


def problems(call: Call, **statement: Any) -> list[str]:
    contract = Contract(WORLD, {"it": [{"Sid": "One", "Effect": "Allow", **statement}]})
    return [finding.problem for finding in contract.findings([call])]


SCALE = {
    "Action": "ecs:UpdateService",
    "Resource": arn("ecs", EAST, f"service/{cluster_name(EAST)}/{pool_service(EAST)}"),
}
RECORD = "route53:ChangeResourceRecordSets"
RUN = [
    {"Sid": "Run", "Effect": "Allow", "Action": "ecs:RunTask", "Resource": arn("ecs", EAST, "task-definition/sync:*"),
     "Condition": {"ArnEquals": {"ecs:cluster": arn("ecs", EAST, f"cluster/{cluster_name(EAST)}")}}},
    {"Sid": "Pass", "Effect": "Allow", "Action": "iam:PassRole", "Resource": ROLE,
     "Condition": {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}},
]  # fmt: skip


def scale(region: str) -> Call:
    return call(
        "ecs", "UpdateService", region, cluster=cluster_name(region), service=pool_service(region), desiredCount=1
    )


def change(name: str) -> Call:
    record = {"Action": "UPSERT", "ResourceRecordSet": {"Name": name, "Type": "A"}}
    return call("route53", "ChangeResourceRecordSets", Id="Z1", ChangeBatch={"Changes": {"Change": record}})


def test_a_call_on_the_named_resource_is_allowed_and_on_another_one_not() -> None:
    assert problems(scale(EAST), **SCALE) == []
    refused, unneeded = problems(scale(WEST), **SCALE)
    assert f"ecs:UpdateService on {arn('ecs', WEST, 'service/')}" in refused
    assert "One allows ecs:UpdateService, which no recorded call needs" in unneeded


@pytest.mark.parametrize(("namespace", "count"), [(METRICS_NAMESPACE, 0), ("Other", 2)])
def test_conditions_count(namespace: str, count: int) -> None:
    allowed = {"StringEquals": {"cloudwatch:namespace": METRICS_NAMESPACE}}
    found = problems(
        call("cloudwatch", "PutMetricData", Namespace=namespace),
        Action="cloudwatch:PutMetricData", Resource="*", Condition=allowed,
    )  # fmt: skip
    assert len(found) == count


@pytest.mark.parametrize(("name", "count"), [("scheduler.xdask.internal.", 0), ("www.xdask.internal.", 2)])
def test_only_the_schedulers_record_may_be_changed(name: str, count: int) -> None:
    names = {"route53:ChangeResourceRecordSetsNormalizedRecordNames": ["scheduler.xdask.internal"]}
    found = problems(change(name), Action=RECORD, Resource="*", Condition={"ForAllValues:StringEquals": names})
    assert len(found) == count


def test_running_a_task_needs_the_right_to_pass_its_roles() -> None:
    run = call("ecs", "RunTask", cluster=cluster_name(EAST), taskDefinition="sync")
    assert Contract(WORLD, {"it": RUN}).findings([run]) == []
    (finding,) = Contract(WORLD, {"it": RUN[:1]}).findings([run])
    assert f"iam:PassRole on {ROLE}" in finding.problem


def test_an_operation_without_a_line_and_a_caller_without_a_role_are_findings() -> None:
    contract = Contract(WORLD, {"it": []})
    (finding,) = contract.findings([call("ecs", "DeleteCluster", cluster="a")])
    assert "ecs DeleteCluster has no line in CHECKS" in finding.problem
    (finding,) = contract.findings([Call("", EAST, "ecs", "ListTasks", {}, role="unknown")])
    assert "was called by unknown" in finding.problem


def test_a_statement_with_a_listed_reason_needs_no_call() -> None:
    pull = {"Sid": "Pull", "Effect": "Allow", "Action": "ecr:BatchGetImage", "Resource": "*"}
    assert Contract(WORLD, {"it": [pull]}).findings([]) == []
    assert len(Contract(WORLD, {"it": [pull]}, reasons={}).findings([])) == 1
    assert (
        Contract(WORLD, {"xdask-host-us-east-1": [{**pull, "Sid": "One"}]}, {"host/One": "a reason"}).findings([]) == []
    )


def test_policies_come_from_the_deployed_templates(deployed: Deployed) -> None:
    contract = deployed_contract(deployed.operator, ACCOUNT, CLIENT)
    reads = Call("", CLIENT, "secretsmanager", "GetSecretValue", {"SecretId": "xdask/tls"}, role=DAGSTER)
    hosts = [replace(reads, region=region, role=f"xdask-host-{region}") for region in (EAST, WEST)]
    assert contract.findings([reads, *hosts]) == []
    (finding, *_) = contract.findings([replace(reads, region=EAST)])
    assert "No statement allows it" in finding.problem

"""The contract of roles: what the program calls is allowed, and nothing else is.

Belongs here: recorded calls held against policies, and statements that nothing needs. Does not belong here: what a call
needs (iam_checks), statements (infra.policies).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from botocore.exceptions import ClientError

from infra.rehearsal.account.clients import OPERATOR, EmulatedClients
from infra.rehearsal.account.emulator import ask_emulator
from infra.rehearsal.account.recorded_calls import Call
from infra.rehearsal.domain.role_statements import Statement, statements_of
from infra.rehearsal.iam_checks import Check, World, checks_of
from xdask_pipelines.topology.aws_names import PREFIX

#: Statements that no recorded call can need, by Sid, or by part of the role and Sid: what needs them does not go through
#: the proxy.
REASONS: Mapping[str, str] = {
    "Pull": "ECS pulls the image; the rehearsal has none.",
    "PullToken": "ECS pulls the image; the rehearsal has none.",
    "Log": "The log driver of ECS writes; the rehearsal has files.",
    "Exec": "The agent of SSM in a container; the rehearsal enters namespaces.",
    "Register": "The agent of ECS on a host, in whose place the rehearsal's agent is.",
    "Agent": "The agent of ECS on a host, in whose place the rehearsal's agent is.",
    "AgentDiscovery": "The agent of ECS on a host, in whose place the rehearsal's agent is.",
    "HostLog": "The set-up of a host is a script that the rehearsal does not run.",
    "MountResults": "The client of S3 Files on a host; the rehearsal mounts a folder.",
    "ReadResults": "The client of S3 Files on a host; the rehearsal mounts a folder.",
    "Key": "KMS is called by S3 and by S3 Files for the role.",
    "CatalogRemoval": "Indices of an older release are deleted when a catalog is migrated; the rehearsal's is new.",
    "notebook/Catalog": "A notebook that computes an asset looks for indices (HEAD) and writes (POST); here it only reads.",
    "notebook/CatalogChanges": "A notebook that computes an asset commits its result; that of the rehearsal reads.",
    "FindLustre": "The set-up of a host is a script that the rehearsal does not run.",
    "List": "S3 Files itself, with its own role.",
    "Objects": "S3 Files itself, with its own role.",
    "Events": "S3 Files itself, with its own role.",
    "host/ReadSources": "Mountpoint on a host reads for its tasks; the rehearsal mounts a folder.",
    "network/Write": "VPC flow logs write; no packet passes that could be logged.",
    "Alerts": "Syncs that fail are reported; none fails in the rehearsal.",
    "notebook/ObserveServices": "A notebook waits for a pool at zero; the pools run when that of the rehearsal computes.",
    "notebook/ObserveTasks": "A notebook waits for a pool at zero; the pools run when that of the rehearsal computes.",
    "notebook/ListTasks": "A notebook waits for a pool at zero; the pools run when that of the rehearsal computes.",
    "Home": "The client of EFS on a host; the rehearsal mounts a folder.",
}

_PROGRAM = """
import json, sys
from ministack.core.iam_evaluator import EvalContext, evaluate, parse_policy_document
asked = json.load(sys.stdin)
answers = []
for each in asked:
    parsed = [parse_policy_document({"Version": "2012-10-17", "Statement": [s]}) for s in each["statements"]]
    context = EvalContext(principal_arn=each["principal"], principal_type="AssumedRole", principal_account=each["account"],
                          action=each["action"], resource_arn=each["resource"], region=each["region"],
                          service_context=each["keys"])
    decision = evaluate(context, parsed).decision
    allows = [i for i, one in enumerate(parsed) if evaluate(context, [one]).decision == "Allow"]
    answers.append({"allowed": decision == "Allow", "by": allows})
print(json.dumps(answers))
"""


@dataclass(frozen=True)
class Finding:
    """One breach of the contract: role, and a sentence that says what is wrong."""

    role: str
    problem: str


@dataclass
class Contract:
    """The roles of a deployment.

    Parameters
    ----------
    world
        Account, and roles of task families.
    statements
        Of each role by name.
    reasons
        Statements that no recorded call can need, by Sid.
    """

    world: World
    statements: Mapping[str, Sequence[Statement]]
    reasons: Mapping[str, str] = field(default_factory=lambda: REASONS)

    def findings(self, calls: Iterable[Call]) -> list[Finding]:
        """Return calls that their role does not allow, and what roles allow that no call needs."""
        found: list[Finding] = []
        asked = list(self._checks(calls, found))
        used: set[tuple[str, int, str]] = set()
        for (role, call, check), answer in zip(asked, self._evaluate(asked), strict=True):
            if not answer["allowed"]:
                keys = f" with {dict(check.keys)}" if check.keys else ""
                found.append(
                    Finding(
                        role,
                        f"{role} calls {call.service} {call.operation} in {call.region}, which needs {check.action} on "
                        f"{check.resource}{keys}. No statement allows it: add one in infra/policies, or remove the call.",
                    )
                )
            used |= {(role, i, check.action.lower()) for i in answer["by"]}
        return list(dict.fromkeys(found)) + self._unneeded(used)

    def _checks(self, calls: Iterable[Call], found: list[Finding]) -> Iterable[tuple[str, Call, Check]]:
        seen: set[str] = set()
        for call in calls:
            refused = call.service == "es" and call.status == 403  # the doctor asks the domain without a signature
            if call.role == OPERATOR or (call.role == "anonymous" and (call.service == "s3" or refused)):
                continue
            if call.role not in self.statements:
                found.append(
                    Finding(
                        call.role,
                        f"{call.service} {call.operation} in {call.region} was called by {call.role or 'an unknown role'}, "
                        "which no template has.",
                    )
                )
                continue
            try:
                checks = checks_of(call, self.world)
            except LookupError as error:
                found.append(Finding(call.role, str(error)))
                continue
            for check in checks:
                if (key := f"{call.role} {check}") not in seen:
                    seen.add(key)
                    yield call.role, call, check

    def _evaluate(self, asked: Sequence[tuple[str, Call, Check]]) -> list[dict[str, Any]]:
        account = self.world.account
        questions = [
            {
                "principal": f"arn:{self.world.partition}:sts::{account}:assumed-role/{role}/session",
                "account": account,
                "region": call.region,
                "action": check.action,
                "resource": check.resource,
                "keys": dict(check.keys),
                "statements": list(self.statements[role]),
            }
            for role, call, check in asked
        ]
        return cast("list[dict[str, Any]]", ask_emulator(_PROGRAM, questions)) if questions else []

    def _unneeded(self, used: set[tuple[str, int, str]]) -> list[Finding]:
        found = []
        for role, statements in self.statements.items():
            for i, statement in enumerate(statements):
                sid = str(statement.get("Sid", f"statement {i}"))
                actions = statement.get("Action", [])
                named = [actions] if isinstance(actions, str) else list(actions)
                spare = [
                    action for action in named if not any(_is(action, u) for r, n, u in used if (r, n) == (role, i))
                ]
                part = role.removeprefix(f"{PREFIX}-").partition("-")[0]
                if spare and not {sid, f"{part}/{sid}"} & self.reasons.keys():
                    found.append(
                        Finding(
                            role,
                            f"{role}: {sid} allows {', '.join(spare)}, which no recorded call needs. Remove it from "
                            "infra/policies, or add the reason to REASONS.",
                        )
                    )
        return found


def _is(pattern: str, action: str) -> bool:
    from fnmatch import fnmatchcase

    return fnmatchcase(action, pattern.lower())


def deployed_contract(clients: EmulatedClients, account: str, client_region: str) -> Contract:
    """Return the contract of the roles that the emulator has, with the policies of the templates as they were resolved."""
    iam = clients.of("iam", client_region)
    statements: dict[str, list[Statement]] = {}
    for page in iam.get_paginator("list_roles").paginate():
        for role in page["Roles"]:
            name = role["RoleName"]
            statements[name] = statements_of(iam, name)

    def roles_of(region: str, family: str) -> Sequence[str]:
        try:
            found = clients.of("ecs", region).describe_task_definition(taskDefinition=family)["taskDefinition"]
        except ClientError:
            return ()
        return [found[name] for name in ("taskRoleArn", "executionRoleArn") if found.get(name)]

    return Contract(World(account, roles_of), statements)

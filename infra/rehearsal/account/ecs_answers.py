"""Calls of ECS that the emulator answers otherwise than AWS: network interfaces, protection, scaling in, placement.

Belongs here: what is asked of the emulator in place of a call, and how its answer is changed. Does not belong here: states
(task_states).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import time
from typing import Any

from infra.rehearsal.account.clients import EmulatedClients
from infra.rehearsal.account.recorded_calls import Call, Refusal
from infra.rehearsal.account.task_states import TaskStates

Document = dict[str, Any]


class EcsAnswers:
    """Answers of ECS.

    Parameters
    ----------
    clients
        Clients of the emulator itself.
    states
        Of all tasks.
    """

    def __init__(self, clients: EmulatedClients, states: TaskStates) -> None:
        self._clients, self._states = clients, states
        self.instead: Mapping[str, Callable[[Call], Document]] = {
            "UpdateTaskProtection": self._update_protection,
            "GetTaskProtection": self._get_protection,
        }
        self.before: Mapping[str, Callable[[Call], Document]] = {"UpdateService": self._scale}
        self.after: Mapping[str, Callable[[Call, Document], None]] = {
            "RunTask": self._tasks,
            "DescribeTasks": self._tasks,
            "StopTask": self._tasks,
            "DescribeServices": self._services,
            "UpdateService": self._services,
        }

    # ---- protection -------------------------------------------------------------------------------------------------

    def _update_protection(self, call: Call) -> Document:
        asked = call.parameters
        minutes = asked.get("expiresInMinutes")
        if minutes is not None and not 1 <= minutes <= 2880:
            raise Refusal("InvalidParameterException", "expiresInMinutes must be between 1 and 2880.")
        if len(asked["tasks"]) > 10:
            raise Refusal("InvalidParameterException", "You can specify a maximum of 10 tasks.")
        return self._protections(call, lambda arn: self._states.protect(arn, asked["protectionEnabled"], minutes))

    def _get_protection(self, call: Call) -> Document:
        return self._protections(call, self._states.protection)

    def _protections(self, call: Call, answer: Callable[[str], Document]) -> Document:
        asked = self._ecs(call).describe_tasks(cluster=call.parameters["cluster"], tasks=call.parameters["tasks"])
        failures = [{"arn": each["arn"], "reason": "MISSING"} for each in asked["failures"]]
        found = []
        for task in asked["tasks"]:
            if task["desiredStatus"] != "RUNNING" or not task["group"].startswith("service:"):
                failures.append({"arn": task["taskArn"], "reason": "TASK_NOT_VALID"})
            else:
                found.append(answer(task["taskArn"]))
        return {"protectedTasks": found, "failures": failures}

    # ---- services ---------------------------------------------------------------------------------------------------

    def _scale(self, call: Call) -> Document:
        """Let the service end tasks that are not protected, where the emulator would end the newest ones."""
        asked = dict(call.parameters)
        wanted = asked.get("desiredCount")
        if wanted is None:
            return asked
        region, cluster, service = call.region, _last(asked.get("cluster", "default")), _last(asked["service"])
        asked["desiredCount"] = self.scale(region, cluster, service, wanted)
        return asked

    def scale(self, region: str, cluster: str, service: str, wanted: int) -> int:
        """End tasks of a service that are more than wanted and not protected; how many tasks it has to keep."""
        ecs, states = self._clients.of("ecs", region), self._states
        arns = _pages(ecs, "list_tasks", "taskArns", cluster=cluster, serviceName=service)
        free = [arn for arn in arns if not states.is_protected(arn)]
        free.sort(key=lambda arn: states.of(arn).status == "RUNNING")  # those that never started go first
        chosen = free[: max(0, len(arns) - wanted)]
        for arn in chosen:
            ecs.stop_task(cluster=cluster, task=arn, reason="Scaling activity initiated by the service scheduler")
        kept = len(arns) - len(chosen)
        key = (region, cluster, service)
        if kept > wanted:
            states.desired[key] = wanted
        else:
            states.desired.pop(key, None)
        return max(kept, wanted)

    def _services(self, call: Call, answer: Document) -> None:
        for service in [*answer.get("services", ()), *([answer["service"]] if "service" in answer else [])]:
            cluster, name = _last(service["clusterArn"]), service["serviceName"]
            arns = _pages(self._ecs(call), "list_tasks", "taskArns", cluster=cluster, serviceName=name)
            service["desiredCount"] = self._states.desired.get((call.region, cluster, name), service["desiredCount"])
            counts = {
                "desiredCount": service["desiredCount"],
                "runningCount": self._states.count(arns, "RUNNING"),
                "pendingCount": self._states.count(arns, "PROVISIONING", "PENDING"),
            }
            service |= counts
            for deployment in service.get("deployments", ())[:1]:
                deployment |= counts
            messages = self._states.messages.get((call.region, name), ())
            events = [{"id": f"event-{i}", "createdAt": time(), "message": m} for i, m in enumerate(messages)]
            service["events"] = [*reversed(events), *service.get("events", ())]

    def _tasks(self, call: Call, answer: Document) -> None:
        for task in [*answer.get("tasks", ()), *([answer["task"]] if "task" in answer else [])]:
            self._states.describe(task)

    def _ecs(self, call: Call) -> Any:
        return self._clients.of("ecs", call.region)


def _last(arn_or_name: str) -> str:
    return arn_or_name.rpartition("/")[2]


def _pages(client: Any, operation: str, key: str, **asked: Any) -> list[str]:
    pages = client.get_paginator(operation).paginate(**asked)
    return [each for page in pages for each in page[key]]

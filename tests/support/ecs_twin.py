"""A twin of ECS for tests: services and tasks with states, over HTTP as boto3 speaks it, with a real process for each task.

It also takes figures for CloudWatch and records of Route 53, and gives secrets.

It refuses what AWS refuses: unknown clusters and services, more tasks in a call than allowed, protection of tasks without a
service. A service starts what is missing and ends what is too much, but no protected task. The metadata of a task are
served as in its container.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from time import sleep, time
from typing import Any

from infra.rehearsal.account.recorded_calls import Refusal
from tests.support.commands import XDASK
from tests.support.route53_twin import Route53Twin

Document = dict[str, Any]
_ACCOUNT, _PAGE = "123456789012", 2
_LOOK_SECONDS = 0.05


@dataclass
class TwinTask:
    """One task, and its process once its instance has started."""

    arn: str
    family: str
    service: str
    address: str
    overrides: Mapping[str, str]
    started_by: str = ""
    created: float = field(default_factory=time)
    status: str = "PROVISIONING"
    ends: bool = False
    reason: str = ""
    protected_until: float = 0.0
    process: subprocess.Popen[bytes] | None = None

    @property
    def id(self) -> str:
        return self.arn.rpartition("/")[2]

    @property
    def region(self) -> str:
        return self.arn.split(":")[3]

    def document(self) -> Document:
        values = {"privateIPv4Address": self.address, "networkInterfaceId": f"eni-{self.id[-17:]}"}
        details = [{"name": name, "value": value} for name, value in values.items()]
        attachment = {"id": self.id, "type": "ElasticNetworkInterface", "status": "ATTACHED", "details": details}
        return {
            "taskArn": self.arn,
            "lastStatus": self.status,
            "desiredStatus": "STOPPED" if self.ends else "RUNNING",
            "createdAt": self.created,
            "group": f"service:{self.service}" if self.service else f"family:{self.family}",
            "attachments": [] if self.status == "PROVISIONING" else [attachment],
            "containers": [],
            "startedBy": self.started_by,
            **({"stoppedReason": self.reason} if self.reason else {}),
        }


@dataclass
class TwinService:
    """One service."""

    cluster: str
    name: str
    family: str
    desired: int = 0
    events: list[Document] = field(default_factory=list)

    def document(self) -> Document:
        network = {"awsvpcConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"]}}
        return {
            "serviceName": self.name,
            "status": "ACTIVE",
            "desiredCount": self.desired,
            "networkConfiguration": network,
            "events": list(reversed(self.events)),
        }


@dataclass
class EcsTwin:
    """State of the twin. ``calls`` are the operations that were asked for, with their Regions."""

    logs: Path
    url: str = ""
    boot_seconds: float = 0.3
    services: dict[tuple[str, str], TwinService] = field(default_factory=dict)
    commands: dict[str, Sequence[str]] = field(default_factory=dict)
    tasks: dict[str, TwinTask] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    refuse: dict[str, Refusal] = field(default_factory=dict)
    secrets: dict[tuple[str, str], str] = field(default_factory=dict)
    metrics: dict[tuple[str, str, str, str], float] = field(default_factory=dict)
    cannot_place: set[str] = field(default_factory=set)
    route53: Route53Twin = field(default_factory=Route53Twin)
    before: Callable[[str], None] = lambda operation: None
    lock: threading.RLock = field(default_factory=threading.RLock)
    _numbers: Iterator[int] = field(default_factory=lambda: count(2))

    def family(self, name: str, *words: str) -> None:
        """Register a task family, whose container runs a command of `xdask`."""
        self.commands[name] = words

    def service(self, region: str, name: str, desired: int = 0) -> TwinService:
        """Create a service of the family of the same name, in the Region's cluster."""
        made = self.services[region, name] = TwinService(f"xdask-{region}", name, name, desired)
        return made

    def of_service(self, region: str, name: str) -> list[TwinTask]:
        """Return the tasks of a service that should run."""
        return [t for t in self.tasks.values() if t.region == region and t.service == name and not t.ends]

    # ---- the API ----------------------------------------------------------------------------------------------------

    def DescribeServices(self, region: str, asked: Document) -> Document:
        found = [s for name in asked["services"] if (s := self._find(region, asked, name))]
        missing = [
            {"arn": name, "reason": "MISSING"} for name in asked["services"] if name not in [s.name for s in found]
        ]
        return {"services": [each.document() for each in found], "failures": missing}

    def UpdateService(self, region: str, asked: Document) -> Document:
        service = self._find(region, asked, asked["service"])
        if service is None:
            raise Refusal("ServiceNotFoundException", "Service not found.")
        if asked["desiredCount"] < 0:
            raise Refusal("InvalidParameterException", "desiredCount cannot be negative.")
        service.desired = asked["desiredCount"]
        return {"service": service.document()}

    def ListTasks(self, region: str, asked: Document) -> Document:
        self._cluster(region, asked)
        wanted = asked.get("desiredStatus", "RUNNING") == "STOPPED"
        found = [t.arn for t in self.tasks.values() if t.region == region and t.ends == wanted]
        if "serviceName" in asked:
            found = [arn for arn in found if self.tasks[arn].service == asked["serviceName"]]
        if "family" in asked:
            found = [arn for arn in found if self.tasks[arn].family == asked["family"]]
        start = int(asked.get("nextToken", 0))
        more = {"nextToken": str(start + _PAGE)} if start + _PAGE < len(found) else {}
        return {"taskArns": found[start : start + _PAGE], **more}

    def DescribeTasks(self, region: str, asked: Document) -> Document:
        self._cluster(region, asked)
        if not 1 <= len(asked["tasks"]) <= 100:
            raise Refusal("InvalidParameterException", "Tasks cannot be empty, and 100 at most.")
        found = [task for name in asked["tasks"] if (task := self._task(name))]
        return {"tasks": [task.document() for task in found], "failures": []}

    def UpdateTaskProtection(self, region: str, asked: Document) -> Document:
        if len(asked["tasks"]) > 10 or not 1 <= asked.get("expiresInMinutes", 1) <= 2880:
            raise Refusal("InvalidParameterException", "At most 10 tasks, for 1 to 2880 minutes.")
        done, failures = [], []
        for name in asked["tasks"]:
            task = self._task(name)
            if task is None or task.ends or not task.service:
                failures.append({"arn": task.arn if task else name, "reason": "TASK_NOT_VALID"})
                continue
            minutes = asked.get("expiresInMinutes", 120)
            task.protected_until = time() + 60 * minutes if asked["protectionEnabled"] else 0.0
            done.append({"taskArn": task.arn, "protectionEnabled": asked["protectionEnabled"]})
        return {"protectedTasks": done, "failures": failures}

    def StopTask(self, region: str, asked: Document) -> Document:
        task = self._task(asked["task"])
        if task is None:
            raise Refusal("InvalidParameterException", "The referenced task was not found.")
        self._end(task, asked.get("reason", ""))
        return {"task": task.document()}

    def RunTask(self, region: str, asked: Document) -> Document:
        self._cluster(region, asked)
        if asked["taskDefinition"] not in self.commands:
            raise Refusal("ClientException", "TaskDefinition not found.")
        default = [{"capacityProvider": f"xdask-workers-{region}"}]  # strategy of the cluster
        if any(
            each["capacityProvider"] != f"xdask-workers-{region}"
            for each in asked.get("capacityProviderStrategy", default)
        ):
            raise Refusal("InvalidParameterException", "The specified capacity provider was not found.")
        if not asked["networkConfiguration"]["awsvpcConfiguration"]["subnets"]:
            raise Refusal("InvalidParameterException", "subnets can not be empty.")
        if len(json.dumps(asked["overrides"])) > 8192:
            raise Refusal("InvalidParameterException", "Overrides length must be at most 8192.")
        if asked["taskDefinition"] in self.cannot_place:
            return {"tasks": [], "failures": [{"arn": "", "reason": "RESOURCE:ENI"}]}
        (container,) = asked["overrides"]["containerOverrides"]
        variables = {each["name"]: each["value"] for each in container["environment"]}
        made = self._new(region, asked["taskDefinition"], "", variables)
        made.started_by = asked.get("startedBy", "")
        return {"tasks": [made.document()], "failures": []}

    # ---- other services ---------------------------------------------------------------------------------------------

    def PutMetricData(self, region: str, asked: Document) -> Document:
        if len(asked["MetricData"]) > 1000:
            raise Refusal("InvalidParameterValueException", "MetricData has more than 1000 members.")
        for each in asked["MetricData"]:
            (dimension,) = each["Dimensions"]
            self.metrics[region, asked["Namespace"], each["MetricName"], dimension["Value"]] = each["Value"]
        return {}

    def GetSecretValue(self, region: str, asked: Document) -> Document:
        if (region, asked["SecretId"]) not in self.secrets:
            raise Refusal("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
        return {"Name": asked["SecretId"], "SecretString": self.secrets[region, asked["SecretId"]]}

    # ---- a service's life -------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Let services start and end tasks, and tasks their processes."""
        with self.lock:
            for (region, name), service in self.services.items():
                self._keep(region, service, self.of_service(region, name))
            for task in self.tasks.values():
                self._live(task)

    def _keep(self, region: str, service: TwinService, tasks: list[TwinTask]) -> None:
        if len(tasks) < service.desired and service.name in self.cannot_place:
            message = (
                f"(service {service.name}) was unable to place a task because no container instance met all of its "
            )
            message += 'requirements. The closest matching container-instance encountered error "RESOURCE:ENI".'
            if not service.events or time() - service.events[-1]["createdAt"] > 0.5:
                service.events.append({"id": str(len(service.events)), "createdAt": time(), "message": message})
        elif len(tasks) < service.desired:
            self._new(region, service.family, service.name, {})
        elif len(tasks) > service.desired:
            free = [task for task in tasks if task.protected_until < time()]
            for task in sorted(free, key=lambda each: each.status == "RUNNING")[: len(tasks) - service.desired]:
                self._end(task, "Scaling activity initiated by the service scheduler")

    def _new(self, region: str, family: str, service: str, variables: Mapping[str, str]) -> TwinTask:
        number = next(self._numbers)
        arn = f"arn:aws:ecs:{region}:{_ACCOUNT}:task/xdask-{region}/{number:032x}"
        address = f"127.{os.getpid() % 200 + 20}.{os.getpid() // 200 % 250}.{number}"
        made = self.tasks[arn] = TwinTask(arn, family, service, address, variables)
        return made

    def _live(self, task: TwinTask) -> None:
        if task.process is None and not task.ends and time() - task.created > self.boot_seconds:
            kept = {k: v for k, v in os.environ.items() if not k.startswith("XDASK_")}
            own = {"ECS_CONTAINER_METADATA_URI_V4": f"{self.url}/v4/{task.id}", **task.overrides}
            with (self.logs / f"{task.family}-{task.id[-3:]}.log").open("ab") as log:
                task.process = subprocess.Popen(
                    [XDASK, *self.commands[task.family]], env=kept | own, stdout=log, stderr=log, start_new_session=True
                )
            task.status = "RUNNING"
        elif task.process is not None and task.process.poll() is not None and task.status != "STOPPED":
            task.status, task.ends = "STOPPED", True
            task.reason = task.reason or f"Essential container in task exited ({task.process.returncode})"

    def _end(self, task: TwinTask, reason: str) -> None:
        if task.ends:
            return
        task.ends, task.reason = True, reason
        if task.process is not None:
            task.process.send_signal(signal.SIGTERM)
        else:
            task.status = "STOPPED"

    def _cluster(self, region: str, asked: Document) -> None:
        if asked.get("cluster", "").rpartition("/")[2] != f"xdask-{region}":
            raise Refusal("ClusterNotFoundException", "Cluster not found.")

    def _find(self, region: str, asked: Document, name: str) -> TwinService | None:
        self._cluster(region, asked)
        return self.services.get((region, name))

    def _task(self, name: str) -> TwinTask | None:
        return next((task for task in self.tasks.values() if name in (task.arn, task.id)), None)

    def answer(self, region: str, operation: str, asked: Document) -> tuple[int, Document]:
        """Answer one call."""
        self.before(operation)
        with self.lock:
            self.calls.append((region, operation))
            try:
                if operation in self.refuse:
                    raise self.refuse[operation]
                return 200, getattr(self, operation)(region, asked)
            except Refusal as error:
                return 400, {"__type": error.kind, "message": str(error)}

    def metadata(self, path: str) -> Document:
        """Return what the metadata endpoint serves to a container."""
        task = self._task(path.split("/")[2])
        assert task is not None
        networks = [{"NetworkMode": "awsvpc", "IPv4Addresses": [task.address]}]
        return {"TaskARN": task.arn, "Containers": [{"Name": "dask-worker", "Networks": networks}]}

    def stop_all(self) -> None:
        """End all processes that run."""
        processes = [task.process for task in self.tasks.values() if task.process is not None]
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@contextmanager
def ecs_twin(logs: Path) -> Iterator[EcsTwin]:
    """Run a twin on loopback; its processes end with it."""
    twin = EcsTwin(logs)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.path.startswith("/2013-04-01/"):
                return self._send(*twin.route53.answer("POST", self.path, body), "text/xml")
            region = re.findall(r"Credential=[^/]+/\d+/([^/]+)/", self.headers["Authorization"])[0]
            operation = self.headers["X-Amz-Target"].rpartition(".")[2]
            status, answer = twin.answer(region, operation, json.loads(body or "{}"))
            return self._send(status, json.dumps(answer).encode(), "application/x-amz-json-1.1")

        def do_GET(self) -> None:
            if self.path.startswith("/2013-04-01/"):
                return self._send(*twin.route53.answer("GET", self.path, b""), "text/xml")
            return self._send(200, json.dumps(twin.metadata(self.path)).encode(), "application/json")

        def _send(self, status: int, content: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    twin.url = f"http://127.0.0.1:{server.server_port}"
    ended = threading.Event()

    def live() -> None:
        while not ended.is_set():
            twin.look()
            sleep(_LOOK_SECONDS)

    threads = [threading.Thread(target=target, daemon=True) for target in (lambda: server.serve_forever(0.05), live)]
    for thread in threads:
        thread.start()
    try:
        yield twin
    finally:
        ended.set()
        threads[1].join()
        twin.stop_all()
        server.shutdown()
        server.server_close()

"""A twin of the FSx API: file systems, associations and import tasks with states, over HTTP as boto3 speaks it.

The twin refuses what AWS refuses, as the API's own description says: unknown file systems and tasks, paths outside of any
association, a second task while one executes, reports outside of the repository, one token for two requests. An import
brings new and changed objects of a bucket into a folder, never deletions, as the real one does.

Belongs here: the API. Does not belong here: files of a mount (agent), the proxy that leads to the twin.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from infra.rehearsal.account.http_listener import Answer, HttpListener
from infra.rehearsal.account.recorded_calls import Refusal, Request
from infra.rehearsal.servers.loopback import listening

Document = dict[str, Any]


@dataclass
class FsxTwin:
    """FSx of one Region. Each description of a task takes the task one step further."""

    url: str = ""
    s3: Any = None
    root: Path = Path()
    file_systems: list[Document] = field(default_factory=list)
    associations: list[Document] = field(default_factory=list)
    tasks: list[Document] = field(default_factory=list)
    created: int = 0
    unreadable: Callable[[str], bool] = lambda key: False
    outcome: str = "SUCCEEDED"
    page: int = 2
    _steps: dict[str, int] = field(default_factory=dict)
    _tokens: dict[str, tuple[Document, str]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=count)

    def link(self, bucket: str, folder: str, file_system: str = "fs-0123456789abcdef0", **more: Any) -> Document:
        """Add an association, as an operator or a template does."""
        made = {
            "AssociationId": f"dra-{next(self._numbers):017x}",
            "FileSystemId": file_system,
            "Lifecycle": "AVAILABLE",
            "FileSystemPath": folder,
            "DataRepositoryPath": bucket,
            **more,
        }
        self.associations.append(made)
        return made

    def file_system(self, file_system: str, **more: Any) -> Document:
        """Add a file system, as a template does."""
        made = {"FileSystemId": file_system, "FileSystemType": "LUSTRE", "Lifecycle": "AVAILABLE", **more}
        self.file_systems.append(made)
        return made

    def remove(self, *ids: str) -> None:
        """Remove file systems and associations by id."""
        self.file_systems = [each for each in self.file_systems if each["FileSystemId"] not in ids]
        self.associations = [each for each in self.associations if each["AssociationId"] not in ids]

    # ---- the API ----------------------------------------------------------------------------------------------

    def answer(self, operation: str, asked: Document) -> Document:
        """Answer one call.

        Raises
        ------
        Refusal
            The call is refused, or the twin does not have the operation.
        """
        if operation.startswith("_") or not operation[:1].isupper() or not hasattr(self, operation):
            raise Refusal("UnsupportedOperation", f"the twin does not have {operation}")
        answer: Document = getattr(self, operation)(asked)
        return answer

    def DescribeFileSystems(self, asked: Document) -> Document:  # noqa: N802
        """List file systems."""
        wanted = asked.get("FileSystemIds", ())
        found = [each for each in self.file_systems if not wanted or each["FileSystemId"] in wanted]
        if len(found) < len(wanted):
            raise Refusal("FileSystemNotFound", "there is no such file system")
        return self._paged("FileSystems", found, asked)

    def DescribeDataRepositoryAssociations(self, asked: Document) -> Document:  # noqa: N802
        """List associations."""
        return self._paged("Associations", self.associations, asked)

    def DescribeDataRepositoryTasks(self, asked: Document) -> Document:  # noqa: N802
        """List tasks, by id or by filters."""
        if "TaskIds" in asked:
            found = [task for task in self.tasks if task["TaskId"] in asked["TaskIds"]]
            if len(found) != len(asked["TaskIds"]):
                raise Refusal("DataRepositoryTaskNotFound", "there is no such task")
        else:
            wanted = {f["Name"]: f["Values"] for f in asked.get("Filters", ())}
            found = [t for t in self.tasks if t["FileSystemId"] in wanted.get("file-system-id", [t["FileSystemId"]])]
        answer = self._paged("DataRepositoryTasks", found, asked)
        answer = json.loads(json.dumps(answer))  # as they are now; time passes afterwards
        for task in found:
            self._live(task)
        return answer

    def CreateDataRepositoryTask(self, asked: Document) -> Document:  # noqa: N802
        """Begin an import."""
        token, same = asked["ClientRequestToken"], json.dumps(asked, sort_keys=True)
        if token in self._tokens:
            task, before = self._tokens[token]
            if before != same:
                raise Refusal("IncompatibleParameterError", "the token was used for another request")
            return {"DataRepositoryTask": task}
        linked = [a for a in self.associations if a["FileSystemId"] == asked["FileSystemId"]]
        if not linked:
            raise Refusal("FileSystemNotFound", f"{asked['FileSystemId']} is not there, or nothing is linked to it")
        sources = [a["DataRepositoryPath"] for a in linked if a["Lifecycle"] == "AVAILABLE"]
        for path in asked["Paths"]:
            if not any(f"{path}/".startswith(f"{source.rstrip('/')}/") for source in sources):
                raise Refusal("BadRequest", f"{path} is in no repository that is linked")
        report = asked["Report"]
        if report["Enabled"] and not any(report["Path"].startswith(source) for source in sources):
            raise Refusal("BadRequest", "the report must lie in the repository")
        if busy := [t for t in self.tasks if t["Lifecycle"] in ("PENDING", "EXECUTING")]:
            self._live(busy[0])
            raise Refusal("DataRepositoryTaskExecuting", "a task is executing on the file system already")
        self.created += 1
        task = {
            "TaskId": f"task-{next(self._numbers):017x}",
            "Lifecycle": "PENDING",
            "Type": asked["Type"],
            "CreationTime": 1.7e9,
            "FileSystemId": asked["FileSystemId"],
            "Paths": asked["Paths"],
            "Report": report,
        }
        self.tasks.append(task)
        self._steps[task["TaskId"]] = 3
        self._tokens[token] = (task, same)
        return {"DataRepositoryTask": json.loads(json.dumps(task))}

    # ---- a task's life ----------------------------------------------------------------------------------------

    def _live(self, task: Document) -> None:
        left = self._steps.get(task["TaskId"], 0)
        if not left or task["Lifecycle"] not in ("PENDING", "EXECUTING"):
            return
        self._steps[task["TaskId"]] = left - 1
        if left == 3:
            task["Lifecycle"] = "EXECUTING"
            task["Status"] = {"TotalCount": 0, "SucceededCount": 0, "FailedCount": 0}
        elif left == 2:
            done, failed = self._import(task)
            task["Status"] = {"TotalCount": done + failed, "SucceededCount": done, "FailedCount": failed}
        else:
            failed = task["Status"]["FailedCount"]
            task["Lifecycle"] = "FAILED" if failed else self.outcome
            if task["Lifecycle"] == "FAILED":
                task["FailureDetails"] = {"Message": f"{failed} files could not be imported"}

    def _import(self, task: Document) -> tuple[int, int]:
        done = failed = 0
        for association in self.associations:
            source = association["DataRepositoryPath"].rstrip("/")
            if source not in [path.rstrip("/") for path in task["Paths"]]:
                continue
            bucket, _, prefix = source.removeprefix("s3://").partition("/")
            prefix = prefix and f"{prefix}/"
            pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            for item in (item for page in pages for item in page.get("Contents", ())):
                if item["Key"].endswith("/"):
                    continue
                if self.unreadable(item["Key"]):
                    failed += 1
                    continue
                path = self.root / association["FileSystemPath"].strip("/") / item["Key"][len(prefix) :]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self.s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read())
                done += 1
        return done, failed

    def _paged(self, name: str, found: list[Document], asked: Document) -> Document:
        start = int(asked.get("NextToken", 0))
        end = start + self.page
        more = {"NextToken": str(end)} if end < len(found) else {}
        return {name: found[start:end], **more}


@contextmanager
def fsx_twin(s3: Any, root: Path) -> Iterator[FsxTwin]:
    """Run the twin on loopback; ``root`` is the file system, ``s3`` a client of the server that holds the buckets."""
    twin, lock = FsxTwin(s3=s3, root=root), threading.Lock()

    def handle(request: Request) -> Answer:
        with lock:
            try:
                name = request.headers["x-amz-target"].rpartition(".")[2]
                status, answer = 200, twin.answer(name, json.loads(request.body or "{}"))
            except Refusal as error:
                status, answer = 400, {"__type": error.kind, "Message": str(error)}
        return Answer(status, json.dumps(answer).encode(), {"Content-Type": "application/x-amz-json-1.1"})

    listener = HttpListener(handle, listening())
    twin.url = listener.url
    try:
        yield twin
    finally:
        listener.close()

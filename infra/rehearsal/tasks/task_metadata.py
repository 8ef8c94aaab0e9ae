"""What ECS serves to its containers: metadata of their task, and credentials of its role.

Belongs here: the endpoint. Does not belong here: tasks (agent).
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from infra.rehearsal.account.clients import access_key, secret_key, session_token

Document = dict[str, Any]
#: Paths of the metadata of a container, and of the credentials of a task.
METADATA, CREDENTIALS = "/v4/", "/v2/credentials/"
_SESSION = timedelta(hours=6)


def credentials_document(role_arn: str) -> Document:
    """Return credentials of a role, as a container gets them: those of a session that ends."""
    role, until = role_arn.rpartition("/")[2], datetime.now(UTC) + _SESSION
    return {
        "AccessKeyId": access_key(role),
        "SecretAccessKey": secret_key(role),
        "Token": session_token(role, until),
        "Expiration": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "RoleArn": role_arn,
    }


class TaskMetadata:
    """The endpoint of all tasks.

    Parameters
    ----------
    task_of
        Returns the metadata of a task by its id, or None.
    role_of
        Returns the ARN of a task's role by the task's id; empty without one.
    """

    def __init__(self, task_of: Callable[[str], Document | None], role_of: Callable[[str], str]) -> None:
        self._task_of, self._role_of = task_of, role_of
        self._servers: list[ThreadingHTTPServer] = []

    def listen(self, listener: socket.socket) -> str:
        """Answer at a listening socket; the address there."""
        handler = type("Handler", (_Handler,), {"metadata": self})
        host, port = listener.getsockname()[:2]
        server = ThreadingHTTPServer((host, port), handler, bind_and_activate=False)
        server.socket.close()
        server.socket, server.daemon_threads = listener, True
        self._servers.append(server)
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        return f"http://{host}:{port}"

    def close(self) -> None:
        """Stop listening."""
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def answer(self, path: str) -> Document | None:
        """Return what a path has, or None."""
        if path.startswith(CREDENTIALS):
            role = self._role_of(path[len(CREDENTIALS) :])
            return credentials_document(role) if role else None
        task_id, _, rest = path.removeprefix(METADATA).partition("/")
        container = task_id.partition(".")[2]
        task = self._task_of(task_id.partition(".")[0])
        if task is None or rest not in ("", "task"):
            return None
        if rest == "task":
            return task
        return next((each for each in task["Containers"] if each["Name"] == container), None)


class _Handler(BaseHTTPRequestHandler):
    metadata: TaskMetadata

    def do_GET(self) -> None:
        document = self.metadata.answer(self.path)
        body = json.dumps(document or {}).encode()
        self.send_response(404 if document is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        return

"""The proxy for operators' commands: what they deploy has stand-ins, and what they ask is answered as if it had not.

Belongs here: change sets, templates and quotas, for the CDK's command line and `xdask lustre up`. Does not belong here: the
list of stand-ins (stand_ins), a deployment by the rehearsal itself (deploy).
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit
from xml.sax.saxutils import escape

from infra.rehearsal.account.clients import EmulatedClients
from infra.rehearsal.account.deploy import Deployment
from infra.rehearsal.account.emulator import Emulator
from infra.rehearsal.account.http_listener import Answer
from infra.rehearsal.account.offers import offers
from infra.rehearsal.account.proxy import Proxy, refusal
from infra.rehearsal.account.recorded_calls import Call, Refusal, Request
from infra.rehearsal.account.stand_ins import problems, supported_types
from infra.rehearsal.account.task_states import TaskStates
from infra.rehearsal.account.templates import Stack, deployable
from infra.rehearsal.servers.s3_server import S3Server

_TEMPLATE = """<GetTemplateResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/"><GetTemplateResult>
<TemplateBody>{body}</TemplateBody></GetTemplateResult></GetTemplateResponse>"""
#: More virtual CPUs than any pool of a test needs.
_QUOTA = {"Quota": {"ServiceCode": "ec2", "Value": 100_000.0}}

#: The emulator answers an empty list, by which the command line would take the image for published.
_NO_IMAGE = Refusal("ImageNotFoundException", "The image requested does not exist in the specified repository")


class OperatorFront(Proxy):
    """Calls of operators' commands on their way to the emulator; see `Proxy`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._clients = EmulatedClients(url=self.emulator.url)
        self._outputs = Deployment(self._clients, ()).output
        self._supported = supported_types()
        #: Statuses that the next descriptions of stacks have, by Region and stack: a change that takes its time.
        self.statuses: dict[tuple[str, str], list[str]] = {}
        #: Templates as the CDK wrote them, by Region, stack and change set; and those of stacks.
        self._changes: dict[tuple[str, str, str], str] = {}
        self.templates: dict[tuple[str, str], str] = {}

    def _answer(self, call: Call, request: Request) -> Answer:
        if (call.service, call.operation) == ("service-quotas", "GetServiceQuota"):
            return Answer(200, json.dumps(_QUOTA).encode(), {"Content-Type": "application/x-amz-json-1.1"})
        if found := offers(call):
            return found
        if (call.service, call.operation) == ("ecr", "DescribeImages"):
            answer = super()._answer(call, request)
            return answer if json.loads(answer.body).get("imageDetails") else refusal(_NO_IMAGE)
        if (call.service, call.operation) == ("cloudformation", "DescribeStacks"):
            return self._described(call, super()._answer(call, request))
        if call.service != "cloudformation" or "StackName" not in call.parameters:
            return super()._answer(call, request)
        stack = _name(call.parameters["StackName"])
        change = (call.region, stack, _name(call.parameters.get("ChangeSetName", "")))
        if call.operation in ("CreateChangeSet", "CreateStack") and _given(call.parameters):
            template = self._template(call.parameters)
            if not template.startswith("{"):  # the bootstrap's is YAML, and needs no stand-in
                return super()._answer(call, request)
            self._changes[change] = template
            return super()._answer(call, self._with_stand_ins(call, request, stack, json.loads(template)))
        answer = super()._answer(call, request)
        if call.operation == "ExecuteChangeSet" and answer.status == 200 and change in self._changes:
            self.templates[call.region, stack] = self._changes[change]
        if call.operation == "GetTemplate" and answer.status == 200 and (call.region, stack) in self.templates:
            body = escape(self.templates[call.region, stack])
            return Answer(200, _TEMPLATE.format(body=body).encode(), {"Content-Type": "text/xml"})
        return answer

    def _described(self, call: Call, answer: Answer) -> Answer:
        for (region, stack), left in self.statuses.items():
            if region == call.region and left:
                pattern = rf"(<StackName>{stack}</StackName>.*?<StackStatus>)\w+".encode()
                answer.body = re.sub(pattern, rb"\1" + left.pop(0).encode(), answer.body, count=1, flags=re.DOTALL)
        return answer

    def _template(self, parameters: Mapping[str, Any]) -> str:
        if "TemplateBody" in parameters:
            return str(parameters["TemplateBody"])
        bucket, key = _object_of(parameters["TemplateURL"])
        found = self._clients.of("s3", "us-east-1").get_object(Bucket=bucket, Key=key)
        return str(found["Body"].read().decode())

    def _with_stand_ins(self, call: Call, request: Request, stack: str, template: Mapping[str, Any]) -> Request:
        original = Stack(stack, call.region, self.emulator.account, template)
        if wrong := problems(original.types, self._supported):
            raise OSError("; ".join(wrong))  # status 503, which the command line shows
        form = dict(parse_qsl(request.body.decode(), keep_blank_values=True))
        form.pop("TemplateURL", None)
        form["TemplateBody"] = json.dumps(deployable(original, self._outputs))
        return replace(request, body=urlencode(form).encode())


def _given(parameters: Mapping[str, Any]) -> bool:
    return bool({"TemplateBody", "TemplateURL"} & parameters.keys())


def _name(name_or_arn: str) -> str:
    """Return the name in an ARN of a stack or a change set."""
    return name_or_arn.split("/")[1] if name_or_arn.startswith("arn:") else name_or_arn


def _object_of(url: str) -> tuple[str, str]:
    """Return bucket and key of an address of S3, with the bucket in its host or in its path."""
    parts = urlsplit(url)
    host, path = parts.hostname or "", unquote(parts.path).lstrip("/")
    if ".s3." in host:
        return host.partition(".s3.")[0], path
    bucket, _, key = path.partition("/")
    return bucket, key


@contextmanager
def operator_front(emulator: Emulator, folder: Path, s3: S3Server | None = None) -> Iterator[OperatorFront]:
    """Run a proxy for operators' commands; see `infra.rehearsal.account.proxy.proxy`."""
    front = OperatorFront(emulator, TaskStates(), folder / "calls.jsonl", s3)
    try:
        yield front
    finally:
        front.close()


def docker_stand_in(folder: Path) -> Path:
    """Write a program that takes the commands of Docker and builds nothing; `CDK_DOCKER` names it to the command line.

    It has no image, so that each is built and pushed.

    Each command is a line of ``docker.log`` in the folder.
    """
    program = folder / "docker"
    log = shlex.quote(str(folder / "docker.log"))
    program.write_text(f'#!/bin/sh\necho "$*" >>{log}\ntest "$1" != inspect\n')
    program.chmod(0o755)
    return program

"""The stanza ``aws`` of the topology file: what is provisioned, and what it may cost.

Belongs here: its keys, and refusals that it can tell alone. Does not belong here: checks with other stanzas
(topology_checks), names (aws_names).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from xdask_pipelines.topology.strict_yaml import Stanza


def _matching(pattern: str, what: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"{text!r} is not {what}")
        return text

    return AfterValidator(check)


_Account = Annotated[str, _matching(r"\d{12}", "an AWS account; write its twelve digits in quotes")]
_Email = Annotated[str, _matching(r"[^@\s]+@[^@\s]+\.[^@\s]+", "an email address; write one such as ops@example.org")]
_Certificate = Annotated[
    str, _matching(r"arn:aws[a-z-]*:acm:[a-z0-9-]+:\d{12}:certificate/[0-9a-f-]+", "the ARN of an ACM certificate")
]
_Secret = Annotated[
    str, _matching(r"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:\S+", "the ARN of a secret")
]
_Https = Annotated[str, _matching(r"https://\S+", "an address that begins with https://")]


class Oidc(Stanza):
    """The identity provider by which members log in at the load balancer (stage full).

    ``client_secret`` is the ARN of a Secrets Manager secret, never the secret itself.
    """

    issuer: _Https
    authorization_endpoint: _Https
    token_endpoint: _Https
    user_info_endpoint: _Https
    client_id: Annotated[str, Field(min_length=1)]
    client_secret: _Secret


class Access(Stanza):
    """The address of the UI for members, and how they log in (stage full)."""

    host: Annotated[str, _matching(r"[a-z0-9-]+(\.[a-z0-9-]+)+", "a host name; write one such as dagster.example.org")]
    certificate: _Certificate
    oidc: Oidc


def _one_or_even(nodes: int) -> int:
    if nodes > 1 and nodes % 2:
        raise ValueError(f"{nodes} nodes cannot be divided between two zones; write 1, or an even number")
    return nodes


class Search(Stanza):
    """The OpenSearch domain of the catalog; the stage gives the defaults. Several nodes lie in two zones."""

    instance_type: Annotated[str, _matching(r"[a-z0-9]+\.[a-z0-9]+\.search", "an OpenSearch instance type")] | None = (
        None
    )
    nodes: Annotated[int, Field(ge=1, le=10), AfterValidator(_one_or_even)] = 1
    volume_gib: Annotated[int, Field(ge=10)] = 20


Zone = Annotated[str, _matching(r"[a-z]", "the letter of a zone; write one such as a")]


class Vpc(Stanza):
    """An existing VPC: subnets and route tables are added to it. ``cidr`` of the Region is a free range of its addresses."""

    id: Annotated[str, _matching(r"vpc-[0-9a-f]{8,17}", "a VPC; write one such as vpc-0123456789abcdef0")]
    internet_gateway: Annotated[
        str, _matching(r"igw-[0-9a-f]{8,17}", "an internet gateway; write one such as igw-0123456789abcdef0")
    ]


class NotebookHome(Stanza):
    """A folder of an existing EFS file system for the homes of notebooks.

    The file system has mount targets in the client Region's VPC. A rule is added to their ``security_group``.
    """

    file_system: Annotated[
        str, _matching(r"fs-[0-9a-f]{8,17}", "an EFS file system; write one such as fs-0123456789abcdef0")
    ]
    security_group: Annotated[
        str, _matching(r"sg-[0-9a-f]{8,17}", "a security group; write one such as sg-0123456789abcdef0")
    ]
    directory: Annotated[str, _matching(r"/[A-Za-z0-9._/-]*", "an absolute path")] = "/xdask"


class Aws(Stanza):
    """What `make infra-deploy` provisions.

    Parameters
    ----------
    account
        Twelve digits.
    stage
        ``small`` for one group: one task for scheduler and Dagster, data through Mountpoint for S3, access by SSM.
        ``full`` for a department: FSx for Lustre, a load balancer with OIDC, runs in tasks of their own.
    alarms_to
        Email address that gets alarms and messages about the budget.
    budget_usd
        Monthly budget of all Regions, of which messages report 80 % and 100 %.
    network
        ``peering``: a VPC peering for each pair of Regions, free of charge by the hour. ``transit-gateway``: one gateway
        in each Region.
    egress
        How worker hosts reach AWS's services: ``public`` addresses without ingress, or ``nat``.
    notebook
        ``ecs``: a task of the same image. ``sagemaker``: a notebook instance.
    access
        Address of the UI and its identity provider; needed at stage full.
    search
        OpenSearch domain of the catalog.
    home
        Existing EFS file system for notebooks; without it, one is created.
    """

    account: _Account
    stage: Literal["small", "full"] = "small"
    alarms_to: _Email
    budget_usd: Annotated[int, Field(ge=1)] = 300
    network: Literal["peering", "transit-gateway"] = "peering"
    egress: Literal["public", "nat"] = "public"
    notebook: Literal["ecs", "sagemaker"] = "ecs"
    access: Access | None = None
    search: Search = Search()
    home: NotebookHome | None = None

    def problems(self) -> Iterator[tuple[str, str]]:
        """Keys that do not go together, each with what is wrong and what to do."""
        if self.stage == "full" and self.access is None:
            yield (
                "stage",
                "stage full has a load balancer, by which members read Dagster; add access with host, certificate and oidc",
            )
        if self.stage == "small" and self.access is not None:
            yield "access", "stage small has no load balancer; remove access, or write stage: full"
        if self.notebook == "sagemaker" and self.egress != "nat":
            yield (
                "notebook",
                "a SageMaker instance has no public address and needs a NAT gateway to start; add egress: nat, or write "
                "notebook: ecs",
            )

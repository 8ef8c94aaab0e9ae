"""Clients of the emulator, or of the proxy in front of it.

Belongs here: clients, and credentials by which the proxy knows the role of a caller. Does not belong here: what is asked.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.client import Config

from infra.deployment.aws_clients import Clients

#: Role of people who deploy.
OPERATOR = "operator"
_TIME = "%Y%m%dT%H%M%SZ"


def access_key(role: str) -> str:
    """Return the access key id of a role: AWS gives a session of a role one that begins with ASIA."""
    return "ASIA" + base64.b32encode(hashlib.sha256(role.encode()).digest()).decode()[:16]


def secret_key(role: str) -> str:
    """Return the secret access key of a role."""
    return base64.b64encode(hashlib.sha256(f"secret of {role}".encode()).digest()).decode()[:40]


def session_token(role: str, until: datetime) -> str:
    """Return the token of a session of a role, which ends at a time."""
    end = until.astimezone(UTC).strftime(_TIME)
    return f"{end}.{hashlib.sha256(f'session of {role} until {end}'.encode()).hexdigest()}"


def end_of_session(role: str, token: str) -> datetime | None:
    """Return when a session ends, or None if the token is not one of the role."""
    try:
        until = datetime.strptime(token.partition(".")[0], _TIME).replace(tzinfo=UTC)
    except ValueError:
        return None
    return until if session_token(role, until) == token else None


def credentials(role: str) -> dict[str, str]:
    """Return the environment by which a process acts as a role."""
    return {"AWS_ACCESS_KEY_ID": access_key(role), "AWS_SECRET_ACCESS_KEY": secret_key(role)}


@dataclass
class EmulatedClients(Clients):
    """Clients of one endpoint as one role, for the steps of a real deployment too."""

    url: str = ""
    role: str = OPERATOR

    def of(self, service: str, region: str) -> Any:
        """Return the client of a service in a Region."""
        if (service, region) not in self._made:
            key = credentials(self.role)
            self._made[service, region] = boto3.client(
                service,
                region_name=region,
                endpoint_url=self.url,
                aws_access_key_id=key["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=key["AWS_SECRET_ACCESS_KEY"],
                config=Config(retries={"max_attempts": 2}, s3={"addressing_style": "path"}, read_timeout=60),
            )
        return self._made[service, region]

"""Clients of AWS for deployments.

Belongs here: making them. Does not belong here: what they are asked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config

_RETRIES = Config(retries={"mode": "standard", "max_attempts": 8})


@dataclass
class Clients:
    """Clients by service and Region, each made once, with the credentials of the environment."""

    _made: dict[tuple[str, str], Any] = field(default_factory=dict)

    def of(self, service: str, region: str) -> Any:
        """Return the client of a service in a Region."""
        if (service, region) not in self._made:
            session = boto3.session.Session()
            self._made[service, region] = session.client(service, region_name=region, config=_RETRIES)
        return self._made[service, region]

"""A twin of the two calls of Route 53 that keep the scheduler's record, and of the listing of zones."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_SPACE = 'xmlns="https://route53.amazonaws.com/doc/2013-04-01/"'


@dataclass
class Route53Twin:
    """Zones by name, and their address records with their time to live."""

    zones: dict[str, str] = field(default_factory=dict)
    records: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    changes: int = 0

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Answer one request."""
        if "/hostedzonesbyname" in path:
            zones = "".join(
                f"<HostedZone><Id>/hostedzone/{id_}</Id><Name>{name}.</Name><CallerReference>r</CallerReference>"
                f"<Config><PrivateZone>true</PrivateZone></Config></HostedZone>"
                for name, id_ in self.zones.items()
            )
            return 200, (
                f"<ListHostedZonesByNameResponse {_SPACE}><HostedZones>{zones}</HostedZones><IsTruncated>false</IsTruncated>"
                "<MaxItems>100</MaxItems></ListHostedZonesByNameResponse>"
            ).encode()
        zone = re.findall(r"/hostedzone/([^/?]+)/rrset", path)[0]
        if zone not in self.zones.values():
            error = "<Error><Code>NoSuchHostedZone</Code><Message>none</Message></Error>"
            return 404, f"<ErrorResponse {_SPACE}>{error}</ErrorResponse>".encode()
        if method == "POST":
            text = body.decode()
            name, address, ttl = (re.findall(f"<{tag}>([^<]+)</{tag}>", text)[0] for tag in ("Name", "Value", "TTL"))
            assert "<Action>UPSERT</Action>" in text
            self.records[zone, name.rstrip(".")] = (address, int(ttl))
            self.changes += 1
            return 200, (
                f"<ChangeResourceRecordSetsResponse {_SPACE}><ChangeInfo><Id>/change/C1</Id><Status>PENDING</Status>"
                "<SubmittedAt>2026-01-01T00:00:00Z</SubmittedAt></ChangeInfo></ChangeResourceRecordSetsResponse>"
            ).encode()
        sets = "".join(
            f"<ResourceRecordSet><Name>{name}.</Name><Type>A</Type><TTL>{ttl}</TTL><ResourceRecords><ResourceRecord>"
            f"<Value>{address}</Value></ResourceRecord></ResourceRecords></ResourceRecordSet>"
            for (of, name), (address, ttl) in self.records.items()
            if of == zone
        )
        return 200, (
            f"<ListResourceRecordSetsResponse {_SPACE}><ResourceRecordSets>{sets}</ResourceRecordSets>"
            "<IsTruncated>false</IsTruncated><MaxItems>100</MaxItems></ListResourceRecordSetsResponse>"
        ).encode()

"""The scheduler's address record in the private zone: its name leads to the task that runs now.

Belongs here: reading the task's address, and changing the record. Does not belong here: when (ecs_controller).
"""

from __future__ import annotations

from typing import Any

from xdask_pipelines.errors import AwsError
from xdask_pipelines.resources.aws.clients import call, client
from xdask_pipelines.resources.aws.ecs_service import EcsService
from xdask_pipelines.topology.aws_names import SCHEDULER_HOST, SCHEDULER_SERVICE, SCHEDULER_TTL_SECONDS, ZONE


class SchedulerRecord:
    """The record, and the service whose task it leads to.

    Parameters
    ----------
    region
        The client Region.
    """

    def __init__(self, region: str) -> None:
        self._service = EcsService(region, SCHEDULER_SERVICE)
        self._route53 = client("route53", region)
        self._zone = ""

    def task_address(self) -> str:
        """Return the address of the scheduler's newest running task; empty if none runs."""
        running = [task for task in self._service.tasks() if task.status == "RUNNING" and task.address]
        return max(running, key=lambda task: task.created).address if running else ""

    def set(self, address: str) -> bool:
        """Let the scheduler's name lead to an address; return whether it did not before."""
        zone = self._zone_id()
        answer = call(
            self._route53,
            "list_resource_record_sets",
            HostedZoneId=zone,
            StartRecordName=SCHEDULER_HOST,
            StartRecordType="A",
            MaxItems="1",
        )
        wanted: dict[str, Any] = {
            "Name": SCHEDULER_HOST,
            "Type": "A",
            "TTL": SCHEDULER_TTL_SECONDS,
            "ResourceRecords": [{"Value": address}],
        }
        if any(_of_record(each) == _of_record(wanted) for each in answer.get("ResourceRecordSets", ())):
            return False
        changes = [{"Action": "UPSERT", "ResourceRecordSet": wanted}]
        call(self._route53, "change_resource_record_sets", HostedZoneId=zone, ChangeBatch={"Changes": changes})
        return True

    def _zone_id(self) -> str:
        if not self._zone:
            found = call(self._route53, "list_hosted_zones_by_name", DNSName=ZONE, MaxItems="10")["HostedZones"]
            zones = [each["Id"] for each in found if each["Name"].rstrip(".") == ZONE and each["Config"]["PrivateZone"]]
            if len(zones) != 1:
                raise AwsError(
                    f"There are {len(zones)} private zones {ZONE} in this account, and there has to be one. Deploy the "
                    "stack of the zone (`make infra-deploy`), or remove those of other deployments."
                )
            self._zone = zones[0].rpartition("/")[2]
        return self._zone


def _of_record(record: dict[str, Any]) -> tuple[str, str, list[str]]:
    return record["Name"].rstrip("."), record["Type"], [each["Value"] for each in record.get("ResourceRecords", ())]

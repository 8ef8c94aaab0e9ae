"""What a task finds around it: names, folders of its host, TLS keys, and the ways to AWS.

Belongs here: files and addresses that containers get. Does not belong here: tasks and their processes (agent).
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from infra.rehearsal.account.clients import EmulatedClients
from infra.rehearsal.account.proxy import Proxy
from infra.rehearsal.servers.loopback import listening
from infra.rehearsal.tasks.task_definitions import HostFolders
from infra.rehearsal.tasks.task_metadata import CREDENTIALS, METADATA, TaskMetadata
from infra.rehearsal.tasks.task_networks import LoopbackNetwork, TaskNetwork, listening_in
from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.aws_names import TLS_SECRET, ZONE, role_name

_PROXY_PORT, _METADATA_PORT = 4566, 51678
#: What worker tasks can reach of AWS: their subnets have a gateway endpoint of S3, and no other way.
_OF_WORKERS = frozenset({"s3"})
#: User of the image (docker/Dockerfile).
_USER_ID = 10001


class Surroundings:
    """The surroundings of all tasks.

    Parameters
    ----------
    proxy
        Answers for AWS.
    network
        Has the interfaces of tasks.
    topology
        What is rehearsed.
    folder
        Of the rehearsal.
    metadata
        Answers for the agent of ECS.
    file_system
        Returns the folder of a Region's file system, or None where buckets are mounted.
    more_names
        Returns addresses by name, of servers that are in no zone.
    """

    #: Folders of the rehearsal that no container sees but by its mounts.
    HIDDEN = ("data", "lustre", "results", "spill", "homes")

    def __init__(
        self,
        proxy: Proxy,
        network: TaskNetwork,
        topology: Topology,
        folder: Path,
        metadata: TaskMetadata,
        file_system: Callable[[str], Path | None],
        more_names: Callable[[], Mapping[str, str]],
    ) -> None:
        self._proxy, self._network, self._folder, self._file_system = proxy, network, folder, file_system
        self._client, self._more_names = topology.client.region, more_names
        self._emulator = EmulatedClients(url=proxy.emulator.url)
        self._keys = Path(tempfile.mkdtemp(prefix="xdask-rehearsal-", dir=_memory()))
        self._of_hosts = ""
        self.hidden = [folder / name for name in self.HIDDEN]
        self.names = folder / "hosts"
        self.names.write_text("127.0.0.1 localhost\n")
        self._addresses = self._listen(metadata)

    def _listen(self, metadata: TaskMetadata) -> dict[bool, tuple[str, str]]:
        """Let the proxy and the metadata answer wherever tasks run; their addresses, in the client Region or not."""
        if isinstance(self._network, LoopbackNetwork):
            told = metadata.listen(listening())
            return {of_client: (self._proxy.listen(listening(), None if of_client else _OF_WORKERS), told)
                    for of_client in (True, False)}  # fmt: skip
        found = {}
        for interface in self._network.interfaces():
            of_client = interface.region == self._client
            found[of_client] = (
                self._proxy.listen(listening_in(interface, _PROXY_PORT), None if of_client else _OF_WORKERS),
                metadata.listen(listening_in(interface, _METADATA_PORT)),
            )
        return found

    def environment(self, region: str, task_id: str) -> dict[str, str]:
        """Return what ECS adds to the environment of a task's containers, and where AWS answers."""
        proxy, metadata = self._addresses[region == self._client]
        return {
            "AWS_ENDPOINT_URL": proxy,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{metadata}{CREDENTIALS}{task_id}",
            "ECS_CONTAINER_METADATA_URI_V4": f"{metadata}{METADATA}{task_id}",
        }

    def folders(self, region: str, task_id: str) -> HostFolders:
        """Return the folders of a task's host: its data are those of the file system that is there when it starts."""
        results = self._own(self._folder / "results" / region)
        of_host = {
            "/mnt/data": self._file_system(region) or self._folder / "data" / region,
            "/mnt/results": results,
            "/mnt/nvme/spill": self._own(self._folder / "spill" / task_id),
            "/run/xdask/tls": self._keys / region,
        }
        return HostFolders(of_host, results, self._own(self._folder / "homes"), self._folder / "project")

    def fetch_keys(self, region: str) -> bool:
        """Read the TLS keys into memory, as a host does when it starts; whether there are any."""
        folder = self._keys / region
        if (folder / "ca.pem").exists():
            return True
        role = role_name("host", region)
        self._proxy.know(role)
        self._of_hosts = self._of_hosts or self._proxy.listen(listening())
        try:
            client = EmulatedClients(url=self._of_hosts, role=role).of("secretsmanager", region)
            files = json.loads(client.get_secret_value(SecretId=TLS_SECRET)["SecretString"])
        except (ClientError, BotoCoreError, ValueError):
            return False
        self._own(folder)
        for name, text in files.items():
            path = folder / name
            path.write_text(text)
            path.chmod(0o600)
            if os.geteuid() == 0:
                shutil.chown(path, _USER_ID, _USER_ID)
        return "ca.pem" in files

    def write_names(self) -> None:
        """Write the records of the private zone, as all VPCs see them."""
        route53 = self._emulator.of("route53", self._client)
        lines = ["127.0.0.1 localhost"]
        for zone in route53.list_hosted_zones_by_name(DNSName=ZONE)["HostedZones"]:
            for record in route53.list_resource_record_sets(HostedZoneId=zone["Id"])["ResourceRecordSets"]:
                if record["Type"] == "A":
                    lines += [f"{each['Value']} {record['Name'].rstrip('.')}" for each in record["ResourceRecords"]]
        lines += [f"{address} {name}" for name, address in self._more_names().items()]
        text = "\n".join(lines) + "\n"
        if self.names.read_text() != text:
            with self.names.open("r+") as file:  # the same file: containers have it mounted
                file.write(text)
                file.truncate()

    def close(self) -> None:
        """Remove the keys."""
        shutil.rmtree(self._keys, ignore_errors=True)

    def _own(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            shutil.chown(folder, _USER_ID, _USER_ID)
        return folder


def _memory() -> Path | None:
    memory = Path("/dev/shm")
    return memory if memory.is_dir() else None

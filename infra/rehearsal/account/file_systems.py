"""File systems of FSx: a twin in each Region has those whose stacks are deployed now.

Belongs here: which file systems there are, and the folders that stand for them. Does not belong here: the API (fsx_twin).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from threading import RLock
from typing import Any

from botocore.exceptions import ClientError

from infra.rehearsal.account.clients import EmulatedClients
from infra.rehearsal.account.fsx_twin import FsxTwin
from infra.rehearsal.account.templates import Stack, stand_in_ids

_FILE_SYSTEM, _ASSOCIATION = "AWS::FSx::FileSystem", "AWS::FSx::DataRepositoryAssociation"
_THERE = ("CREATE_COMPLETE", "UPDATE_COMPLETE")


class FileSystems:
    """The file systems of a deployment.

    Parameters
    ----------
    clients
        Clients of the emulator.
    stacks
        Of the deployment; those without a file system are left out.
    s3
        Client of the server that has the linked buckets.
    root
        Gets a folder for each Region with a file system.
    """

    def __init__(self, clients: EmulatedClients, stacks: Sequence[Stack], s3: Any, root: Path) -> None:
        self._clients, self._lock = clients, RLock()
        self._stacks = {stack.region: stack for stack in stacks if stack.of_type(_FILE_SYSTEM)}
        self._twins = {region: FsxTwin(s3=s3, root=root / region) for region in self._stacks}

    def twin(self, region: str) -> FsxTwin | None:
        """Return FSx of a Region with the file systems that it has now; None if the deployment has none there."""
        if region not in self._stacks:
            return None
        with self._lock:
            twin, stack = self._twins[region], self._stacks[region]
            there = self._is_there(stack)
            if there and not twin.file_systems:
                self._create(twin, stack)
            elif not there and twin.file_systems:
                twin.file_systems, twin.associations = [], []
                shutil.rmtree(twin.root)
            return twin

    def mounted(self, region: str) -> Path | None:
        """Return the folder of a Region's file system; None if it has none now."""
        twin = self.twin(region)
        return twin.root if twin and twin.file_systems else None

    def _create(self, twin: FsxTwin, stack: Stack) -> None:
        twin.root.mkdir(parents=True)
        ids = stand_in_ids(stack)
        for logical_id, properties in stack.of_type(_FILE_SYSTEM).items():
            lustre = {"MountName": ids[logical_id, "LustreMountName"]}
            twin.file_system(
                ids[logical_id, ""],
                DNSName=ids[logical_id, "DNSName"],
                Tags=properties.get("Tags", []),
                LustreConfiguration=lustre,
            )
        system = twin.file_systems[0]["FileSystemId"]
        for logical_id, properties in stack.of_type(_ASSOCIATION).items():
            paths = properties["DataRepositoryPath"], properties["FileSystemPath"]
            twin.link(*paths, system, AssociationId=ids[logical_id, ""])

    def _is_there(self, stack: Stack) -> bool:
        try:
            found = self._clients.of("cloudformation", stack.region).describe_stacks(StackName=stack.name)
        except ClientError:
            return False
        return found["Stacks"][0]["StackStatus"] in _THERE

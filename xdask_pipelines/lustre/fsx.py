"""FSx for Lustre: imports from a linked bucket through the AWS API, and the state of files through Lustre itself.

Belongs here: data repository associations and import tasks. Does not belong here: the meaning of files (catalog),
commands on the mount (mount_files).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any, ClassVar
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError

from xdask_pipelines.errors import XdaskError
from xdask_pipelines.lustre.imports import ImportReport, Residency, Tell
from xdask_pipelines.lustre.mount_files import MountFiles
from xdask_pipelines.system.units import counted, format_bytes
from xdask_pipelines.topology.mount import Mount
from xdask_pipelines.topology.names import IMPORT_REPORTS

_IMPORT = "IMPORT_METADATA_FROM_REPOSITORY"
_UNFINISHED = ("PENDING", "EXECUTING", "CANCELING")
#: Timeout without progress, after which an operator must check the task.
_PATIENCE_SECONDS = 2 * 3600.0


@dataclass(frozen=True)
class FsxLustre:
    """The file systems of worker Regions, which are found by their linked buckets.

    Parameters
    ----------
    client_of
        ``client_of(region)`` returns a client of the FSx API in that Region.
    files
        Access to the files of the mounts.
    poll_seconds
        Interval between two checks of a task.
    wait
        Function that waits for some seconds.
    """

    client_of: Callable[[str], Any]
    files: MountFiles
    imports: ClassVar[bool] = True
    poll_seconds: float = 15.0
    wait: Callable[[float], None] = sleep

    def is_linked(self, region: str) -> bool:
        """Return whether a Region has a file system that is linked to a bucket.

        Raises
        ------
        XdaskError
            FSx does not answer the question.
        """
        try:
            return next(self._associations(self.client_of(region)), None) is not None
        except (BotoCoreError, ClientError) as error:
            raise XdaskError(
                f"FSx in {region} does not say whether there is a file system: {error}. Check that this role has "
                "fsx:DescribeDataRepositoryAssociations there, then try again"
            ) from error

    def import_changes(self, mount: Mount, tell: Tell) -> ImportReport:
        """Run an import task to its end, or wait for a running one of the same bucket."""
        region, source = mount.region, mount.source
        if not source:
            return ImportReport(region, mount.path, "SUCCEEDED", 0, detail="no bucket is linked: the mount is the data")
        client = self.client_of(region)
        try:
            association = self._association(client, mount)
            task = self._unfinished(client, association) or self._begun(client, association, region, tell)
            tell(f"{region}: import of {source} is task {task['TaskId']}")
            return _report(mount, self._ended(client, task, region, tell))
        except (BotoCoreError, ClientError) as error:
            raise XdaskError(
                f"FSx in {region} refused the import of {source}: {error}. Nothing was changed. Check that this role has "
                "fsx:DescribeDataRepositoryAssociations, fsx:DescribeDataRepositoryTasks and "
                "fsx:CreateDataRepositoryTask"
            ) from error

    def forget(self, region: str, keys: Sequence[str]) -> int:
        """Remove files from the mount that no longer exist in the bucket, and return their number.

        Raises
        ------
        XdaskError
            If the file system exports deletions: removing a file could then delete an object that was uploaded again.
        """
        if not keys:
            return 0
        for association in self._associations(self.client_of(region)):
            folder = association["FileSystemPath"].strip("/") + "/"
            exported = association.get("S3", {}).get("AutoExportPolicy", {}).get("Events", ())
            if "DELETED" in exported and any(f"{key}/".startswith(folder) for key in keys):
                raise XdaskError(
                    f"{association['AssociationId']} in {region} exports deletions to {association['DataRepositoryPath']}, "
                    f"so nothing was removed from {folder}. Remove DELETED from its AutoExportPolicy: a mount must not "
                    "change its bucket"
                )
        return self.files.unlink(region, keys)

    def residency(self, region: str, keys: Sequence[str]) -> Residency:
        """Return which of these files are on the mount."""
        return self.files.residency(region, keys)

    def warm(self, region: str, keys: Sequence[str], tell: Tell) -> Residency:
        """Fetch files that are not on the mount yet, and wait for them.

        Raises
        ------
        XdaskError
            If there is no progress for two hours.
        """
        before = left = self.residency(region, keys)
        self.files.restore(region, keys)
        moved = monotonic()
        while left.released_files:
            size = f"{counted(left.released_files, 'file')}, {format_bytes(left.released_bytes)}"
            tell(f"{region}: {size} still to be fetched")
            self.wait(self.poll_seconds)
            now = self.residency(region, keys)
            moved = monotonic() if now != left else moved
            left = now
            if monotonic() - moved > _PATIENCE_SECONDS:
                raise XdaskError(
                    f"{region}: {counted(left.released_files, 'file')} requested, but none fetched for "
                    f"{_PATIENCE_SECONDS / 3600:g} hours. Check the associations of its file system with buckets, then "
                    "run again"
                )
        tell(f"{region}: {counted(left.resident_files, 'file')}, {format_bytes(left.resident_bytes)} on the mount")
        return before

    # ---- associations and tasks -------------------------------------------------------------------------------

    def _associations(self, client: Any) -> Iterator[Mapping[str, Any]]:
        asked: dict[str, str] = {}
        while True:
            page = client.describe_data_repository_associations(**asked)
            yield from page["Associations"]
            if not page.get("NextToken"):
                return
            asked = {"NextToken": page["NextToken"]}

    def _association(self, client: Any, mount: Mount) -> Mapping[str, Any]:
        region, source = mount.region, mount.source
        associations = list(self._associations(client))
        fitting = [
            a
            for a in associations
            if a["FileSystemPath"].strip("/") == mount.path
            and a["DataRepositoryPath"].rstrip("/") == source.rstrip("/")
        ]
        if len(fitting) != 1:
            links = ", ".join(
                f"{a['DataRepositoryPath']} at {a['FileSystemPath']} of {a['FileSystemId']}" for a in associations
            )
            how_many = "No file system" if not fitting else f"{len(fitting)} file systems"
            raise XdaskError(
                f"{how_many} in {region} link{'s' if not fitting else ''} {source} at /{mount.path}; exactly one must. "
                f"Available links: {links or 'none'}. Fix source or mount in regions.yaml, or the association"
            )
        (found,) = fitting
        if found["Lifecycle"] not in ("AVAILABLE", "UPDATING"):
            why = found.get("FailureDetails", {}).get("Message", "no reason is given")
            raise XdaskError(
                f"The link {found['AssociationId']} of {source} in {region} is {found['Lifecycle']} ({why}). Wait until it "
                "is AVAILABLE, or fix it, then sync again"
            )
        return found

    def _unfinished(self, client: Any, association: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return a running import of the same bucket. Changes that it may have missed are found by the next sync."""
        filters = [{"Name": "file-system-id", "Values": [association["FileSystemId"]]}]
        asked: dict[str, Any] = {"Filters": filters}
        while True:
            page = client.describe_data_repository_tasks(**asked)
            for task in page["DataRepositoryTasks"]:
                paths = [path.rstrip("/") for path in task.get("Paths", ())]
                same = task["Type"] == _IMPORT and association["DataRepositoryPath"].rstrip("/") in paths
                if same and task["Lifecycle"] in ("PENDING", "EXECUTING"):
                    found: Mapping[str, Any] = task
                    return found
            if not page.get("NextToken"):
                return None
            asked["NextToken"] = page["NextToken"]

    def _begun(self, client: Any, association: Mapping[str, Any], region: str, tell: Tell) -> Mapping[str, Any]:
        """Start a new import as soon as no other task blocks the file system."""
        source = association["DataRepositoryPath"].rstrip("/")
        began = monotonic()
        token = uuid4().hex  # the token keeps a repeated request from starting a second task
        while True:
            try:
                answer = client.create_data_repository_task(
                    Type=_IMPORT,
                    FileSystemId=association["FileSystemId"],
                    Paths=[source],
                    Report=_report_wanted(association, source),
                    ClientRequestToken=token,
                )
            except client.exceptions.DataRepositoryTaskExecuting:
                if monotonic() - began > _PATIENCE_SECONDS:
                    raise
                tell(f"{region}: {association['FileSystemId']} is busy with another task; waiting for it")
                self.wait(self.poll_seconds)
                continue
            task: Mapping[str, Any] = answer["DataRepositoryTask"]
            return task

    def _ended(self, client: Any, task: Mapping[str, Any], region: str, tell: Tell) -> Mapping[str, Any]:
        moved, before = monotonic(), task
        while task["Lifecycle"] in _UNFINISHED:
            self.wait(self.poll_seconds)
            (task,) = client.describe_data_repository_tasks(TaskIds=[task["TaskId"]])["DataRepositoryTasks"]
            if (task["Lifecycle"], task.get("Status")) != (before["Lifecycle"], before.get("Status")):
                moved, before = monotonic(), task
                status = task.get("Status", {})
                done = status.get("SucceededCount", 0) + status.get("FailedCount", 0)
                tell(
                    f"{region}: {task['TaskId']} is {task['Lifecycle']}, {done} of {status.get('TotalCount', 0)} files"
                )
            if monotonic() - moved > _PATIENCE_SECONDS:
                raise XdaskError(
                    f"Task {task['TaskId']} in {region} is {task['Lifecycle']} and shows no progress for "
                    f"{_PATIENCE_SECONDS / 3600:g} hours. Check it in the FSx console; the next sync waits for it again"
                )
        return task


def _report_wanted(association: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return the request for a report of failed files; only file systems that export may write one to the bucket."""
    if not association.get("S3", {}).get("AutoExportPolicy", {}).get("Events"):
        return {"Enabled": False}
    where = f"{source}/{IMPORT_REPORTS}"
    return {"Enabled": True, "Path": where, "Format": "REPORT_CSV_20191124", "Scope": "FAILED_FILES_ONLY"}


def _report(mount: Mount, task: Mapping[str, Any]) -> ImportReport:
    status = task.get("Status", {})
    total, failed = status.get("TotalCount", 0), status.get("FailedCount", 0)
    state = task["Lifecycle"]
    why = task.get("FailureDetails", {}).get("Message", "")
    lies = task.get("Report", {}).get("Path", "")
    detail = f"task {task['TaskId']}" + (f": {why}" if why else "")
    detail += f"; its report is {lies}/task-{task['TaskId']}/failures.csv" if lies and failed else ""
    if state == "CANCELED" or (state == "FAILED" and not (failed and failed < total)):
        raise XdaskError(
            f"The import of {mount.source} in {mount.region} ended as {state} ({detail}); the catalog was not changed. Fix "
            "the cause, then sync again"
        )
    return ImportReport(mount.region, mount.path, state, total, failed, detail)

"""The files of a mount, touched by a worker of its Region.

Belongs here: running what `lustre.mount_files` does at home. Does not belong here: what is done (lustre), listing (sync).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from xdask_pipelines.access.home_calls import Compute, call_at_home
from xdask_pipelines.access.location import key_path
from xdask_pipelines.lustre.imports import Residency
from xdask_pipelines.lustre.mount_files import residency_of_folder, residency_on_lustre, restore_on_lustre, unlink_below
from xdask_pipelines.placement.worker.guard import region_path

T = TypeVar("T")


@dataclass(frozen=True)
class MountAtHome:
    """See `lustre.mount_files.MountFiles`, which this is, for every method.

    Parameters
    ----------
    compute
        Runs lazy calls in their Regions.
    on_lustre
        Whether the mounts are Lustre; else they are folders, all of which is there.
    """

    compute: Compute
    on_lustre: bool = False

    def residency(self, region: str, keys: Sequence[str]) -> Residency:
        """What of these is on the mount."""
        return self._run("residency", region, residency_at_home, list(keys), self.on_lustre)

    def restore(self, region: str, keys: Sequence[str]) -> None:
        """Ask Lustre to fetch these."""
        self._run("restore", region, restore_at_home, list(keys))

    def unlink(self, region: str, keys: Sequence[str]) -> int:
        """Remove these files; how many were there."""
        return self._run("unlink", region, unlink_at_home, list(keys))

    def _run(self, kind: str, region: str, function: Callable[..., T], *args: Any) -> T:
        (answer,), _ = self.compute(call_at_home(kind, region, function, *args))
        done: T = answer
        return done


def residency_at_home(keys: Sequence[str], on_lustre: bool) -> Residency:
    """What of these is on the mount, on a worker of its Region."""
    return (residency_on_lustre if on_lustre else residency_of_folder)([key_path(key) for key in keys])


def restore_at_home(keys: Sequence[str]) -> None:
    """Ask Lustre to fetch these, on a worker of the Region."""
    restore_on_lustre([key_path(key) for key in keys])


def unlink_at_home(keys: Sequence[str]) -> int:
    """Remove these files, on a worker of the Region."""
    return unlink_below(region_path(""), keys)

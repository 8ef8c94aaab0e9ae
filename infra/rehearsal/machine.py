"""What a machine needs for a rehearsal, looked at before anything starts.

Belongs here: one sentence for each thing that is missing. Does not belong here: what needs it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.wan.network import lacking
from infra.rehearsal.account.emulator import emulator_python
from infra.rehearsal.servers.postgres_server import programs
from infra.rehearsal.tasks.containers import unshare_flags

_TOOLS = ("chroot", "env", "mount", "nsenter", "setpriv", "unshare")


def obstacles(*, database: bool = True) -> Iterator[str]:
    """Yield why a rehearsal cannot run here.

    Parameters
    ----------
    database
        Whether the deployment has one.
    """
    if sys.platform != "linux":
        yield "The rehearsal needs Linux: every container is a process in a mount namespace. Use a virtual machine."
        return
    if missing := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        yield f"{', '.join(missing)} not found. On Debian: apt-get install util-linux coreutils."
    elif problem := _no_mounts():
        yield (
            f"This user cannot create mount namespaces ({problem}), in which containers run. Run as root, or allow user "
            "namespaces (sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0)."
        )
    try:
        emulator_python()
    except SystemExit as error:
        yield str(error)
    if database:
        try:
            programs()
        except RuntimeError as error:
            yield str(error)


def without_wide_area() -> str:
    """Return why tasks get addresses of loopback in place of network namespaces; empty if they get namespaces."""
    problem = lacking()
    if problem is None:
        return ""
    return f"All Regions are on loopback, without delay, and bytes between them are not counted. {problem}"


def _no_mounts() -> str:
    done = subprocess.run(["unshare", unshare_flags(), "true"], capture_output=True, text=True, check=False)
    return " ".join(done.stderr.split()).removeprefix("unshare: ") if done.returncode else ""

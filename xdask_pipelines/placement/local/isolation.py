"""Isolation of workers: with Linux mount namespaces they cannot see the folders of other Regions.

Belongs here: the command that hides folders from a process. Does not belong here: refusing single reads (guard).

If Regions share a machine, the guard refuses files that Python and known libraries open. A separate mount namespace
also hides the other Regions' folders from all other code on a worker, including other programs. On AWS this is not
needed: a worker has only the mount of its own Region.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path

#: Script that covers each folder before `--` with an empty read-only one, and then executes the command after `--`.
_HIDE = (
    'while [ "$1" != -- ]; do if [ -d "$1" ]; then mount -t tmpfs -o ro,size=4k,mode=555 hidden "$1" || exit 1; fi; shift; '
    'done; shift; exec "$@"'
)


def hiding(folders: Collection[Path], own: Collection[Path]) -> Sequence[str]:
    """Return the command prefix that hides folders from a process.

    Parameters
    ----------
    folders
        Folders to hide, if they exist.
    own
        Folders that the command needs; a folder that contains one of them is not hidden.

    Returns
    -------
    The prefix; empty if this user may not create namespaces on this machine.
    """
    needed = [os.path.realpath(folder) for folder in own]
    names = {os.path.realpath(folder) for folder in folders}
    hidden = sorted(name for name in names if not any((need + os.sep).startswith(name + os.sep) for need in needed))
    command = namespace_command()
    return [*command, "sh", "-c", _HIDE, "hide", *hidden, "--"] if command and hidden else []


@cache
def namespace_command() -> tuple[str, ...]:
    """Return the command prefix for a separate mount namespace; empty if that is not possible here."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return ()
    command = (unshare, "--mount") if os.geteuid() == 0 else (unshare, "--mount", "--map-root-user")
    try:
        tried = subprocess.run(
            [*command, "sh", "-c", "mount -t tmpfs -o ro,size=4k hidden /tmp"], capture_output=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return command if tried.returncode == 0 else ()

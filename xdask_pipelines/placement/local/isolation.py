"""Workers that cannot see the folders of other Regions, where Linux lets a process have a view of its own.

Belongs here: the command that hides folders from what it starts. Does not belong here: refusing reads by name (guard).

Where Regions share a machine, the guard refuses what Python and known libraries open. A mount namespace of its own hides
the other Regions' folders from everything that a worker runs, other programs included. On AWS there is nothing to hide:
a worker has the mount of its own Region alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path

#: Covers each folder that follows, up to `--`, with an empty one that takes no files, and becomes the rest of its words.
_HIDE = (
    'while [ "$1" != -- ]; do if [ -d "$1" ]; then mount -t tmpfs -o ro,size=4k,mode=555 hidden "$1" || exit 1; fi; shift; '
    'done; shift; exec "$@"'
)


def hiding(folders: Collection[Path], own: Collection[Path]) -> Sequence[str]:
    """Words to put before a command, so that it does not see some folders.

    Parameters
    ----------
    folders
        What is to be hidden, as far as it exists.
    own
        What the command needs; a folder that holds one of these is not hidden.

    Returns
    -------
    Nothing where the machine does not let this user make namespaces.
    """
    needed = [os.path.realpath(folder) for folder in own]
    names = {os.path.realpath(folder) for folder in folders}
    hidden = sorted(name for name in names if not any((need + os.sep).startswith(name + os.sep) for need in needed))
    command = namespace_command()
    return [*command, "sh", "-c", _HIDE, "hide", *hidden, "--"] if command and hidden else []


@cache
def namespace_command() -> tuple[str, ...]:
    """Words that start a command in a mount namespace of its own; none if that is not possible here."""
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

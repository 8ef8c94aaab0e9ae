"""Mount namespaces: a command sees, holds and may write what a machine of its own would."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

_ENTER = """
set -e
for folder in $HIDDEN; do mount -t tmpfs -o size=4k,ro tmpfs "$folder"; done
for folder in $FULL; do mount -t tmpfs -o size=400k tmpfs "$folder"; done
for folder in $FIXED; do mount --bind "$folder" "$folder"; mount -o remount,bind,ro "$folder"; done
exec "$@"
"""


def machine(*, hidden: Iterable[Path] = (), full: Iterable[Path] = (), fixed: Iterable[Path] = ()) -> list[str]:
    """Words to put before a command.

    Permission bits do not hold for root; mounts do.

    Parameters
    ----------
    hidden
        Folders that are empty there.
    full
        Folders on a disk of 400 kB of their own.
    fixed
        Folders that can only be read.
    """
    folders = {"HIDDEN": hidden, "FULL": full, "FIXED": fixed}
    flags = "-m" if os.geteuid() == 0 else "-Urm"
    settings = (f"{name}={' '.join(map(str, paths))}" for name, paths in folders.items())
    return ["unshare", flags, "--propagation", "private", "env", *settings, "sh", "-c", _ENTER, "sh"]

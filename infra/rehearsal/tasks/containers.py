"""Containers as processes: a mount namespace with the folders that a task definition mounts, and no image.

Belongs here: one container's command, environment and view of the file system. Does not belong here: tasks (agent), what
definitions say (task_definitions).
"""

from __future__ import annotations

import os
import shlex
import stat
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from infra.repository import REPOSITORY

#: What an image brings in other ways: the program and its Python.
_PROGRAM = tuple(dict.fromkeys((REPOSITORY, Path(sys.prefix), Path(sys.prefix).resolve(), Path(sys.base_prefix))))


@dataclass(frozen=True)
class Mount:
    """A folder of this machine at a path in a container."""

    source: Path
    target: str
    read_only: bool


@dataclass(frozen=True)
class Container:
    """One container of a task.

    Attributes
    ----------
    name, words
        Name, and command with its entry point.
    environment
        The whole environment.
    user
        User and group id, as ``10001:10001``; empty for that of this process.
    mounts, memory_folders_mib
        Folders of this machine, and folders in memory with their sizes.
    essential, stop_seconds
        Whether its task ends with it, and the time between SIGTERM and SIGKILL.
    folder
        Working folder.
    capabilities
        Capabilities of Linux that it keeps as root; other users have none.
    """

    name: str
    words: Sequence[str]
    environment: Mapping[str, str]
    user: str = ""
    mounts: Sequence[Mount] = ()
    memory_folders_mib: Mapping[str, int] = field(default_factory=dict)
    essential: bool = True
    stop_seconds: int = 30
    folder: str = "/"
    capabilities: Sequence[str] = ()


def base_environment() -> dict[str, str]:
    """Return the environment that an image gives: where the program is, and nothing of this process."""
    return {
        "PATH": f"{Path(sys.prefix) / 'bin'}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
    }


def unshare_flags() -> str:
    """Return the flags of `unshare` for a mount namespace: users other than root need a user namespace for it."""
    return "-Urm" if os.geteuid() else "-m"


def command(container: Container, root: Path, hosts: Path, hidden: Sequence[Path]) -> list[str]:
    """Return the command that runs a container.

    Parameters
    ----------
    container
        What to run.
    root
        An empty folder; each container sees another root there.
    hosts
        File of names, in place of ``/etc/hosts``; it may change while the container runs.
    hidden
        Folders of this machine that no container sees.
    """
    is_root = os.geteuid() == 0
    lines = _script(container, root, hosts, hidden)
    words = ["env", "-C", container.folder, *container.words]
    if container.user and is_root:
        user, _, group = container.user.partition(":")
        # The signal goes last: a change of user takes it away.
        words = [
            "setpriv",
            f"--reuid={user}",
            f"--regid={group or user}",
            "--clear-groups",
            f"--bounding-set={','.join(['-all', *(f'+{each.lower()}' for each in container.capabilities)])}",
            "--pdeathsig",
            "KILL",
            *words,
        ]
    lines.append(f"exec chroot {shlex.quote(str(root))} {shlex.join(words)}")
    return [
        "setpriv",
        "--pdeathsig",
        "KILL",
        "unshare",
        unshare_flags(),
        "--propagation",
        "private",
        "sh",
        "-ec",
        "\n".join(lines),
    ]


def _script(container: Container, root: Path, hosts: Path, hidden: Sequence[Path]) -> list[str]:
    top = shlex.quote(str(root))

    def inside(path: str | Path) -> str:
        return shlex.quote(f"{root}{path}")

    lines = [
        f"mount -t tmpfs -o mode=755,size=16m root {top}",
        'for entry in /*; do if [ -L "$entry" ]; then cp -P "$entry" ' + top + '"$entry"',
        f'elif [ -d "$entry" ]; then mkdir {top}"$entry"; mount --rbind "$entry" {top}"$entry"; fi; done',
        f"mount -t tmpfs -o mode=755,size=1m run {inside('/run')}",
        f"mount --bind {shlex.quote(str(hosts))} {inside('/etc/hosts')}",
    ]
    lines += [f"mount -t tmpfs -o mode=755,size=4k,ro hidden {inside(folder)}" for folder in hidden if folder.is_dir()]
    outer_first = sorted(container.memory_folders_mib.items())
    mounts = [f"mkdir -p {inside(m.target)}; mount --bind {shlex.quote(str(m.source))} {inside(m.target)}"
              + (f"; mount -o remount,bind,ro {inside(m.target)}" if m.read_only else "")
              for m in sorted(container.mounts, key=lambda m: m.target)]  # fmt: skip
    memory = [f"mkdir -p {inside(path)}; mount -t tmpfs -o mode=1777,size={size}m memory {inside(path)}"
              for path, size in outer_first]  # fmt: skip
    # The program may lie below a folder that the container has in memory, such as /tmp, or that its user cannot enter.
    closed = _closed()
    memory += [
        f"mkdir -p {inside(folder)}; mount -t tmpfs -o mode=755,size=1m closed {inside(folder)}" for folder in closed
    ]
    covered = [*closed, *(Path(folder) for folder, _ in outer_first)]
    kept = [f"mkdir -p {inside(path)}; mount --rbind {shlex.quote(str(path))} {inside(path)}"
            for path in _PROGRAM if any(path.is_relative_to(folder) for folder in covered)]  # fmt: skip
    by_depth = sorted([*mounts, *memory], key=lambda line: line.partition(";")[0].count("/"))
    # "bind" changes this mount alone: a user namespace may not give the file system its own options again
    return [*lines, *by_depth, *kept, f"mount -o remount,bind,ro {top}"]


def _closed() -> set[Path]:
    """Return folders above the program that other users of this machine cannot enter, such as root's home."""
    found = set()
    for path in _PROGRAM:
        for folder in reversed(path.parents):
            if not folder.stat().st_mode & stat.S_IXOTH:
                found.add(folder)
                break
    return found

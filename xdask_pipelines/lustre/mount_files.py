"""The files of a mount, which are accessed on a worker of the Region.

Belongs here: operations on the files of a mount, and Lustre's commands for files that are only in the bucket. Does not
belong here: running them on workers (access), AWS (fsx).

``lfs hsm_state``, ``lfs hsm_restore`` and their flags: "Lustre Operations Manual", Hierarchical Storage Management.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from xdask_pipelines.errors import XdaskError
from xdask_pipelines.lustre.imports import Residency
from xdask_pipelines.topology.names import is_plain_key

_FILES_A_CALL = 500
_STATE = re.compile(rb": \(0x([0-9a-f]+)\)")
_RELEASED = 0x4  # exists 0x1, dirty 0x2, archived 0x8


class MountFiles(Protocol):
    """Remote access to the mounts of Regions. ``keys`` are files, stores or folders."""

    def residency(self, region: str, keys: Sequence[str]) -> Residency:
        """Return which of these are on the mount, and which are only in the bucket."""
        ...

    def restore(self, region: str, keys: Sequence[str]) -> None:
        """Ask Lustre to fetch these in the background."""
        ...

    def unlink(self, region: str, keys: Sequence[str]) -> int:
        """Remove these files and folders that become empty; return the number of files."""
        ...


def files_below(path: Path) -> Iterator[os.DirEntry[str] | Path]:
    """Iterate over a file, or over all files below a folder; nothing if it does not exist."""
    if path.is_file():
        yield path
    elif path.is_dir():
        folders = [os.fspath(path)]
        while folders:
            with os.scandir(folders.pop()) as items:
                for item in items:
                    if item.is_dir(follow_symlinks=False):
                        folders.append(item.path)
                    elif item.is_file():
                        yield item


def residency_of_folder(paths: Sequence[Path]) -> Residency:
    """Return the state of files in a plain folder: all of them are present."""
    sizes = [item.stat().st_size for path in paths for item in files_below(path)]
    return Residency(len(sizes), sum(sizes))


def residency_on_lustre(paths: Sequence[Path]) -> Residency:
    """Return files and bytes on the mount, and released ones, which are fetched when they are read.

    Raises
    ------
    XdaskError
        ``lfs`` is not there, or does not know the state of a file.
    """
    total = Residency()
    for batch in _batches([Path(item) for path in paths for item in files_below(path)]):
        for path, released in zip(batch, _released(batch), strict=True):
            size = path.stat().st_size
            total += Residency(0, 0, 1, size) if released else Residency(1, size)
    return total


def restore_on_lustre(paths: Sequence[Path]) -> None:
    """Ask Lustre to fetch files that are released.

    Raises
    ------
    XdaskError
        ``lfs`` is not there, or refuses.
    """
    for batch in _batches([Path(item) for path in paths for item in files_below(path)]):
        wanted = [path for path, released in zip(batch, _released(batch), strict=True) if released]
        if wanted:
            _lfs("hsm_restore", wanted)


def unlink_below(root: Path, keys: Sequence[str]) -> int:
    """Remove files below a folder, and folders that become empty; return the number of files.

    Raises
    ------
    XdaskError
        If a key does not stay below the folder. Nothing is removed then.
    """
    if strange := [key for key in keys if not is_plain_key(key)]:
        raise XdaskError(
            f"The key {strange[0]!r} is not a plain path below {root}, so nothing was removed. Correct the key, then "
            "sync again."
        )
    removed = 0
    for key in keys:
        path = root / key
        try:
            path.unlink()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            continue
        removed += 1
        for folder in path.parents:
            if folder == root or any(folder.iterdir()):
                break
            folder.rmdir()
    return removed


def _batches(paths: Sequence[Path]) -> Iterator[Sequence[Path]]:
    """Divide files into batches; a file whose name looks like output of ``lfs`` has its own batch."""
    plain = [path for path in paths if not _is_odd(path)]
    yield from (plain[i : i + _FILES_A_CALL] for i in range(0, len(plain), _FILES_A_CALL))
    yield from ([path] for path in paths if _is_odd(path))


def _is_odd(path: Path) -> bool:
    name = os.fsencode(path)
    return b"\n" in name or _STATE.search(name) is not None


def _released(paths: Sequence[Path]) -> list[bool]:
    answer = _lfs("hsm_state", paths)
    states = [int(state, 16) for state in _STATE.findall(answer)]
    if len(paths) == 1:
        states = states[-1:]  # the name may contain text like a state; the real state follows it
    if len(states) != len(paths):
        raise XdaskError(
            f"lfs hsm_state reported the state of only {len(states)} of {len(paths)} files, the first of them {paths[0]}. "
            f"Check whether they are on Lustre: lfs hsm_state {paths[0]}"
        )
    return [bool(flags & _RELEASED) for flags in states]


def _lfs(command: str, paths: Sequence[Path]) -> bytes:
    try:
        done = subprocess.run(["lfs", command, *map(os.fspath, paths)], capture_output=True, check=False)
    except FileNotFoundError as error:
        raise XdaskError(
            "The state of files is unknown, because this worker has no command lfs. Install the Lustre client in its image"
        ) from error
    if done.returncode:
        output = done.stderr.decode("utf-8", "replace").strip()
        raise XdaskError(f"lfs {command} of {len(paths)} files failed: {output}. The first of them is {paths[0]}")
    return done.stdout

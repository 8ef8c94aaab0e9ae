"""The files of a mount, touched where they are mounted: on a worker of the Region.

Belongs here: what can be done to the files of a mount, and Lustre's own commands for what lies in the bucket only.
Does not belong here: who runs it where (access), AWS (fsx).

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
    """The mounts of Regions, as those see them who cannot touch them. ``keys`` are files, stores or folders."""

    def residency(self, region: str, keys: Sequence[str]) -> Residency:
        """What of these is on the mount, and what is in the bucket only."""
        ...

    def restore(self, region: str, keys: Sequence[str]) -> None:
        """Ask Lustre to fetch these; it does so by itself."""
        ...

    def unlink(self, region: str, keys: Sequence[str]) -> int:
        """Remove these files, and folders that become empty; how many files were there."""
        ...


def files_below(path: Path) -> Iterator[os.DirEntry[str] | Path]:
    """The file, or all files below the folder; nothing if there is none."""
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
    """All that there is, where nothing lies behind the folder."""
    sizes = [item.stat().st_size for path in paths for item in files_below(path)]
    return Residency(len(sizes), sum(sizes))


def residency_on_lustre(paths: Sequence[Path]) -> Residency:
    """Files and bytes on the mount, and those released: known by name and size, fetched when they are read.

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
    """Remove files below a folder, and folders that become empty; how many files were there.

    Raises
    ------
    XdaskError
        A key does not stay below the folder; nothing is removed then.
    """
    if strange := [key for key in keys if not is_plain_key(key)]:
        raise XdaskError(
            f"The key {strange[0]!r} is not a plain path below {root}, so nothing was removed. Correct what names it, then "
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
    """Some hundred files at a time; each whose name could be taken for an answer of ``lfs`` by itself."""
    plain = [path for path in paths if not _is_odd(path)]
    yield from (plain[i : i + _FILES_A_CALL] for i in range(0, len(plain), _FILES_A_CALL))
    yield from ([path] for path in paths if _is_odd(path))


def _is_odd(path: Path) -> bool:
    name = os.fsencode(path)
    return b"\n" in name or _STATE.search(name) is not None


def _released(paths: Sequence[Path]) -> list[bool]:
    answer = _lfs("hsm_state", paths)
    found = [int(state, 16) for state in _STATE.findall(answer)]
    if len(paths) == 1:
        found = found[-1:]  # the name may hold what looks like a state; the state comes after it
    if len(found) != len(paths):
        raise XdaskError(
            f"lfs hsm_state reported the state of {len(found)} of {len(paths)} files, the first of them {paths[0]}. Look "
            f"whether they lie on Lustre: lfs hsm_state {paths[0]}"
        )
    return [bool(flags & _RELEASED) for flags in found]


def _lfs(command: str, paths: Sequence[Path]) -> bytes:
    try:
        done = subprocess.run(["lfs", command, *map(os.fspath, paths)], capture_output=True, check=False)
    except FileNotFoundError as error:
        raise XdaskError(
            "There is no command lfs on this worker, so that Lustre cannot be asked; install the Lustre client in its image"
        ) from error
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise XdaskError(f"lfs {command} of {len(paths)} files failed: {said}. The first of them is {paths[0]}")
    return done.stdout

"""Locations of entries on a worker, with checks that links do not lead out of the mount.

Belongs here: paths of keys, symbolic links. Does not belong here: links inside files (describing), permission to read
(placement.worker.guard).

A mount may be a link, and links inside a mount are followed. A link that leads out of its mount is refused by the
listing, and again here, because files may have been replaced since.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from xdask_pipelines.access.describing.raw import Unusable
from xdask_pipelines.errors import AccessError
from xdask_pipelines.placement.worker.guard import region_path
from xdask_pipelines.topology.names import is_plain_key


def refuse_odd_key(key: str) -> None:
    """Refuse a key that does not stay below the Region's folder.

    Raises
    ------
    AccessError
        If it does not.
    """
    if not is_plain_key(key):
        raise AccessError(
            f"The key {key!r} is not a plain path below the Region's folder, so it is neither read nor removed. Keys are "
            "relative, without empty parts, . and ... Correct the key, then run again."
        )


def key_path(key: str) -> Path:
    """Return the path of a key on this worker; raise for keys that are not plain."""
    refuse_odd_key(key)
    return region_path(key)


@dataclass(frozen=True)
class Location:
    """The resolved path of a file or store, and the folder that must contain all of it.

    Attributes
    ----------
    path, top
        Real paths of the file or store, and of its mount.
    """

    path: Path
    top: Path
    _folders: set[Path] = field(default_factory=set, repr=False, compare=False)

    @classmethod
    def of(cls, key: str, mount: str = "") -> Location:
        """Resolve a key, with two accesses to the file system.

        Parameters
        ----------
        key
            Key of the entry, relative to the Region's root.
        mount
            Mount of the entry; the first folder of the key if unknown, as in headers of older versions.

        Raises
        ------
        AccessError
            If the key leads out of the mount.
        """
        path, mount = key_path(key), mount or key.partition("/")[0]
        below = Path(key).relative_to(mount)
        top = Path(os.path.realpath(path.parents[len(below.parts) - 1] if below.parts else path))
        real = Path(os.path.realpath(top / below))
        if not real.is_relative_to(top):
            raise AccessError(
                f"{key} leads out of its mount {mount}: the file, or a folder above it, is a symbolic link to {real}. Put "
                "the file itself there, run `xdask sync`, then run again."
            )
        return cls(real, top)

    @classmethod
    def alone(cls, path: Path) -> Location:
        """Create the location of a file or store whose links must not lead out of the store itself."""
        real = Path(os.path.realpath(path))
        return cls(real, real)

    def below(self, name: str) -> Path:
        """Return the path of an array in a store."""
        if not is_plain_key(name):
            raise Unusable(f"has an array {name!r}, whose name leads out of the store", "rename the array")
        return self.path / name

    def status(self, file: Path) -> os.stat_result:
        """Return the status of a file in a store, with checks of links in its path.

        Raises
        ------
        FileNotFoundError
            If the file does not exist.
        Unusable
            If a folder is a link, or the file is a link that leads out of the mount.
        """
        self._check_folder(file.parent)
        found = file.lstat()
        return self._target(file) if stat.S_ISLNK(found.st_mode) else found

    def _check_folder(self, folder: Path) -> None:
        if folder in self._folders or folder == self.path:
            return
        self._check_folder(folder.parent)
        if folder.is_symlink():
            raise Unusable(
                f"has a link to a folder, {folder.relative_to(self.path)}", "put the folder itself in its place"
            )
        self._folders.add(folder)

    def _target(self, link: Path) -> os.stat_result:
        if not Path(os.path.realpath(link)).is_relative_to(self.top):
            raise Unusable(
                f"has a link that leads out of its mount, {link.relative_to(self.path)}",
                "put the file itself in its place",
            )
        return link.stat()

    def files(self) -> Iterator[tuple[str, os.stat_result]]:
        """Iterate over the file, or over each file of a store with its path in the store.

        Raises
        ------
        Unusable
            As `status`.
        """
        if not self.path.is_dir():
            yield "", self.path.stat()
            return
        folders = [self.path]
        while folders:
            with os.scandir(folders.pop()) as items:
                for item in items:
                    path = Path(item.path)
                    if item.is_symlink():
                        if path.is_dir():
                            self._check_folder(path)
                        status = self._target(path)
                    elif item.is_dir():
                        folders.append(path)
                        continue
                    else:
                        status = item.stat()
                    if stat.S_ISREG(status.st_mode):
                        yield path.relative_to(self.path).as_posix(), status

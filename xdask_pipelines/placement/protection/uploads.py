"""Files that clients upload: they cannot replace files that other clients use, or hide installed modules.

Belongs here: whether a file may be uploaded. Does not belong here: uploading it (Dask), plugins (client_plugins).

Dask writes an uploaded file into a folder from which the tasks of all clients import, and reloads the module.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from hashlib import sha256
from importlib.machinery import PathFinder
from io import BytesIO
from pathlib import PurePath
from sysconfig import get_paths
from zipfile import BadZipFile, ZipFile

from distributed import Scheduler

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.protection.shared_use import refuse_while_others_compute

_ARCHIVES = frozenset({".zip", ".egg", ".pyz"})


class Uploads:
    """Files that clients have uploaded to a scheduler and its workers.

    Parameters
    ----------
    scheduler
        The scheduler.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._contents: dict[str, bytes] = {}

    def check(self, filename: str, data: bytes) -> None:
        """Raise if a file must not be uploaded.

        Parameters
        ----------
        filename, data
            Name and contents.

        Raises
        ------
        PlacementError
            If the file would hide an installed module, or replace another file while other clients compute.
        """
        for module in modules(filename, data):
            if is_installed(module):
                raise PlacementError(
                    f"The file {filename} would hide the installed module {module!r} from the tasks of all clients. Give "
                    "your module another name."
                )
        digest = sha256(data).digest()
        if self._contents.get(filename, digest) != digest:
            refuse_while_others_compute(
                self._scheduler,
                f"Another file {filename} was uploaded before, and this one would replace it while other clients compute",
                "Give your file another name, or wait until they are done.",
            )
        self._contents[filename] = digest


def modules(filename: str, data: bytes) -> Iterator[str]:
    """Iterate over the top-level modules in a file."""
    path = PurePath(filename)
    if path.suffix == ".py":
        yield path.stem
    elif path.suffix in _ARCHIVES:
        try:
            with ZipFile(BytesIO(data)) as archive:
                yield from {
                    PurePath(PurePath(name).parts[0]).stem for name in archive.namelist() if name.endswith(".py")
                }
        except BadZipFile:
            return


def is_installed(module: str) -> bool:
    """Return whether a module belongs to Python, to this package, or to an installed package."""
    if module in sys.stdlib_module_names or module == __name__.partition(".")[0]:
        return True
    paths = get_paths()
    return PathFinder.find_spec(module, [paths["purelib"], paths["platlib"]]) is not None

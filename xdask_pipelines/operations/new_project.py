"""Creating a project: the files of a new folder.

Belongs here: copying templates and the sample. Does not belong here: output (cli), the meaning of the files (topology).
"""

from __future__ import annotations

import shutil
from importlib.resources import files
from pathlib import Path

import xdask_pipelines
from xdask_pipelines.errors import XdaskError

_TEMPLATES = files("xdask_pipelines.templates")
#: Files of every project, and their templates.
_FILES = {
    "gitignore": ".gitignore",
    "README.md": "README.md",
    "dagster.yaml": "dagster.yaml",
    "pyproject.toml": "pyproject.toml",
    "workspace.yaml": "workspace.yaml",
    "test_example.py": "analyses/test_example.py",
}


def create_project(folder: Path, *, sample: bool = False) -> list[Path]:
    """Create a project in a folder.

    Parameters
    ----------
    folder
        Created if it does not exist; must be empty otherwise.
    sample
        Whether to copy the sample data (3 MB) with their Regions and datasets.

    Returns
    -------
    Paths of the top-level files and folders of the project, sorted.

    Raises
    ------
    XdaskError
        If the folder is not empty, is a file, or cannot be written. An incomplete project is removed.
    """
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise XdaskError(f"{folder} exists and is not an empty folder. Name a new folder.")
        created = next((p for p in [*reversed(folder.absolute().parents), folder.absolute()] if not p.exists()), None)
        _write_whole(folder, created, sample=sample)
    except OSError as error:
        raise XdaskError(
            f"{folder} cannot be written: {error}. Check its permissions and the free disk space."
        ) from error
    return sorted(folder.iterdir())


def _write_whole(folder: Path, created: Path | None, *, sample: bool) -> None:
    """Write all files, or remove them on an error; ``created`` is the topmost folder that does not exist yet."""
    partial = folder / ".partial"
    try:
        _write(partial, sample=sample)
        for path in partial.iterdir():
            path.rename(folder / path.name)
        partial.rmdir()
    except BaseException:
        shutil.rmtree(created or partial, ignore_errors=True)
        raise


def _write(folder: Path, *, sample: bool) -> None:
    (folder / "analyses").mkdir(parents=True)
    for template, name in _FILES.items():
        _copy(template, folder / name)
    if sample:
        source = sample_folder()
        _copy("example_of_sample.py", folder / "analyses/example.py")
        shutil.copyfile(source / "regions.yaml", folder / "regions.yaml")
        shutil.copytree(source / "data", folder / "data")
    else:
        _copy("example.py", folder / "analyses/example.py")
        _copy("regions.yaml", folder / "regions.yaml")
        (folder / "data/us-east-1/my-data").mkdir(parents=True)


def _copy(template: str, path: Path) -> None:
    path.write_bytes((_TEMPLATES / template).read_bytes())


def sample_folder() -> Path:
    """Folder with ``data`` and ``regions.yaml`` of the sample: inside an installed package, else the checkout."""
    package = Path(xdask_pipelines.__file__).parent
    inside = package / "sample"
    return inside if inside.exists() else package.parent

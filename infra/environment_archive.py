"""The Python environment of a SageMaker notebook instance, as one archive.

Belongs here: what is in it, its name, and building it. Does not belong here: its place in a bucket
(deployment.stored_environment), unpacking it (constructs/sagemaker_notebook.sh).

The archive has the layout of a virtual environment without an interpreter: wheels for Amazon Linux 2023, the package and the
project. The instance adds the interpreter, Amazon Linux's own Python 3.11, so that AWS patches it.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from infra.repository import REPOSITORY
from xdask_pipelines.errors import XdaskError

REQUIREMENTS = "docker/requirements.lock"
_PACKAGES = "lib/python3.11/site-packages"
#: Oldest Python 3.11 of Amazon Linux 2023 that the wheels have to accept, and its glibc, which is 2.34.
_PYTHON = "3.11.6"
_PLATFORMS = (
    *(f"manylinux_2_{minor}_x86_64" for minor in range(34, 4, -1)),
    "manylinux2014_x86_64",
    "manylinux2010_x86_64",
    "manylinux1_x86_64",
)
_COMMAND = """#!/bin/sh
exec "$(dirname "$0")/python" -c 'import sys; from xdask_pipelines.cli import main; sys.exit(main(prog_name="xdask"))' "$@"
"""


def environment_key(repository: Path = REPOSITORY) -> str:
    """Return the key of the archive in the results bucket; another content has another key.

    Parameters
    ----------
    repository
        Folder of the clone.
    """
    digest = hashlib.sha256()
    for file in (Path(__file__), *_inputs(repository)):
        name = file.relative_to(repository) if file.is_relative_to(repository) else file.name
        digest.update(f"{name}\0{file.stat().st_size}\0".encode() + file.read_bytes())
    return f"environment/{digest.hexdigest()[:16]}.tar.zst"


def _inputs(repository: Path) -> Iterator[Path]:
    yield repository / REQUIREMENTS
    yield repository / "pyproject.toml"
    yield repository / "regions.yaml"
    for folder in ("analyses", "xdask_pipelines"):
        for file in sorted((repository / folder).rglob("*")):
            if file.is_file() and file.suffix != ".pyc":
                yield file


def build_archive(target: Path, repository: Path = REPOSITORY, requirements: Path | None = None) -> None:
    """Build the archive; it needs the package index, the command ``zstd``, and a minute.

    Parameters
    ----------
    target
        File to write. Its folder is used for what goes into it.
    repository
        Folder of the clone.
    requirements
        Locked packages; default: those of the image.

    Raises
    ------
    XdaskError
        A program is missing, or a package cannot be installed.
    """
    if shutil.which("zstd") is None:
        raise XdaskError("The environment of the notebook cannot be packed: zstd is not installed. Install it.")
    top = target.with_suffix(".content")
    shutil.rmtree(top, ignore_errors=True)
    packages = top / _PACKAGES
    _install(requirements or repository / REQUIREMENTS, packages)
    for unused in (
        "bin",
        "share",
    ):  # commands with the path of this Python; files of a JupyterLab that does not run there
        shutil.rmtree(packages / unused, ignore_errors=True)
    ours = shutil.ignore_patterns("__pycache__")
    shutil.copytree(repository / "xdask_pipelines", packages / "xdask_pipelines", ignore=ours)
    _describe_package(packages)
    shutil.copytree(repository / "analyses", top / "project" / "analyses", ignore=ours)
    shutil.copy2(repository / "regions.yaml", top / "project" / "regions.yaml")
    command = top / "bin" / "xdask"
    command.parent.mkdir()
    command.write_text(_COMMAND)
    command.chmod(0o755)
    try:
        pack: list[str | Path] = [
            "tar",
            "--create",
            "--use-compress-program",
            "zstd -10 -T0",
            "--file",
            target,
            "--directory",
            top,
        ]
        _run([*pack, "--owner=0", "--group=0", "."], "packed")
    finally:
        shutil.rmtree(top)


def _install(requirements: Path, packages: Path) -> None:
    """Install wheels for Amazon Linux 2023, on whatever machine this is."""
    words: list[str | Path] = [
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-compile",
        "--target",
        packages,
    ]
    words += ["--require-hashes", "--only-binary=:all:", "--implementation", "cp", "--python-version", _PYTHON]
    words += [f"--platform={platform}" for platform in _PLATFORMS]
    _run([sys.executable, "-m", "pip", *words, "--requirement", requirements], "installed")


def _describe_package(packages: Path) -> None:
    """Write the metadata by which the package knows its version."""
    from importlib.metadata import version

    folder = packages / f"xdask_pipelines-{version('xdask_pipelines')}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: xdask_pipelines\nVersion: {version('xdask_pipelines')}\n"
    )


def _run(words: Sequence[str | Path], what: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise XdaskError(f"The environment of the notebook could not be {what}: {done.stderr.strip()[-2000:]}")

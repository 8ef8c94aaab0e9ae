"""The jars of a local OpenSearch node, which are fetched once and compared with known digests.

Belongs here: files that do not change. Does not belong here: starting them (search_node).
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

from xdask_pipelines.errors import XdaskError

#: Plugin that is loaded by name, so that the node does not start without it.
PLUGIN = "org.opensearch.security.OpenSearchSecurityPlugin"
_PARTS = Path(__file__).parent
#: Digest and name of each jar, one on each line.
JAR_LIST = _PARTS / "jars.sha256"


def jars(folder: Path, tell: Callable[[str], None]) -> Path:
    """Return the folder with exactly the known jars, which are fetched if missing or of another version.

    Parameters
    ----------
    folder
        Folder of the node; the jars are in ``jars`` below it.
    tell
        Called with lines of progress.

    Raises
    ------
    XdaskError
        If they cannot be fetched, or differ from those with which this version was tested.
    """
    jar_folder = folder / "jars"
    if jar_folder.is_dir() and not _wrong(jar_folder):
        return jar_folder
    maven = shutil.which("mvn")
    if maven is None:
        raise XdaskError("OpenSearch is assembled by Maven, but mvn was not found. On Debian: apt-get install maven.")
    tell("fetching OpenSearch: about 150 jars, 110 MB, once")
    partial = folder / "jars.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={partial.resolve()}"]
    pom = shutil.copy(_PARTS / "pom.xml", folder / "pom.xml")
    done = subprocess.run(
        [maven, "--batch-mode", "--quiet", "--strict-checksums", "--file", str(pom), *goal],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise XdaskError(f"Maven could not fetch OpenSearch:\n{(done.stdout + done.stderr)[-2000:]}")
    for plugin in partial.glob("*.zip"):
        _unpack(plugin)
    if wrong := _wrong(partial):
        raise XdaskError(
            f"Not the jars that this version was tested with: {', '.join(wrong[:5])}"
            + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else "")
            + f" differ from {JAR_LIST}. Nothing was started; remove what Maven keeps of them and try again."
        )
    shutil.rmtree(jar_folder, ignore_errors=True)
    partial.rename(jar_folder)
    return jar_folder


def _unpack(plugin: Path) -> None:
    """Replace a plugin by its jars, except those that already exist in any version."""
    existing = {_kind(jar.name) for jar in plugin.parent.glob("*.jar")}
    with zipfile.ZipFile(plugin) as packed:
        for member in packed.infolist():
            name = member.filename
            if name.endswith(".jar") and "/" not in name and _kind(name) not in existing:
                packed.extract(member, plugin.parent)
    plugin.unlink()


def _kind(jar: str) -> str:
    """Return the name of a jar without its version."""
    return re.split(r"-\d", jar, maxsplit=1)[0]


def _wrong(folder: Path) -> list[str]:
    """Return the names of jars that differ from the list, are missing, or are not on it."""
    lines = JAR_LIST.read_text().splitlines()
    wanted = {name: digest for digest, name in map(str.split, lines)}
    digests = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in folder.iterdir()}
    return sorted(name for name in digests.keys() | wanted.keys() if digests.get(name) != wanted.get(name))

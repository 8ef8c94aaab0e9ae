"""A trial node answers the processes of its own project, and nobody else; it keeps data, port and certificates."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import stat
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from tests.support.catalog_helpers import era5
from tests.support.node_requests import ask
from xdask_pipelines.catalog import Change, open_catalog
from xdask_pipelines.catalog.opensearch import opensearch_node
from xdask_pipelines.catalog.opensearch.opensearch_address import Address
from xdask_pipelines.cli import main
from xdask_pipelines.errors import CatalogError, XdaskError
from xdask_pipelines.placement.local.certificates import expiry, make_certificates
from xdask_pipelines.placement.local.tls import AUTHORITY, NODE, NODE_KEY
from xdask_pipelines.resources.opensearch.search_node import SearchNode, access_settings, open_to_all

REPO = Path(__file__).parents[2]
#: As a page of another site can send it: no body, no header of its own, so that browsers ask nobody before.
PATH = "/_all/_delete_by_query?q=*&refresh=true"
WIPE = f"POST {PATH} HTTP/1.1\r\nHost: {{}}\r\nOrigin: https://evil.example\r\nContent-Length: 0\r\n\r\n"


def _transport_port(address: str) -> int:
    (node,) = ask(address, "GET", "/_nodes/_local/transport")["nodes"].values()
    return int(node["transport"]["publish_address"].rsplit(":", 1)[1])


def _pid(node: SearchNode) -> int:
    return int(json.loads((node.folder / "node.json").read_text())["pid"])


def _said(port: int, context: ssl.SSLContext | None) -> bytes:
    """All that a client hears who asks for the removal of everything."""
    heard = b""
    asked = socket.create_connection(("127.0.0.1", port), timeout=10)
    try:
        asked = context.wrap_socket(asked) if context else asked
        asked.sendall(WIPE.format(f"127.0.0.1:{port}").encode())
        while piece := asked.recv(65_536):
            heard += piece
    except OSError:
        pass
    finally:
        asked.close()
    return heard


def _strangers(folder: Path, versions: tuple[ssl.TLSVersion, ...]) -> list[ssl.SSLContext | None]:
    """Plain HTTP; TLS without a certificate; TLS with a certificate of another authority."""
    contexts: list[ssl.SSLContext | None] = [None]
    make_certificates(folder)
    for version in versions:
        for certificate in (False, True):
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.maximum_version = version
            if certificate:
                context.load_cert_chain(folder / NODE, folder / NODE_KEY)
            contexts.append(context)
    return contexts


@pytest.mark.opensearch
def test_strangers_hear_nothing_and_change_nothing(own_node: SearchNode, tmp_path: Path) -> None:
    address = own_node.up()
    catalog = open_catalog(address)
    catalog.commit(Change([era5("2011-01")]))
    at = Address.parse(address)
    for context in _strangers(tmp_path / "others", (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)):
        for port in (at.port, _transport_port(address)):
            assert b"HTTP/" not in _said(port, context)
    assert not open_to_all(at.endpoint)
    ask(address, "POST", "/_refresh")
    assert catalog.count() == 1
    assert ask(address, "POST", PATH)["deleted"] > 1, "the same request does harm where it is let in"
    assert ask(address, "GET", "/_count")["count"] == 0


@pytest.mark.opensearch
def test_a_node_keeps_its_data_its_port_and_its_certificates_over_restarts(own_node: SearchNode) -> None:
    (own_node.folder / "node.json").write_text('{"port": 9290}')  # as an earlier start left it
    lines: list[str] = []
    address = own_node.up(lines.append)
    assert Address.parse(address).port == 9290
    open_catalog(address).commit(Change([era5("2011-01")]))
    made, first = {f: f.read_bytes() for f in own_node.certificates.iterdir()}, _pid(own_node)
    assert own_node.up(lines.append) == address
    assert lines[-1] == "the node is up already"
    assert _pid(own_node) == first
    for file in own_node.certificates.glob("*key.pem"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [stat.S_IMODE(f.stat().st_mode) for f in (own_node.folder, own_node.certificates)] == [0o700, 0o700]
    assert own_node.down()
    assert not own_node.down()
    assert own_node.address() is None
    assert own_node.up() == address
    assert open_catalog(address).count() == 1
    assert {f: f.read_bytes() for f in own_node.certificates.iterdir()} == made


@pytest.mark.opensearch
def test_a_certificate_that_expires_soon_is_renewed_and_the_node_starts_with_it(own_node: SearchNode) -> None:
    address = own_node.up()
    catalog = open_catalog(address)
    catalog.commit(Change([era5("2011-01")]))
    (own_node.certificates / NODE).unlink()
    now = datetime.now(UTC)
    make_certificates(own_node.certificates, now=now - timedelta(days=345))
    assert expiry(own_node.certificates) < now + timedelta(days=25)
    first = _pid(own_node)
    assert own_node.up() == address
    assert _pid(own_node) != first
    assert expiry(own_node.certificates) > now + timedelta(days=300)
    assert catalog.count() == 1, "also for a process that used the old one"


@pytest.mark.opensearch
def test_two_that_start_a_node_at_once_start_one(own_node: SearchNode) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(SearchNode(own_node.folder).up())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(180)
    assert len(found) == 2
    assert found[0] == found[1] == own_node.address()


@pytest.mark.opensearch
def test_the_address_works_in_regions_yaml_for_a_sync_and_a_search(
    search_node: str, node_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the folder of certificates below the project's, and named from there."""
    certs = Address.parse(search_node).certs
    if certs is None:
        pytest.fail("the node that XDASK_OPENSEARCH_URL names has no access control")
    project = tmp_path / "a project"
    shutil.copytree(REPO / "data" / "us-east-1" / "era5-pds", project / "data" / "us-east-1" / "era5-pds")
    shutil.copytree(certs, project / "var" / "its certs")
    address = node_address.replace(f"certs={certs}", "certs=var/its%20certs")
    assert address != node_address
    (project / "regions.yaml").write_text(
        "client: {region: eu-west-2, cidr: 10.0.0.0/16}\n"
        "workers: [{region: us-east-1, cidr: 10.1.0.0/16, datasets: [{name: era5, layout: era5-pds, mount: era5-pds}]}]\n"
        f"catalog: {address}\n"
    )
    monkeypatch.setenv("XDASK_TOPOLOGY", str(project / "regions.yaml"))
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["sync", "era5", "--json"])
    assert done.exit_code == 0, done.output
    found = CliRunner().invoke(main, ["catalog", "search", "--dataset", "era5", "--json"])
    assert found.exit_code == 0, found.output
    assert "air_temperature_at_2_metres" in found.output


@pytest.mark.opensearch
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            "",
            "has a certificate that this process does not trust .*with \\?certs=FOLDER if it requires client certificates",
        ),
        ("?ca={ours}/ca.pem", "refuses clients without a certificate .*End its address with \\?certs=FOLDER"),
        ("?certs={others}", "has a certificate that this process does not trust .*is not the one of .*others"),
        ("?certs={mixed}", "refuses the certificate in .*mixed .*name the folder of this node"),
        ("?certs={swapped}", "node.pem and node-key.pem in .*swapped are not a certificate and its key"),
        ("?certs={empty}", "empty/ca.pem cannot be read \\(No such file or directory\\). Correct \\?certs=FOLDER"),
        ("?ca={others}/node-key.pem", "node-key.pem does not contain the certificate of an authority"),
        ("?ca={empty}/ca.pem", "empty/ca.pem cannot be read .*Correct \\?ca=FILE"),
    ],
)
def test_what_is_wrong_with_certificates_is_an_error_that_says_what_to_do(
    search_node: str, tmp_path: Path, options: str, words: str
) -> None:
    ours, others, mixed, swapped = (tmp_path / name for name in ("ours", "others", "mixed", "swapped"))
    shutil.copytree(Address.parse(search_node).certs or "", ours)
    make_certificates(others)
    shutil.copytree(others, mixed)
    shutil.copy(ours / AUTHORITY, mixed)
    shutil.copytree(ours, swapped)
    shutil.copy(others / NODE, swapped)
    folders = {"ours": ours, "others": others, "mixed": mixed, "swapped": swapped, "empty": tmp_path / "empty"}
    bare = search_node.partition("?")[0]
    with pytest.raises(CatalogError, match=words):
        open_catalog(bare + options.format(**folders)).count()


def test_a_node_that_speaks_no_tls_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=lambda: server.accept()[0].sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
        thread.start()
        with pytest.raises(CatalogError, match=r"does not use TLS .*write opensearch\+http://"):
            open_catalog(f"opensearch+https://127.0.0.1:{server.getsockname()[1]}/x").count()
        thread.join()


def test_a_node_that_ends_amid_a_handshake_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opensearch_node, "FIRST_PATIENCE_SECONDS", 0.3)
    accepted = 0

    def accept(server: socket.socket) -> None:
        nonlocal accepted
        with suppress(OSError):
            while True:
                asked, _ = server.accept()
                asked.recv(65_536)
                accepted += 1
                asked.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, args=(server,), daemon=True).start()
        with pytest.raises(CatalogError, match=r"does not answer .*EOF.*, after \d+ s of retries"):
            open_catalog(f"opensearch+https://127.0.0.1:{server.getsockname()[1]}/x").count()
        server.shutdown(socket.SHUT_RDWR)
    assert accepted > 1


def test_data_of_a_newer_version_are_refused_by_name_and_stay(tmp_path: Path) -> None:
    state = tmp_path / "node" / "node_1" / "data" / "nodes" / "0" / "_state"
    state.mkdir(parents=True)
    (state / "segments_9").write_bytes(b"\x0cnode_version\t137267827\x13last_accepted")
    with pytest.raises(
        XdaskError, match=r"from OpenSearch 3\.5\.0, but .* runs OpenSearch 3\.4\.0.*Move the folder away"
    ):
        SearchNode(tmp_path).up()
    assert (state / "segments_9").exists()


def test_damaged_certificates_are_not_replaced_in_silence(tmp_path: Path) -> None:
    certs = SearchNode(tmp_path).certificates
    make_certificates(certs)
    (certs / NODE_KEY).write_text("nonsense")
    with pytest.raises(XdaskError, match=r"certificates of the OpenSearch node in .* are damaged.*Remove that folder"):
        SearchNode(tmp_path).up()


def test_what_compose_starts_has_the_settings_of_the_trial_node_and_is_bound_to_loopback() -> None:
    services = yaml.safe_load((REPO / "compose.yaml").read_text())["services"]
    settings = services["opensearch"]["environment"]
    wanted = {
        key: str(value).lower() if isinstance(value, bool) else value for key, value in access_settings("certs").items()
    }
    assert {key: settings[key] for key in settings if key.startswith("plugins.")} == wanted
    assert "DISABLE_SECURITY_PLUGIN" not in settings
    assert services["opensearch"]["ports"] == ["127.0.0.1:9200:9200"], "or the host's network would be used"
    assert {s.get("network_mode") for name, s in services.items() if name != "opensearch"} == {"none"}


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_node_without_access_control_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setenv(f"{scheme}_proxy", "http://127.0.0.1:9")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"cluster_name": "theirs", "version": {"number": "3.4.0"}}')

        def log_message(self, *args: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        if scheme == "https":
            make_certificates(tmp_path)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tmp_path / NODE, tmp_path / NODE_KEY)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        assert open_to_all(f"127.0.0.1:{server.server_port}")
        server.shutdown()
    assert not open_to_all(f"127.0.0.1:{server.server_port}")

"""Processes that speak TLS with each other and with nobody else, tried with real processes and real handshakes."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import copytree
from threading import Thread
from time import monotonic
from typing import Any

import dask
import dask.array as da
import psutil
import pytest
from distributed import Client

from tests.support.places import EAST, WEST, workers
from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement import compute, local_regions, pin
from xdask_pipelines.placement.client.connect import connect
from xdask_pipelines.placement.local import tls
from xdask_pipelines.placement.local.certificates import make_certificates
from xdask_pipelines.placement.local.cluster import start

#: Half of what a connection waits for.
QUICK_SECONDS = 15.0


@dataclass(frozen=True)
class Encrypted:
    """Pools over TLS, their certificates, and the same ones as they were before they were renewed."""

    client: Client
    certificates: Path
    expired: Path

    @property
    def address(self) -> str:
        return str(self.client.scheduler.address)  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encrypted]:
    folder = tmp_path_factory.mktemp("tls")
    make_certificates(folder / "certs", now=datetime.now(UTC) - timedelta(days=500))
    copytree(folder / "certs", folder / "expired")
    make_certificates(folder / "certs")
    with local_regions([EAST, WEST], certificates=folder / "certs") as client:
        yield Encrypted(client, folder / "certs", folder / "expired")


def port(address: str) -> tuple[str, int]:
    host, _, number = address.removeprefix("tls://").rpartition(":")
    return host, int(number)


@contextmanager
def refused_quickly(match: str) -> Iterator[None]:
    started = monotonic()
    with pytest.raises(PlacementError, match=match):
        yield
    assert monotonic() - started < QUICK_SECONDS


def test_pools_over_tls_compute_with_evidence(encrypted: Encrypted) -> None:
    a, b = (pin(da.ones((8, 4), chunks=(2, 4)), region) for region in (EAST, WEST))
    (got,), evidence = compute(encrypted.client, a.sum() - b.sum())
    assert got == 0
    assert evidence.misplaced_tasks == 0
    assert evidence.tasks_by_region.keys() == {EAST, WEST}


def test_scheduler_and_workers_show_the_certificate_and_want_one(encrypted: Encrypted) -> None:
    addresses = list(workers(encrypted.client))
    nannies = list(encrypted.client.run(lambda dask_worker: dask_worker.nanny).values())
    assert len({encrypted.address, *addresses, *nannies}) == 5
    node = ssl.PEM_cert_to_DER_cert((encrypted.certificates / tls.NODE).read_text())
    for address in [encrypted.address, *addresses, *nannies]:
        assert address.startswith("tls://")
        context = ssl.create_default_context(cafile=encrypted.certificates / tls.AUTHORITY)  # checks the name too
        with (
            socket.create_connection(port(address), timeout=20) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped,
        ):
            assert wrapped.getpeercert(binary_form=True) == node
            with pytest.raises(ssl.SSLError, match="certificate required"):
                wrapped.recv(1)  # it came without a certificate of its own


def test_a_client_that_a_task_opens_is_encrypted_too(encrypted: Encrypted) -> None:
    def own_client(dask_worker: Any) -> str:
        from distributed import Client

        return str(Client(dask_worker.scheduler.address, set_as_default=False, asynchronous=True).security)

    for said in encrypted.client.run(own_client).values():
        assert "require_encryption=True" in said
        assert f"tls_client_key=Local ({encrypted.certificates / tls.NODE_KEY})" in said


def test_processes_know_paths_of_keys_and_never_what_is_in_them(encrypted: Encrypted) -> None:
    secret = (encrypted.certificates / tls.NODE_KEY).read_text().splitlines()[1]
    ids = [encrypted.client.run_on_scheduler(os.getpid), *encrypted.client.run(os.getpid).values()]
    for pid in ids:
        process = psutil.Process(pid)
        told = " ".join([*process.cmdline(), *process.environ().values()])
        assert secret not in told
        assert "PRIVATE KEY" not in told
        assert str(encrypted.certificates / tls.NODE_KEY) in told


def test_a_client_without_certificates_is_refused(encrypted: Encrypted) -> None:
    plain = encrypted.address.replace("tls://", "tcp://")
    with refused_quickly(r"tcp://.* accepts only TLS, and refused the connection.*`certificates=`"):
        connect(plain)
    with refused_quickly(r"tls://.* accepts only TLS, but this process has no certificates"):
        connect(encrypted.address)
    started = monotonic()
    with pytest.raises(OSError, match="closed"):  # Dask's own client, which knows no better
        Client(plain, timeout=30, set_as_default=False)
    assert monotonic() - started < QUICK_SECONDS


def test_a_folder_is_text_or_a_path(encrypted: Encrypted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(encrypted.certificates.parent)
    for folder in (str(encrypted.certificates), "certs", Path("certs")):
        with connect(encrypted.address, folder) as client:
            assert client.security.require_encryption


def test_a_wrong_folder_or_address_is_named(encrypted: Encrypted, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / tls.AUTHORITY).write_text("")
    copytree(tmp_path / "half", tmp_path / "garbage")
    for name in (tls.NODE, tls.NODE_KEY):
        (tmp_path / "garbage" / name).write_text("not a certificate")
    for folder, words in (
        (tmp_path / "nowhere", "nowhere.* does not exist. Pass the folder that `xdask certs` filled"),
        (str(tmp_path / "file"), "file.* is a file"),
        (str(tmp_path / "half"), "half.* has no node.pem, node-key.pem"),
        ("", "has no ca.pem, node.pem, node-key.pem. Pass"),
        (tmp_path / "garbage", "garbage cannot be used: .*Create them with `xdask certs`"),
        (5, "5 is not a folder of certificates"),
        (True, "True is not a folder of certificates"),
        ("~nobody-of-that-name/certs", "is not a folder of certificates"),
    ):
        with refused_quickly(words):
            connect(encrypted.address, folder)  # type: ignore[arg-type]
    for address in ("tls://127.0.0.1", "nonsense", "http://127.0.0.1:8786", "tls://127.0.0.1:port", "", None):
        with refused_quickly("is not the address of a scheduler. Write tcp://host:port or tls://host:port"):
            connect(address, encrypted.certificates)  # type: ignore[arg-type]


def test_a_certificate_of_another_authority_is_refused(encrypted: Encrypted, tmp_path: Path) -> None:
    make_certificates(tmp_path / "other")
    with refused_quickly(r"do not trust each other's certificates .*other.*xdask pools up"):
        connect(encrypted.address, tmp_path / "other")
    # One that trusts the scheduler and is not trusted by it.
    (tmp_path / "other" / tls.AUTHORITY).write_bytes((encrypted.certificates / tls.AUTHORITY).read_bytes())
    with refused_quickly("do not trust each other's certificates"):
        connect(encrypted.address, tmp_path / "other")


def test_an_expired_certificate_is_refused_by_the_scheduler_and_told_with_its_date(encrypted: Encrypted) -> None:
    with refused_quickly(r"expired on 20\d\d-.* UTC\. Renew them with `xdask certs`"):
        connect(encrypted.address, encrypted.expired)


def test_a_scheduler_whose_certificate_has_expired_is_told_though_the_own_is_valid(encrypted: Encrypted) -> None:
    context = tls.security(encrypted.expired).get_listen_args("scheduler")["ssl_context"]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        Thread(target=_greet, args=(listening, context), daemon=True).start()
        address = f"tls://127.0.0.1:{listening.getsockname()[1]}"
        with refused_quickly(r"has expired\. Renew it with `xdask certs`, and restart the pools"):
            connect(address, encrypted.certificates)


def _greet(listening: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        try:
            plain, _ = listening.accept()
            context.wrap_socket(plain, server_side=True).close()
        except ssl.SSLError:
            continue
        except OSError:
            return


def test_certificates_that_dask_is_configured_with_are_used(encrypted: Encrypted, tmp_path: Path) -> None:
    make_certificates(tmp_path)
    with dask.config.set(_named(encrypted.certificates)), connect(encrypted.address) as client:
        assert client.security.require_encryption
    with dask.config.set(_named(tmp_path)), refused_quickly("those that Dask's configuration names"):
        connect(encrypted.address)


def _named(folder: Path) -> dict[str, Any]:
    prefix = "distributed.comm.tls"
    files = {
        f"{prefix}.ca-file": tls.AUTHORITY,
        f"{prefix}.client.cert": tls.NODE,
        f"{prefix}.client.key": tls.NODE_KEY,
    }
    return {"distributed.comm.require-encryption": True} | {name: str(folder / file) for name, file in files.items()}


def test_nothing_starts_with_expired_certificates(encrypted: Encrypted, tmp_path: Path) -> None:
    with refused_quickly("expired on .*`xdask certs`"):
        start([], tmp_path / "run", certificates=encrypted.expired)
    assert not (tmp_path / "run").exists()


def test_keys_that_do_not_fit_and_schedulers_without_tls_are_told(encrypted: Encrypted, tmp_path: Path) -> None:
    make_certificates(tmp_path / "mixed")
    (tmp_path / "mixed" / tls.NODE_KEY).write_bytes((encrypted.certificates / tls.NODE_KEY).read_bytes())
    with refused_quickly(r"certificates in .*mixed cannot be used: .*MISMATCH.*`xdask certs`"):
        connect(encrypted.address, tmp_path / "mixed")
    with refused_quickly("cannot be used: .*does not exist"):
        connect(encrypted.address, tmp_path / "none")
    with refused_quickly(r"tcp://127.0.0.1:9 does not use TLS, but this process has to use .*restart the pools"):
        connect("tcp://127.0.0.1:9", encrypted.certificates)


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_where_nothing_answers_it_is_not_said_to_be_tls(encrypted: Encrypted, scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        number = closed.getsockname()[1]
    with pytest.raises(OSError, match="Timed out"):
        connect(f"{scheme}://127.0.0.1:{number}", encrypted.certificates if scheme == "tls" else None, timeout=0.5)

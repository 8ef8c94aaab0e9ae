"""A real Postgres on loopback, for Dagster's history: what RDS is on AWS.

Belongs here: starting one for a rehearsal, and its login. Does not belong here: the way from a task to it (forward).
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from time import monotonic, sleep

import psycopg2

from infra.rehearsal.servers.loopback import free_port
from xdask_pipelines.placement.local.certificates import make_certificates
from xdask_pipelines.placement.local.tls import NODE, NODE_KEY

#: Postgres refuses to run as root. This user comes with the Debian package.
_USER = "postgres"
_PROGRAMS = Path("/usr/lib/postgresql")
_PATIENCE_SECONDS = 60.0
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "ssl": "on",
    "fsync": "off",  # it is removed in the end
    "max_connections": "100",
}


@dataclass(frozen=True)
class PostgresServer:
    """A Postgres at a port of 127.0.0.1, with the password of its administrator."""

    port: int
    password: str

    def url(self, name: str) -> str:
        """Return the address of a database for its administrator, as SQLAlchemy takes it."""
        return f"postgresql+psycopg2://{_USER}:{self.password}@127.0.0.1:{self.port}/{name}?sslmode=require"

    def create(self, name: str, user: str, password: str) -> None:
        """Create a database and the user who owns it; nothing is done if both are there."""
        connection = psycopg2.connect(
            host="127.0.0.1", port=self.port, user=_USER, password=self.password, dbname="postgres", sslmode="require"
        )
        connection.autocommit = True  # a database cannot be created in a transaction
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (user,))
                if cursor.fetchone() is None:
                    cursor.execute(f'CREATE ROLE "{user}" LOGIN PASSWORD %s', (password,))
                    cursor.execute(f'CREATE DATABASE "{name}" OWNER "{user}"')
        finally:
            connection.close()


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Run a Postgres, and remove it with its files in the end.

    Raises
    ------
    RuntimeError
        Postgres is not installed, or did not start.
    """
    found = programs()
    folder = Path(mkdtemp(prefix="xdask-postgres-"))  # that user cannot enter every project
    try:
        port, password = free_port(), os.urandom(16).hex()
        made = make_certificates(folder / "certs", ("localhost",))
        assert made
        (folder / "password").write_text(password)
        as_user = _given_to_user(folder)
        log = folder / "postgres.log"
        initdb = [*as_user, str(found / "initdb"), "--pgdata", str(folder / "data"), "--username", _USER]
        initdb += ["--auth", "scram-sha-256", "--pwfile", str(folder / "password"), "--no-sync", "--encoding", "UTF8"]
        subprocess.run(initdb, check=True, capture_output=True, cwd=folder)
        files = {"ssl_cert_file": str(folder / "certs" / NODE), "ssl_key_file": str(folder / "certs" / NODE_KEY)}
        words = [f"--{name}={value}" for name, value in {**_SETTINGS, **files, "port": str(port)}.items()]
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*as_user, str(found / "postgres"), "-D", str(folder / "data"), *words],
                stdout=out, stderr=out, cwd=folder,
            )  # fmt: skip
        try:
            _await(port, password, process, log)
            yield PostgresServer(port, password)
        finally:
            process.terminate()
            try:
                process.wait(5)  # clients that are still connected keep a gentle end waiting
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def programs() -> Path:
    """Return the folder of the newest Postgres of this machine.

    Raises
    ------
    RuntimeError
        Postgres is not installed, or root has no user who may run it.
    """
    found = sorted(_PROGRAMS.glob("*/bin"), key=lambda each: int(each.parent.name))
    if not found:
        raise RuntimeError(
            "Postgres is not installed, which has Dagster's history. On Debian: apt-get install postgresql."
        )
    if not os.geteuid():
        try:
            pwd.getpwnam(_USER)
        except KeyError:
            raise RuntimeError(
                f"Postgres does not run as root, and there is no user {_USER}. On Debian, the package postgresql creates it."
            ) from None
    return found[-1]


def _given_to_user(folder: Path) -> list[str]:
    """Give a folder to the user of Postgres, and return the words that make a command run as that user."""
    if os.geteuid():
        return ["setpriv", "--pdeathsig", "INT"]
    for each in (folder, *folder.rglob("*")):
        shutil.chown(each, _USER, _USER)
    return ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups", "--pdeathsig", "INT"]


def _await(port: int, password: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            psycopg2.connect(
                host="127.0.0.1", port=port, user=_USER, password=password, dbname="postgres", connect_timeout=5
            ).close()
            return
        except psycopg2.OperationalError:
            if process.poll() is not None or monotonic() > deadline:
                raise RuntimeError(f"Postgres did not start. Its log:\n{log.read_text()[-3000:]}") from None
            sleep(0.1)

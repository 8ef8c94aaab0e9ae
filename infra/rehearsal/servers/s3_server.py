"""A real S3 server, SeaweedFS, on loopback for as long as a block runs.

Belongs here: starting and stopping it, and clients of it. Does not belong here: what is stored.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from time import monotonic, sleep
from typing import Any

import boto3
from botocore.client import Config
from botocore.exceptions import BotoCoreError, ClientError

from infra.rehearsal.servers.loopback import free_ports

ACCESS, SECRET = "tester", "tester-secret"  # of a server that listens on loopback alone
_PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class S3Server:
    """A running server."""

    url: str

    @property
    def environment(self) -> dict[str, str]:
        """Environment by which boto3 in any process uses the server."""
        return {
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_ACCESS_KEY_ID": ACCESS,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self) -> Any:
        """Return a client that may do everything."""
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=ACCESS,
            aws_secret_access_key=SECRET,
            config=Config(retries={"max_attempts": 2}, s3={"addressing_style": "path"}),
        )


@contextmanager
def s3_server(folder: Path, public: Sequence[str] = ("open-data",)) -> Iterator[S3Server]:
    """Run SeaweedFS with one identity that may do all, and anonymous reading of public buckets."""
    master, volume, filer, s3, *grpc = free_ports(8)
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    identities = [
        {"name": "tester", "credentials": [{"accessKey": ACCESS, "secretKey": SECRET}], "actions": actions},
        {"name": "anonymous", "actions": [f"{may}:{name}" for may in ("Read", "List") for name in public]},
    ]
    folder.mkdir(parents=True, exist_ok=True)
    sockets = mkdtemp(prefix="xdask-s3-")  # paths of sockets have at most 107 characters
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    ends_with_us = [setpriv, "--pdeathsig", "KILL"] if (setpriv := shutil.which("setpriv")) else []
    command = [
        *ends_with_us,
        *(str(Path(sys.executable).with_name("weed")), "server", f"-dir={folder}", "-ip=127.0.0.1"),
        *("-ip.bind=127.0.0.1", "-filer", "-s3", "-s3.ip.bind=127.0.0.1", f"-s3.config={folder / 's3.json'}"),
        *(f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", f"-s3.port={s3}"),
        *(f"-master.port.grpc={grpc[0]}", f"-volume.port.grpc={grpc[1]}", f"-filer.port.grpc={grpc[2]}"),
        *(f"-s3.port.grpc={grpc[3]}", "-master.volumeSizeLimitMB=64", "-volume.max=1000"),
        *("-s3.port.iceberg=0", "-s3.port.lance=0"),  # their ports are fixed: a second server would die of them
        # by default in /tmp, where those of a killed server stay, and a server of another user dies of them
        *(f"-s3.localSocket={sockets}/s3", f"-filer.localSocket={sockets}/filer"),
    ]
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, cwd=folder, env={**os.environ, "HOME": str(folder)}
        )
    server = S3Server(f"http://127.0.0.1:{s3}")
    try:
        _await(server, process, log)
        yield server
    finally:
        process.kill()  # asked to end, it waits for idle connections, 20 s and more; what it stores is of no use any more
        process.wait(20)
        shutil.rmtree(sockets, ignore_errors=True)


def _await(server: S3Server, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            client = server.client()
            client.create_bucket(Bucket="ready")
            client.put_object(Bucket="ready", Key="ready")
            return
        except (BotoCoreError, ClientError):
            if process.poll() is not None or monotonic() > deadline:
                raise RuntimeError(f"the S3 server did not start:\n{log.read_text()[-3000:]}") from None
            sleep(0.2)

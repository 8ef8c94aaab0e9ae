"""The archive of the notebook's environment in the results bucket of the client Region.

Belongs here: building and storing it if it is not there. Does not belong here: its content (environment_archive).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from botocore.exceptions import ClientError

from infra.deployment.aws_clients import Clients
from infra.environment_archive import build_archive, environment_key
from xdask_pipelines.system.units import format_bytes
from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.aws_names import results_bucket

Tell = Callable[[str], None]


def store_environment(
    clients: Clients, topology: Topology, tell: Tell, build: Callable[[Path], None] = build_archive
) -> bool:
    """Build and store the archive of the notebook's environment, unless it is there; return whether it was stored.

    Archives of earlier releases stay for a rollback: another content has another key.

    Parameters
    ----------
    clients, topology, tell
        AWS, what is deployed, and where progress is reported.
    build
        Function that writes the archive to a path.
    """
    assert topology.aws is not None
    if topology.aws.notebook != "sagemaker":
        return False
    s3 = clients.of("s3", topology.client.region)
    bucket, key = results_bucket(topology.aws.account, topology.client.region), environment_key()
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("404", "NoSuchKey"):
            raise
    else:
        return False
    tell("building the environment of the notebook")
    with TemporaryDirectory(prefix="xdask-environment-") as folder:
        archive = Path(folder, "environment.tar.zst")
        build(archive)
        tell(f"storing it, {format_bytes(archive.stat().st_size)}")
        s3.upload_file(str(archive), bucket, key)
    return True

"""Secrets of a container: read from Secrets Manager into files of a memory file system, never into its definition.

Belongs here: TLS keys, and the password of the database. Does not belong here: creating them (infra, `xdask certs --aws`).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from xdask_pipelines.errors import XdaskError
from xdask_pipelines.placement.local.tls import AUTHORITY, NODE, NODE_KEY
from xdask_pipelines.resources.aws.clients import call, client
from xdask_pipelines.topology.aws_names import DATABASE_SECRET, TLS_SECRET


def write_certificates(region: str, folder: Path) -> None:
    """Write the TLS keys of a deployment to a folder that only this user can read.

    Raises
    ------
    XdaskError
        The secret has no keys yet; or as in `clients.call`.
    """
    keys = _secret(region, TLS_SECRET)
    missing = [name for name in (AUTHORITY, NODE, NODE_KEY) if not keys.get(name)]
    if missing:
        raise XdaskError(
            f"The secret {TLS_SECRET} in {region} has no {', '.join(missing)}. Create the keys with `xdask certs --aws`, "
            "then start the service again."
        )
    for name in (AUTHORITY, NODE, NODE_KEY):
        write_privately(folder / name, keys[name])


def database_login(region: str) -> tuple[str, str]:
    """Return user and password of Dagster's database.

    Raises
    ------
    XdaskError
        The secret has none; or as in `clients.call`.
    """
    login = _secret(region, DATABASE_SECRET)
    if not login.get("username") or not login.get("password"):
        raise XdaskError(
            f"The secret {DATABASE_SECRET} in {region} has no username or password. Deploy the storage stack again "
            "(`make infra-deploy`)."
        )
    return login["username"], login["password"]


def write_privately(file: Path, text: str) -> None:
    """Write a file that only this user can read, at no moment anybody else."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = file.with_name(f".{file.name}.{os.getpid()}")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(text)
    new.replace(file)


def _secret(region: str, name: str) -> dict[str, Any]:
    answer = call(client("secretsmanager", region), "get_secret_value", SecretId=name)
    try:
        found = json.loads(answer["SecretString"])
    except (KeyError, ValueError):  # the message must not quote it
        found = None
    if not isinstance(found, dict):
        raise XdaskError(f"The secret {name} in {region} is not a JSON document. Write it again: `xdask certs --aws`.")
    return found

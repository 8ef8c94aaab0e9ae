"""Dagster's settings in a container on AWS: history in Postgres, logs in the results bucket, runs as tasks.

Belongs here: filling in the templates. Does not belong here: starting Dagster (operations.aws.start_part).
"""

from __future__ import annotations

import json
import os
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import yaml

from xdask_pipelines.errors import XdaskError
from xdask_pipelines.resources.aws.ecs_service import EcsService
from xdask_pipelines.resources.aws.secrets_in_memory import database_login, write_privately
from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.aws_names import (
    CODE_PORT,
    DAGSTER_SERVICE,
    RUN_CONTAINER,
    RUN_FAMILY,
    cluster_name,
    results_bucket,
)

_TEMPLATES = files("xdask_pipelines.templates")
_HOST_VARIABLE = "XDASK_DATABASE_HOST"
_DATABASE = "dagster"


def prepared_home(topology: Topology) -> Path | None:
    """Return the folder of settings that this container was started with; None outside of such a container."""
    home = os.environ.get("DAGSTER_HOME")
    prepared = topology.profile == "aws" and home is not None and (Path(home) / "dagster.yaml").is_file()
    return Path(home) if prepared and home else None


def write_settings(topology: Topology, home: Path) -> None:
    """Write ``dagster.yaml``, ``workspace.yaml`` and the password file of a container to a folder in memory.

    Raises
    ------
    XdaskError
        The environment names no database; or as in `database_login`.
    """
    assert topology.aws is not None
    host, region = os.environ.get(_HOST_VARIABLE), topology.client.region
    if not host:
        raise XdaskError(
            f"{_HOST_VARIABLE} is not set, which names the host of Dagster's database. Set it as the task definitions of "
            "infra do."
        )
    user, password = database_login(region)
    passfile = home / "pgpass"
    write_privately(passfile, ":".join(map(_escaped, (host, "5432", _DATABASE, user, password))) + "\n")
    own = topology.root / "dagster.yaml"
    settings = yaml.safe_load((own if own.exists() else _TEMPLATES / "dagster.yaml").read_text("utf-8"))
    settings |= _filled(
        "dagster_aws.yaml",
        user=user,
        database_host=host,
        database=_DATABASE,
        passfile=str(passfile),
        ssl="" if "PGSSLMODE" in os.environ else "&sslmode=require",
        bucket=results_bucket(topology.aws.account, region),
        region=region,
        local_logs=str(topology.var / "logs"),
    )
    if topology.aws.stage == "full":
        settings |= _filled(
            "dagster_aws_runs.yaml",
            run_family=RUN_FAMILY,
            run_container=RUN_CONTAINER,
            cluster=cluster_name(region),
            network=json.dumps(EcsService(region, DAGSTER_SERVICE).state().network),
        )
    write_privately(home / "dagster.yaml", yaml.safe_dump(settings, sort_keys=False))
    server = {"host": "localhost", "port": CODE_PORT, "location_name": "xdask_pipelines"}
    write_privately(home / "workspace.yaml", yaml.safe_dump({"load_from": [{"grpc_server": server}]}))


def _filled(name: str, **values: str) -> dict[str, Any]:
    text = (_TEMPLATES / name).read_text("utf-8")
    filled: dict[str, Any] = yaml.safe_load(Template(text).substitute(values))
    return filled


def _escaped(field: str) -> str:
    """Write a field of a password file of libpq."""
    return field.replace("\\", "\\\\").replace(":", "\\:")

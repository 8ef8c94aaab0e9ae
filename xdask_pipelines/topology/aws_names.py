"""Names of everything on AWS: the templates of `infra` give them, and the program finds things by them.

Belongs here: names, ports and paths that templates and program share. Does not belong here: settings (aws_stanza), prices
(aws_facts).
"""

from __future__ import annotations

from xdask_pipelines.topology.names import pool_name

#: Prefix of all names, and the tag of all stacks.
PREFIX = "xdask"

# ---- in all VPCs ---------------------------------------------------------------------------------------------------

#: Private hosted zone, which resolves in every VPC of the topology.
ZONE = "xdask.internal"
SCHEDULER_HOST = f"scheduler.{ZONE}"
#: Time to live of the scheduler's address record, in seconds: a replaced scheduler has another address.
SCHEDULER_TTL_SECONDS = 10
SCHEDULER_PORT = 8786
DASHBOARD_PORT = 8787
UI_PORT = 3000
NOTEBOOK_PORT = 8888
#: Ports on which worker processes and their nannies listen.
WORKER_PORTS = (9000, 9063)
SCHEDULER_ADDRESS = f"tls://{SCHEDULER_HOST}:{SCHEDULER_PORT}"

# ---- in the client Region ------------------------------------------------------------------------------------------

#: ECS service of the scheduler. At the small stage its task has Dagster's containers too.
SCHEDULER_SERVICE = f"{PREFIX}-scheduler"
#: ECS service of Dagster at the full stage.
DAGSTER_SERVICE = f"{PREFIX}-dagster"
#: Task family of one run at the full stage. Its container's entry point is `xdask aws exec`: Dagster gives the command.
RUN_FAMILY, RUN_CONTAINER = f"{PREFIX}-run", "run"
#: Task family and EFS file system of notebooks.
NOTEBOOK = f"{PREFIX}-notebook"
SEARCH_DOMAIN = PREFIX
DATABASE = PREFIX
#: Secret with `ca.pem`, `node.pem` and `node-key.pem` as one JSON document; replicated to every worker Region.
TLS_SECRET = f"{PREFIX}/tls"
#: Secret with user and password of the database.
DATABASE_SECRET = f"{PREFIX}/database"
ALARM_TOPIC = f"{PREFIX}-alarms"
METRICS_NAMESPACE = "Dask/Cluster"

# ---- in a container -------------------------------------------------------------------------------------------------

#: Name of the container that runs workers; dask-cloudprovider finds it by this name.
WORKER_CONTAINER = "dask-worker"
DATA_PATH, RESULTS_PATH, SPILL_PATH, CERTIFICATES_PATH = "/data", "/results", "/spill", "/run/xdask/tls"
PROJECT_PATH = "/project"
#: Memory file system for what must not be on a disk, and the folder of Dagster's settings in it.
MEMORY_PATH, DAGSTER_PATH = "/run/xdask", "/run/xdask/dagster"
#: Port of Dagster's code server, on loopback of its task.
CODE_PORT = 4266

# ---- in any Region ---------------------------------------------------------------------------------------------------


def cluster_name(region: str) -> str:
    """Return the ECS cluster of a Region."""
    return f"{PREFIX}-{region}"


def pool_service(region: str) -> str:
    """Return the ECS service and the task family of a Region's pool."""
    return f"{PREFIX}-{pool_name(region)}"


def sync_family(region: str) -> str:
    """Return the task family of a Region's sync executor."""
    return f"{PREFIX}-sync-{region}"


def capacity_provider(region: str) -> str:
    """Return the ECS capacity provider of a Region, which is also the name of its Auto Scaling group."""
    return f"{PREFIX}-workers-{region}"


def role_name(part: str, region: str) -> str:
    """Return an IAM role; IAM is global, so the Region is part of the name.

    Parts are ``scheduler``, ``dagster``, ``notebook`` and ``execution`` in the client Region; ``pool``, ``sync``,
    ``host`` and ``execution`` in worker Regions.
    """
    return f"{PREFIX}-{part}-{region}"


def results_bucket(account: str, region: str) -> str:
    """Return the bucket of a Region's results."""
    return f"{PREFIX}-results-{account}-{region}"


def log_bucket(account: str, region: str) -> str:
    """Return the bucket of a Region's access logs."""
    return f"{PREFIX}-logs-{account}-{region}"


def log_group(part: str) -> str:
    """Return the log group of a part, such as ``scheduler``, ``dagster``, ``pool``, ``sync``, ``host`` or ``flow``."""
    return f"/{PREFIX}/{part}"


def stack_name(part: str, region: str) -> str:
    """Return a CloudFormation stack, such as ``xdask-network-eu-west-2``."""
    return f"{PREFIX}-{part}-{region}"

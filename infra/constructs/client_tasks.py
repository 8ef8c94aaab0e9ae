"""The tasks of the client Region on Fargate: scheduler and Dagster.

Belongs here: containers, volumes, sizes. Does not belong here: services (stacks.client_stack), notebooks
(notebook_task).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_ecs as ecs
from constructs import Construct

from infra.constructs.containers import container
from xdask_pipelines.topology import aws_names

_RUN_FOLDER, _VAR = aws_names.MEMORY_PATH, f"{aws_names.PROJECT_PATH}/var"
#: Memory file systems of a container of the project: keys and Dagster's settings; files that may be lost.
_MEMORY = {_RUN_FOLDER: 16, _VAR: 256}


@dataclass(frozen=True)
class ClientConfig:
    """What the tasks of the client Region share.

    Attributes
    ----------
    region, account, partition
        Of tasks and roles.
    image
        Image of all containers.
    catalog, database_host
        Address of the catalog, and host of the database.
    results_file_system, results_access_point
        ARNs of what is mounted at ``/results``.
    """

    region: str
    account: str
    partition: str
    image: str
    catalog: str
    database_host: str
    results_file_system: str
    results_access_point: str

    def role(self, part: str) -> str:
        """Return the ARN of a role of the client Region."""
        return f"arn:{self.partition}:iam::{self.account}:role/{aws_names.role_name(part, self.region)}"

    @property
    def environment(self) -> dict[str, str]:
        """Environment of every container of the project."""
        return {
            "XDASK_TOPOLOGY": f"{aws_names.PROJECT_PATH}/regions.yaml",
            "XDASK_CATALOG": self.catalog,
        }

    @property
    def dagster_environment(self) -> dict[str, str]:
        """Environment of Dagster's containers."""
        home = {"DAGSTER_HOME": aws_names.DAGSTER_PATH, "XDASK_DATABASE_HOST": self.database_host}
        return {**self.environment, **home}

    @property
    def results_volume(self) -> ecs.CfnTaskDefinition.VolumeProperty:
        """The results bucket, as files."""
        return ecs.CfnTaskDefinition.VolumeProperty(
            name="results",
            s3_files_volume_configuration=ecs.CfnTaskDefinition.S3FilesVolumeConfigurationProperty(
                file_system_arn=self.results_file_system, access_point_arn=self.results_access_point
            ),
        )


def scheduler_container(config: ClientConfig, reserved_mib: int) -> Any:
    """Return the container of Dask's scheduler."""
    return container(
        "scheduler",
        config.image,
        ["aws", "start", "scheduler"],
        config.region,
        "scheduler",
        env=config.environment,
        reserved_mib=reserved_mib,
        memory_folders_mib=_MEMORY,
        stop_seconds=30,
        health=True,
        sessions=True,
        init=False,  # the command forgets where the credentials of the task are, and an init process would not
    )


def dagster_containers(config: ClientConfig, reserved_mib: Mapping[str, int], *, reader: bool) -> list[Any]:
    """Return the containers of Dagster: code server, daemon, webserver; with ``reader`` one more that only reads.

    The webserver listens on loopback of the task and is reached by port forwarding through SSM. The reader listens for the
    load balancer.
    """
    parts = ["code", "daemon", "webserver", *(["reader"] if reader else [])]
    return [
        container(
            part,
            config.image,
            ["aws", "start", part],
            config.region,
            "dagster",
            env=config.dagster_environment,
            reserved_mib=reserved_mib[part],
            mounts={"results": aws_names.RESULTS_PATH},
            writable=["results"],
            memory_folders_mib=_MEMORY,
            stop_seconds=60 if part == "code" else 30,
            health=part == "webserver",
            sessions=part in ("webserver", "code"),
            ports=[aws_names.UI_PORT] if part == "reader" else [],
        )
        for part in parts
    ]


def run_container(config: ClientConfig, reserved_mib: int) -> Any:
    """Return the container of one run (stage full); Dagster's run launcher gives its command."""
    return container(
        aws_names.RUN_CONTAINER,
        config.image,
        [],
        config.region,
        "dagster",
        env=config.dagster_environment,
        reserved_mib=reserved_mib,
        mounts={"results": aws_names.RESULTS_PATH},
        writable=["results"],
        memory_folders_mib=_MEMORY,
        stop_seconds=60,
        entry_point=["xdask", "aws", "exec"],
    )


def fargate_task(
    scope: Construct,
    id_: str,
    family: str,
    config: ClientConfig,
    role: str,
    cpu: int,
    memory_mib: int,
    containers: Sequence[Any],
    volumes: Sequence[Any],
) -> ecs.CfnTaskDefinition:
    """Create the definition of a task on Fargate, with Intel or AMD processors as the image has."""
    definition = ecs.CfnTaskDefinition(
        scope,
        id_,
        family=family,
        network_mode="awsvpc",
        requires_compatibilities=["FARGATE"],
        cpu=str(cpu),
        memory=str(memory_mib),
        runtime_platform=ecs.CfnTaskDefinition.RuntimePlatformProperty(
            cpu_architecture="X86_64", operating_system_family="LINUX"
        ),
        task_role_arn=config.role(role),
        execution_role_arn=config.role("execution"),
        volumes=list(volumes),
        container_definitions=list(containers),
    )
    definition.apply_removal_policy(cdk.RemovalPolicy.DESTROY)
    return definition


def fargate_service(
    scope: Construct,
    id_: str,
    name: str,
    cluster: str,
    definition: ecs.CfnTaskDefinition,
    subnets: Sequence[str],
    groups: Sequence[str],
    *,
    public_address: bool,
    balancers: Sequence[Any] = (),
) -> ecs.CfnService:
    """Create a service of exactly one task: two schedulers, or two daemons, would each do the work of the other."""
    return ecs.CfnService(
        scope,
        id_,
        service_name=name,
        cluster=cluster,
        task_definition=definition.ref,
        launch_type="FARGATE",
        platform_version="LATEST",
        desired_count=1,
        availability_zone_rebalancing="DISABLED",
        deployment_configuration=ecs.CfnService.DeploymentConfigurationProperty(
            minimum_healthy_percent=0, maximum_percent=100
        ),
        enable_execute_command=True,
        health_check_grace_period_seconds=300 if balancers else None,
        load_balancers=list(balancers) or None,
        network_configuration=ecs.CfnService.NetworkConfigurationProperty(
            awsvpc_configuration=ecs.CfnService.AwsVpcConfigurationProperty(
                subnets=list(subnets),
                security_groups=list(groups),
                assign_public_ip="ENABLED" if public_address else "DISABLED",
            )
        ),
        propagate_tags="SERVICE",
        enable_ecs_managed_tags=True,
    )

"""Containers of ECS tasks: what every one of ours has in common.

Belongs here: log driver, read-only root, memory file systems, health checks. Does not belong here: commands (pool,
client_tasks).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aws_cdk import aws_ecs as ecs

from xdask_pipelines.topology import aws_names

Container = ecs.CfnTaskDefinition.ContainerDefinitionProperty
_Task = ecs.CfnTaskDefinition
#: Checks the process that the container runs (docker/healthcheck.py).
_HEALTH = ["CMD", "python", "/opt/xdask/healthcheck.py"]
#: The agent of SSM in a container writes there, and ends at once where the root is read-only (aws/containers-roadmap#1359).
_OF_SSM_AGENT = {"/var/lib/amazon": 16, "/var/log/amazon": 16}


def environment(region: str, more: Mapping[str, str]) -> list[ecs.CfnTaskDefinition.KeyValuePairProperty]:
    """Return the environment of a container; no secret is in it."""
    values = {"XDASK_REGION": region, "AWS_DEFAULT_REGION": region, **more}
    return [_Task.KeyValuePairProperty(name=name, value=value) for name, value in values.items()]


def container(
    name: str,
    image: str,
    command: Sequence[str],
    region: str,
    part: str,
    *,
    env: Mapping[str, str],
    cpu: int | None = None,
    memory_mib: int | None = None,
    reserved_mib: int | None = None,
    mounts: Mapping[str, str] | None = None,
    writable: Sequence[str] = (),
    memory_folders_mib: Mapping[str, int] | None = None,
    stop_seconds: int = 30,
    health: bool = False,
    sessions: bool = False,
    ports: Sequence[int] = (),
    init: bool = True,
    entry_point: Sequence[str] = (),
    essential: bool = True,
    capabilities: Sequence[str] = (),
) -> ecs.CfnTaskDefinition.ContainerDefinitionProperty:
    """Return the definition of a container of the one image.

    Parameters
    ----------
    name, image, command
        Name, image, and words after its entry point ``xdask``.
    region, part
        Region, and part whose log group gets its output.
    env
        Environment in addition to that of all containers.
    cpu, memory_mib, reserved_mib
        Units of 1/1024 virtual CPU, limit of memory, and memory that it has in any case.
    mounts, writable
        Folders by volume, of which all but those of the writable volumes are read-only.
    memory_folders_mib
        Folders in memory, with their sizes.
    stop_seconds
        Time between SIGTERM and SIGKILL.
    health
        Whether the image's health check says something of this command.
    sessions
        Whether people open sessions by SSM in this container: for its pages, or a shell.
    ports
        Ports to which a load balancer connects.
    init
        Whether an init process is the parent of the command. It keeps the environment with which the container started.
    entry_point
        In place of the image's own, ``xdask``.
    essential
        Whether the task ends with it.
    capabilities
        Of Linux. A container with any runs as root, which has these alone; others run as the image's user, without any.
    """
    folders = {"/tmp": 256, **(memory_folders_mib or {}), **(_OF_SSM_AGENT if sessions else {})}
    return Container(
        name=name,
        image=image,
        entry_point=list(entry_point) or None,
        command=list(command) or None,
        essential=essential,
        cpu=cpu,
        memory=memory_mib,
        memory_reservation=reserved_mib,
        environment=environment(region, env),
        user="0:0" if capabilities else "10001:10001",
        readonly_root_filesystem=True,
        stop_timeout=stop_seconds,
        port_mappings=[_Task.PortMappingProperty(container_port=port) for port in ports] or None,
        mount_points=[
            _Task.MountPointProperty(source_volume=volume, container_path=path, read_only=volume not in writable)
            for volume, path in (mounts or {}).items()
        ],
        linux_parameters=_Task.LinuxParametersProperty(
            init_process_enabled=init,
            capabilities=_Task.KernelCapabilitiesProperty(drop=["ALL"], add=list(capabilities) or None),
            tmpfs=[
                _Task.TmpfsProperty(container_path=path, size=size, mount_options=["nodev", "nosuid"])
                for path, size in folders.items()
            ],
        ),
        health_check=_Task.HealthCheckProperty(command=_HEALTH, interval=30, timeout=10, retries=3, start_period=120)
        if health
        else None,
        log_configuration=_Task.LogConfigurationProperty(
            log_driver="awslogs",
            options={
                "awslogs-group": aws_names.log_group(part),
                "awslogs-region": region,
                "awslogs-stream-prefix": name,
                "mode": "non-blocking",
                "max-buffer-size": "4m",
            },
        ),
    )


def insights(*, on: bool) -> list[ecs.CfnCluster.ClusterSettingsProperty]:
    """Return the settings of a cluster, with or without CloudWatch Container Insights."""
    return [ecs.CfnCluster.ClusterSettingsProperty(name="containerInsights", value="enabled" if on else "disabled")]

"""A notebook as an ECS task of the same image, started and stopped by its user.

Belongs here: its definition. Does not belong here: starting it (`xdask notebook start`), a SageMaker instance
(sagemaker_notebook).
"""

from __future__ import annotations

from aws_cdk import aws_ecs as ecs
from constructs import Construct

from infra.constructs.client_tasks import ClientConfig, fargate_task
from infra.constructs.containers import container
from xdask_pipelines.topology import aws_names

_CPU, _MEMORY_MIB = 2048, 8192
_HOME = "/home/xdask"
_MEMORY = {"/run/xdask": 16, f"{aws_names.PROJECT_PATH}/var": 256}


def notebook_task(scope: Construct, config: ClientConfig, home: str, access_point: str) -> ecs.CfnTaskDefinition:
    """Create the definition: the home is on EFS, encrypted at rest and on the way, and outlives the task.

    Parameters
    ----------
    scope
        A stack.
    config
        What tasks of the client Region share.
    home, access_point
        EFS file system and access point.
    """
    Task = ecs.CfnTaskDefinition  # noqa: N806
    home_volume = Task.VolumeProperty(
        name="home",
        efs_volume_configuration=Task.EFSVolumeConfigurationProperty(
            filesystem_id=home,
            transit_encryption="ENABLED",
            authorization_config=Task.AuthorizationConfigProperty(access_point_id=access_point, iam="ENABLED"),
        ),
    )
    only = container(
        "notebook",
        config.image,
        ["aws", "start", "notebook"],
        config.region,
        "notebook",
        env={**config.environment, "HOME": _HOME},
        reserved_mib=_MEMORY_MIB // 2,
        mounts={"results": aws_names.RESULTS_PATH, "home": _HOME},
        writable=["results", "home"],
        memory_folders_mib=_MEMORY,
        stop_seconds=30,
        sessions=True,
    )
    volumes = [config.results_volume, home_volume]
    return fargate_task(scope, "Task", aws_names.NOTEBOOK, config, "notebook", _CPU, _MEMORY_MIB, [only], volumes)

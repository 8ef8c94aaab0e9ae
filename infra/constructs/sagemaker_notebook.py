"""A SageMaker notebook instance (option ``notebook: sagemaker``).

Belongs here: the instance, its key and its start script's settings. Does not belong here: the scripts
(sagemaker_notebook.sh, sagemaker_idle.sh), the environment that it starts (environment_archive).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from infra.constructs.worker_host import with_settings
from infra.environment_archive import environment_key
from xdask_pipelines.topology.aws_names import NOTEBOOK, TLS_SECRET

_SCRIPT = Path(__file__).with_name("sagemaker_notebook.sh")
_IDLE_SCRIPT = Path(__file__).with_name("sagemaker_idle.sh")
_VOLUME_GIB = 50
IDLE_SECONDS = 3600


@dataclass(frozen=True)
class SagemakerConfig:
    """The instance.

    Attributes
    ----------
    region, role
        Region, and ARN of its role.
    subnet, security_group
        Its network, with a NAT gateway.
    bucket
        Bucket with the archive of the environment, below ``environment/``.
    catalog
        Address of the catalog.
    results_file_system, results_access_point
        What is mounted at ``/results``.
    """

    region: str
    role: str
    subnet: str
    security_group: str
    bucket: str
    catalog: str
    results_file_system: str
    results_access_point: str


class SagemakerNotebook(Construct):
    """An instance without root, without direct internet access, whose disk has a key of its own."""

    def __init__(self, scope: Construct, id_: str, config: SagemakerConfig) -> None:
        super().__init__(scope, id_)
        key = kms.Key(
            self,
            "Key",
            enable_key_rotation=True,
            pending_window=cdk.Duration.days(7),
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        settings = {
            "REGION": config.region,
            "BUCKET": config.bucket,
            "ENVIRONMENT_KEY": environment_key(),
            "TLS_SECRET": TLS_SECRET,
            "CATALOG": config.catalog,
            "RESULTS_FILE_SYSTEM": config.results_file_system,
            "RESULTS_ACCESS_POINT": config.results_access_point,
            "NOTEBOOK": NOTEBOOK,
            "IDLE_SECONDS": str(IDLE_SECONDS),
            "IDLE_PROGRAM": _IDLE_SCRIPT.read_text("utf-8"),
        }
        start = sagemaker.CfnNotebookInstanceLifecycleConfig.NotebookInstanceLifecycleHookProperty(
            content=cdk.Fn.base64(with_settings(_SCRIPT, settings))
        )
        lifecycle = sagemaker.CfnNotebookInstanceLifecycleConfig(
            self, "Start", notebook_instance_lifecycle_config_name=NOTEBOOK, on_start=[start]
        )
        sagemaker.CfnNotebookInstance(
            self,
            "Instance",
            notebook_instance_name=NOTEBOOK,
            instance_type="ml.t3.medium",
            platform_identifier="notebook-al2023-v1",
            role_arn=config.role,
            volume_size_in_gb=_VOLUME_GIB,
            kms_key_id=key.key_id,
            root_access="Disabled",
            direct_internet_access="Disabled",
            subnet_id=config.subnet,
            security_group_ids=[config.security_group],
            lifecycle_config_name=lifecycle.attr_notebook_instance_lifecycle_config_name,
            instance_metadata_service_configuration=(
                sagemaker.CfnNotebookInstance.InstanceMetadataServiceConfigurationProperty(
                    minimum_instance_metadata_service_version="2"
                )
            ),
        ).apply_removal_policy(cdk.RemovalPolicy.DESTROY)

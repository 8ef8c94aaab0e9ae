"""Notebooks of the client Region: an ECS task by default, or a SageMaker instance."""

from __future__ import annotations

from constructs import Construct

from infra.constructs.logs import log_group
from infra.constructs.notebook_task import notebook_task
from infra.constructs.sagemaker_notebook import SagemakerConfig, SagemakerNotebook
from infra.flows import tier_of
from infra.stacks.client_stack import ClientStack
from infra.stacks.network_stack import NetworkStack
from infra.stacks.region_stack import RegionStack
from infra.stacks.storage_stack import ClientStorageStack
from xdask_pipelines.topology import Topology


class NotebookStack(RegionStack):
    """What `xdask notebook start` starts; it may be rebuilt, and homes stay."""

    def __init__(
        self,
        scope: Construct,
        topology: Topology,
        network: NetworkStack,
        storage: ClientStorageStack,
        services: ClientStack,
        key_arn: str,
    ) -> None:
        super().__init__(scope, "notebook", topology, topology.client.region)
        if self.aws.notebook == "ecs":
            log_group(self, "Log", "notebook", key_arn)
            notebook_task(self, services.config, storage.home_id, storage.home_access_point)
            return
        SagemakerNotebook(
            self,
            "Instance",
            SagemakerConfig(
                region=self.place,
                role=services.config.role("notebook"),
                subnet=network.network.subnets[tier_of("notebook", topology)][0],
                security_group=network.groups.ids["notebook"],
                bucket=storage.results.bucket.bucket_name,
                catalog=services.config.catalog,
                results_file_system=storage.results.file_system_id,
                results_access_point=storage.results.access_point_id,
            ),
        )

"""The FSx for Lustre file system of a worker Region, linked to the buckets of its datasets (stage full).

A stack of its own: `xdask lustre down REGION` removes it while nothing needs its speed, and hosts that start meanwhile
mount the buckets.
"""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import Tags
from aws_cdk import aws_fsx as fsx
from constructs import Construct

from infra.stacks.network_stack import NetworkStack
from infra.stacks.region_stack import RegionStack
from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.aws_names import PREFIX

_MB_PER_SECOND_AND_TIB = 125


class LustreStack(RegionStack):
    """One file system; a mount is linked to its bucket in both directions of looking, and never written back."""

    def __init__(self, scope: Construct, topology: Topology, region: str, network: NetworkStack, key_arn: str) -> None:
        super().__init__(scope, "lustre", topology, region)
        worker = topology.worker(region)
        files = fsx.CfnFileSystem(
            self,
            "Files",
            file_system_type="LUSTRE",
            file_system_type_version="2.15",
            storage_type="SSD",
            storage_capacity=worker.lustre.capacity_gib,
            subnet_ids=[network.network.subnets["private"][worker.lustre.zone - 1]],
            security_group_ids=[network.groups.ids["lustre"]],
            kms_key_id=key_arn,
            lustre_configuration=fsx.CfnFileSystem.LustreConfigurationProperty(
                deployment_type="PERSISTENT_2",
                per_unit_storage_throughput=_MB_PER_SECOND_AND_TIB,
                data_compression_type="LZ4",
                metadata_configuration=fsx.CfnFileSystem.MetadataConfigurationProperty(mode="AUTOMATIC"),
            ),
        )
        Tags.of(files).add("Name", PREFIX)
        files.apply_removal_policy(cdk.RemovalPolicy.DESTROY)  # the data are in their buckets
        links = [dataset for dataset in worker.datasets if dataset.source]
        for before, dataset in zip([None, *links], links, strict=False):
            link = fsx.CfnDataRepositoryAssociation(
                self,
                f"Link{_title(dataset.mount)}",
                file_system_id=files.ref,
                file_system_path=f"/{dataset.mount}",
                data_repository_path=f"{(dataset.source or '').rstrip('/')}/",  # AWS writes prefixes so
                batch_import_meta_data_on_create=False,  # a sync imports, and knows when it is done
            )
            link.apply_removal_policy(cdk.RemovalPolicy.DESTROY)
            if before:  # a file system links one bucket after the other
                link.add_resource_dependency(self.node.find_child(f"Link{_title(before.mount)}"))


def _title(mount: str) -> str:
    return "".join(c for c in mount.title() if c.isalnum())

"""The CDK app: a topology becomes stacks.

Belongs here: which stacks there are, and their order. Does not belong here: any resource (stacks, constructs).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from time import monotonic

import aws_cdk as cdk

from infra.acknowledgements import check
from infra.repository import REPOSITORY
from infra.stacks.alarms_stack import AlarmsStack
from infra.stacks.client_stack import ClientStack
from infra.stacks.dns_stack import DnsStack
from infra.stacks.key_stack import KeyStack
from infra.stacks.lustre_stack import LustreStack
from infra.stacks.network_stack import NetworkStack
from infra.stacks.notebook_stack import NotebookStack
from infra.stacks.peering_stack import PeeringStack
from infra.stacks.region_stack import RegionStack
from infra.stacks.roles_stack import RolesStack
from infra.stacks.storage_stack import ClientStorageStack, StorageStack
from infra.stacks.transit_stack import TransitRoutesStack, TransitStack
from infra.stacks.worker_stack import WorkerStack
from xdask_pipelines.errors import TopologyError
from xdask_pipelines.topology import Topology, find_topology

#: References between stacks are read when a stack is deployed, also across Regions, and need no custom resource.
_CONTEXT = {
    "@aws-cdk/core:defaultCrossStackReferences": "weak",
    "@aws-cdk/aws-s3:serverAccessLogsUseBucketPolicy": True,
    "aws:cdk:enable-path-metadata": False,
    "aws:cdk:enable-asset-metadata": False,
    "aws:cdk:disable-version-reporting": True,
}


def build(topology: Topology, outdir: str | None = None, *, checked: bool = False) -> cdk.App:
    """Return the app of a topology with profile aws.

    Parameters
    ----------
    topology
        What to provision.
    outdir
        Folder of the templates; a temporary one by default.
    checked
        Whether findings of cdk-nag fail the synthesis.

    Raises
    ------
    TopologyError
        The topology has no stanza ``aws``.
    """
    if topology.aws is None:
        raise TopologyError(
            "This topology has no stanza aws, so there is nothing to provision. Write `profile: aws` and `aws: {account: …, "
            "alarms_to: …}`; docs/deploy/aws.md describes the keys."
        )
    app = cdk.App(context=_CONTEXT, outdir=outdir, analytics_reporting=False)
    regions, client = topology.regions, topology.client.region
    roles = RolesStack(app, topology)
    keys = {region: KeyStack(app, topology, region).key_arn for region in regions}
    networks = {region: NetworkStack(app, topology, region, keys[region]) for region in regions}
    alarms = {region: AlarmsStack(app, topology, region, keys[region]) for region in regions}
    joined = _joined(app, topology, networks)
    dns = DnsStack(app, topology, list(networks.values()))
    storage = ClientStorageStack(app, topology, networks[client], keys[client])
    storage.add_stack_dependency(roles)
    services = ClientStack(app, topology, networks[client], storage, keys[client])
    services.add_stack_dependency(roles)
    services.add_stack_dependency(dns)
    for region in topology.worker_regions:
        stores = StorageStack(app, topology, region, networks[region], keys[region])
        stores.add_stack_dependency(roles)
        if topology.aws.stage == "full" and any(dataset.source for dataset in topology.worker(region).datasets):
            LustreStack(app, topology, region, networks[region], keys[region])
        worker = WorkerStack(app, topology, region, networks[region], stores, keys[region])
        worker.add_stack_dependency(roles)
        worker.add_stack_dependency(alarms[region])
        worker.add_stack_dependency(joined[region])
    NotebookStack(app, topology, networks[client], storage, services, keys[client])
    if checked:
        check(app)
    return app


def _joined(app: cdk.App, topology: Topology, networks: dict[str, NetworkStack]) -> dict[str, RegionStack]:
    """Join the networks of all Regions; return the last stack of each Region that does."""
    assert topology.aws is not None
    regions = topology.regions
    if topology.aws.network == "peering":
        earlier: dict[str, PeeringStack] = {}
        for region in regions:
            earlier[region] = PeeringStack(app, topology, region, networks, earlier)
        return {**earlier}
    gateways = {region: TransitStack(app, topology, region, networks[region]) for region in regions}
    for i, region in enumerate(regions):
        for other in regions[i + 1 :]:
            gateways[region].peer(gateways[other])
    return {region: TransitRoutesStack(app, topology, region, networks, gateways) for region in regions}


def main() -> None:
    """Synthesize the templates of the topology of this clone, and say how many there are."""
    try:
        topology = find_topology()
        if topology.root != REPOSITORY:
            raise TopologyError(
                f"The topology is in {topology.root}, but the image would contain that of {REPOSITORY}. Put regions.yaml "
                "and analyses/ into the clone from which you deploy."
            )
        if topology.profile != "aws":
            raise TopologyError(
                f"{topology.root / 'regions.yaml'} has profile {topology.profile}, so there is nothing to provision. Begin "
                "with deploy/aws/regions.yaml; docs/deploy/aws.md describes its keys."
            )
        began = monotonic()
        folder = os.environ.get("CDK_OUTDIR", str(Path(__file__).parent / "cdk.out"))
        stacks = build(topology, folder, checked=True).synth().stacks
    except TopologyError as error:
        sys.exit(f"Error: {error}")
    resources = sum(len(stack.template.get("Resources", {})) for stack in stacks)
    print(f"{len(stacks)} stacks with {resources} resources in {folder}, after {monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()

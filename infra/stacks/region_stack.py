"""A stack in one Region of the topology.

Belongs here: what all stacks have. Does not belong here: any resource.
"""

from __future__ import annotations

import aws_cdk as cdk
from constructs import Construct

from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.aws_names import PREFIX, stack_name


class RegionStack(cdk.Stack):
    """A stack that knows its topology and Region, with the tags by which its cost and itself are found.

    Parameters
    ----------
    scope
        The app.
    kind
        What it holds, in one word: part of its name.
    topology, region
        Its topology and Region.
    """

    def __init__(self, scope: Construct, kind: str, topology: Topology, region: str) -> None:
        assert topology.aws is not None
        super().__init__(
            scope,
            stack_name(kind, region),
            env=cdk.Environment(account=topology.aws.account, region=region),
            tags={PREFIX: kind, f"{PREFIX}:stage": topology.aws.stage},
        )
        self.topology, self.aws, self.place = topology, topology.aws, region
        self.is_client = region == topology.client.region

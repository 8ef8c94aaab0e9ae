"""All roles of a deployment.

Belongs here: which roles there are, and their services. Does not belong here: their statements (client_roles, worker_roles),
roles in templates (stacks.roles_stack), whether recorded calls are allowed (rehearsal.iam_contract).
"""

from __future__ import annotations

from infra.policies.client_roles import dagster, notebook
from infra.policies.shared_statements import EXEC, execution, tls_keys
from infra.policies.statements import TASKS, Arns, RoleSpec
from infra.policies.worker_roles import files, host, sources
from xdask_pipelines.topology import Topology

_NOTEBOOKS = {"ecs": TASKS, "sagemaker": "sagemaker.amazonaws.com"}
_INSTANCES, _FILES = "ec2.amazonaws.com", "elasticfilesystem.amazonaws.com"


def roles_of(topology: Topology) -> list[RoleSpec]:
    """Return all roles of a deployment, the client Region's first."""
    assert topology.aws is not None
    arns, client, full = Arns(topology), topology.client.region, topology.aws.stage == "full"
    roles = [
        RoleSpec("execution", client, TASKS, tuple(execution(arns, client, ("scheduler", "dagster", "notebook")))),
        RoleSpec("dagster", client, TASKS, tuple(dagster(arns, topology))),
        RoleSpec("notebook", client, _NOTEBOOKS[topology.aws.notebook], tuple(notebook(arns, topology))),
    ]
    if full:
        roles.append(RoleSpec("scheduler", client, TASKS, (tls_keys(arns, client), EXEC)))
    roles += [RoleSpec("files", region, _FILES, tuple(files(arns, region))) for region in topology.regions]
    for region in topology.worker_regions:
        read = tuple(sources(arns, topology, region))
        roles += [
            RoleSpec("execution", region, TASKS, tuple(execution(arns, region, ("pool", "sync")))),
            RoleSpec("pool", region, TASKS, ()),  # its host mounts data and results; its tasks ask AWS for nothing
            RoleSpec("sync", region, TASKS, read),
            RoleSpec("host", region, _INSTANCES, (*host(arns, region, full=full), *read)),
        ]
    return roles

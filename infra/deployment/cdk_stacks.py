"""Stacks by the CDK's command line.

Belongs here: which stacks a call deploys or destroys. Does not belong here: the order of a whole deployment (__main__).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.node import node_folder
from xdask_pipelines.errors import XdaskError
from xdask_pipelines.topology.aws_names import PREFIX

FOLDER = Path(__file__).parents[1]
OUT = FOLDER / "cdk.out"


def of_kinds(names: Iterable[str], kinds: Sequence[str]) -> list[str]:
    """Return the names of stacks of some kinds."""
    return [name for name in names if any(name.startswith(f"{PREFIX}-{kind}-") for kind in kinds)]


@dataclass(frozen=True)
class CdkStacks:
    """The stacks of a synthesized assembly.

    Attributes
    ----------
    ask
        Whether a person confirms changes of permissions and networks.
    """

    ask: bool = True

    def deploy(self, names: Sequence[str]) -> None:
        """Deploy stacks in the order of their dependencies.

        Every stack is deployed, also if its own template did not change: references to other stacks are read only then.
        """
        if names:
            # the CDK asks for each stack, and only if it deploys one after the other
            approval = (
                "--require-approval",
                "any-change" if self.ask else "never",
                "--concurrency",
                "1" if self.ask else "4",
            )
            # buckets of results outlive their stack, and are taken over by the next one
            self._run("deploy", *names, "--exclusively", "--force", "--import-existing-resources", *approval)

    def destroy(self, names: Sequence[str]) -> None:
        """Destroy stacks, the last deployed first."""
        if names:
            self._run("destroy", *names, "--exclusively", "--force")

    def bootstrap(self, account: str, regions: Sequence[str]) -> None:
        """Prepare Regions for the CDK."""
        self._run("bootstrap", *(f"aws://{account}/{region}" for region in regions))

    def diff(self) -> None:
        """Show what a deployment would change."""
        self._run("diff")

    def _run(self, *words: str) -> None:
        command = FOLDER / "node_modules" / ".bin" / "cdk"
        if not command.exists():
            raise XdaskError("The CDK's command line is not installed. Run `make infra-synth`, which installs it.")
        environment = os.environ | {"PATH": f"{node_folder()}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run([command, *words, "--app", OUT], cwd=FOLDER, env=environment, check=False)
        if done.returncode:
            raise XdaskError(
                f"`cdk {words[0]}` failed, see above. What was deployed stays as it is; a stack that failed was rolled "
                "back. Fix the cause, then run the same command again."
            )

"""`python -m infra.deployment deploy | destroy | diff`: what the Makefile calls.

Belongs here: the order of steps. Does not belong here: any step.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
from botocore.exceptions import BotoCoreError, ClientError

from infra.checks.assembly import Assembly
from infra.deployment.account import create_service_roles, quota_problems, refuse_other_account, unprepared_regions
from infra.deployment.aws_clients import Clients
from infra.deployment.cdk_stacks import OUT, CdkStacks, of_kinds
from infra.deployment.gateways import accept_peerings
from infra.deployment.progress import settled_stacks
from infra.deployment.removal import STAYS, Emptying, FoundStack, enabled_regions, stray_stacks
from infra.deployment.stored_environment import store_environment
from infra.deployment.zones import zone_problems
from xdask_pipelines.errors import XdaskError
from xdask_pipelines.topology import Topology, find_topology

_FOUNDATION = ("roles", "key", "network", "alarms", "storage", "transit")
_JOINING = ("peering", "dns")
_SERVICES = ("lustre", "client", "worker", "notebook")
#: The order of deletion, by kinds.
_BACKWARDS = (("notebook", "worker"), ("client", "lustre"), ("dns", "peering"), ("transit",), ("storage",), ("alarms",),
              ("network",), ("key",), ("roles",))  # fmt: skip


def deploy(topology: Topology, clients: Clients, stacks: CdkStacks) -> None:
    """Deploy everything, step by step."""
    names = list(Assembly.read(OUT).templates)
    refuse_other_account(clients, topology)
    if problems := _asked("what zones offer", lambda: zone_problems(clients, topology)):
        raise XdaskError("Nothing was deployed, because zones lack what is needed.\n" + "\n".join(problems))
    if missing := unprepared_regions(clients, topology):
        assert topology.aws is not None
        click.echo(f"preparing {', '.join(missing)} for the CDK")
        stacks.bootstrap(topology.aws.account, missing)
    settled_stacks(clients, topology.regions, click.echo)
    create_service_roles(clients, topology, click.echo)
    for problem in _asked("quotas", lambda: quota_problems(clients, topology)):
        click.secho(f"warning: {problem}", fg="yellow")
    stacks.deploy(of_kinds(names, _FOUNDATION))
    if topology.aws and topology.aws.network == "transit-gateway":
        accept_peerings(clients, topology, click.echo)
    stacks.deploy(of_kinds(names, _JOINING))
    _certificates()
    store_environment(clients, topology, click.echo)
    stacks.deploy(of_kinds(names, _SERVICES))
    _strays(clients, topology, names, stacks)
    click.echo("\nDeployed. See `xdask doctor --aws`, then `xdask aws connect` for the pages.")


def _asked(what: str, ask: Callable[[], list[str]]) -> list[str]:
    """Return the answer to a question before a deployment; who may deploy need not have the right to ask."""
    try:
        return ask()
    except (BotoCoreError, ClientError) as error:
        click.secho(f"warning: {what} could not be asked, and is not checked: {error}", fg="yellow")
        return []


def _certificates() -> None:
    """Create certificates and put them into their secret, unless they are there and valid."""
    done = subprocess.run([Path(sys.executable).with_name("xdask"), "certs", "--aws"], check=False)
    if done.returncode:
        raise XdaskError("The certificates were not stored, see above. Deploy again to go on.")


def _strays(clients: Clients, topology: Topology, names: list[str], stacks: CdkStacks) -> None:
    """Name the stacks that left the topology, and destroy them if a person says so."""
    strays = stray_stacks(clients, enabled_regions(clients, topology.client.region), names)
    if not strays:
        return
    click.secho("These stacks are not in regions.yaml any more, and go on costing:", fg="yellow")
    for stray in strays:
        click.echo(f"  {stray.name} in {stray.region}")
    if sys.stdin.isatty() and click.confirm("Destroy them?", default=False):
        _remove(clients, strays)


def destroy(topology: Topology, clients: Clients) -> None:
    """Empty and delete all stacks of the account that are ours, also of Regions that left the topology."""
    refuse_other_account(clients, topology)
    found = settled_stacks(clients, enabled_regions(clients, topology.client.region), click.echo)
    if not found:
        click.echo("nothing is deployed")
        return
    click.echo(f"{len(found)} stacks: {', '.join(stack.name for stack in found)}")
    if not sys.stdin.isatty() or not click.confirm("Destroy all of them?", default=False):
        raise XdaskError("Nothing was destroyed: type y at a terminal to confirm.")
    _remove(clients, found)
    click.echo("\nDestroyed. What stays, and what it costs:")
    for what, cost in STAYS:
        click.echo(f"  {what}: {cost}")


def _remove(clients: Clients, found: list[FoundStack]) -> None:
    Emptying(clients, click.echo).empty(found)
    for kinds in _BACKWARDS:
        chosen = [stack for stack in found if of_kinds([stack.name], kinds)]
        for stack in reversed(chosen):
            clients.of("cloudformation", stack.region).delete_stack(StackName=stack.name)
        for stack in chosen:
            waiter = clients.of("cloudformation", stack.region).get_waiter("stack_delete_complete")
            waiter.wait(StackName=stack.name, WaiterConfig={"Delay": 5, "MaxAttempts": 720})
            click.echo(f"{stack.name}: deleted")


@click.command()
@click.argument("what", type=click.Choice(["deploy", "destroy", "diff"]))
@click.option("--yes", is_flag=True, help="Ask nothing about changes of permissions and networks (for pipelines).")
def main(what: str, yes: bool) -> None:
    """Deploy, destroy or compare the stacks of the topology of this clone."""
    try:
        topology = find_topology()
        stacks = CdkStacks(ask=not yes)
        if what == "deploy":
            deploy(topology, Clients(), stacks)
        elif what == "destroy":
            destroy(topology, Clients())
        else:
            stacks.diff()
    except XdaskError as error:
        raise click.ClickException(str(error)) from error
    except (BotoCoreError, ClientError) as error:
        raise click.ClickException(
            f"AWS did not do what was asked: {error}. Check credentials and their rights, then run the same command again: "
            "it goes on where this one stopped."
        ) from error


if __name__ == "__main__":
    main()

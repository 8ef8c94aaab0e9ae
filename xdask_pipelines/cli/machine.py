"""Commands for this machine: pools, certificates, the UI, the doctor.

Belongs here: options, output and exit codes. Does not belong here: the work of the commands (operations).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

# Each command imports what it needs, so that `xdask --help` does not wait for Dask.
import click

from xdask_pipelines.cli.common import JSON, Group, echo, give, tell, topology, topology_with_catalog
from xdask_pipelines.system.units import counted, format_bytes


@click.group(cls=Group)
def pools() -> None:
    """Start and stop the scheduler and the workers on this machine."""


def _status_document(status: Any) -> dict[str, Any]:
    return {
        "up": status.up,
        "address": status.address,
        "dashboard": status.dashboard,
        "workers": status.workers,
        "instances": status.instances,
        "notes": list(status.notes),
        "problems": list(status.problems),
    }


def _print_status(status: Any, name_of: Callable[[str], str]) -> None:
    if status.address:
        echo(f"scheduler {status.address}")
        if status.dashboard:
            echo(f"dashboard {status.dashboard}")
    for region, n in sorted(status.workers.items()):
        known_as = f" ({name_of(region)})" if name_of(region) != region else ""
        echo(f"pool of {region}{known_as}: {counted(n, 'worker process', 'worker processes')}")
        for name, one in sorted(status.instances.items()):
            if one["region"] == region and name != region:
                ports = f", ports {one['ports']}" if one["ports"] else ""
                draining = ", draining" if one["draining"] else ""
                memory = format_bytes(one["memory_bytes"])
                echo(f"  {name}: {counted(one['threads'], 'thread')}, {memory}{ports}{draining}")
    for note in status.notes:
        echo(note)
    for problem in status.problems:
        echo(problem, fg="red")


@pools.command("up")
@JSON
def pools_up(as_json: bool) -> None:
    """Start the scheduler and the pools that are not running."""
    from xdask_pipelines.resources.pools.pools_of_topology import pools_of

    where = topology()
    status = pools_of(where).up(tell(as_json))
    give(as_json, _status_document(status), lambda: _print_status(status, where.display_name))


@pools.command("status")
@JSON
def pools_status(as_json: bool) -> None:
    """Show which pools can take tasks; exit code 1 if one cannot."""
    from xdask_pipelines.resources.pools.pools_of_topology import pools_of

    where = topology()
    status = pools_of(where).status()
    give(as_json, _status_document(status), lambda: _print_status(status, where.display_name))
    sys.exit(0 if status.up else 1)


@pools.command("down")
@JSON
def pools_down(as_json: bool) -> None:
    """Stop the scheduler and all pools."""
    from xdask_pipelines.resources.pools.pools_of_topology import pools_of

    stopped = pools_of(topology()).down()
    give(as_json, {"stopped": stopped}, lambda: echo("stopped" if stopped else "nothing was running"))


@pools.command("scale")
@click.argument("region")
@click.argument("count", type=click.IntRange(0))
def pools_scale(region: str, count: int) -> None:
    """Bring the pool of a Region to COUNT instances; those that end hand over what they hold."""
    from xdask_pipelines.resources.pools.backend_of_pools import backend_of
    from xdask_pipelines.resources.pools.pool_controller import scale
    from xdask_pipelines.resources.pools.pools_of_topology import pools_of

    where = topology()
    where.worker(region)
    running = pools_of(where)
    try:
        scale(backend_of(running, echo), region, count)
        echo(f"pool of {region}: {counted(count, 'instance')}")
    finally:
        running.close()


@pools.command("autoscale")
def pools_autoscale() -> None:
    """Size the pools by their backlog, between `min_workers` and `max_workers`, until Ctrl-C."""
    from xdask_pipelines.resources.pools.backend_of_pools import backend_of
    from xdask_pipelines.resources.pools.pool_controller import PoolController
    from xdask_pipelines.resources.pools.pools_of_topology import pools_of

    running = pools_of(topology())
    try:
        PoolController(running, backend_of(running, echo), echo).run()
    except KeyboardInterrupt:
        echo("the pools stay as they are")
    finally:
        running.close()


@click.group(cls=Group)
def opensearch() -> None:
    """Run an OpenSearch node on this machine, for a catalog as on AWS."""


@opensearch.command("up")
@JSON
def opensearch_up(as_json: bool) -> None:
    """Start the node, which accepts only clients of this project."""
    from xdask_pipelines.resources.opensearch.search_node import SearchNode
    from xdask_pipelines.resources.var import writable

    address = SearchNode(writable(topology(), "opensearch")).up(tell(as_json))

    def show() -> None:
        echo("To use it, add to regions.yaml:")
        echo(f"catalog: {address}")

    give(as_json, {"catalog": address}, show)


@opensearch.command("down")
@JSON
def opensearch_down(as_json: bool) -> None:
    """Stop the node; its data stay in var/opensearch."""
    from xdask_pipelines.resources.opensearch.search_node import SearchNode

    stopped = SearchNode(topology().var / "opensearch").down()
    give(as_json, {"stopped": stopped}, lambda: echo("stopped" if stopped else "nothing was running"))


@click.command()
@click.option("--host", "hosts", multiple=True, help="Name or address of another machine; may be repeated.")
@click.option("--aws", "on_aws", is_flag=True, help="Store them in Secrets Manager, for the services on AWS.")
@JSON
def certs(hosts: tuple[str, ...], on_aws: bool, as_json: bool) -> None:
    """Create or renew the TLS certificates of pools and clients."""
    if on_aws:
        from xdask_pipelines.operations.aws.stored_certificates import store_certificates

        changed = store_certificates(topology(), tell(as_json))
        give(as_json, {"stored": changed}, lambda: None)
        return
    from xdask_pipelines.placement.local.certificates import make_certificates
    from xdask_pipelines.resources.pools.pools_of_topology import pools_of
    from xdask_pipelines.resources.var import writable

    where = topology()
    writable(where, where.certificates.name)
    made = make_certificates(where.certificates, hosts)
    document = {
        "done": made.done,
        "folder": str(where.certificates),
        "until": made.until.isoformat(),
        "names": made.names,
    }

    def show() -> None:
        words = {"made": "made", "renewed": "renewed", "kept": "valid already, nothing was done"}
        echo(f"certificates in {where.certificates}: {words[made.done]}")
        echo(f"for {', '.join(made.names)}; until {made.until:%Y-%m-%d %H:%M} UTC")
        pools = pools_of(where)
        if made.done != "kept" and pools.started:
            how = (
                "`xdask pools down`, `xdask pools up`"
                if pools.here
                else "copy the folder to all machines, and restart them"
            )
            echo(f"the pools use them from their next start: {how}")

    give(as_json, document, show)


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=3000, show_default=True, help="Port on 127.0.0.1.")
def ui(port: int) -> None:
    """Start pools and Dagster; Ctrl-C stops both."""
    where = topology_with_catalog()
    from xdask_pipelines.operations.ui import serve

    serve(where, port, echo)


@click.command()
@click.option(
    "--aws", "on_aws", is_flag=True, help="Check the deployment on AWS from inside: mounts, disks, names, roads."
)
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(("client", "sync", "pool", "roads")),
    help="With --aws, check this part alone, such as after a fix; may be given more than once.",
)
@JSON
def doctor(on_aws: bool, only: tuple[str, ...], as_json: bool) -> None:
    """Report problems on this machine, and how to fix them.

    The exit code is 1 if a problem blocks work.
    """
    from dataclasses import asdict

    from xdask_pipelines.operations.health.doctor import examine

    if only and not on_aws:
        raise click.UsageError("--only chooses parts of a deployment: write --aws too.")
    if on_aws:
        from xdask_pipelines.operations.aws.inside import run_inside, runs_inside
        from xdask_pipelines.operations.health.aws_checks import examine_deployment

        where = topology()
        if not runs_inside():
            chosen = [word for part in only for word in ("--only", part)]
            sys.exit(run_inside(where, ["xdask", "doctor", "--aws", *chosen, *(["--json"] if as_json else [])]))
        general = [] if only else examine(in_container=True)
        findings = [*general, *examine_deployment(where, tell(as_json), only)]
    else:
        findings = examine()
    problems = [f for f in findings if f.state == "problem"]

    def show() -> None:
        for f in findings:
            echo(f"{f.state:8} {f.about:9} {f.said}", fg={"ok": None, "note": "yellow", "problem": "red"}[f.state])
            if f.remedy:
                echo(f"{'':18} {f.remedy}")
        echo(counted(len(problems), "problem") if problems else "nothing blocks")

    give(as_json, {"ok": not problems, "findings": [asdict(f) for f in findings]}, show)
    sys.exit(1 if problems else 0)

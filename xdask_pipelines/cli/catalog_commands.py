"""The catalog: syncs and searches.

Belongs here: options, output and exit codes. Does not belong here: the work of the commands (operations).
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

# Each command imports what it needs, so that `xdask --help` does not wait for Dask.
import click

from xdask_pipelines.cli.common import JSON, Group, echo, first_and_last, give, tell, topology, topology_with_catalog
from xdask_pipelines.system.quoting import in_shell
from xdask_pipelines.system.safe_text import one_line
from xdask_pipelines.system.units import counted, format_bytes

_SHOWN = 20
#: Form of a second period after the first one; other words are arguments of the command.
_PERIOD_LIKE = re.compile(r"\d[\dTZ: -]*")
_SHORT = {"experiment": "experiment_id", "model": "source_id", "member": "member_id"}
#: Parameters of the Python functions behind the commands, which cannot be facets.
_NO_FACETS = frozenset({"self", "limit"})
_FILTERS = (
    click.option(
        "--time",
        nargs=2,
        metavar="FIRST [LAST]",
        help="A period such as 2026, or first and last, such as 2026-01 2026-04.",
    ),
    click.option(
        "--bbox",
        nargs=4,
        type=float,
        metavar="WEST SOUTH EAST NORTH",
        help="A box in degrees that data must intersect.",
    ),
    click.option("--superseded", is_flag=True, help="Include older versions."),
)


@click.command()
@click.argument("datasets", nargs=-1)
@click.option("--accept", metavar="DIGEST", help="Accept a suspicious plan that you have reviewed.")
@click.option(
    "--full",
    is_flag=True,
    help="Read all headers and write all entries again, for example after damage to the catalog.",
)
@click.option("--dry-run", is_flag=True, help="Show the plan and change nothing.")
@JSON
def sync(datasets: tuple[str, ...], accept: str | None, full: bool, dry_run: bool, as_json: bool) -> None:
    """Update the catalog from the files.

    Without arguments, all datasets are synced.
    """
    where = topology() if full else topology_with_catalog()  # a damaged catalog is repaired with --full
    from xdask_pipelines.operations.syncs.sync_by_hand import sync_datasets

    done = sync_datasets(where, datasets, accept=accept, full=full, dry_run=dry_run, tell=tell(as_json))

    def show() -> None:
        for each in done:
            if "error" in each:
                echo(f"xdask: {one_line(each['message'])}", fg="red", err=True)
                if "counts" not in each:
                    continue
            read = each["counts"].pop("bytes_to_read")
            counts = ", ".join(f"{v:,} {k}" for k, v in each["counts"].items()) + f", {format_bytes(read)} to read"
            of = f", as of {each['as_of']}" if each.get("as_of") else ""
            echo(f"{each['dataset']} in {each['region']}: {counts}{of}" + (" (dry run)" if dry_run else ""))
            for sign, name in (("+", "added"), ("~", "changed"), ("-", "removed")):
                keys = each.get(name, ())
                for key in keys[:_SHOWN]:
                    echo(f"  {sign} {one_line(key)}")
                if len(keys) > _SHOWN:
                    echo(f"  {sign} and {len(keys) - _SHOWN} more (--json lists all)")
            for key, reason in each["quarantined"].items():
                echo(f"  not catalogued: {one_line(key)}: {one_line(reason)}", fg="yellow")
            for warning in each.get("warnings", ()):
                echo(f"  warning: {one_line(warning)}", fg="yellow")

    give(as_json, done, show)
    click.get_current_context().exit(1 if any("error" in each for each in done) else 0)


@click.group(cls=Group)
def catalog() -> None:
    """Search the catalog of files and stores."""


class Facets(click.Command):
    """A command that takes any ``--facet-name value`` as a filter."""

    ignore_unknown_options = True
    allow_extra_args = True

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; ``--time`` takes one period or two."""
        words = first_and_last(
            args, "--time", ("2026-01", "2026-04"), lambda words, word: _PERIOD_LIKE.fullmatch(word) is not None
        )
        return super().parse_args(ctx, words)


def filters(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a `Facets` command other than facets, for `query_of`."""
    for option in reversed(_FILTERS):
        command = option(command)
    return command


def query_of(ctx: click.Context, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the filters of a command for `Catalog.search`; a repeated name matches any of its values.

    If no entry has a facet ``experiment``, the name stands for ``experiment_id``, and so on.
    """
    words, said = list(ctx.args), defaultdict[str, list[str]](list)
    while words:
        name, _, value = words.pop(0).partition("=")
        if not name.startswith("--") or not (value or words):
            raise click.UsageError(f"write filters as --name value, such as --experiment A1B; not {name!r}")
        said[name.removeprefix("--").replace("-", "_")].append(value or words.pop(0))
    _refuse_no_filters(said, given)
    if said.keys() & _SHORT.keys():
        from xdask_pipelines.catalog import open_catalog

        known = open_catalog(topology().catalog_url).names()
        for short, name in _SHORT.items():
            if short in said and short not in known:
                said[name] += said.pop(short)
    return {**given, **{name: values[0] if len(values) == 1 else values for name, values in said.items()}}


def _refuse_no_filters(facets: Mapping[str, list[str]], given: Mapping[str, Any]) -> None:
    """Refuse names that are parameters of the Python functions, and invalid times."""
    if "times" in facets:
        raise click.UsageError(
            f"the filter --times does not exist; write --time {facets['times'][0]}, or first and last: "
            "--time 2026-01 2026-04"
        )
    if none := sorted(_NO_FACETS & set(facets)):
        raise click.UsageError(f"this command has no option --{none[0]}, and no entry has such a facet")
    time = given.get("time")
    if time and len(time) == 2 and time[0] > time[1]:
        raise click.UsageError(f"--time {time[0]} {time[1]} ends before it starts; write --time {time[1]} {time[0]}")


@catalog.command("forget")
@click.argument("dataset")
@JSON
def catalog_forget(dataset: str, as_json: bool) -> None:
    """Remove the entries of a dataset that is no longer in regions.yaml.

    Files are not removed.
    """
    from xdask_pipelines.operations.syncs.unnamed_places import forget_dataset

    gone = forget_dataset(topology(), dataset)
    lines = [f"{dataset} in {region}: {counted(n, 'entry', 'entries')} removed" for region, n in gone.items()]
    give(as_json, gone, lambda: echo("\n".join(lines)))


@catalog.command("migrate")
@JSON
def catalog_migrate(as_json: bool) -> None:
    """Convert a catalog of an older version.

    The conversion may be interrupted and run again.
    """
    from xdask_pipelines.catalog import open_catalog

    done = open_catalog(topology().catalog_url).migrate(tell(as_json))
    give(as_json, {"migrated": done}, lambda: echo("done" if done else "nothing to do: already of this version"))


@catalog.command("search", cls=Facets)
@filters
@click.option("--limit", type=int, default=100, show_default=True, help="Maximum number of entries.")
@JSON
@click.pass_context
def catalog_search(ctx: click.Context, /, limit: int, as_json: bool, **given: Any) -> None:
    """List entries; any facet is a filter, such as --experiment A1B."""
    from xdask_pipelines.catalog import open_catalog
    from xdask_pipelines.cli.entry_tables import file_lines, result_lines

    held, query = open_catalog(topology().catalog_url), query_of(ctx, given)
    entries = held.search(limit=limit, **query)
    documents = [{k: v for k, v in json.loads(e.to_json()).items() if k != "header"} for e in entries]

    def show() -> None:
        for lines in (file_lines(entries), result_lines(entries)):
            if lines:
                echo("\n".join(lines) + "\n")
        more = ", more may match: raise --limit" if len(entries) == limit else ""
        echo(
            f"{counted(len(entries), 'entry', 'entries')}{more}"
            + ("" if entries or more else f". {held.instead(**query)}")
        )

    give(as_json, documents, show)


@catalog.command("facets", cls=Facets)
@filters
@JSON
@click.pass_context
def catalog_facets(ctx: click.Context, /, as_json: bool, **given: Any) -> None:
    """Count values of every facet; filters as in search."""
    from xdask_pipelines.catalog import open_catalog

    held, query = open_catalog(topology().catalog_url), query_of(ctx, given)
    values = held.facets(**query)

    def show() -> None:
        if not values:
            echo(f"0 entries. {held.instead(**query)}")
        for name, counts in values.items():
            echo(f"{in_shell(name):16} " + ", ".join(f"{in_shell(value)} ({n})" for value, n in counts.items()))

    give(as_json, values, show)

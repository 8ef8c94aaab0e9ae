"""Common parts of all commands: options, error messages, JSON or text output.

Belongs here: code that several commands use. Does not belong here: commands.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

from xdask_pipelines.errors import XdaskError
from xdask_pipelines.system.safe_text import terminal
from xdask_pipelines.system.units import format_bytes

JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")


def echo(text: str = "", **style: Any) -> None:
    """Print text that may contain data, without control characters except those of ``style``."""
    click.secho(terminal(text), **style)


class Group(click.Group):
    """A group that shows our errors as messages without traceback, and complete sentences in the list of commands."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands, each with its first sentence, which click would truncate."""
        rows = [
            (name, self.commands[name].get_short_help_str(limit=10_000))
            for name in self.list_commands(ctx)
            if not self.commands[name].hidden
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except XdaskError as error:
            if "--json" in sys.argv:
                echo(json.dumps({"error": type(error).__name__, "message": str(error)}))
            echo(f"xdask: {error}", fg="red", err=True)
            ctx.exit(1)


def topology() -> Any:
    """Return the topology, and set it for processes that are started from here."""
    from xdask_pipelines.topology import find_topology

    loaded = find_topology()
    os.environ.setdefault("XDASK_TOPOLOGY", str(loaded.root / "regions.yaml"))
    return loaded


def topology_with_catalog() -> Any:
    """Return the topology after checking its catalog, before imports and processes that take seconds.

    Raises
    ------
    CatalogError
        If the catalog does not answer or cannot be read.
    """
    from xdask_pipelines.catalog import open_catalog

    loaded = topology()
    if loaded.places:
        open_catalog(loaded.catalog_url).generation(*loaded.places[0])
    return loaded


def first_and_last(
    words: list[str], option: str, example: tuple[str, str], is_last: Callable[[list[str], str], bool]
) -> list[str]:
    """Complete an option with one or two values to two values, because click needs a fixed number.

    Parameters
    ----------
    words
        Arguments as typed.
    option
        Name such as ``--time``; one value stands for first and last.
    example
        Example of first and last, for messages.
    is_last
        Returns whether the word after the first value is the last value; its arguments are the words with the first
        value twice, and that word.

    Raises
    ------
    click.UsageError
        If the value is missing, or the option occurs twice.
    """
    apart: list[str] = []
    for word in words:
        apart += word.split("=", 1) if word.startswith(f"{option}=") else [word]
    if option not in apart:
        return apart
    at = apart.index(option)
    values = apart[at + 1 : at + 3]
    first, last = example
    if apart.count(option) > 1:
        raise click.UsageError(f"{option} is given twice; write it once with first and last: {option} {first} {last}")
    if not values or values[0].startswith("-"):
        raise click.UsageError(
            f"{option} needs a value, such as {option} {first}, or first and last: {option} {first} {last}"
        )
    doubled = [*apart[: at + 2], values[0], *apart[at + 2 :]]
    two = len(values) == 2 and not values[1].startswith("-") and is_last(doubled, values[1])
    return apart if two else doubled


def tell(as_json: bool) -> Callable[[str], None]:
    """Return the function that prints progress: with ``--json``, standard output contains only the document."""
    return (lambda line: echo(line, err=True)) if as_json else echo


def give(as_json: bool, document: Any, text: Callable[[], None]) -> None:
    """Print the document, or text."""
    if as_json:
        shown = json.dumps(document, indent=2, ensure_ascii=False)
        click.echo("".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in shown))
    else:
        text()


def pairs(values: Mapping[str, int]) -> str:
    """Format numbers by name in one line."""
    return ", ".join(f"{k} {v:,}" for k, v in values.items()) or "0"


def echo_region_names(names: Mapping[str, str]) -> None:
    """Print who the Regions are, if any has a name for people."""
    if names:
        echo("Regions               " + "; ".join(f"{region}: {name}" for region, name in sorted(names.items())))


def byte_pairs(values: Mapping[str, int]) -> str:
    """Format bytes by name in one line."""
    return ", ".join(f"{k} {format_bytes(v)}" for k, v in values.items()) or "0 B"


def columns(rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Format a table, whose first row is the header; columns in ``right`` are aligned to the right."""
    rows = list(rows)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]

    def line(row: Sequence[str]) -> str:
        cells = zip(row, widths, strict=True)
        return "  ".join(c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(cells)).rstrip()

    return [line(row) for row in rows]

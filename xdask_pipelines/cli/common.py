"""What all commands share: options, errors as messages, JSON or text.

Belongs here: the frame. Does not belong here: any command.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import click

from xdask_pipelines.errors import XdaskError
from xdask_pipelines.quoting import one_line

JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")


class Group(click.Group):
    """Shows our errors as one message, not as a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except XdaskError as error:
            if "--json" in sys.argv:
                click.echo(json.dumps({"error": type(error).__name__, "message": str(error)}))
            lines = map(one_line, str(error).split("\n"))
            click.secho("xdask: " + "\n".join(lines), fg="red", err=True)
            ctx.exit(1)


def topology() -> Any:
    """The topology of this call, which processes started from here see too."""
    from xdask_pipelines.topology import find_topology

    found = find_topology()
    os.environ.setdefault("XDASK_TOPOLOGY", str(found.root / "regions.yaml"))
    return found


def tell(as_json: bool) -> Callable[[str], None]:
    """Where lines of progress go: with ``--json``, standard output holds the document alone."""
    return (lambda line: click.echo(line, err=True)) if as_json else click.echo


def give(as_json: bool, document: Any, text: Callable[[], None]) -> None:
    """Answer with the document, or with text."""
    if as_json:
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        text()


def pairs(values: Mapping[str, int], unit: str = "") -> str:
    """Numbers by name in one line."""
    return ", ".join(f"{k} {v:,} {unit}".rstrip() for k, v in values.items()) or "0"

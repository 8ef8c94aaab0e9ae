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
from xdask_pipelines.system.safe_text import terminal

JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")


def echo(text: str = "", **style: Any) -> None:
    """Print text that may quote data: no control character reaches the terminal but those of ``style``."""
    click.secho(terminal(text), **style)


class Group(click.Group):
    """Shows our errors as one message, not as a traceback."""

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
    """The topology of this call, which processes started from here see too."""
    from xdask_pipelines.topology import find_topology

    found = find_topology()
    os.environ.setdefault("XDASK_TOPOLOGY", str(found.root / "regions.yaml"))
    return found


def tell(as_json: bool) -> Callable[[str], None]:
    """Where lines of progress go: with ``--json``, standard output holds the document alone."""
    return (lambda line: echo(line, err=True)) if as_json else echo


def give(as_json: bool, document: Any, text: Callable[[], None]) -> None:
    """Answer with the document, or with text."""
    if as_json:
        shown = json.dumps(document, indent=2, ensure_ascii=False)
        click.echo("".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in shown))
    else:
        text()


def pairs(values: Mapping[str, int], unit: str = "") -> str:
    """Numbers by name in one line."""
    return ", ".join(f"{k} {v:,} {unit}".rstrip() for k, v in values.items()) or "0"

"""The summary of a materialization that the UI shows first: the picture and one table, as short Markdown.

Belongs here: the text, and the address of its picture. Does not belong here: other metadata (io_manager), answering the
address (operations.webserver).

Dagster's UI shows Markdown of fewer than 1,000 characters in place, and longer Markdown behind a link. A picture has
100 kB as text, so the summary names an address on the UI's own server.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from xdask_pipelines.placement import Evidence
from xdask_pipelines.system.safe_text import markdown
from xdask_pipelines.system.units import counted, format_bytes, number, with_units

#: Path of pictures on the UI's server: asset, then run.
PICTURES = "/xdask/pictures"
_MOST_CHARACTERS = 980
_MOST_OF_A_CELL = 120
_PICTURE = re.compile(r"\(data:image/png;base64,([A-Za-z0-9+/=]+)\)")


def picture_in(metadata: Mapping[str, Any]) -> str:
    """Return the PNG in a materialization's metadata as base64; empty if it has none."""
    for name in ("map", "plot"):
        if match := _PICTURE.search(str(metadata.get(name, ""))):
            return match[1]
    return ""


def summary(asset: str, run_id: str, has_picture: bool, facts: Mapping[str, object], evidence: Evidence) -> str:
    """Return the Markdown of the picture and a table, with fewer than 1,000 characters.

    Parameters
    ----------
    asset, run_id
        Name the picture.
    has_picture
        Whether the materialization has one.
    facts
        Figures and texts by name; empty ones are left out.
    evidence
        Of the computation.
    """
    rows = [(name, str(value)) for name, value in facts.items() if value not in ("", None)]
    rows += [(region, _of_region(evidence, region)) for region in sorted(_regions(evidence))]
    head = [f"![{markdown(asset)}]({PICTURES}/{asset}/{run_id}.png)", ""] if has_picture else []
    return "\n".join([*head, *_table(rows, _MOST_CHARACTERS - len("\n".join(head)))])


def figure_text(value: object, units: str) -> str:
    """Return a number with its units for display; text such as ``nan`` stays."""
    return with_units(number(float(value)), units) if isinstance(value, int | float) else str(value)


def _regions(evidence: Evidence) -> set[str]:
    return {*evidence.tasks_by_region, *evidence.bytes_read_by_region}


def _of_region(evidence: Evidence, region: str) -> str:
    sent = sum(n for pair, n in evidence.bytes_across.items() if pair.startswith(f"{region}->"))
    return (
        f"{counted(evidence.tasks_by_region.get(region, 0), 'task')}, "
        f"read {format_bytes(evidence.bytes_read_by_region.get(region, 0))}, sent {format_bytes(sent)}"
    )


def _table(rows: Sequence[tuple[str, str]], most: int) -> list[str]:
    """Return as many lines of a table as fit into some characters."""
    lines = ["| | |", "|---|---|"]
    for name, value in rows:
        short = value if len(value) <= _MOST_OF_A_CELL else f"{value[:_MOST_OF_A_CELL]}…"
        line = f"| {markdown(name)} | {markdown(short)} |"
        if sum(map(len, lines)) + len(lines) + len(line) > most:
            break
        lines.append(line)
    return lines

"""HTML for notebooks: tables, pictures and headings in one style, without scripts, readable on dark and light pages.

Belongs here: elements of a page. Does not belong here: what objects show, escaping (safe_text).

Everything inherits the colour and the font of the page. Notebooks strip or share style sheets of outputs, so each element
carries its own style.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from urllib.parse import urlsplit

from xdask_pipelines.system.safe_text import html

_LINE = "1px solid rgba(128,128,128,0.35)"
_CELL = f"padding:0.2em 0.8em 0.2em 0;border:0;border-bottom:{_LINE};vertical-align:top;background:none;"
_TABLE = "border-collapse:collapse;margin:0.4em 0;font-size:0.92em;border:0;color:inherit;"


class Markup(str):
    """Text that is HTML already: `table` and `block` escape everything else."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Return a value as HTML that displays it literally; markup stays what it is."""
    return value if isinstance(value, Markup) else Markup(html(str(value)))


def block(title: object, *parts: object) -> str:
    """Return the HTML of an object: a title, and what is below it.

    Parameters
    ----------
    title
        One line.
    *parts
        Markup, or text for a paragraph.
    """
    heading = f'<div style="font-weight:600;margin:0.2em 0">{text(title)}</div>'
    return f'<div style="max-width:70em;line-height:1.4">{heading}{"".join(map(_part, parts))}</div>'


def _part(part: object) -> str:
    return part if isinstance(part, Markup) else f'<div style="margin:0.2em 0">{text(part)}</div>'


def table(head: Sequence[object], rows: Sequence[Sequence[object]], right: Collection[int] = ()) -> Markup:
    """Return a table.

    Parameters
    ----------
    head
        Titles of the columns; none for a table without a first line.
    rows
        Cells as text or markup.
    right
        Columns that are aligned to the right.
    """

    def cells(row: Sequence[object], tag: str) -> str:
        weight = "font-weight:600;" if tag == "th" else ""
        return "".join(
            f'<{tag} style="{_CELL}{weight}text-align:{"right" if i in right else "left"}">{text(cell)}</{tag}>'
            for i, cell in enumerate(row)
        )

    first = f"<thead><tr>{cells(head, 'th')}</tr></thead>" if head else ""
    rest = "".join(f'<tr style="background:none">{cells(row, "td")}</tr>' for row in rows)
    return Markup(f'<table style="{_TABLE}">{first}<tbody>{rest}</tbody></table>')


def properties(values: Mapping[str, object]) -> Markup:
    """Return a table of names and values; empty values are left out."""
    return table((), [(name, value) for name, value in values.items() if value not in ("", None)])


def picture(content: bytes, kind: str, description: str) -> Markup:
    """Return an inline picture.

    Parameters
    ----------
    content
        The image file.
    kind
        ``png`` or ``svg+xml``.
    description
        Text for those who do not see it.
    """
    data = base64.b64encode(content).decode()
    return Markup(f'<img alt="{html(description)}" src="data:image/{kind};base64,{data}" style="max-width:100%"/>')


def link(address: str, label: str = "") -> Markup:
    """Return a link to a web page; text if the address is not one."""
    if urlsplit(address).scheme not in ("http", "https"):
        return text(label or address)
    return Markup(f'<a href="{html(address)}" target="_blank" rel="noopener">{html(label or address)}</a>')


def local_link(file: str, label: str) -> Markup:
    """Return a link to a page in the same folder; text if the name leads elsewhere."""
    parts = urlsplit(file)
    if parts.scheme or parts.netloc or "/" in file or "\\" in file:
        return text(label)
    return Markup(f'<a href="{html(file)}" style="color:inherit">{html(label)}</a>')


def items(lines: Sequence[object]) -> Markup:
    """Return a list; empty without lines."""
    inner = "".join(f"<li>{text(line)}</li>" for line in lines)
    return Markup(f'<ul style="margin:0.2em 0 0.2em 1.2em;padding:0">{inner}</ul>' if lines else "")

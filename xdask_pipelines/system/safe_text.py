"""Text that came with data (paths, attributes, messages of libraries), where something interprets what it shows.

Belongs here: one function for each kind of display. Does not belong here: what is shown.
"""

from __future__ import annotations

import re
from html import escape
from urllib.parse import urlsplit

#: What means something in Markdown: anywhere, beside a word's end, at the beginning of a line.
_MARKDOWN = re.compile(r"[\\`*<>\[\]!&|~$]|(?<![^\W_])_|_(?![^\W_])|^[#+=:-]")
_NUMBERED = re.compile(r"^(\d+)([.)])")


def terminal(text: str) -> str:
    r"""Return text without control characters, which would colour a terminal, move its cursor or set its title.

    What is not printable becomes an escape, such as ``\x1b``; line feeds stay, as in messages of several lines.
    """
    return "\n".join(map(one_line, text.split("\n")))


def one_line(text: str) -> str:
    r"""Return text without control characters, line feeds included: ``\n`` for one."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def markdown(text: str) -> str:
    """Return text as Markdown that shows it as it is, in one line: no HTML, no picture, no list; a bare URL may be a link.

    References
    ----------
    https://spec.commonmark.org/0.31.2/#backslash-escapes
    """
    return _NUMBERED.sub(r"\1\\\2", _MARKDOWN.sub(r"\\\g<0>", one_line(text).strip()))


def from_markdown(text: str) -> str:
    """Return the text that `markdown` was given, for a terminal."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text)


def html(text: str) -> str:
    """Return text as HTML that shows it as it is, in elements and in quoted attributes."""
    return escape(terminal(text), quote=True)


def drawn(text: str) -> str:
    """Return text for Matplotlib, which reads what two dollars enclose as a formula, and fails where it is none."""
    return terminal(text).replace("$", r"\$")


def without_secrets(address: str) -> str:
    """Return scheme and host of a URL: its path, query and user name may hold a token; other addresses as they are."""
    if "://" not in address:
        return one_line(address)
    try:
        parts = urlsplit(address)
        host = parts.hostname or "…"
    except ValueError:
        return "a URL that cannot be read"
    return one_line(f"{parts.scheme}://{host}/…")

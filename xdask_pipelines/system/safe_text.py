"""Escaping of text from data (paths, attributes, messages of libraries) for displays that interpret it.

Belongs here: one function for each kind of display. Does not belong here: the texts.
"""

from __future__ import annotations

import re
from html import escape
from urllib.parse import urlsplit

#: Characters with a meaning in Markdown: anywhere, at the end of a word, at the start of a line.
_MARKDOWN = re.compile(r"[\\`*<>\[\]!&|~$]|(?<![^\W_])_|_(?![^\W_])|^[#+=:-]")
_NUMBERED = re.compile(r"^(\d+)([.)])")


def terminal(text: str) -> str:
    r"""Return text without control characters, which could colour a terminal, move its cursor or set its title.

    Characters that are not printable become escapes, such as ``\x1b``; line feeds stay.
    """
    return "\n".join(map(one_line, text.split("\n")))


def one_line(text: str) -> str:
    r"""Return text without control characters, line feeds included: ``\n`` for one."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def markdown(text: str) -> str:
    """Return text as Markdown that displays it literally in one line: no HTML, picture or list; a bare URL may be a link.

    References
    ----------
    https://spec.commonmark.org/0.31.2/#backslash-escapes
    """
    return _NUMBERED.sub(r"\1\\\2", _MARKDOWN.sub(r"\\\g<0>", one_line(text).strip()))


def from_markdown(text: str) -> str:
    """Return the original text of `markdown`, for a terminal."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text)


def html(text: str) -> str:
    """Return text as HTML that displays it literally, in elements and in quoted attributes."""
    return escape(terminal(text), quote=True)


def drawn(text: str) -> str:
    """Return text for Matplotlib, which would parse text between two dollar signs as a formula."""
    return terminal(text).replace("$", r"\$")


def without_secrets(address: str) -> str:
    """Return only scheme and host of a URL, because the rest may contain a token; return other addresses unchanged."""
    if "://" not in address:
        return one_line(address)
    try:
        parts = urlsplit(address)
        host = parts.hostname or "…"
    except ValueError:
        return "a URL that cannot be read"
    return one_line(f"{parts.scheme}://{host}/…")

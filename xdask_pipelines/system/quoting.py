"""Quoting of values in messages: on one line, without control characters, and in a form that can be typed again.

Belongs here: quoting for Python and for a shell. Does not belong here: messages.
"""

from __future__ import annotations

import re
import shlex

#: Values that need no quotes in a list, in Python and in a shell.
_PLAIN = re.compile(r"[\w@%+=:./-]+")


def in_python(value: str) -> str:
    """Return a plain value unchanged, and any other value as a Python literal."""
    return value if _PLAIN.fullmatch(value) else repr(value)


def in_shell(value: str) -> str:
    """Return a value in the syntax of bash and zsh."""
    if _PLAIN.fullmatch(value):
        return value
    if value.isprintable():
        return shlex.quote(value)
    return "$'" + "".join(map(_escaped, value)) + "'"


def _escaped(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

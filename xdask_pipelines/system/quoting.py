"""Values with odd characters in messages: on one line, without what a terminal obeys, and as they can be typed again.

Belongs here: quoting for Python and for a shell. Does not belong here: messages.
"""

from __future__ import annotations

import re
import shlex

#: What needs no quotes in a list of values, in Python's words or a shell's.
_PLAIN = re.compile(r"[\w@%+=:./-]+")


def in_python(value: str) -> str:
    """A value as it is if it is plain, else as a literal of Python."""
    return value if _PLAIN.fullmatch(value) else repr(value)


def in_shell(value: str) -> str:
    """A value as bash and zsh take it."""
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

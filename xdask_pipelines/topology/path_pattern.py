"""Patterns of paths in regions.yaml, such as ``{model}/{year}/{variable}_{year}{month}.nc``.

Belongs here: parsing a pattern, and matching paths. Does not belong here: entries and times (catalog.layouts).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

#: Suffixes with which a pattern may end: those of files, and ``.zarr`` for stores.
SUFFIXES = (".nc", ".nc4", ".grib", ".grib2", ".grb", ".grb2", ".zarr")
#: Names with another meaning in a search, which cannot be facets.
TAKEN = frozenset(
    {
        *("dataset", "region", "layout", "format", "part", "key", "license", "attribution"),
        *("superseded", "limit", "time", "times", "each", "id", "near", "bbox", "self"),
    }
)
_DIGITS = {"year": (4, 5), "month": (2,), "day": (2,)}
_MOST_STEPS = 20_000  # for matching one path: a path of only separators could take hours


@dataclass(frozen=True)
class _Name:
    """A name in braces."""

    name: str


class _TooManyWaysError(Exception):
    """Matching takes too many steps."""


_Tokens = tuple[str | _Name, ...]


@dataclass(frozen=True)
class PathPattern:
    """A pattern as text, and its parts; a part that is None matches anything."""

    text: str
    parts: tuple[_Tokens | None, ...]
    suffix: str

    @property
    def names(self) -> frozenset[str]:
        """All names in braces."""
        return frozenset(t.name for part in self.parts for t in part or () if isinstance(t, _Name))

    def match(self, path: str) -> dict[str, str] | str:
        """Return the values in a path by name; or, if the path does not match, the reason as text: ``"its path …"``.

        A name matches at least one character and never a slash. A path that matches in several ways is refused.
        """
        given = path.split("/")
        if len(given) != len(self.parts):
            return f"its path is not {self.text} below the mount"
        pairs = [(part, text) for part, text in zip(self.parts, given, strict=True) if part is not None]
        try:
            ways = _some_ways(pairs, agree=True)
            if len(ways) == 1:
                return ways[0]
            if ways:
                differing = sorted(n for n in ways[0] if ways[0][n] != ways[1][n])
                shown = " or ".join(", ".join(f"{n}={way[n]}" for n in differing) for way in ways)
                return f"its path matches {self.text} in several ways: {shown}; write a pattern that is unambiguous"
            if _some_ways(pairs, agree=False):
                return f"its path matches {self.text}, but a name that occurs twice has two values"
        except _TooManyWaysError:
            return f"its path matches {self.text} in too many ways"
        return f"its path is not {self.text} below the mount"


@lru_cache(maxsize=64)
def read_pattern(text: str) -> PathPattern:
    """Parse a pattern.

    Parameters
    ----------
    text
        Parts joined by ``/``. In each, names in braces and text around them; ``*`` alone matches any one part.
        ``{year}`` has four or five digits, ``{month}`` and ``{day}`` two.

    Raises
    ------
    ValueError
        If the pattern is not valid; the message contains the fix.
    """
    parts = [None if part == "*" else _tokens(part, text) for part in text.split("/")]
    last = parts[-1]
    end = last[-1] if last else None
    suffix = next((s for s in SUFFIXES if isinstance(end, str) and end.endswith(s)), None)
    if last is None or suffix is None or (len(last) == 1 and end == suffix):
        raise ValueError(f"{text!r} must end in the name of a file or store: one of {', '.join(SUFFIXES)}")
    pattern = PathPattern(text, tuple(parts), suffix)
    if taken := sorted(pattern.names & TAKEN):
        raise ValueError(f"{{{taken[0]}}} in {text!r} has another meaning in a search; rename it")
    for name, needed in (("month", "year"), ("day", "month")):
        if name in pattern.names and needed not in pattern.names:
            raise ValueError(f"{text!r} has {{{name}}} without {{{needed}}}; add it, or rename {{{name}}}")
    return pattern


def _tokens(part: str, text: str) -> _Tokens:
    pieces = re.split(r"\{([^{}]*)\}", part)
    tokens: list[str | _Name] = []
    for i, piece in enumerate(pieces):
        if i % 2 == 0:
            if any(c in piece for c in "{}*\\\0") or (not piece and len(pieces) == 1) or part in (".", ".."):
                raise ValueError(
                    f"{text!r} is not a pattern at {part!r}; write plain parts with names in braces, such as "
                    "{model}/{year}/{variable}_{year}{month}.nc, or * for any one part"
                )
            tokens += [piece] if piece else []
            continue
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", piece, re.ASCII):
            raise ValueError(f"{{{piece}}} in {text!r} is not a name; use letters, digits and _")
        before = tokens[-1] if tokens else ""
        if isinstance(before, _Name) and before.name not in _DIGITS and piece not in _DIGITS:
            raise ValueError(f"{text!r} has nothing between {{{before.name}}} and {{{piece}}}; write a separator")
        tokens.append(_Name(piece))
    return tuple(tokens)


def _some_ways(pairs: Sequence[tuple[_Tokens, str]], *, agree: bool) -> list[dict[str, str]]:
    """Return at most two different ways in which texts match; with ``agree``, all uses of a name have one value."""
    found: list[dict[str, str]] = []
    steps = 0

    def fit(at: int, tokens: _Tokens, text: str, bound: Mapping[str, str]) -> Iterator[dict[str, str]]:
        nonlocal steps
        steps += 1
        if steps > _MOST_STEPS:
            raise _TooManyWaysError
        if not tokens:
            if not text:
                if at + 1 == len(pairs):
                    yield dict(bound)
                else:
                    yield from fit(at + 1, *pairs[at + 1], bound)
            return
        head, rest = tokens[0], tokens[1:]
        if isinstance(head, _Name) and not (agree and head.name in bound):
            for length in _lengths(head.name, rest, text):
                yield from fit(at, rest, text[length:], {**bound, head.name: text[:length]})
            return
        literal = bound[head.name] if isinstance(head, _Name) else head
        if text.startswith(literal):
            yield from fit(at, rest, text[len(literal) :], bound)

    for way in fit(0, *pairs[0], {}):
        if way not in found:
            found.append(way)
        if len(found) == 2:
            break
    return found


def _lengths(name: str, rest: _Tokens, text: str) -> Iterator[int]:
    """Iterate over the possible lengths of a name's value at the start of a text."""
    if name in _DIGITS:
        yield from (n for n in _DIGITS[name] if len(text) >= n and text[:n].isascii() and text[:n].isdigit())
    elif not rest:
        yield from [len(text)] if text else []
    elif isinstance(rest[0], str):
        at = text.find(rest[0], 1)
        while at > 0:
            yield at
            at = text.find(rest[0], at + 1)
    else:
        yield from range(1, len(text) + 1)

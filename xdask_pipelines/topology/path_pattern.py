"""Patterns of paths that a person writes, such as ``{model}/{year}/{variable}_{year}{month}.nc``.

Belongs here: reading a pattern, and what a path says by it. Does not belong here: entries, times, or who uses patterns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

#: Suffixes that a pattern may end in: those of files, and ``.zarr`` for stores.
SUFFIXES = (".nc", ".nc4", ".grib", ".grib2", ".grb", ".grb2", ".zarr")
#: Names that mean something else in a search, so that no facet can be called so.
TAKEN = frozenset(
    {
        *("dataset", "region", "layout", "format", "part", "key", "license", "attribution"),
        *("superseded", "limit", "time", "times", "each", "id", "near", "bbox", "self"),
    }
)
_DIGITS = {"year": (4, 5), "month": (2,), "day": (2,)}
_MOST_STEPS = 20_000  # in comparing one path; a name made of separators alone would take all day


@dataclass(frozen=True)
class _Name:
    """A name in braces."""

    name: str


class _TooManyWaysError(Exception):
    """Comparing takes too long."""


_Tokens = tuple[str | _Name, ...]


@dataclass(frozen=True)
class PathPattern:
    """A pattern as it was written, and its parts; a part that is None matches any."""

    text: str
    parts: tuple[_Tokens | None, ...]
    suffix: str

    @property
    def names(self) -> frozenset[str]:
        """All names in braces."""
        return frozenset(t.name for part in self.parts for t in part or () if isinstance(t, _Name))

    def match(self, path: str) -> dict[str, str] | str:
        """What a path says by name; or, if it cannot be told, the reason as text: ``"its path …"``.

        A name stands for at least one character and never for a slash. A path that fits in several ways is refused.
        """
        given = path.split("/")
        if len(given) != len(self.parts):
            return f"its path is not {self.text} below the mount"
        pairs = [(part, text) for part, text in zip(self.parts, given, strict=True) if part is not None]
        try:
            found = _some_ways(pairs, agree=True)
            if len(found) == 1:
                return found[0]
            if found:
                differing = sorted(n for n in found[0] if found[0][n] != found[1][n])
                shown = " or ".join(", ".join(f"{n}={way[n]}" for n in differing) for way in found)
                return f"its path fits {self.text} in several ways: {shown}; write a pattern that tells them apart"
            if _some_ways(pairs, agree=False):
                return f"its path fits {self.text}, but a name that is there twice has two values"
        except _TooManyWaysError:
            return f"its path fits {self.text} in too many ways to compare"
        return f"its path is not {self.text} below the mount"


@lru_cache(maxsize=64)
def read_pattern(text: str) -> PathPattern:
    """Read a pattern.

    Parameters
    ----------
    text
        Parts joined by ``/``. In each, names in braces and text around them; ``*`` alone matches any one part.
        ``{year}`` has four or five digits, ``{month}`` and ``{day}`` two.

    Raises
    ------
    ValueError
        What is wrong with it, and what to write.
    """
    parts = [None if part == "*" else _tokens(part, text) for part in text.split("/")]
    last = parts[-1]
    end = last[-1] if last else None
    suffix = next((s for s in SUFFIXES if isinstance(end, str) and end.endswith(s)), None)
    if last is None or suffix is None or (len(last) == 1 and end == suffix):
        raise ValueError(f"{text!r} must end in the name of a file or store: one of {', '.join(SUFFIXES)}")
    pattern = PathPattern(text, tuple(parts), suffix)
    if taken := sorted(pattern.names & TAKEN):
        raise ValueError(f"{{{taken[0]}}} in {text!r} means something else in a search; give it another name")
    for name, needed in (("month", "year"), ("day", "month")):
        if name in pattern.names and needed not in pattern.names:
            raise ValueError(f"{text!r} has {{{name}}} without {{{needed}}}; add it, or call {{{name}}} something else")
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
            raise ValueError(f"{text!r} has nothing between {{{before.name}}} and {{{piece}}}; write what parts them")
        tokens.append(_Name(piece))
    return tuple(tokens)


def _some_ways(pairs: Sequence[tuple[_Tokens, str]], *, agree: bool) -> list[dict[str, str]]:
    """At most two different ways in which texts fit; a name bound once stands for its value if they must agree."""
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
    """Lengths that a name's value may have at the beginning of a text."""
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

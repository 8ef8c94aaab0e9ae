"""Conversion of users' queries to the form of stores.

Belongs here: checking and converting queries. Does not belong here: answering them (backends).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from xdask_pipelines.catalog.backend import Query
from xdask_pipelines.catalog.extent import extent_of
from xdask_pipelines.catalog.times import Time, range_of, refuse_times
from xdask_pipelines.errors import CatalogError

Wanted = str | Sequence[str]
Box = tuple[float, float, float, float]


def asked(
    query: Mapping[str, Wanted],
    *,
    superseded: bool,
    time: Time | None = None,
    bbox: Box | None = None,
    limit: int | None = None,
) -> Query:
    """Convert a user's query to the form of stores.

    Raises
    ------
    CatalogError
        If a name or value is not text, a time is not a period, or a box is not valid.
    """
    if "times" in query:
        raise refuse_times(query["times"])
    terms = {name: _values(name, wanted) for name, wanted in query.items()}
    refuse_unwritable(terms)
    box = None if bbox is None else extent_of(bbox, "bbox")
    span = None if time is None else range_of(time)
    return Query(terms=terms, time=span, bbox=box, superseded=superseded or "version" in terms, limit=limit)


def refuse_unwritable(terms: Mapping[str, Iterable[str]]) -> None:
    """Raise `CatalogError` for names and values that no entry can have: U+0000, and bytes that are not UTF-8."""
    for name, values in terms.items():
        for text in (name, *values):
            if "\0" in text or not _is_utf_8(text):
                raise CatalogError(
                    f"{name} = {text!r} is not valid UTF-8 text, which no entry can have. Write it as "
                    f"the catalog shows it"
                )


def _is_utf_8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _values(name: str, wanted: Wanted) -> tuple[str, ...]:
    values = (wanted,) if isinstance(wanted, str) else tuple(wanted) if isinstance(wanted, Iterable) else (wanted,)
    for value in values:
        if not isinstance(value, str):
            raise CatalogError(f"{name} = {value!r} is not text; write it in quotes, as the catalog shows it")
    return values

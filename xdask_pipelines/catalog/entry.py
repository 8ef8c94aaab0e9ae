"""The one document of the catalog: an entry is one file, or one whole Zarr store, in one Region.

Belongs here: what an entry holds, its identity and its JSON form. Does not belong here: where entries are kept, or how
a path becomes one.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter
from typing import Any, Literal, get_args

import orjson

from xdask_pipelines.catalog.extent import Extent, extent_of
from xdask_pipelines.errors import CatalogError
from xdask_pipelines.system.safe_text import one_line
from xdask_pipelines.topology.names import is_plain_key

Format = Literal["netcdf4", "zarr2", "zarr3", "grib"]

# What search, facets and resolve know of every entry beside its own facets and attributes.
FIELDS = ("dataset", "region", "layout", "format", "variable", "version", "part", "key")
_RESERVED = frozenset({"superseded", "limit", "time", "times", "each", "near", "id", "bbox"})  # names that those take
_TAKEN = _RESERVED | frozenset(FIELDS)
_FORMATS = frozenset(get_args(Format))
#: Version of what is checked when headers are read. A sync reads the headers of entries again that were checked by another.
_CHECKED = "3"
_DAMAGED = (
    "The catalog is damaged, or a newer version wrote it. Run `xdask sync --full`, which writes all entries again"
)
#: Of one entry, nearly all of it coordinates: a node takes requests of 10 MiB on AWS, and reads many entries at once.
MAX_DOCUMENT_BYTES = 8_000_000
#: Stores put it between a name and its value, which may hold it.
MARK = "\x1f"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file or store in one Region, and what is known of it without opening it.

    Parameters
    ----------
    dataset, region, key, part
        Identity. ``key`` is the path relative to the Region's root (with ``/``, for a store its folder); ``part``
        tells apart several entries that share one store, such as the partitions of a result.
    layout
        Name of the layout that made the entry from its path.
    format
        ``netcdf4``, ``zarr2``, ``zarr3`` or ``grib``.
    variable
        Name of the data variable, as the path says it.
    facets
        What the path says, by the field's own names (CMIP6: ``source_id``, ``member_id``, …).
    version
        Of entries that differ in nothing else, the highest version (numbers in it compare as numbers) is current and
        the others are superseded. Empty: no versions.
    time_start, time_end
        Half-open range of time keys (see :mod:`.times`); both None for data without time, or before a header is known.
    extent
        Where the data lie, ``(west, south, east, north)`` in degrees, as :mod:`.extent` defines it; None for data without
        latitude and longitude, or before a header is known.
    size_bytes, etag, modified_ns
        Size, content digest and time of modification; of a store the sum, a digest over all, and the latest.
    header
        Dims, dtypes, chunks, coordinates and calendar, as the access floor wrote them; None if not read yet. Its key
        ``time_range`` (two time keys), where present, is what the data say about time, and its key ``extent`` about place.
    attributes
        Informative and searchable, never identity: run, licence, attribution, slice in a shared store.
    excerpt
        The data are knowingly incomplete.
    generation
        Commit of the catalog that wrote this document; 0 before it is written.
    """

    dataset: str
    region: str
    layout: str
    key: str
    format: Format
    variable: str
    part: str = ""
    facets: Mapping[str, str] = field(default_factory=dict)
    version: str = ""
    time_start: int | None = None
    time_end: int | None = None
    extent: Extent | None = None
    size_bytes: int = 0
    etag: str = ""
    modified_ns: int = 0
    header: Mapping[str, Any] | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    excerpt: bool = False
    generation: int = 0

    #: Identity as 32 hex digits: a digest of dataset, Region, key and part, each with its length.
    id: str = field(init=False, repr=False, compare=False, default="")

    def __post_init__(self) -> None:
        # Written for speed: a sync creates every entry of a dataset again, a million of them.
        texts = [self.dataset, self.region, self.layout, self.variable, self.key, self.version, self.part]
        for name, value in zip(("dataset", "region", "layout", "variable", "key"), texts, strict=False):
            if not value or not isinstance(value, str):
                raise self._refusal(f"{name} must be text and not empty, not {value!r}")
        if not is_plain_key(self.key):
            raise self._refusal("the key must be a plain path relative to the Region's root")
        if self.format not in _FORMATS:
            raise self._refusal(f"format {self.format!r} is not one of {', '.join(get_args(Format))}")
        if (self.time_start is None) != (self.time_end is None):
            raise self._refusal("time_start and time_end must both be set or both be None")
        if self.time_start is not None and self.time_end is not None and self.time_start >= self.time_end:
            raise self._refusal(f"time {self.time_start} to {self.time_end} is an empty range")
        for pairs in (self.facets, self.attributes):
            for name, value in pairs.items():
                if not isinstance(name, str) or not isinstance(value, str):
                    raise self._refusal(f"facet or attribute {name!r} = {value!r} must be text")
                if name in _TAKEN and (name in _RESERVED or getattr(self, name) != value):
                    raise self._refusal(f"{name!r} names something else in a search; rename that facet")
                if not name or MARK in name:
                    raise self._refusal(
                        f"a facet cannot be named {name!r}: U+001F ends a name in the catalog; rename it"
                    )
                texts += (name, value)
        joined = "".join(texts)
        if "\0" in joined:
            raise self._refusal(f"U+0000 is in {next(t for t in texts if chr(0) in t)!r}, which SQLite ends a text at")
        try:
            joined.encode()
        except UnicodeEncodeError as error:
            where = f"{self.dataset}/{self.region}/{self.key}"
            raise CatalogError(f"Entry {where!a} holds text that UTF-8 cannot write: {error}") from error
        if self.facets and self.attributes and not self.facets.keys().isdisjoint(self.attributes):
            both = sorted(self.facets.keys() & self.attributes.keys())
            raise self._refusal(f"{', '.join(both)} cannot be facet and attribute at once")
        if self.extent is not None:
            object.__setattr__(self, "extent", extent_of(self.extent, str(self)))
        # Kept: a commit asks for it a dozen times, and each digest costs 2 us.
        object.__setattr__(self, "id", entry_id(self.dataset, self.region, self.key, self.part))

    def _refusal(self, why: str) -> CatalogError:
        return CatalogError(f"Entry {one_line(f'{self.dataset}/{self.region}/{self.key}')}: {why}")

    def __hash__(self) -> int:
        return hash((self.id, self.etag, self.generation))

    @property
    def digest(self) -> str:
        """Digest of all that a listing and a layout say: it differs exactly when a sync has news of this entry."""
        content = self._document()
        for name in ("header", "time_start", "time_end", "extent", "generation"):
            del content[name]
        return _digest(_json(content), _CHECKED)

    @property
    def series(self) -> str:
        """Digest of all that versions of the same thing share; empty for an entry without versions."""
        if not self.version:
            return ""
        same = (self.dataset, self.region, self.layout, self.variable, self.part, _json(dict(self.facets)))
        return _digest(*same)

    def terms(self) -> dict[str, str]:
        """Everything an entry can be found by, name to value, without what is empty."""
        named = zip(FIELDS, _get_fields(self), strict=True)
        return {name: value for name, value in {**dict(named), **self.facets, **self.attributes}.items() if value}

    def with_header(self, header: Mapping[str, Any]) -> Entry:
        """The entry with what the data themselves say; their time range is its own where the path names none."""
        of_path = None if self.time_start is None or self.time_end is None else (self.time_start, self.time_end)
        start, end = of_path or header.get("time_range") or (None, None)
        extent = header.get("extent") or self.extent
        return replace(self, header=header, time_start=start, time_end=end, extent=extent)

    def to_json(self) -> str:
        """Canonical JSON text: sorted keys, no spaces.

        Raises
        ------
        CatalogError
            It is no plain JSON, or longer than `MAX_DOCUMENT_BYTES`.
        """
        text = _json(self._document())
        if len(text) > MAX_DOCUMENT_BYTES:
            raise self._refusal(
                f"the document has {len(text) / 1e6:.1f} MB, and at most {MAX_DOCUMENT_BYTES / 1e6:.0f} MB fit the catalog; "
                "write the file with fewer or smaller auxiliary coordinates"
            )
        return text

    @classmethod
    def from_json(cls, text: str | bytes, *, generation: int | None = None) -> Entry:
        """Read what :meth:`to_json` wrote; ``generation`` replaces the one in the text.

        Raises
        ------
        CatalogError
            The text is not an entry, or has fields that this version does not know.
        """
        try:
            document = orjson.loads(text)
        except ValueError as error:
            raise CatalogError(f"Not an entry: {error}: {text[:200]!r}. {_DAMAGED}") from error
        if not isinstance(document, dict) or (unknown := sorted(set(document).difference(_NAMES))):
            what = f"unknown fields {', '.join(unknown)}" if isinstance(document, dict) else "not an object"
            raise CatalogError(f"Not an entry of this version: {what}; known: {', '.join(sorted(_NAMES))}. {_DAMAGED}")
        if generation is not None:
            document["generation"] = generation
        try:
            return cls(**document)
        except TypeError as error:
            raise CatalogError(f"Not an entry: {error}. {_DAMAGED}") from error

    def _document(self) -> dict[str, Any]:
        document = dict(zip(_NAMES, _get_names(self), strict=True))
        document["facets"] = dict(self.facets)
        document["attributes"] = dict(self.attributes)
        document["header"] = None if self.header is None else dict(self.header)
        return document

    def __str__(self) -> str:
        return one_line(f"{self.dataset} {self.region}:{self.key}" + (f"#{self.part}" if self.part else ""))


_NAMES = tuple(item.name for item in fields(Entry) if item.init)
_get_names, _get_fields = attrgetter(*_NAMES), attrgetter(*FIELDS)


def entry_id(dataset: str, region: str, key: str, part: str = "") -> str:
    """Identity of an entry, see :attr:`Entry.id`."""
    return _digest(dataset, region, key, part)


def version_order(version: str) -> tuple[tuple[int, str], ...]:
    """Key to sort versions by: v9 before v10 before v20190815."""
    parts = re.findall(r"\d+|\D+", version, re.ASCII)
    return tuple((int(text), "") if text.isdigit() else (-1, text) for text in parts)


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _json(value: Mapping[str, Any]) -> str:
    """Canonical JSON. orjson takes 2 us where the other takes 19, but would write NaN, of a header, as null."""
    try:
        if value.get("header") is None:
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
        return _ENCODER.encode(value)
    except (TypeError, ValueError) as error:
        raise CatalogError(f"An entry must be plain JSON ({error}); write NaN and dates as text: {value!r}") from error


def _digest(*texts: str) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for text in texts:
        data = text.encode()
        digest.update(len(data).to_bytes(8, "big") + data)  # lengths: ("ab", "c") and ("a", "bc") differ
    return digest.hexdigest()

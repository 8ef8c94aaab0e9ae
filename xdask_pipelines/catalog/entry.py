"""Entries, the documents of the catalog: an entry is one file, or one whole Zarr store, in one Region.

Belongs here: the fields of an entry, its identity and its JSON form. Does not belong here: storage (backends), creating
entries from paths (layouts).
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

# Names that can be searched for all entries, in addition to their own facets and attributes.
FIELDS = ("dataset", "region", "layout", "format", "variable", "version", "part", "key")
_RESERVED = frozenset({"superseded", "limit", "time", "times", "each", "near", "id", "bbox"})  # parameters of searches
_TAKEN = _RESERVED | frozenset(FIELDS)
_FORMATS = frozenset(get_args(Format))
#: Version of the checks of headers. A sync reads a header again if it was checked by another version.
_CHECKED = "4"
_DAMAGED = (
    "The catalog is damaged, or a newer version wrote it. Run `xdask sync --full`, which writes all entries again"
)
#: Largest document of an entry, nearly all of it coordinates. A node on AWS accepts requests of 10 MiB, and reads many
#: entries at once.
MAX_DOCUMENT_BYTES = 8_000_000
#: Separator of names and values in stores; values may contain it.
MARK = "\x1f"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Entry:
    """One file or store in one Region, with everything that is known without opening it.

    Parameters
    ----------
    dataset, region, key, part
        Identity. ``key`` is the path relative to the Region's root (with ``/``, for a store its folder); ``part``
        distinguishes entries in one store, such as the partitions of a result.
    layout
        Name of the layout that created the entry from its path.
    format
        ``netcdf4``, ``zarr2``, ``zarr3`` or ``grib``.
    variable
        Name of the data variable in the path.
    facets
        Facets in the path, by the names of the field (CMIP6: ``source_id``, ``member_id``, …).
    version
        Of entries that differ only in the version, the highest is current and the others are superseded; numbers in
        versions are compared as numbers. Empty if the entry has no versions.
    time_start, time_end
        Half-open range of time keys (see :mod:`.times`); both None for data without time, or before a header is known.
    extent
        Bounding box ``(west, south, east, north)`` in degrees, as defined by :mod:`.extent`; None for data without
        latitude and longitude, or before a header is known.
    size_bytes, etag, modified_ns
        Size, content digest and time of modification; for a store the total, a digest of all objects, and the latest.
    header
        Dimensions, dtypes, chunks, coordinates and calendar, as written by ``access``; None if not read yet. Its keys
        ``time_range`` (two time keys) and ``extent`` are those of the data themselves.
    attributes
        Further searchable information that is not part of the identity: run, licence, attribution, slice in a shared
        store.
    excerpt
        Whether the data are knowingly incomplete.
    generation
        Generation of the commit that wrote this document; 0 before.
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
        # Optimised for speed: a sync creates all entries of a dataset again, up to a million.
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
                    raise self._refusal(f"{name!r} has another meaning in a search; rename that facet")
                if not name or MARK in name:
                    raise self._refusal(
                        f"a facet cannot be named {name!r}: U+001F ends a name in the catalog; rename it"
                    )
                texts += (name, value)
        joined = "".join(texts)
        if "\0" in joined:
            raise self._refusal(f"{next(t for t in texts if chr(0) in t)!r} contains U+0000, where SQLite ends a text")
        try:
            joined.encode()
        except UnicodeEncodeError as error:
            where = f"{self.dataset}/{self.region}/{self.key}"
            raise CatalogError(f"Entry {where!a} contains text that cannot be encoded in UTF-8: {error}") from error
        if self.facets and self.attributes and not self.facets.keys().isdisjoint(self.attributes):
            both = sorted(self.facets.keys() & self.attributes.keys())
            raise self._refusal(f"{', '.join(both)} cannot be both facet and attribute")
        if self.extent is not None:
            object.__setattr__(self, "extent", extent_of(self.extent, str(self)))
        # Stored, because a commit uses it a dozen times, and each digest costs 2 us.
        object.__setattr__(self, "id", entry_id(self.dataset, self.region, self.key, self.part))

    def _refusal(self, why: str) -> CatalogError:
        return CatalogError(f"Entry {one_line(f'{self.dataset}/{self.region}/{self.key}')}: {why}")

    def __hash__(self) -> int:
        return hash((self.id, self.etag, self.generation))

    @property
    def digest(self) -> str:
        """Return the digest of everything from listing and layout: a sync updates the entry if and only if it changes."""
        content = self._document()
        for name in ("header", "time_start", "time_end", "extent", "generation"):
            del content[name]
        return _digest(_json(content), _CHECKED)

    @property
    def series(self) -> str:
        """Return the digest of everything that is equal in all versions of an entry; empty without versions."""
        if not self.version:
            return ""
        same = (self.dataset, self.region, self.layout, self.variable, self.part, _json(dict(self.facets)))
        return _digest(*same)

    def terms(self) -> dict[str, str]:
        """Return all names and values by which the entry can be found, without empty ones."""
        named = zip(FIELDS, _get_fields(self), strict=True)
        return {name: value for name, value in {**dict(named), **self.facets, **self.attributes}.items() if value}

    def with_header(self, header: Mapping[str, Any]) -> Entry:
        """Return the entry with its header; the header's time range is used if the path has none."""
        of_path = None if self.time_start is None or self.time_end is None else (self.time_start, self.time_end)
        start, end = of_path or header.get("time_range") or (None, None)
        extent = header.get("extent") or self.extent
        return replace(self, header=header, time_start=start, time_end=end, extent=extent)

    def to_json(self) -> str:
        """Canonical JSON text: sorted keys, no spaces.

        Raises
        ------
        CatalogError
            If the entry is not plain JSON, or longer than `MAX_DOCUMENT_BYTES`.
        """
        text = _json(self._document())
        if len(text) > MAX_DOCUMENT_BYTES:
            raise self._refusal(
                f"the document has {len(text) / 1e6:.1f} MB, but the catalog accepts at most "
                f"{MAX_DOCUMENT_BYTES / 1e6:.0f} MB; write the file with fewer or smaller auxiliary coordinates"
            )
        return text

    @classmethod
    def from_json(cls, text: str | bytes, *, generation: int | None = None) -> Entry:
        """Create an entry from the text of :meth:`to_json`; ``generation`` replaces the one in the text.

        Raises
        ------
        CatalogError
            If the text is not an entry, or has unknown fields.
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

    def __repr__(self) -> str:
        return f"<Entry {self}>"

    def _repr_html_(self) -> str:
        from xdask_pipelines.catalog.entry_page import entry_page  # kept light: only notebooks show pages

        return entry_page(self._document())

    def __str__(self) -> str:
        return one_line(f"{self.dataset} {self.region}:{self.key}" + (f"#{self.part}" if self.part else ""))


_NAMES = tuple(item.name for item in fields(Entry) if item.init)
_get_names, _get_fields = attrgetter(*_NAMES), attrgetter(*FIELDS)


def entry_id(dataset: str, region: str, key: str, part: str = "") -> str:
    """Return the identity of an entry, see :attr:`Entry.id`."""
    return _digest(dataset, region, key, part)


def version_order(version: str) -> tuple[tuple[int, str], ...]:
    """Return the sort key of a version: v9 before v10 before v20190815."""
    parts = re.findall(r"\d+|\D+", version, re.ASCII)
    return tuple((int(text), "") if text.isdigit() else (-1, text) for text in parts)


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _json(value: Mapping[str, Any]) -> str:
    """Return canonical JSON. orjson takes 2 us and json 19 us, but orjson would write NaN as null."""
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

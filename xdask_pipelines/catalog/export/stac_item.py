"""STAC items of entries: extent, time, dimensions and variables of the data.

Belongs here: the item of one entry. Does not belong here: collections, files (stac), or unpacking headers, for which
callers pass a function.

Formats: https://github.com/radiantearth/stac-spec/blob/v1.1.0/item-spec/item-spec.md and
https://stac-extensions.github.io/datacube/v2.2.0/schema.json. The extension ``cmip6`` of ESGF is not declared, because
it requires about twenty fields that are neither in paths nor in headers. Its names are used for the available fields.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pystac

from xdask_pipelines.catalog.entry import Entry
from xdask_pipelines.catalog.extent import Extent

DATACUBE = "https://stac-extensions.github.io/datacube/v2.2.0/schema.json"
FILE = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
#: Function that returns the values of a packed coordinate of a header.
Unpack = Callable[[Mapping[str, Any]], np.ndarray]
Range = tuple[datetime, datetime]

_FIRST, _LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
_MEDIA = {"netcdf4": "application/netcdf", "zarr2": "application/vnd.zarr; version=2"}
_MEDIA |= {"zarr3": "application/vnd.zarr; version=3", "grib": "application/wmo-GRIB2"}
_MOST_VALUES = 200  # of a level or a band; longer axes have only their ends
_LATITUDE, _LONGITUDE = {"lat", "latitude"}, {"lon", "longitude"}


def item_of(entry: Entry, href: str, unpack: Unpack) -> pystac.Item:
    """Create the item of one entry, without links.

    Parameters
    ----------
    entry
        The entry; its id is the item's id.
    href
        Address of the data for readers.
    unpack
        See :data:`Unpack`; called only for small axes, such as levels.

    Notes
    -----
    STAC requires a time or a range of every item. Data without time, such as a land mask, are valid at all times, and
    data whose time is unknown may be: both get the longest range of RFC 3339, so that searches by time include them.
    ``xdask:time`` distinguishes them: ``known``, ``none``, ``unknown``.
    """
    start, end = time_of(entry) or (_FIRST, _LAST)
    item = pystac.Item(
        id=entry.id,
        geometry=None if entry.extent is None else geometry_of(entry.extent),
        bbox=None if entry.extent is None else bbox_of(entry.extent),
        datetime=None,
        start_datetime=start,
        end_datetime=end,
        properties={"title": str(entry), **facets_of(entry), **_own(entry), **_cube(entry, unpack)},
        stac_extensions=[FILE, *([DATACUBE] if _variables(entry) else [])],
    )
    more: dict[str, Any] = {"file:size": entry.size_bytes}
    if entry.modified_ns:
        more["updated"] = _text(datetime.fromtimestamp(entry.modified_ns // 10**9, UTC))
    item.add_asset("data", pystac.Asset(href=href, media_type=_media(entry), roles=["data"], extra_fields=more))
    return item


def facets_of(entry: Entry) -> dict[str, str]:
    """Return facets by their names in the export: ``cmip6:…`` for CMIP6, ``facet:…`` for all others."""
    if entry.layout == "cmip6-pds":
        return {**{f"cmip6:{name}": value for name, value in entry.facets.items()}, "cmip6:version": entry.version}
    return {"facet:variable": entry.variable, **{f"facet:{name}": value for name, value in entry.facets.items()}}


def geometry_of(extent: Extent) -> dict[str, Any]:
    """Return the GeoJSON geometry of an extent, cut at 180 degrees east as RFC 7946 (3.1.9) requires."""
    west, south, east, north = extent
    spans = [(west, east)] if east <= 180 else [(west, 180.0), (-180.0, east - 360)]
    if west == east and south == north:
        return {"type": "Point", "coordinates": [west, south]}
    if west == east or south == north:  # a ring without area would be refused
        lines = [[[a, south], [b, north]] for a, b in spans]
        return {"type": "MultiLineString", "coordinates": lines}
    rings = [[[[a, south], [b, south], [b, north], [a, north], [a, south]]] for a, b in spans]
    if len(rings) == 1:
        return {"type": "Polygon", "coordinates": rings[0]}
    return {"type": "MultiPolygon", "coordinates": rings}


def bbox_of(extent: Extent) -> list[float]:
    """Return the STAC box of an extent: west is greater than east if it crosses 180 degrees east."""
    west, south, east, north = extent
    return [west, south, east if east <= 180 else east - 360, north]


def time_of(entry: Entry) -> Range | None:
    """Return the first and last second of an entry's time in RFC 3339's calendar; None without a known time.

    STAC's ranges include their ends and the catalog's do not, so one second is subtracted. RFC 3339 has the Gregorian
    calendar and years to 9999: other times become the nearest valid one, and ``xdask:time_range`` has the original.
    """
    if entry.time_start is None or entry.time_end is None:
        return None
    start, end = _instant(entry.time_start), _instant(entry.time_end)
    if end[1]:
        return start[0], max(start[0], end[0] - timedelta(seconds=1))
    return start[0], end[0]


def _instant(key: int) -> tuple[datetime, bool]:
    """Return the last valid second that is not after a time key, and whether it is equal to the key."""
    year, month, day, hour, minute, second = digits(key)
    if year > 9999:
        return _LAST, False
    last = monthrange(year, month)[1]
    if day > last:
        return datetime(year, month, last, 23, 59, 59, tzinfo=UTC), False
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC), True


def digits(key: int) -> tuple[int, int, int, int, int, int]:
    """Split a time key into year, month, day, hour, minute and second."""
    text = f"{key:014}"
    year, rest = int(text[:-10]), text[-10:]
    month, day, hour, minute, second = (int(rest[i : i + 2]) for i in range(0, 10, 2))
    return year, month, day, hour, minute, second


def _own(entry: Entry) -> dict[str, Any]:
    own: dict[str, Any] = {
        "xdask:dataset": entry.dataset,
        "xdask:region": entry.region,
        "xdask:etag": entry.etag,
        "xdask:layout": entry.layout,
        "xdask:excerpt": entry.excerpt,
        "xdask:time": _time_known(entry),
    }
    if entry.time_start is not None and entry.time_end is not None:
        calendar = next((c["attrs"].get("calendar", "standard") for c in _times(entry).values()), None)
        properties = {"start": _true(entry.time_start), "before": _true(entry.time_end)}
        own["xdask:time_range"] = properties | ({"calendar": calendar} if calendar else {})
    return own


def _time_known(entry: Entry) -> str:
    if entry.time_start is not None:
        return "known"
    return "unknown" if entry.header is None or _times(entry) else "none"


def _times(entry: Entry) -> dict[str, Mapping[str, Any]]:
    """Return the time coordinates of a header."""
    coords = (entry.header or {}).get("coords", {})
    return {n: c for n, c in coords.items() if " since " in str(c["attrs"].get("units", "")) and c["dims"] == [n]}


def _true(key: int) -> str:
    year, month, day, hour, minute, second = digits(key)
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"


def _text(at: datetime) -> str:
    return pystac.utils.datetime_to_str(at)


def _media(entry: Entry) -> str:
    edition_1 = entry.format == "grib" and not entry.key.endswith("2")
    return "application/wmo-GRIB" if edition_1 else _MEDIA[entry.format]


# ---- the datacube extension -------------------------------------------------------------------------------------------


def _variables(entry: Entry) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (entry.header or {}).get("variables", {})
    return found


def _cube(entry: Entry, unpack: Unpack) -> dict[str, Any]:
    """Return the dimensions and variables of an entry with a header."""
    if not (variables := _variables(entry)):
        return {}
    sizes = {dim: n for v in variables.values() for dim, n in zip(v["dims"], v["shape"], strict=True)}
    return {
        "cube:dimensions": {dim: _dimension(entry, dim, size, unpack) for dim, size in sizes.items()},
        "cube:variables": {name: _variable(v) for name, v in variables.items()},
    }


def _variable(variable: Mapping[str, Any]) -> dict[str, Any]:
    attrs = variable["attrs"]
    properties = {"unit": attrs.get("units"), "description": attrs.get("long_name") or attrs.get("standard_name")}
    texts = {name: text for name, text in properties.items() if isinstance(text, str) and text}
    return {"dimensions": list(variable["dims"]), "type": "data", **texts}


def _dimension(entry: Entry, dim: str, size: int, unpack: Unpack) -> dict[str, Any]:
    coordinate = (entry.header or {})["coords"].get(dim)
    if coordinate is None:
        return {"type": "index", "extent": [0, size - 1]}
    attrs = coordinate["attrs"]
    if dim in _times(entry):
        span = time_of(entry)
        return {"type": "temporal", "extent": [_text(at) for at in span] if span else [None, None]}
    named = {dim, attrs.get("standard_name")}
    if entry.extent is not None and named & (_LATITUDE | _LONGITUDE):
        west, south, east, north = entry.extent
        axis, extent = ("y", [south, north]) if named & _LATITUDE else ("x", [west, east])
        return {"type": "spatial", "axis": axis, "extent": extent, "reference_system": 4326}
    values = unpack(coordinate)
    if values.dtype.kind not in "iuf" or not values.size or not np.isfinite(values).all():
        return {"type": "index", "extent": [0, size - 1]}
    kind: dict[str, Any] = {"type": "axis", "extent": [float(values.min()), float(values.max())]}
    if attrs.get("axis") == "Z" or attrs.get("positive") in ("up", "down"):
        kind |= {"type": "spatial", "axis": "z"}
    if values.ndim == 1 and values.size <= _MOST_VALUES:
        kind["values"] = values.tolist()
    return kind | ({"unit": attrs["units"]} if isinstance(attrs.get("units"), str) else {})

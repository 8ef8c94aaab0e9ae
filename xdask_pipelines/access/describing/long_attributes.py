"""Long attributes: the catalog truncates informative texts, but never attributes that define the meaning of data.

Belongs here: which attributes of a header are truncated, and where. Does not belong here: reading attributes (raw).

Some tools append every command to ``history``, or write whole namelists: 200 kB for each entry, which every search
would read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from xdask_pipelines.access.describing.raw import Unusable

#: Limit of one attribute that may be truncated, and of all of them in one header, in UTF-8.
MAX_ATTRIBUTE_BYTES = 8_000
MAX_ATTRIBUTES_BYTES = 64_000
#: Limit of one attribute that must not be truncated.
MAX_CF_BYTES = 64_000
#: Shorter attributes are never truncated.
_SHORT_BYTES = 250
#: Attributes of CF 1.12 (appendices A, F, J), UGRID and xarray that programs read. All others are informative:
#: ``history``, ``comment``, ``source``, ``references``, ``title``, ``institution``, and all that CF does not know.
_NEVER_CUT = frozenset(
    """
    _FillValue _Unsigned actual_range add_offset ancillary_variables axis bounds calendar cell_measures cell_methods cf_role
    climatology compress computed_standard_name Conventions coordinate_interpolation coordinates crs_wkt dimensions dtype
    edge_coordinates external_variables face_coordinates face_node_connectivity featureType flag_masks flag_meanings
    flag_values formula_terms GeoTransform geometry geometry_type grid_mapping grid_mapping_name instance_dimension
    interior_ring leap_month leap_year location location_index_set long_name mesh missing_value month_lengths
    node_coordinates node_count nodes part_node_count positive quantization sample_dimension scale_factor spatial_ref
    standard_error_multiplier standard_name topology_dimension units units_metadata valid_max valid_min valid_range
    """.split()  # noqa: SIM905  (a list of them would take a line each)
)


def with_short_attributes(header: dict[str, Any]) -> dict[str, Any]:
    """Return the header with truncated long attributes, which end with a note; ``cut_attributes`` lists them.

    Raises
    ------
    Unusable
        If an attribute that defines the meaning of the data is too long.
    """
    sizes: dict[tuple[str, str], int] = {}
    for where, attrs in _all(header):
        for name, value in attrs.items():
            size = len(_text(value).encode())
            if name not in _NEVER_CUT:
                sizes[where, name] = size
            elif size > MAX_CF_BYTES:
                raise Unusable(
                    f"has an attribute {_named(where, name)} of {size:,} bytes, but the catalog accepts at most "
                    f"{MAX_CF_BYTES:,}; "
                    "it cannot be truncated, because it defines the meaning of the data",
                    "write a copy with a shorter one",
                )
    most = _most(list(sizes.values()))
    long = {at for at, size in sizes.items() if size > most}
    if not long:
        return header
    cut = {
        where: {n: _beginning(v, most) if (where, n) in long else v for n, v in attrs.items()}
        for where, attrs in _all(header)
    }
    short = {**header, "attrs": cut[""], "cut_attributes": sorted(_named(*at) for at in long)}
    for kind in ("coords", "variables"):
        short[kind] = {name: {**v, "attrs": cut[name]} for name, v in header[kind].items()}
    return short


def _all(header: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Iterate over the attributes of the file, with an empty name, and of each coordinate and variable."""
    yield "", header["attrs"]
    for kind in ("coords", "variables"):
        for name, variable in header[kind].items():
            yield name, variable["attrs"]


def _named(where: str, name: str) -> str:
    return f"{where}:{name}" if where else name


def _most(sizes: list[int]) -> int:
    """Return the length to which long attributes are truncated, so that their total is within the limit."""
    most = MAX_ATTRIBUTE_BYTES
    while most > _SHORT_BYTES and sum(min(size, most) for size in sizes) > MAX_ATTRIBUTES_BYTES:
        most = max(_SHORT_BYTES, most * 3 // 4)
    return most


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _beginning(value: Any, most: int) -> str:
    data = _text(value).encode()
    return (
        f"{data[:most].decode(errors='ignore')} … [cut after {most:,} of {len(data):,} bytes; the file has all of it]"
    )

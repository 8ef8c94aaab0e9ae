"""Long attributes: a catalog keeps the beginning of texts that inform, and all of what decides the meaning of data.

Belongs here: which attributes of a header may be cut, and where. Does not belong here: reading attributes (raw).

Some tools append every command to ``history``, or write whole namelists: 200 kB an entry, which each search would carry.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from xdask_pipelines.access.describing.raw import Unusable

#: Of one attribute that may be cut, and of all of them in one header; as UTF-8.
MAX_ATTRIBUTE_BYTES = 8_000
MAX_ATTRIBUTES_BYTES = 64_000
#: Of one attribute that must not be cut.
MAX_CF_BYTES = 64_000
#: Below this nothing is cut, however many attributes a header has.
_SHORT_BYTES = 250
#: Attributes of CF 1.12 (appendices A, F, J), UGRID and xarray that programs read. Others inform people: ``history``,
#: ``comment``, ``source``, ``references``, ``title``, ``institution``, and all that CF does not know.
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
    """The header with long attributes cut, which end with what they have lost; ``cut_attributes`` names them.

    Raises
    ------
    Unusable
        An attribute that decides the meaning of the data is too long.
    """
    sizes: dict[tuple[str, str], int] = {}
    for where, attrs in _all(header):
        for name, value in attrs.items():
            size = len(_text(value).encode())
            if name not in _NEVER_CUT:
                sizes[where, name] = size
            elif size > MAX_CF_BYTES:
                raise Unusable(
                    f"has an attribute {_named(where, name)} of {size:,} bytes, and at most {MAX_CF_BYTES:,} fit a catalog; "
                    "it cannot be cut, as it decides what the data mean",
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
    """Attributes of the file, whose name is empty, and of each coordinate and variable."""
    yield "", header["attrs"]
    for kind in ("coords", "variables"):
        for name, variable in header[kind].items():
            yield name, variable["attrs"]


def _named(where: str, name: str) -> str:
    return f"{where}:{name}" if where else name


def _most(sizes: list[int]) -> int:
    """Bytes at which long attributes are cut, so that all together are no longer than they may be."""
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

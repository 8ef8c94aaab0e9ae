"""Roles of variables: data, coordinates, bounds or other companions of data.

Belongs here: the rules of CF that distinguish them. Does not belong here: reading variables (raw).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from xdask_pipelines.access.coordinates import is_bounds
from xdask_pipelines.access.describing.raw import RawFile, RawVariable

_LATITUDE = {"degrees_north", "degree_north", "degree_N", "degrees_N", "degreeN", "degreesN"}
_LONGITUDE = {"degrees_east", "degree_east", "degree_E", "degrees_E", "degreeE", "degreesE"}
#: CF attributes in which a variable or the file lists companions of data (CF conventions, appendix A).
_NAMES_COMPANIONS = ("coordinates", "bounds", "climatology", "grid_mapping", "cell_measures", "ancillary_variables")
#: Time as readable integers, which NCAR's ERA5 files have in addition to their one data variable.
_COMPANIONS = {"utc_date"}


def data_names(raw: RawFile, known: Collection[str] | None, named: Collection[str] = ()) -> list[str]:
    """Return the names of the data variables.

    Parameters
    ----------
    raw
        The content of the file.
    known
        The data variables, if they are known; None applies the rules of CF.
    named
        Possible names of the variable in the path: such a variable is always data.
    """
    numbers = [v for v in raw.variables if not v.is_text]
    if known is not None:
        return [v.name for v in numbers if v.name in known]
    announced = [v.name for v in numbers if v.name in named]
    companions = _companions([raw.attrs, *(v.attrs for v in raw.variables)])
    return announced + [
        v.name for v in numbers if v.name not in announced and not _is_companion(v) and v.name not in companions
    ]


def _companions(attributes: Iterable[Mapping[str, Any]]) -> set[str]:
    found: set[str] = set(_COMPANIONS)
    for attrs in attributes:
        for name in _NAMES_COMPANIONS:
            text = attrs.get(name, "")
            text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
            # "area: areacella" and "crs: x y" name their roles with a colon.
            found.update(word for word in str(text).split() if not word.endswith(":"))
    return found


def _is_companion(variable: RawVariable) -> bool:
    attrs = variable.attrs
    where = str(attrs.get("standard_name", "")) in ("latitude", "longitude", "time")
    units = str(attrs.get("units", ""))
    return (
        variable.dims in ((), (variable.name,)) or is_bounds(variable.name) or where or units in _LATITUDE | _LONGITUDE
    )

"""Which variables of a file are data, and which are coordinates, bounds or other companions of data.

Belongs here: the rules of CF by which one tells them apart. Does not belong here: reading them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from xdask_pipelines.access.coordinates import is_bounds
from xdask_pipelines.access.describing.raw import RawFile, RawVariable

_LATITUDE = {"degrees_north", "degree_north", "degree_N", "degrees_N", "degreeN", "degreesN"}
_LONGITUDE = {"degrees_east", "degree_east", "degree_E", "degrees_E", "degreeE", "degreesE"}
#: Attributes of CF by which a variable, or the file, names companions of data (CF conventions, appendix A).
_NAMES_COMPANIONS = ("coordinates", "bounds", "climatology", "grid_mapping", "cell_measures", "ancillary_variables")
#: Time once more, as whole numbers for people, which NCAR's ERA5 files carry in addition to their one data variable.
_COMPANIONS = {"utc_date"}


def data_names(raw: RawFile, known: Collection[str] | None, named: Collection[str] = ()) -> list[str]:
    """Names of the data variables.

    Parameters
    ----------
    raw
        What the file holds.
    known
        The data variables, where the writer of the file names them; None: by the rules of CF.
    named
        Names under which the path announces a variable: such a one is data, whatever else it looks like.
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

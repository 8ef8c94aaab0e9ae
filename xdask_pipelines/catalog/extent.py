"""Extents of data: boxes of longitude and latitude, and their intersection.

Belongs here: the form of an extent, and arithmetic on longitudes. Does not belong here: the extent of a file
(access.describing.coverage), stores (backends).

An extent is ``(west, south, east, north)`` in degrees: -180 <= west < 180, west <= east <= west + 360, and
-90 <= south <= north <= 90. An extent that crosses 180 E has an east above 180, and one around the whole Earth has west
-180 and east 180.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdask_pipelines.errors import CatalogError

Extent = tuple[float, float, float, float]
#: Shifts of longitudes with which two extents are compared, because a meridian has several longitudes.
TURNS = (-360.0, 0.0, 360.0)


def extent_of(box: Sequence[float], what: str) -> Extent:
    """Convert a box to an extent.

    Parameters
    ----------
    box
        West, south, east, north in degrees. Longitudes may be counted from -180 or from 0; a box whose west is greater
        than its east crosses the meridian at which the count starts.
    what
        Name of the box, for the error message.

    Raises
    ------
    CatalogError
        If the box does not have four valid numbers.
    """
    numbers = tuple(box) if isinstance(box, (list, tuple)) else ()
    if len(numbers) != 4 or not all(isinstance(n, (int, float)) and not isinstance(n, bool) for n in numbers):
        raise CatalogError(f"{what}: {box!r} is not a box; write (west, south, east, north) in degrees")
    west, south, east, north = map(float, numbers)
    # Comparisons with NaN are false, so NaN is refused too.
    if not (-90 <= south <= north <= 90 and -360 <= west <= 360 and -360 <= east <= 540 and east - west <= 360):
        raise CatalogError(
            f"{what}: {box!r} is not a box; write (west, south, east, north) in degrees, south not above north, from -90 to "
            f"90; west and east from -180 to 180 or from 0 to 360, west greater than east only across the date line"
        )
    if east - west == 360:
        return -180.0, south, 180.0, north
    first = (west + 180) % 360 - 180
    return first, south, first + (east - west) % 360, north


def meet(one: Extent, other: Extent) -> bool:
    """Return whether two extents share at least one point."""
    return (
        one[1] <= other[3]
        and one[3] >= other[1]
        and any(one[0] <= other[2] + turn and one[2] >= other[0] + turn for turn in TURNS)
    )

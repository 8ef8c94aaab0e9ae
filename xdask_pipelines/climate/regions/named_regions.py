"""Regions by name: land and sea, the reference regions of IPCC AR6, and what a config writes.

Belongs here: which names there are. Does not belong here: outlines and areas (``region``).

Land is Natural Earth's at 1:50 million, without lakes but the Caspian Sea. The land mask of a model is another one: for
means over a model's own land, use its ``sftlf``.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
import shapely
from shapely.affinity import translate

from xdask_pipelines.climate.regions.land_outlines import land_polygons
from xdask_pipelines.climate.regions.region import Region, box, polygon, region_from
from xdask_pipelines.errors import ClimateError

_BOX = re.compile(r"box\(([^()]*)\)")


def region(text: str) -> Region:
    """Return the region that a text names.

    Parameters
    ----------
    text
        ``"global"``, ``"land"``, ``"sea"``, the acronym of a reference region of IPCC AR6 such as ``"MED"``, a box such
        as ``"box(30, 45, -10, 40)"`` (south, north, west, east), or several joined by ``&``, such as ``"MED & land"``.

    Raises
    ------
    ClimateError
        If a name is unknown or the regions have no part in common; the message lists the names.

    Examples
    --------
    >>> region("MED & land").name
    'MED & land'
    """
    parts = [_one(part.strip()) for part in text.split("&")]
    found = parts[0]
    for other in parts[1:]:
        found = found & other
    return found


def ar6_acronyms() -> list[str]:
    """Return the acronyms of the 58 reference regions of IPCC AR6, in the report's order."""
    return list(_ar6())


def ar6_region(acronym: str) -> Region:
    """Return a reference region of IPCC AR6 by its acronym.

    Source: Iturbide et al. 2020, doi:10.5194/essd-12-2959-2020 (CC-BY-4.0).

    Raises
    ------
    ClimateError
        If there is none with this acronym.
    """
    if acronym not in _ar6():
        raise ClimateError(f"unknown AR6 region {acronym!r}; available: {', '.join(_ar6())}")
    parts = [polygon(acronym, ring).geometry for ring in _ar6()[acronym]["rings"]]
    return region_from(acronym, shapely.union_all(parts))


@lru_cache(maxsize=1)
def land() -> Region:
    """Return all land, lakes other than the Caspian Sea included (Natural Earth, 1:50 million)."""
    return region_from("land", shapely.union_all([_land_polygon(rings) for rings in land_polygons("50m")]))


@lru_cache(maxsize=1)
def sea() -> Region:
    """Return all that is not land, the Caspian Sea included."""
    return region_from("sea", shapely.difference(box(-90, 90, -180, 180).geometry, land().geometry))


def _land_polygon(rings: tuple[np.ndarray, ...]) -> Any:
    """Return a polygon with continuous longitudes; a ring around a pole is closed along it."""
    outline, *holes = (np.column_stack([np.unwrap(ring[:, 0], period=360.0), ring[:, 1]]) for ring in rings)
    if abs(outline[-1, 0] - outline[0, 0]) > 180.0:
        pole = np.copysign(90.0, outline[:, 1].mean())
        outline = np.vstack([outline, [outline[-1, 0], pole], [outline[0, 0], pole]])
    made = shapely.make_valid(shapely.Polygon(outline))
    for hole in holes:
        lake = shapely.make_valid(shapely.Polygon(hole))
        for turn in (-360.0, 0.0, 360.0):  # the outline may have been unwrapped to other turns than the hole
            made = shapely.difference(made, translate(lake, turn))
    return made


def _one(text: str) -> Region:
    if text == "global":
        return box(-90, 90, -180, 180, name="global")
    if text in ("land", "sea"):
        return land() if text == "land" else sea()
    if match := _BOX.fullmatch(text):
        try:
            south, north, west, east = (float(part) for part in match[1].split(","))
        except ValueError:
            raise ClimateError(f"{text!r} is not a box; write box(south, north, west, east) in degrees") from None
        return box(south, north, west, east)
    if text in _ar6():
        return ar6_region(text)
    raise ClimateError(
        f"unknown region {text!r}; available: global, land, sea, box(south, north, west, east), and the AR6 regions "
        f"{', '.join(_ar6())}; join them by &"
    )


@lru_cache(maxsize=1)
def _ar6() -> dict[str, Any]:
    regions: dict[str, Any] = json.loads(files(__package__).joinpath("ar6_regions.json").read_text())["regions"]
    return regions

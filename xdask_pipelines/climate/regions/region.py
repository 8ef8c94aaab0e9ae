"""A region of the globe: its outline in degrees, its area, and combinations of regions.

Belongs here: outlines and their checks. Does not belong here: regions by name (``named_regions``), cells in a region
(``cell_fractions``).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import shapely
from numpy.typing import ArrayLike
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

from xdask_pipelines.climate.grids.grid import Float
from xdask_pipelines.errors import ClimateError

_WORLD = shapely.box(-180.0, -90.0, 180.0, 90.0)


@dataclass(frozen=True)
class Region:
    """A region of the globe; ``region & other`` is what two have in common.

    Create one with ``region("MED & land")``, ``box``, ``polygon`` or ``regions_of_geojson``.

    Attributes
    ----------
    name
        What results call it.
    outline
        Polygons in degrees as WKB, longitudes from -180 to 180; edges are straight in longitude and latitude.
    """

    name: str
    outline: bytes = field(repr=False)

    @cached_property
    def geometry(self) -> BaseGeometry:
        """Return the outline as a Shapely geometry."""
        return shapely.from_wkb(self.outline)

    @property
    def area(self) -> float:
        """Return the area on the unit sphere, in steradians; 4 pi for the globe."""
        return float(spherical_areas(np.array([self.geometry]))[0])

    def __reduce__(self) -> tuple[Any, ...]:
        return Region, (self.name, self.outline)  # without the geometry, which is the outline again

    def __dask_tokenize__(self) -> tuple[str, bytes]:
        return self.name, self.outline

    def __and__(self, other: Region) -> Region:
        """Return the part that lies in both; raise ``ClimateError`` if there is none."""
        return region_from(f"{self.name} & {other.name}", shapely.intersection(self.geometry, other.geometry))


def box(south: float, north: float, west: float, east: float, name: str = "") -> Region:
    """Create a region between two latitudes and two longitudes, in degrees.

    Parameters
    ----------
    south, north
        From -90 to 90.
    west, east
        The region reaches eastwards from west to east: 350 to 10 and -10 to 10 cross Greenwich, 170 to -170 crosses the
        date line. West 0 and east 360 are the whole circle.

    Raises
    ------
    ClimateError
        If limits are not numbers, in the wrong order, or beyond a pole.

    Examples
    --------
    >>> round(box(-90, 90, 0, 360).area / np.pi, 12)
    4.0
    """
    limits = np.array([south, north, west, east], dtype=np.float64)
    text = f"box({south:g}, {north:g}, {west:g}, {east:g})"
    if not np.isfinite(limits).all() or not -90.0 <= south < north <= 90.0:
        raise ClimateError(
            f"{text} has no area: the order is south, north, west, east, with -90 <= south < north <= 90, in degrees"
        )
    width = east - west
    if width == 0.0 or abs(width) > 360.0 or max(abs(west), abs(east)) > 720.0:
        raise ClimateError(f"{text}: east and west must differ, by at most 360 degrees")
    if width < 0.0:
        width += 360.0
    return region_from(name or text, shapely.box(west, south, west + width, north))


def polygon(name: str, vertices: ArrayLike) -> Region:
    """Create a region from its vertices: shape (n, 2), longitude and latitude in degrees.

    Edges are straight in longitude and latitude. Longitudes must be continuous: a polygon across the date line goes from
    170 to 190, not to -170. The last vertex need not repeat the first.

    Raises
    ------
    ClimateError
        If vertices are fewer than 3 or no numbers, an edge spans 180 degrees or more, or edges cross each other.
    """
    points = np.asarray(vertices, dtype=np.float64)
    if points.ndim != 2 or points.shape[1:] != (2,) or len(points) < 3 or not np.isfinite(points).all():
        raise ClimateError(
            f"polygon {name!r} needs at least 3 vertices of longitude and latitude, shape (n, 2), not {points.shape}"
        )
    return region_from(name, _checked(name, shapely.Polygon(points)))


def regions_of_geojson(text: str, name_property: str = "name") -> list[Region]:
    """Create regions from GeoJSON (RFC 7946): a FeatureCollection, one Feature, or one geometry.

    Parameters
    ----------
    text
        The content of the file.
    name_property
        Property of each feature that names its region; otherwise its ``id`` or its number is used.

    Raises
    ------
    ClimateError
        If the text is not GeoJSON, or a geometry is not a valid polygon.
    """
    try:
        document = json.loads(text)
        features = document["features"] if document["type"] == "FeatureCollection" else [document]
        named = [_feature(feature, i, name_property) for i, feature in enumerate(features)]
    except (ValueError, KeyError, TypeError, AttributeError, shapely.errors.ShapelyError) as error:
        raise ClimateError(
            f"the text is not GeoJSON with polygons ({type(error).__name__}: {error}); export the regions as GeoJSON in "
            "longitude and latitude (EPSG:4326)"
        ) from error
    if not named:
        raise ClimateError("the GeoJSON has no features; export at least one polygon")
    return [region_from(name, _checked(name, geometry)) for name, geometry in named]


def _feature(feature: Any, number: int, name_property: str) -> tuple[str, BaseGeometry]:
    is_feature = feature["type"] == "Feature"
    properties = (feature.get("properties") or {}) if is_feature else {}
    name = str(properties.get(name_property) or feature.get("id") or f"region {number}")
    return name, shapely.from_geojson(json.dumps(feature["geometry"] if is_feature else feature))


def _checked(name: str, geometry: BaseGeometry) -> BaseGeometry:
    if geometry.geom_type not in ("Polygon", "MultiPolygon"):
        raise ClimateError(f"region {name!r} is a {geometry.geom_type}; only polygons have an area")
    if not shapely.is_valid(geometry):
        raise ClimateError(
            f"region {name!r} is not a valid polygon: {shapely.is_valid_reason(geometry)}. Correct its vertices"
        )
    for part in shapely.get_parts(geometry):
        longitudes, latitudes = shapely.get_coordinates(part.exterior).T
        if np.abs(np.diff(longitudes)).max() >= 180.0 and np.ptp(longitudes) < 360.0 and np.ptp(latitudes) < 180.0:
            raise ClimateError(
                f"region {name!r} has an edge over 180 degrees of longitude or more. Write continuous longitudes, such as "
                "170 to 190 across the date line, or insert a vertex"
            )
        if np.abs(latitudes).max() > 90.0:
            raise ClimateError(f"region {name!r} reaches beyond a pole; vertices are longitude first, then latitude")
    return geometry


def region_from(name: str, geometry: BaseGeometry) -> Region:
    """Return a region of a geometry with any continuous longitudes; raise ``ClimateError`` if it has no area."""
    west, _, east, _ = shapely.bounds(geometry)
    polygons = [part for part in shapely.get_parts(geometry) if part.area > 0.0]
    if not polygons:
        raise ClimateError(f"region {name!r} is empty. Choose regions that have a part in common")
    turns = range(int(np.floor((west + 180.0) / 360.0)), int(np.ceil((east - 180.0) / 360.0)) + 1)
    parts = [shapely.intersection(translate(part, -360.0 * turn), _WORLD) for turn in turns for part in polygons]
    merged = shapely.union_all(
        [each for part in parts for each in shapely.get_parts(part) if each.geom_type == "Polygon"]
    )
    return Region(name, shapely.to_wkb(merged))


def spherical_areas(geometries: np.ndarray) -> Float:
    """Return the areas of geometries on the unit sphere, shape (n,), in steradians.

    A ring has the area of the integral of sin(latitude) over longitude along it (Green's theorem), which is exact for
    edges that are straight in longitude and latitude: each adds its width times sin(middle) sin(h) / h, with h half of
    its height.
    """
    parts, owner = shapely.get_parts(geometries, return_index=True)
    polygons = shapely.get_type_id(parts) == shapely.GeometryType.POLYGON
    parts, owner = parts[polygons], owner[polygons]
    rings, of_part = shapely.get_rings(parts, return_index=True)
    points, of_ring = shapely.get_coordinates(rings, return_index=True)
    areas = np.zeros(len(geometries))
    if not len(rings):
        return areas
    lon, lat = np.deg2rad(points).T
    same = of_ring[1:] == of_ring[:-1]
    half = np.diff(lat) / 2
    step = np.where(same, np.diff(lon) * np.sin(lat[:-1] + half) * np.sinc(half / np.pi), 0.0)
    each = np.abs(np.bincount(of_ring[:-1], step, len(rings)))
    outer = np.append(True, of_part[1:] != of_part[:-1])  # the outline comes before the holes
    np.add.at(areas, owner[of_part], np.where(outer, each, -each))
    return areas

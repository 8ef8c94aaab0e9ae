"""The world map on which fields are drawn: Robinson projection, bundled coastlines, no network access.

Belongs here: all parts of the map that do not depend on a field. Does not belong here: colours of cells (``maps``,
``native_maps``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cartopy.crs as ccrs
import numpy as np
from matplotlib.figure import FigureBase
from numpy.typing import NDArray

from xdask_pipelines.climate.drawing.coastline import coastlines
from xdask_pipelines.climate.drawing.picture_frame import FAINT, INK
from xdask_pipelines.climate.grids.grid import Float

_PIXELS_WIDE = 1100


@dataclass(frozen=True)
class Globe:
    """All parts of the map that do not depend on a field, in projected metres unless stated otherwise."""

    extent: tuple[float, float, float, float]
    latitudes: Float  #: degrees, one for each row of pixels, from the top
    longitudes: Float  #: degrees, one for each pixel
    inside: NDArray[np.bool_]
    coast: Float
    graticule: Float
    outline: Float
    labels: tuple[tuple[float, float, str, str, str], ...]


@lru_cache(maxsize=1)
def globe() -> Globe:
    """Return the projected map. Every row of pixels has one latitude, and longitude is proportional to x."""
    robinson, degrees = ccrs.Robinson(), ccrs.PlateCarree()

    def project(lonlat: Float) -> Float:
        lon, lat = lonlat.T.copy()  # cartopy overwrites NaN in its input with 0
        return np.asarray(robinson.transform_points(degrees, lon, lat)[:, :2])

    def line(lon: Any, lat: Any) -> Float:
        points = np.stack(np.broadcast_arrays(lon, lat), axis=1).astype(np.float64)
        return np.concatenate([project(points), np.full((1, 2), np.nan)])

    meridian = np.linspace(-90.0, 90.0, 721)
    east = line(180.0, meridian)[:-1]
    x_most, y_most = float(east[:, 0].max()), float(east[:, 1].max())
    rows = round(_PIXELS_WIDE * y_most / x_most)
    y = y_most * (1 - (2 * np.arange(rows) + 1) / rows)
    x = x_most * ((2 * np.arange(_PIXELS_WIDE) + 1) / _PIXELS_WIDE - 1)
    half_width = np.interp(y, east[:, 1], east[:, 0])
    longitudes = 180.0 * x[None, :] / half_width[:, None]
    inside = np.abs(longitudes) <= 180.0
    parallels, meridians = range(-60, 61, 30), range(-120, 121, 60)
    around = np.linspace(-180.0, 180.0, 181)
    labels = [(-1.02 * float(np.interp(lat, meridian, east[:, 0])), lat, _degrees(lat, "N", "S")) for lat in parallels]
    return Globe(
        extent=(-x_most, x_most, -y_most, y_most),
        latitudes=np.interp(y, east[:, 1], meridian),
        longitudes=np.clip(longitudes, -180.0, 180.0),
        inside=inside,
        coast=project(coastlines()),
        graticule=np.concatenate([line(around, lat) for lat in parallels] + [line(lon, meridian) for lon in meridians]),
        outline=np.concatenate([east, [[-1, 1]] * east[::-1], east[:1]]),
        labels=(
            *((x, float(np.interp(lat, meridian, east[:, 1])), text, "right", "center") for x, lat, text in labels),
            *(
                (
                    float(project(np.array([[lon, -90.0]]))[0, 0]),
                    -1.02 * y_most,
                    _degrees(lon, "E", "W"),
                    "center",
                    "top",
                )
                for lon in meridians
            ),
        ),
    )


def _degrees(value: float, positive: str, negative: str) -> str:
    return f"{abs(value):g}°{positive if value > 0 else negative if value < 0 else ''}"


def draw_globe(figure: FigureBase, image: NDArray[np.uint8]) -> None:
    """Draw pixels on the globe (RGBA, in the shape of `Globe.inside`), with coastlines, graticule and labels."""
    world = globe()
    axes = figure.add_axes((0.045, 0.2, 0.91, 0.68))
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.imshow(image, extent=world.extent, interpolation="nearest", origin="upper", zorder=1)
    # The pale rim keeps the coast visible on dark colours.
    drawn = ((world.graticule, "#00000030", 0.5), (world.coast, "#ffffff70", 1.8), (world.coast, INK, 0.7))
    for lines, colour, width in drawn:
        axes.plot(lines[:, 0], lines[:, 1], color=colour, linewidth=width, zorder=2, solid_joinstyle="round")
    axes.plot(world.outline[:, 0], world.outline[:, 1], color=INK, linewidth=1.0, zorder=3)
    for x, y, text, horizontal, vertical in world.labels:
        axes.text(x, y, text, ha=horizontal, va=vertical, fontsize=7, color=FAINT)
    margin = 0.005 * np.ptp(world.extent[:2])
    axes.set_xlim(world.extent[0] - margin, world.extent[1] + margin)
    axes.set_ylim(world.extent[2] - margin, world.extent[3] + margin)

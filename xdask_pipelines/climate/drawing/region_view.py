"""The map of a part of the world: fields that have values in one region are drawn zoomed to it.

Belongs here: finding the region, and its map. Does not belong here: the map of the whole world (``globe``), colours of
cells (``maps``, ``native_maps``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from matplotlib.figure import FigureBase
from numpy.typing import NDArray

from xdask_pipelines.climate.drawing.coastline import coastlines
from xdask_pipelines.climate.drawing.globe import draw_globe, globe
from xdask_pipelines.climate.drawing.picture_frame import FAINT, INK, nice_step
from xdask_pipelines.climate.grids.grid import Float

#: Wider regions are drawn on the whole globe: a flat map would distort them.
_WIDEST_DEGREES, _HIGHEST_DEGREES = 200.0, 150.0
_MARGIN = 0.04
_PIXELS = 1000
#: A meridian shrinks towards a pole; a map that reaches one keeps this much of the width.
_LEAST_COSINE = 0.2


class MapView(Protocol):
    """What a map shows: the place of each pixel, in degrees."""

    @property
    def latitudes(self) -> Float:
        """One for each row of pixels, from the top."""

    @property
    def longitudes(self) -> Float:
        """One for each pixel."""

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Whether a pixel is on the map."""

    def draw(self, figure: FigureBase, image: NDArray[np.uint8]) -> None:
        """Draw pixels (RGBA, in the shape of ``inside``) with coastlines, graticule and labels."""


@dataclass(frozen=True)
class WholeGlobe:
    """The map of the whole world."""

    @property
    def latitudes(self) -> Float:
        """Return the latitude of each row of pixels, from the top."""
        return globe().latitudes

    @property
    def longitudes(self) -> Float:
        """Return the longitude of each pixel."""
        return globe().longitudes

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Return whether a pixel is on the globe."""
        return globe().inside

    def draw(self, figure: FigureBase, image: NDArray[np.uint8]) -> None:
        """Draw pixels with coastlines, graticule and labels."""
        draw_globe(figure, image)


@dataclass(frozen=True)
class RegionView:
    """A box of latitudes and longitudes, drawn with equal degrees that have the true aspect in its middle.

    Attributes
    ----------
    south, north, west, east
        Degrees; ``east`` is greater than ``west``, and may exceed 180.
    """

    south: float
    north: float
    west: float
    east: float

    @property
    def aspect(self) -> float:
        """Return the length of a degree of latitude on the map, in degrees of longitude."""
        return 1.0 / max(float(np.cos(np.deg2rad((self.south + self.north) / 2))), _LEAST_COSINE)

    @property
    def _shape(self) -> tuple[int, int]:
        wide, high = self.east - self.west, (self.north - self.south) * self.aspect
        scale = _PIXELS / max(wide, high)
        return max(1, round(high * scale)), max(1, round(wide * scale))

    @property
    def latitudes(self) -> Float:
        """Return the latitude of each row of pixels, from the top."""
        rows, _ = self._shape
        return self.north - (self.north - self.south) * (np.arange(rows) + 0.5) / rows

    @property
    def longitudes(self) -> Float:
        """Return the longitude of each pixel."""
        rows, columns = self._shape
        line = self.west + (self.east - self.west) * (np.arange(columns) + 0.5) / columns
        return np.broadcast_to(line, (rows, columns))

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Return whether a pixel is on the map: all are."""
        return np.ones(self._shape, bool)

    def draw(self, figure: FigureBase, image: NDArray[np.uint8]) -> None:
        """Draw pixels with coastlines, graticule and labels."""
        axes = figure.add_axes((0.07, 0.24, 0.87, 0.64))
        axes.set_aspect(self.aspect)
        axes.imshow(
            image,
            extent=(self.west, self.east, self.south, self.north),
            interpolation="nearest",
            origin="upper",
            zorder=1,
            aspect=self.aspect,
        )
        coast = coastlines()
        for turn in (-360.0, 0.0, 360.0):
            for colour, width in (("#ffffff70", 1.8), (INK, 0.7)):
                axes.plot(coast[:, 0] + turn, coast[:, 1], color=colour, linewidth=width, zorder=2)
        axes.set_xlim(self.west, self.east)
        axes.set_ylim(self.south, self.north)
        for axis, low, high, signs in (
            (axes.xaxis, self.west, self.east, ("E", "W")),
            (axes.yaxis, self.south, self.north, ("N", "S")),
        ):
            step = nice_step(high - low, 6)
            ticks = step * np.arange(np.ceil(low / step), np.floor(high / step) + 0.5)
            axis.set_ticks(ticks, [_degrees(float(tick), *signs) for tick in ticks])
        axes.tick_params(labelsize=8, length=3, color=FAINT)
        axes.grid(color="#00000030", linewidth=0.5)


def _degrees(value: float, positive: str, negative: str) -> str:
    if positive == "E":
        value = (value + 180.0) % 360.0 - 180.0
    sign = positive if value > 0 else negative if value < 0 else ""
    return f"{abs(value):g}°{sign if abs(value) != 180.0 else ''}"


def view_of(lat: Float, lon: Float, cell_degrees: float) -> MapView:
    """Return the map on which values at some places are drawn: zoomed if all are in one region.

    Parameters
    ----------
    lat, lon
        Degrees of the places that have a value, shapes (n,), n > 0.
    cell_degrees
        Size of the largest cell, which is added around the places.
    """
    pad = max(cell_degrees, 1e-6)
    south, north = float(lat.min()) - pad / 2, float(lat.max()) + pad / 2
    west, width = _arc(lon)
    west, width = west - pad / 2, width + pad
    if width > _WIDEST_DEGREES or north - south > _HIGHEST_DEGREES:
        return WholeGlobe()
    across, up = _MARGIN * width, _MARGIN * (north - south)
    west = (west - across + 180.0) % 360.0 - 180.0
    return RegionView(max(south - up, -90.0), min(north + up, 90.0), west, west + width + 2 * across)


def _arc(lon: Float) -> tuple[float, float]:
    """Return west end and width of the shortest arc with all longitudes: the rest is the widest gap between them."""
    around = np.unique(np.mod(lon, 360.0))
    gaps = np.diff(around, append=around[0] + 360.0)
    widest = int(np.argmax(gaps))
    return float(around[(widest + 1) % around.size]), 360.0 - float(gaps[widest])

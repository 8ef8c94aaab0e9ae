"""Taylor diagrams: standard deviation, pattern correlation and centred error of several fields in one picture.

Belongs here: the diagram. Does not belong here: its figures (``analyses.skill``).
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.projections.polar import PolarAxes

from xdask_pipelines.climate.drawing.picture_frame import FAINT, INK, Words, frame, png
from xdask_pipelines.climate.grids.shapes import CORRELATION, shape_of
from xdask_pipelines.errors import ClimateError
from xdask_pipelines.system.safe_text import drawn

_CORRELATIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


def draw_taylor(points: xr.DataArray, title: str, subtitle: str | None = None) -> bytes:
    """Draw the skill of several fields against one reference.

    The distance from the origin is the field's standard deviation by that of the reference, the angle the correlation, and
    the distance from the point *reference* the centred root mean square error (K. E. Taylor 2001,
    doi:10.1029/2000JD900719). Negative correlations are in the left half, which is drawn only if there are any.

    Parameters
    ----------
    points
        From `analyses.taylor_points`, in memory, over one dimension, such as models; its coordinate names the points.
    title, subtitle
        Texts, as in `plots.draw`.

    Returns
    -------
    A PNG of 1200 x 740 pixels. Points without figures are named in the caption.

    Raises
    ------
    ClimateError
        If these are no such points, they are lazy, or none has figures.
    """
    if shape_of(points) != "taylor" or points.chunks or points[CORRELATION].chunks:
        raise ClimateError(
            "a Taylor diagram needs points in memory over one dimension, such as models: pass "
            "climate.analyses.taylor_points(climate.analyses.skill(…)) of fields that are joined along it"
        )
    dim = str(points.dims[0])
    names = [str(each) for each in (points[dim].values if dim in points.coords else range(points.size))]
    ratio, correlation = points.values.astype(float), points[CORRELATION].values.astype(float)
    known = np.isfinite(ratio) & np.isfinite(correlation)
    if not known.any():
        raise ClimateError(
            "no field has both a standard deviation and a correlation, so no Taylor diagram can be drawn"
        )
    left_out = [name for name, there in zip(names, known, strict=True) if not there]
    caption = f"not shown, without figures: {', '.join(left_out)}" if left_out else "area-weighted, centred over space"
    figure = frame(title, subtitle, Words(ratio, False, "", "", caption, str(points.attrs.get("attribution", ""))))
    axes = figure.add_axes((0.06, 0.15, 0.62, 0.72), projection="polar")
    assert isinstance(axes, PolarAxes)
    _ground(axes, max(1.5, 1.1 * float(ratio[known].max())), negative=bool((correlation[known] < 0).any()))
    colours = colormaps["tab10"]
    for i in np.flatnonzero(known):
        angle = float(np.arccos(np.clip(correlation[i], -1, 1)))
        axes.plot(angle, ratio[i], "o", color=colours(i % 10), markersize=8, label=drawn(names[i]), clip_on=False)
    axes.plot(0.0, 1.0, "*", color=INK, markersize=14, label="reference", clip_on=False)
    axes.legend(loc="upper left", bbox_to_anchor=(1.08, 1.0), fontsize=9, frameon=False)
    return png(figure)


def _ground(axes: PolarAxes, largest: float, *, negative: bool) -> None:
    """Draw the axes, and circles of equal error around the reference."""
    axes.set_thetamin(0)
    axes.set_thetamax(180 if negative else 90)
    axes.set_rlim(0, largest)
    shown = [*(-value for value in reversed(_CORRELATIONS)), 0.0, *_CORRELATIONS] if negative else [0.0, *_CORRELATIONS]
    axes.set_thetagrids(
        [float(np.rad2deg(np.arccos(value))) for value in shown], [f"{value:g}" for value in shown], fontsize=8
    )
    axes.tick_params(labelsize=8)
    axes.grid(color="#00000022", linewidth=0.6)
    radius, angle = np.meshgrid(np.linspace(0, largest, 200), np.linspace(0, np.pi if negative else np.pi / 2, 200))
    error = np.sqrt(1 + radius**2 - 2 * radius * np.cos(angle))
    lines = axes.contour(
        angle, radius, error, levels=[0.25, 0.5, 0.75, 1.0, 1.5], colors=FAINT, linewidths=0.7, linestyles="--"
    )
    axes.clabel(lines, fontsize=7, fmt="%g")
    axes.plot(np.linspace(0, np.pi if negative else np.pi / 2, 100), np.ones(100), color=INK, linewidth=0.8)
    axes.set_xlabel("standard deviation by that of the reference", fontsize=9, labelpad=16)
    axes.text(np.deg2rad(50), largest * 1.12, "pattern correlation", rotation=-45, fontsize=9, ha="center", va="center")

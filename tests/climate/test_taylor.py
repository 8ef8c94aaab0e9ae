"""Taylor diagrams show each field where its figures say, and name what cannot be shown."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from xdask_pipelines.climate.analyses import skill, taylor_points
from xdask_pipelines.climate.drawing import taylor
from xdask_pipelines.climate.drawing.plots import draw
from xdask_pipelines.climate.drawing.taylor import draw_taylor
from xdask_pipelines.climate.grids.shapes import picture_of
from xdask_pipelines.climate.thumbnail import dequantise, quantise
from xdask_pipelines.errors import ClimateError


def figures(*correlations: float) -> xr.Dataset:
    size = len(correlations)
    return xr.Dataset(
        {
            "standard_deviation": ("model", np.linspace(8, 12, size)),
            "reference_standard_deviation": ("model", np.full(size, 10.0)),
            "pattern_correlation": ("model", list(correlations)),
        },
        coords={"model": [f"M{i}" for i in range(size)]},
    )


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn."""
    seen: list[Figure] = []
    png = taylor.png
    monkeypatch.setattr(taylor, "png", lambda figure: seen.append(figure) or png(figure))
    return seen


def test_points_are_at_their_angle_and_radius(drawn: list[Figure]) -> None:
    assert draw(taylor_points(figures(0.5, 0.9, 0.99)), "title").startswith(b"\x89PNG")
    (axes,) = drawn[0].axes
    points = [line for line in axes.lines if line.get_marker() == "o"]
    assert [line.get_label() for line in points] == ["M0", "M1", "M2"]
    np.testing.assert_allclose([line.get_xdata()[0] for line in points], np.arccos([0.5, 0.9, 0.99]))
    np.testing.assert_allclose([line.get_ydata()[0] for line in points], [0.8, 1.0, 1.2])
    assert axes.get_thetamax() == 90


def test_negative_correlations_have_room_and_missing_ones_are_named(drawn: list[Figure]) -> None:
    draw(taylor_points(figures(-0.5, np.nan, 0.9)), "title")
    assert drawn[0].axes[0].get_thetamax() == 180
    assert any("without figures: M1" in text.get_text() for text in drawn[0].texts)


def test_figures_of_skill_can_be_drawn() -> None:
    coords = {"lat": [67.5, 22.5, -22.5, -67.5], "lon": np.arange(0, 360, 45)}
    field = xr.DataArray(
        np.arange(64.0).reshape(2, 4, 8), coords=coords, dims=("model", "lat", "lon"), attrs={"units": "K"}
    )
    points = taylor_points(skill(field.chunk(), field[0]))
    assert points.chunks
    shown, reason = picture_of(points[:1])
    assert shown is not None, reason
    assert shown.sizes == {"model": 1}, "a single model is a point, too"
    small = dequantise(quantise(points).compute())
    xr.testing.assert_allclose(small.drop_attrs(), points.compute().drop_attrs(), rtol=1e-6)
    assert draw(small, "title").startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        (xr.DataArray([1.0, 2.0], dims="model"), "taylor_points"),
        (taylor_points(figures(0.5)).isel(model=0), "over one dimension"),
        (taylor_points(figures(0.5, 0.6).chunk()), "in memory"),
        (taylor_points(figures(np.nan)), "no field has both"),
    ],
)
def test_other_data_are_refused(points: xr.DataArray, reason: str) -> None:
    with pytest.raises(ClimateError, match=reason):
        draw_taylor(points, "title")

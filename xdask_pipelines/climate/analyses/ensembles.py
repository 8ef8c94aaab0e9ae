"""Ensembles: means over members within models, then over models; spread, percentiles, agreement of sign.

Belongs here: statistics over runs on one grid. Does not belong here: opening runs (``access``), regridding each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xdask_pipelines.climate.axes import is_time, origin, require_field
from xdask_pipelines.climate.difference import require_same_coordinates
from xdask_pipelines.climate.grids.grid import Float
from xdask_pipelines.climate.kernels import along
from xdask_pipelines.errors import ClimateError

Vote = Literal["model", "member"]


class Member(NamedTuple):
    """One run of an ensemble: its model and its member, by CMIP6's names."""

    source_id: str
    member_id: str

    def __str__(self) -> str:
        return f"{self.source_id} {self.member_id}"


def model_means(fields: Mapping[Member, xr.DataArray]) -> xr.DataArray:
    """Compute the mean of each model over its members, NaN where any member is NaN.

    Parameters
    ----------
    fields
        One field for each run, in the same units and on the same coordinates (``regrid`` each first).

    Returns
    -------
    The means in float64 with the dimension ``model`` first, in the order in which models come; lazy if a field is lazy.

    Raises
    ------
    ClimateError
        If there is no field, or units, dimensions, coordinates or calendars differ; the message names both runs.
    """
    first, aligned = _aligned(fields)
    models = list(dict.fromkeys(member.source_id for member in aligned))
    means = []
    for model in models:
        runs = [field for member, field in aligned.items() if member.source_id == model]
        means.append(_stacked(runs, "member").mean("member", skipna=False) if len(runs) > 1 else runs[0])
    result = _stacked(means, "model").assign_coords(model=models)
    counts = [sum(member.source_id == model for member in aligned) for model in models]
    attrs = {**_shared_attrs(aligned), "cell_methods": f"{first.attrs.get('cell_methods', '')} member: mean".strip()}
    return (
        result.assign_coords(members=("model", counts, {"long_name": "members"})).assign_attrs(attrs).rename(first.name)
    )


def ensemble_statistics(
    fields: Mapping[Member, xr.DataArray], percentiles: tuple[float, ...] = (5, 50, 95), vote: Vote = "model"
) -> xr.Dataset:
    """Compute mean, spread, percentiles and agreement of sign of an ensemble: one model, one vote.

    Parameters
    ----------
    fields
        As for ``model_means``.
    percentiles
        From 0 to 100, interpolated linearly between models.
    vote
        ``"model"``: members are averaged within models first, and each model counts once. ``"member"``: each run counts
        once, for ensembles of one model.

    Returns
    -------
    Dataset: ``ensemble_mean``; ``ensemble_spread``, the standard deviation with n - 1 (NaN with one vote);
    ``ensemble_percentile`` over ``percentile``; ``sign_agreement``, the fraction of votes with the sign of the mean (IPCC
    AR6 calls 0.8 high agreement); NaN where any run is NaN. Lazy if a field is lazy.

    Raises
    ------
    ClimateError
        As ``model_means``; also if a percentile is outside 0 to 100.

    Examples
    --------
    >>> import xarray as xr
    >>> def run(value):
    ...     return xr.DataArray([value], dims="cell", name="tas", attrs={"units": "K"})
    >>> fields = {Member("A", "r1"): run(1.0), Member("A", "r2"): run(3.0), Member("B", "r1"): run(5.0)}
    >>> ensemble_statistics(fields).ensemble_mean.values.tolist()
    [3.5]
    """
    if vote not in ("model", "member"):
        raise ClimateError(f"unknown vote {vote!r}; use 'model' or 'member'")
    if not percentiles or not all(0 <= each <= 100 for each in percentiles):
        raise ClimateError(f"percentiles {percentiles} must be numbers from 0 to 100, at least one")
    if vote == "model":
        votes, dim = model_means(fields), "model"
        number = votes.sizes[dim]
    else:
        first, aligned = _aligned(fields)
        votes, dim = _stacked(list(aligned.values()), "member").rename(first.name), "member"
        votes = votes.assign_attrs(_shared_attrs(aligned))
        number = len(aligned)
    figures = along(
        _Votes(tuple(map(float, percentiles))), votes, dim, label="ensemble", new={"figure": 3 + len(percentiles)}
    )
    coords = {name: c for name, c in votes.coords.items() if dim not in c.dims}
    attrs, units = votes.attrs, str(votes.attrs.get("units", "1"))
    label = attrs.get("long_name") or votes.name or "field"

    scale = {key: attrs[key] for key in ("units_metadata",) if key in attrs}  # of changes: a temperature difference
    spread_scale = {"units_metadata": "temperature: difference"} if units == "K" else scale

    def made(part: Any, text: str, unit: str, more: Mapping[str, Any]) -> xr.DataArray:
        return xr.DataArray(figures[part], coords=coords, attrs={"units": unit, "long_name": text, **more})

    axis = ("percentile", list(map(float, percentiles)), {"units": "percent"})
    percentile = (
        xr.DataArray(figures[..., 3:], coords={**coords}).rename(figure="percentile").assign_coords(percentile=axis)
    )
    data = {
        "ensemble_mean": made((..., 0), f"ensemble mean of {label}", units, scale),
        "ensemble_spread": made((..., 1), f"standard deviation over {dim}s of {label}", units, spread_scale),
        "sign_agreement": made((..., 2), f"fraction of {dim}s with the sign of the mean", "1", {}),
        "ensemble_percentile": percentile.assign_attrs(
            units=units, long_name=f"percentiles over {dim}s of {label}", **scale
        ),
    }
    kept = {key: attrs[key] for key in ("attribution", "license", "baseline", "runs") if key in attrs}
    return xr.Dataset(data, attrs={**kept, "votes": number, "vote": vote})


@dataclass(frozen=True)
class _Votes:
    """Mean, standard deviation, agreement of sign and percentiles of (..., votes)."""

    percentiles: tuple[float, ...]

    def __call__(self, votes: NDArray[Any]) -> Float:
        values = votes.astype(np.float64)
        mean = values.mean(axis=-1)
        spread = values.std(axis=-1, ddof=1) if values.shape[-1] > 1 else np.full_like(mean, np.nan)
        agreement = (np.sign(values) == np.sign(mean)[..., None]).mean(axis=-1)
        agreement = np.where(np.isnan(mean), np.nan, agreement)
        ranks = np.moveaxis(np.percentile(values, self.percentiles, axis=-1), 0, -1)
        return np.concatenate([np.stack([mean, spread, agreement], axis=-1), ranks], axis=-1)


def _aligned(fields: Mapping[Member, xr.DataArray]) -> tuple[xr.DataArray, dict[Member, xr.DataArray]]:
    """Return the first field, and all with its coordinates, after all checks."""
    if not fields:
        raise ClimateError("an ensemble needs at least one run; choose facets that match one")
    members = [Member(*key) for key in fields]
    values = list(fields.values())
    first = values[0]
    aligned = {}
    for member, field in zip(members, values, strict=True):
        require_field(field, "an ensemble")
        pair = (f"{members[0]}", f"{member}")
        if field.attrs.get("units") != first.attrs.get("units"):
            raise ClimateError(
                f"ensemble: {pair[0]} is in {first.attrs.get('units')!r}, {pair[1]} in {field.attrs.get('units')!r}; "
                "convert one of them"
            )
        if set(field.dims) != set(first.dims):
            raise ClimateError(
                f"ensemble: {pair[0]}{origin(first)} has dimensions {tuple(map(str, first.dims))}, {pair[1]}{origin(field)} "
                f"{tuple(map(str, field.dims))}; bring all runs to the same dimensions first"
            )
        for dim in first.dims:
            if (dim in first.coords) != (dim in field.coords) or first.sizes[dim] != field.sizes[dim]:
                raise ClimateError(
                    f"ensemble: {pair[0]} has {first.sizes[dim]} values along {str(dim)!r}, {pair[1]} {field.sizes[dim]}; "
                    "select the same steps, or regrid both to one grid"
                )
            if dim in first.coords:
                _require_same(first, field, str(dim), pair)
        taken = {dim: first.coords[dim].variable for dim in first.dims if dim in first.coords}
        aligned[member] = field.transpose(*first.dims).assign_coords(taken)
    if len(aligned) != len(fields):
        raise ClimateError("ensemble: a run occurs twice; name each by its model and member once")
    return first, aligned


def _require_same(first: xr.DataArray, field: xr.DataArray, dim: str, pair: tuple[str, str]) -> None:
    one, other = first[dim], field[dim]
    if not is_time(one) or one.dtype.kind not in "OM" or other.dtype.kind not in "OM":
        require_same_coordinates(one, other, "ensemble", pair)
        return
    calendars = str(one.dt.calendar), str(other.dt.calendar)
    months, others = (each.dt.year.values * 12 + each.dt.month.values for each in (one, other))
    if np.array_equal(months, others) and np.unique(months).size == months.size:
        return  # months, seasons and years are the same in all calendars, wherever their stamps are
    if calendars[0] == calendars[1]:
        require_same_coordinates(one, other, "ensemble", pair)
        return
    raise ClimateError(
        f"ensemble: {pair[0]} has the calendar {calendars[0]!r}, {pair[1]} {calendars[1]!r}, and their steps are not the "
        "same months. Reduce each to months or to an index first (climate.analyses.period_means), of one period",
        calendars=calendars,
    )


def _stacked(fields: list[xr.DataArray], dim: str) -> xr.DataArray:
    bare = [field.astype(np.float64).reset_coords(drop=True) for field in fields]
    return xr.concat(bare, dim, coords="minimal", compat="override", join="override", combine_attrs="drop")


def _shared_attrs(fields: Mapping[Member, xr.DataArray]) -> dict[str, Any]:
    """Return attributes that all fields share, and attributions and licences of all."""
    every = [field.attrs for field in fields.values()]
    shared = {key: value for key, value in every[0].items() if all(str(one.get(key)) == str(value) for one in every)}
    for key, joint in (("attribution", " "), ("license", "; ")):
        owed = dict.fromkeys(str(one[key]) for one in every if one.get(key))
        if owed:
            shared[key] = joint.join(owed)
    return {**shared, "runs": ", ".join(map(str, fields))}

"""Months of hourly ERA5-like data as the public era5-pds bucket lays them out.

Belongs here: ``{year}/{month:02}/data/{variable}.nc``. Does not belong here: the weather itself (``fields``).
"""

from __future__ import annotations

import calendar
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np

from xdask_pipelines.synthetic import fields
from xdask_pipelines.synthetic.faults import KELVIN_AT_ZERO_CELSIUS, Fault, truncate, turn


@dataclass(frozen=True)
class _Variable:
    standard_name: str
    units: str
    long_name: str


VARIABLES = {
    "air_temperature_at_2_metres": _Variable("air_temperature", "K", "2 metre temperature"),
    "eastward_wind_at_10_metres": _Variable("eastward_wind", "m s**-1", "10 metre U wind component"),
    "northward_wind_at_10_metres": _Variable("northward_wind", "m s**-1", "10 metre V wind component"),
    "air_pressure_at_mean_sea_level": _Variable("air_pressure_at_mean_sea_level", "Pa", "Mean sea level pressure"),
}


def write_era5_month(
    root: str | os.PathLike[str],
    year: int,
    month: int,
    *,
    variable: str = "air_temperature_at_2_metres",
    hours: int | None = None,
    shape: tuple[int, int] = (181, 360),
    chunks: tuple[int, int, int] = (24, 100, 100),
    seed: int = 0,
    roughness: float = 0.0,
    fault: Fault | None = None,
) -> Path:
    """Write one month of one variable; 120 months of 24 hours at 181 x 360 take about 10 s on one core.

    Parameters
    ----------
    root
        The dataset's folder; the file's path below it follows from the other arguments.
    variable
        A key of ``VARIABLES``.
    hours
        How many hours from the month's first; all of them by default.
    shape
        Rows (from pole to pole, both included) and columns; (721, 1440) is ERA5's own.
    chunks
        Hours, rows, columns of one chunk; the default is that of the public files.
    seed
        Same seed, same weather, whatever the shape of chunks.
    roughness
        Standard deviation of a terrain that makes the file harder to compress, in the variable's units: temperatures of
        721 x 1440 cells pack 8 times with 0, and 6.6 times with 0.018, as ERA5's do.
    fault
        What should be wrong with the file.

    Returns
    -------
    The file's path. An existing file is replaced at once, never seen half-written.

    Raises
    ------
    ValueError
        If the fault does not apply to such a file.
    """
    known = VARIABLES[variable]
    if fault is Fault.DUPLICATE_VERSION or (fault is Fault.WRONG_UNITS and known.units != "K"):
        raise ValueError(f"the fault {fault.value!r} does not apply to an ERA5 file of {variable}")
    lat = np.linspace(90.0, -90.0, shape[0])
    lon = np.linspace(0.0, 360.0, shape[1], endpoint=False)
    rows, columns, lon_in_file = turn(fault, lat, lon)
    lat_in_file = lat[rows].astype(np.float32)
    if fault is Fault.NAN_COORDINATE:
        lat_in_file[shape[0] // 3] = np.nan

    first_hour = datetime(year, month, 1, tzinfo=UTC).timestamp() / 3600
    steps = np.arange(calendar.monthrange(year, month)[1] * 24, dtype=np.float64)[:hours]
    if fault is Fault.MISSING_STEP:
        steps = np.delete(steps, steps.size // 2)

    path = Path(root) / f"{year}" / f"{month:02}" / "data" / f"{variable}.nc"
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}.unfinished")
    with h5py.File(unfinished, "w", track_order=True) as file:
        file.attrs.update(
            source="Reanalysis",
            institution="none",
            title="Synthetic data laid out as ERA5",
            Conventions="CF-1.6",
        )
        coordinates = {
            "lon": (lon_in_file.astype(np.float32), "longitude", "degrees_east"),
            "lat": (lat_in_file, "latitude", "degrees_north"),
            "time0": ((first_hour + steps) * 3600.0, "time", "seconds since 1970-01-01"),
        }
        for name, (data, standard_name, units) in coordinates.items():
            scale = file.create_dataset(name, data=data)
            scale.make_scale(name)
            scale.attrs.update(standard_name=standard_name, long_name=standard_name, units=units)
        whole = (steps.size, *shape)
        array = file.create_dataset(
            variable,
            whole,
            np.float32,
            chunks=tuple(min(pair) for pair in zip(chunks, whole, strict=True)),
            compression="gzip",
            compression_opts=1,
            shuffle=True,
        )
        terrain = fields.terrain(lat, lon, roughness, seed=seed) if roughness else None
        wrong_units = fault is Fault.WRONG_UNITS
        array.attrs.update(
            standard_name=known.standard_name,
            units="degC" if wrong_units else known.units,
            long_name=known.long_name,
        )
        for axis, name in enumerate(("time0", "lat", "lon")):
            array.dims[axis].attach_scale(file[name])
        for start in range(0, steps.size, chunks[0]):
            instants = first_hour + steps[start : start + chunks[0]]
            block = fields.values(
                known.standard_name,
                lat,
                lon,
                instants,
                year_fraction=np.full(instants.size, (month - 0.5) / 12),
                trend=np.zeros(instants.size),
                seed=seed,
            )
            if terrain is not None:
                block += terrain
            if wrong_units:
                block -= np.float32(KELVIN_AT_ZERO_CELSIUS)
            if fault is Fault.NAN_VALUE and start == 0:
                block[0, shape[0] // 2, shape[1] // 2] = np.nan
            array[start : start + instants.size] = block[:, rows][:, :, columns]
    if fault is Fault.TRUNCATED:
        truncate(unfinished)
    unfinished.replace(path)
    return path

"""Smooth made-up weather as a sum of fixed patterns with coefficients that change in time, on a grid of 1/32.

Belongs here: values. Does not belong here: calendars, files, faults.
Float64 sums of multiples of 1/32 are exact, so that a test may compare with ==.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

QUANTUM = 1.0 / 32.0
_WAVES_PER_PATTERN = 8
_PERIODS_HOURS = (31.0, 53.0, 97.0, 171.0)

#: quantity -> (value at the equator, its change to the poles, amplitudes of season, day and weather)
_SCALES: dict[str, tuple[float, float, float, float, float]] = {
    "air_temperature": (300.0, -48.0, 12.0, 4.0, 3.0),
    "eastward_wind": (-3.0, 3.0, 1.0, 0.5, 6.0),
    "northward_wind": (0.0, 0.0, 0.5, 0.5, 5.0),
    "air_pressure_at_mean_sea_level": (101300.0, -600.0, 300.0, 60.0, 900.0),
}


def values(
    standard_name: str,
    lat: NDArray[np.float64],
    lon: NDArray[np.float64],
    hours: NDArray[np.float64],
    *,
    year_fraction: NDArray[np.float64],
    trend: NDArray[np.float64],
    seed: int | Sequence[int],
) -> NDArray[np.float32]:
    """Values at the given instants.

    Parameters
    ----------
    standard_name
        CF name of the quantity; its usual magnitude in SI units is imitated.
    lat, lon
        Degrees, shapes (ny,) and (nx,).
    hours, year_fraction, trend
        Shape (nt,): instants in hours since any epoch, how far into the year they are (0 to 1), and what
        to add everywhere.
    seed
        Same seed, same weather.

    Returns
    -------
    Shape (nt, ny, nx), multiples of 1/32; every longitude alike at the poles.
    """
    coefficients = np.stack(
        [
            np.ones_like(hours),
            np.cos(2 * np.pi * (year_fraction - 0.54)),  # warmest in mid-July where sin(lat) > 0
            np.cos(2 * np.pi * hours / 24),
            np.sin(2 * np.pi * hours / 24),
            trend,
            *(np.cos(2 * np.pi * hours / period) for period in _PERIODS_HOURS),
        ],
        axis=1,
    )
    key = (seed,) if isinstance(seed, int) else tuple(seed)
    basis = _patterns(standard_name, lat.tobytes(), lon.tobytes(), key)
    # In float64, or the order of summation, which changes with the number of instants, would flip roundings.
    field = coefficients @ basis
    field *= 1 / QUANTUM
    np.rint(field, out=field)
    field *= QUANTUM
    return field.astype(np.float32).reshape(hours.size, lat.size, lon.size)


def terrain(
    lat: NDArray[np.float64], lon: NDArray[np.float64], amplitude: float, *, seed: int | Sequence[int]
) -> NDArray[np.float32]:
    """Differences between neighbouring cells that stay the same in time, which make a field harder to compress.

    Parameters
    ----------
    lat, lon
        Degrees, shapes (ny,) and (nx,).
    amplitude
        Standard deviation at the equator, in the field's units.
    seed
        Same seed, same terrain.

    Returns
    -------
    Shape (ny, nx), multiples of 1/32; 0 at the poles.
    """
    rng = np.random.default_rng([*((seed,) if isinstance(seed, int) else seed), 1])
    rough = amplitude * rng.standard_normal((lat.size, lon.size)) * np.cos(np.deg2rad(lat))[:, None]
    return (np.rint(rough / QUANTUM) * QUANTUM).astype(np.float32)


@lru_cache(maxsize=4)
def _patterns(standard_name: str, lat: bytes, lon: bytes, seed: tuple[int, ...]) -> NDArray[np.float64]:
    """Patterns that belong to the coefficients in ``values``, shape (number of coefficients, ny * nx)."""
    equator, to_pole, seasonal, daily, weather = _SCALES[standard_name]
    phi = np.deg2rad(np.frombuffer(lat))[:, None]
    lam = np.deg2rad(np.frombuffer(lon))[None, :]
    # Exactly 0 at the poles, so that all longitudes of a pole row are equal as they are in ERA5.
    cos_phi = np.where(np.isclose(np.abs(phi), np.pi / 2), 0.0, np.cos(phi))
    rng = np.random.default_rng([*seed, *standard_name.encode()])

    def smooth(amplitude: float) -> NDArray[np.float64]:
        total = np.zeros(np.broadcast_shapes(phi.shape, lam.shape))
        for _ in range(_WAVES_PER_PATTERN):
            east, north = rng.integers(1, 12, 2)
            shift_east, shift_north = rng.uniform(0, 2 * np.pi, 2)
            total += np.cos(east * lam + shift_east) * np.cos(north * phi + shift_north)
        total *= amplitude / np.sqrt(_WAVES_PER_PATTERN) * cos_phi
        return total

    patterns = [
        equator + to_pole * np.sin(phi) ** 2 + smooth(2 * weather),
        seasonal * np.sin(phi) + 0 * lam,
        daily * cos_phi * np.cos(lam - np.pi),
        -daily * cos_phi * np.sin(lam - np.pi),
        np.ones_like(phi) + 0 * lam,
        *(smooth(weather) for _ in _PERIODS_HOURS),
    ]
    return np.stack(patterns).reshape(len(patterns), -1)

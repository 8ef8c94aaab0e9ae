"""What a selection may stand for: each candidate with its licence and its resolution in space and time.

Belongs here: describing entries by their headers. Does not belong here: choosing them (facet_choice, catalog).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import xarray as xr

from xdask_pipelines.access.decoding import decode_coordinates
from xdask_pipelines.catalog import Entry
from xdask_pipelines.climate.axes import is_time
from xdask_pipelines.notebook.entry_table import period_of
from xdask_pipelines.system.safe_text import one_line
from xdask_pipelines.system.units import format_bytes

_DAY_SECONDS = 86_400.0
#: Lengths of steps with a name, in days: shortest and longest.
_NAMED = (("monthly", 28, 31), ("yearly", 360, 366))


def resolution_of(entry: Entry) -> str:
    """Return the resolution of an entry's data: cells and steps, from the coordinates in its header.

    Returns
    -------
    Such as ``1.25 x 1.875 degrees, monthly``; empty without header.
    """
    if entry.header is None:
        return ""
    coords = decode_coordinates(entry.header).coords
    return ", ".join(filter(None, [_cells(coords), _steps(coords)]))


def _cells(coords: xr.Coordinates) -> str:
    steps = {}
    for coordinate in coords.values():
        kind = coordinate.attrs.get("standard_name")
        if kind in ("latitude", "longitude") and coordinate.ndim == 1 and coordinate.size > 1:
            steps[kind] = float(np.median(np.abs(np.diff(coordinate.values.astype(float)))))
        elif kind == "latitude" and coordinate.ndim == 2:
            return f"{' x '.join(map(str, coordinate.shape))} cells of a curvilinear grid"
    if len(steps) != 2:
        return ""
    return f"{round(steps['latitude'], 4):g} x {round(steps['longitude'], 4):g} degrees"


def _steps(coords: xr.Coordinates) -> str:
    times = [c for name, c in coords.items() if is_time(c) and c.dims == (name,)]
    if not times or times[0].size < 2:
        return ""
    lengths = [(b - a).total_seconds() / _DAY_SECONDS for a, b in pairwise(times[0].values[:13])]
    for name, shortest, longest in _NAMED:
        if shortest <= min(lengths) and max(lengths) <= longest:
            return name
    length = float(np.median(lengths))
    if length == 1:
        return "daily"
    return f"{length:g}-daily" if length > 1 else "hourly" if length * 24 == 1 else f"{length * 24:g}-hourly"


def candidate_lines(entries: Sequence[Entry], limit: int = 20) -> list[str]:
    """Return a line for each entry: Region and key, period, size, licence and resolution; at most ``limit``."""
    lines = []
    for entry in entries[:limit]:
        parts = [
            period_of(entry),
            format_bytes(entry.size_bytes),
            f"licence {entry.attributes.get('license', 'unknown')}",
            resolution_of(entry) or "resolution unknown: it has no header yet",
        ]
        lines.append(one_line(f"{entry.region}:{entry.key}: {'; '.join(filter(None, parts))}"))
    if len(entries) > limit:
        lines.append(f"and {len(entries) - limit:,} more")
    return lines

"""Baselines: the periods that anomalies are relative to, by name.

Belongs here: names and their years. Does not belong here: anomalies (``analyses.anomalies``).
"""

from __future__ import annotations

import re

from xdask_pipelines.errors import ClimateError

#: First and last year by name. WMO's normals: WMO-No. 1203; AR6: IPCC AR6 WGI, section 1.4.1.
BASELINES = {
    "pre-industrial": (1850, 1900),
    "wmo-1961-1990": (1961, 1990),
    "wmo-1981-2010": (1981, 2010),
    "wmo-1991-2020": (1991, 2020),
    "ar6-recent": (1995, 2014),
}
_YEARS = re.compile(r"(\d{4})-(\d{4})", re.ASCII)


def baseline_years(name: str) -> tuple[int, int]:
    """Return first and last year of a baseline, both included.

    Parameters
    ----------
    name
        A name of `BASELINES`, or two years such as ``"1986-2005"``.

    Raises
    ------
    ClimateError
        If the name is unknown, or the years are in the wrong order; the message lists the names.

    Examples
    --------
    >>> baseline_years("pre-industrial"), baseline_years("1986-2005")
    ((1850, 1900), (1986, 2005))
    """
    if name in BASELINES:
        return BASELINES[name]
    match = _YEARS.fullmatch(name)
    if match is None or int(match[1]) > int(match[2]):
        raise ClimateError(
            f"unknown baseline {name!r}; use two years such as 1986-2005, the earlier one first, or one of "
            f"{', '.join(BASELINES)}"
        )
    return int(match[1]), int(match[2])

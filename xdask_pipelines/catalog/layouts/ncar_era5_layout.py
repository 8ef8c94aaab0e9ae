"""ERA5 as NCAR's research data archive names it (d633000; on S3 the bucket nsf-ncar-era5).

Belongs here: its paths. Does not belong here: what is in the files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from xdask_pipelines.catalog.layouts.base import Content, Reading
from xdask_pipelines.catalog.times import time_key
from xdask_pipelines.topology.mount import Mount


class NcarEra5:
    """``[…/]{collection}/{yyyymm}/{collection}.{table}_{code}_{short_name}.{grid}.{first}_{last}.nc``.

    The collection is ``e5.oper.an.{sfc,pl,vinteg}``, ``e5.oper.fc.sfc.{accumu,instan,meanflux,minmax}`` or
    ``e5.oper.invariant``; files hold a month (surface), a day (pressure levels) or half a month (forecasts). First and last
    are hours, ``yyyymmddhh``, both of them in the file: [2020010100, 2020013123] lasts until before 2020-02-01T00. For
    forecasts the first is the hour of initialisation, and their steps are 1 to 12 hours: so they begin one hour later.
    Invariant fields have no time. ``variable`` is the short name; the file's own is ``VAR_2T`` for ``2t``, ``T`` for ``t``.
    """

    _PATH = re.compile(
        r"(?:.*/)?(?P<folder>[^/]+)/(?P<month>\d{6})/(?P<collection>(?P<stream>e5\.oper)\.(?P<product>an|fc|invariant)"
        r"(?:\.(?P<level_type>[a-z]+)(?:\.(?P<step_type>[a-z]+))?)?)"
        r"\.(?P<parameter_table>\d{3})_(?P<parameter_code>\d{3})_(?P<short_name>[a-z0-9_]+)\.(?P<grid>[a-z]+\d+[a-z]+)"
        r"\.(?P<first>\d{10})_(?P<last>\d{10})(?:\.nc|\.grb)",
        re.ASCII | re.DOTALL,
    )
    _FACETS = (
        *("collection", "stream", "product", "level_type", "step_type"),
        *("parameter_table", "parameter_code", "short_name", "grid"),
    )
    _DEPTH = 3

    def by_file(self, mount: Mount) -> bool:
        """See :meth:`Layout.by_file`."""
        return True

    def read(self, key: str, mount: Mount) -> Reading | str | None:
        """See :meth:`Layout.read`."""
        match = self._PATH.fullmatch(key)
        if match is None or match["folder"] != match["collection"] or mount.depth(key) > self._DEPTH:
            return (
                "its path is not {collection}/{yyyymm}/{collection}.{table}_{code}_{short_name}.{grid}."
                "{first}_{last}.nc below the mount"
            )
        times = _times(match["first"], match["last"], forecast=match["product"] == "fc")
        if times is None:
            return f"{match['first']}_{match['last']} is not a range of hours"
        if not match["first"].startswith(match["month"]):
            return f"it begins in {match['first'][:6]} and lies in the folder of {match['month']}"
        facets = {name: match[name] for name in self._FACETS if match[name]}
        invariant = match["product"] == "invariant"
        return Reading(variable=match["short_name"], facets=facets, times=(None, None) if invariant else times)

    def content(self, variable: str, facets: Mapping[str, str]) -> Content:
        """See :meth:`Layout.content`."""
        # Names that begin with a digit get a prefix in the files: 2t is VAR_2T, t is T.
        names = (variable.upper(), f"VAR_{variable.upper()}", variable)
        invariant = facets.get("product") == "invariant"
        hourly = facets.get("product") == "an"  # forecasts have two axes, of initialisation and of hours since
        return Content(names=names, timeless=invariant, step_seconds=3600 if hourly else None)


def _times(first: str, last: str, *, forecast: bool) -> tuple[int, int] | None:
    """Half-open range of time keys; None if it is none. ERA5's calendar is the real one."""
    hour = timedelta(hours=1)
    try:
        # strptime takes %H of one digit, but the pattern has made sure of ten digits.
        start, end = (datetime.strptime(text, "%Y%m%d%H") for text in (first, last))
        start, end = start + (hour if forecast else timedelta()), end + hour
    except (ValueError, OverflowError):
        return None
    if start >= end:
        return None
    begin, until = (time_key(t.year, t.month, t.day, t.hour) for t in (start, end))
    return begin, until


LAYOUT = NcarEra5()

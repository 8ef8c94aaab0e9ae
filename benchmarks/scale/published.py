"""Published seconds of the same jobs on another system, for comparison.

Belongs here: the figures and what they are of. Does not belong here: ours (__main__).

Projected temperature of CMIP6 alone, ERA5 2011 to 2020 alone (120 files, 53.5 GB, 364 GB decoded), and their difference,
on 2, 4, 8 and 12 worker tasks of 10 processes each.
"""

from __future__ import annotations

from collections.abc import Mapping

PROCESSES_OF_A_TASK = 10
TASKS = (2, 4, 8, 12)
CMIP6, ERA5, DIFFERENCE = "CMIP6 alone", "ERA5 alone", "difference"
JOBS = (CMIP6, ERA5, DIFFERENCE)
#: Seconds on the wall, by job, in the order of `TASKS`.
SECONDS: Mapping[str, tuple[float, ...]] = {
    CMIP6: (11.8, 11.5, 11.2, 11.6),
    ERA5: (1512.0, 711.0, 427.0, 202.0),
    DIFFERENCE: (1527.0, 906.0, 469.0, 251.0),
}

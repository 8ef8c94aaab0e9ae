"""Partitions: the months of a dataset.

Belongs here: which partition keys there are, and how many of them a run takes. Does not belong here: what is computed for
one.
"""

from __future__ import annotations

import dagster as dg

from xdask_pipelines.catalog import Catalog
from xdask_pipelines.catalog.times import time_text
from xdask_pipelines.placement.settings import Settings

#: ERA5 begins here; used while the catalog is empty, so that the code location loads before the first sync.
_FIRST_MONTH = "1940-01"
#: Fewest and most partitions of a run of a backfill. A run costs a second or two in addition to its months; a year by itself
#: makes that little, and what an interrupted backfill loses is at most one run.
FEWEST, MOST = 12, 48


def months_of(catalog: Catalog, dataset: str) -> dg.MonthlyPartitionsDefinition:
    """Months from a dataset's first one until today, in UTC; the code location sees a new first month when it is loaded.

    Parameters
    ----------
    catalog
        Looked at once; may be empty.
    dataset
        Name of the dataset.
    """
    starts = [e.time_start for e in catalog.search(dataset=dataset) if e.time_start is not None]
    first = time_text(min(starts))[:7] if starts else _FIRST_MONTH
    return dg.MonthlyPartitionsDefinition(start_date=first, fmt="%Y-%m", timezone="UTC")


def partitions_of_a_run(settings: Settings) -> int:
    """Return how many partitions of a backfill one run takes: one for each thread of the largest pool, from 12 to 48.

    Parameters
    ----------
    settings
        The pools at their maximum size. A month is read by one task, so a run of fewer months leaves threads idle.

    Examples
    --------
    >>> from xdask_pipelines.placement.settings import Rates
    >>> [partitions_of_a_run(Settings(pools={"us-east-1": Rates(threads=n)})) for n in (1, 20, 120)]
    [12, 20, 48]
    """
    threads = max((rates.threads for rates in settings.pools.values()), default=0)
    return max(FEWEST, min(threads, MOST))

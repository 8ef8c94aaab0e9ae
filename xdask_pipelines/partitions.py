"""Partitions: the months of a dataset.

Belongs here: which partition keys there are. Does not belong here: what is computed for one.
"""

from __future__ import annotations

import dagster as dg

from xdask_pipelines.catalog import Catalog
from xdask_pipelines.catalog.times import time_text

#: ERA5 begins here; used while the catalog is empty, so that the code location loads before the first sync.
_FIRST_MONTH = "1940-01"


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

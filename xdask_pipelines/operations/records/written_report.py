"""Writing the report of a result when somebody asks for it.

Belongs here: from the name of an asset to a page. Does not belong here: the page (resources.reporting).
"""

from __future__ import annotations

from pathlib import Path

from xdask_pipelines.errors import XdaskError
from xdask_pipelines.operations.project import instance
from xdask_pipelines.operations.records.stored_result import stored_result
from xdask_pipelines.resources.reporting.result_report import write_report
from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.addresses import s3_url


def report_result(topology: Topology, name: str, partition: str = "", folder: str = "") -> str:
    """Write the report of the current result of an asset, and the index of its folder.

    Parameters
    ----------
    topology
        The project.
    name, partition
        As for `stored_result`.
    folder
        A folder, or ``s3://bucket/prefix``; empty for the one in regions.yaml, else ``var/reports``.

    Returns
    -------
    Address of the page.

    Raises
    ------
    XdaskError
        If there is no such result, the run history does not have its run, or the folder cannot be written. Nothing is
        left half-written.
    """
    if folder.startswith("s3://"):
        try:
            s3_url(folder)
        except ValueError as error:
            raise XdaskError(f"{error}.") from None
    elif folder:
        folder = str(Path(folder).expanduser().absolute())
    stored = stored_result(topology, name, partition)
    entry = stored.entry
    description = (stored.made.function.__doc__ if stored.made else "") or ""
    with instance(topology) as history:
        return write_report(topology, stored.results.catalog, history, entry, description, folder)

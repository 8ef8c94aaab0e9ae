"""Setup of a worker when it starts: reports of transfers, results that are sent ahead, the guard of files.

Belongs here: the order of these steps. Does not belong here: the steps themselves.
"""

from __future__ import annotations

from importlib import import_module

from distributed import Worker

from xdask_pipelines.placement.dask_internals.startup_checks import check_worker
from xdask_pipelines.placement.protection.survival import survive
from xdask_pipelines.placement.scheduler.result_delivery import Deliver
from xdask_pipelines.placement.worker.arrivals import expect_arrivals
from xdask_pipelines.placement.worker.contact import use_contact_host
from xdask_pipelines.placement.worker.guard import guarded_roots, install
from xdask_pipelines.placement.worker.introduction import introduce
from xdask_pipelines.placement.worker.relays import relay
from xdask_pipelines.placement.worker.spill_disk import report_spill_disk
from xdask_pipelines.placement.worker.transfer_reports import report_transfers
from xdask_pipelines.placement.worker.unreachable import report_unreachable

#: What nearly every task needs. The first tasks would import it otherwise, which takes a second, and Dask would expect as
#: much of the tasks after them. Not in a thread: a task that is unpickled meanwhile would find half a module.
_LIBRARIES = ("dask.array", "xarray")


async def set_up_worker(server: Worker) -> None:
    """Install placement on a worker, with folders from the environment.

    Raises
    ------
    PlacementError
        If this release of Dask lacks a function that placement needs.
    """
    for name in _LIBRARIES:
        import_module(name)
    check_worker(server)
    use_contact_host(server)
    report_transfers(server)
    report_unreachable(server)
    expect_arrivals(server)
    relay(server)
    await server.plugin_add(Deliver())
    install(server, guarded_roots())
    introduce(server)
    survive(server)
    report_spill_disk(server)

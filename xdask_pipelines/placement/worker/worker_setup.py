"""What a worker gets when it starts: reports of transfers, results that arrive by themselves, the guard of reads.

Belongs here: the order of that. Does not belong here: each of the parts.
"""

from __future__ import annotations

from distributed import Worker

from xdask_pipelines.placement.dask_internals.startup_checks import check_worker
from xdask_pipelines.placement.protection.survival import survive
from xdask_pipelines.placement.scheduler.result_delivery import Deliver
from xdask_pipelines.placement.worker.arrivals import expect_arrivals
from xdask_pipelines.placement.worker.contact import use_contact_host
from xdask_pipelines.placement.worker.guard import guarded_roots, install
from xdask_pipelines.placement.worker.introduction import introduce
from xdask_pipelines.placement.worker.relays import relay
from xdask_pipelines.placement.worker.transfer_reports import report_transfers


async def set_up_worker(server: Worker) -> None:
    """Make a worker take part in placement; its folders come from the environment.

    Raises
    ------
    PlacementError
        This release of Dask lacks something that placement relies on.
    """
    check_worker(server)
    use_contact_host(server)
    report_transfers(server)
    expect_arrivals(server)
    relay(server)
    await server.plugin_add(Deliver())
    install(server, guarded_roots())
    introduce(server)
    survive(server)

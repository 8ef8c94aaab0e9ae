"""What the hostile client got, that ran beside the tests of placement: its due in time; and nobody was lost."""

from __future__ import annotations

from collections import Counter

from tests.support.hostile import Hostile
from tests.support.hostile_process import HostileProcess
from tests.support.places import EAST, WEST, Cluster, array, eventually, worker_ids
from xdask_pipelines.placement import compute

ACTS = {name.removeprefix("act_") for name in dir(Hostile) if name.startswith("act_")}
TIMES = 2


def test_a_hostile_client_is_placed_or_refused_by_name_and_no_worker_dies(
    running: Cluster, hostile: HostileProcess
) -> None:
    hostile.act(True)

    def acted() -> Counter[str]:
        return Counter(o["act"] for o in hostile.outcomes() if o["came"] == "acted" or not o["good"])

    assert eventually(lambda: all(acted()[act] >= TIMES for act in ACTS), 120), acted()
    (got,), evidence = compute(running.client, (array(EAST, (4,), 2, 61) - array(WEST, (4,), 2, 61)).sum())
    assert got == 0
    assert evidence.misplaced_tasks == 0
    hostile.act(False)
    assert [o for o in hostile.outcomes() if not o["good"]] == []
    assert worker_ids(running.client) == running.first_workers

"""What a user meets when workers, pools or the scheduler die, each tried by killing real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import dask.array as da
import numpy as np
import pytest
from distributed import Client

from tests.support.places import EAST, WEST, workers_of
from xdask_pipelines.errors import EmptyPool, LostComputation
from xdask_pipelines.placement import PlacementError, compute, local_regions, pin
from xdask_pipelines.placement.local.cluster import Pool, start
from xdask_pipelines.placement.settings import Settings
from xdask_pipelines.system.processes import is_alive


@pytest.fixture
def breakable() -> Iterator[Client]:
    with local_regions([EAST, WEST], settings=Settings(empty_pool_seconds=60.0)) as client:
        yield client


def slow(region: str, token: str, blocks: int = 12, seconds: float = 0.25) -> da.Array:
    def make(block_id: Any = None) -> np.ndarray:
        from time import sleep

        sleep(seconds)
        return np.full(10, float(block_id[0]))

    made = da.map_blocks(make, chunks=((10,) * blocks,), dtype=float, meta=np.empty(0), name=f"slow-{token}")
    return pin(made, region)


def processes(client: Client, region: str) -> tuple[int, int]:
    """Ids of a pool's worker and of its nanny."""
    address, *_ = workers_of(client, region)
    (found,) = client.run(lambda: (os.getpid(), os.getppid()), workers=[address]).values()
    return found  # type: ignore[no-any-return]


def die(block: np.ndarray) -> np.ndarray:
    os.kill(os.getpid(), signal.SIGKILL)
    return block


def once(action: Callable[[], None], after: int, region: str = EAST) -> Callable[[Any], None]:
    """A progress listener that acts when so many tasks are done."""
    acted = []

    def listen(state: Any) -> None:
        if not acted and state.get(region, (0, 0))[0] >= after:
            acted.append(True)
            action()

    return listen


def test_what_breaks_tells_what_to_do_and_what_can_be_mended_is(breakable: Client) -> None:
    """One story, for a cluster is dear: a restart, then a worker dies, a task kills, a pool dies, the scheduler dies."""
    client = breakable

    # The only client restarts the scheduler in mid-run: the computation is lost, and runs again from the start.
    lazy = slow(EAST, "restart").sum()
    with pytest.raises(LostComputation, match="run again"):
        compute(client, lazy, progress=once(lambda: client.restart(timeout=60), after=2))
    (got,), evidence = compute(client, lazy)
    assert got == 660
    assert evidence.tasks_by_region == {EAST: 13}
    worker, nanny = processes(client, EAST)

    # A worker is killed in mid-run: its nanny starts another, what was lost runs again, and the report says so.
    lazy = slow(EAST, "worker").sum() - slow(WEST, "other", blocks=4).sum()
    (got,), evidence = compute(client, lazy, progress=once(lambda: os.kill(worker, signal.SIGKILL), after=3))
    assert got == 660 - 60
    assert evidence.misplaced_tasks == 0
    assert evidence.tasks_by_region[EAST] >= 12 + 3
    assert evidence.tasks_by_region[WEST] >= 4
    assert not is_alive(worker)

    # A task that kills every worker that takes it is not tried for ever.
    client.run_on_scheduler(_allow_failures, 0)
    with pytest.raises(PlacementError, match=r"Every worker that ran task .* died"):
        compute(client, pin(da.ones(4), WEST).map_blocks(die, meta=np.empty(0)))

    client.run_on_scheduler(_allow_failures, 3)

    # The whole pool is killed in mid-run: an error by name within seconds, not a hang.
    client.run_on_scheduler(_be_patient, 3.0)
    worker, nanny = processes(client, EAST)

    def kill_pool() -> None:
        os.kill(nanny, signal.SIGKILL)
        os.kill(worker, signal.SIGKILL)

    with pytest.raises(EmptyPool, match=f"pool-{EAST} of Region {EAST} has no worker.*xdask pools up") as caught:
        compute(client, slow(EAST, "pool").sum(), progress=once(kill_pool, after=3))
    assert caught.value.details["region"] == EAST

    # Plain Dask meets the same error on the empty pool; the other Region still works.
    with pytest.raises(EmptyPool, match=f"pool-{EAST}"):
        slow(EAST, "plain").sum().compute()
    assert compute(client, slow(WEST, "alive", blocks=2, seconds=0.0).sum())[0] == (10.0,)

    # The scheduler is killed in mid-run.
    scheduler = client.run_on_scheduler(os.getpid)
    kill_scheduler = once(lambda: os.kill(scheduler, signal.SIGKILL), after=2, region=WEST)
    with pytest.raises(LostComputation, match=r"lost.*xdask pools up.*run again"):
        compute(client, slow(WEST, "scheduler").sum(), progress=kill_scheduler)
    with pytest.raises(LostComputation, match="xdask pools up"):
        compute(client, slow(WEST, "scheduler").sum())


def _be_patient(seconds: float, dask_scheduler: Any = None) -> None:
    """Only now: a nanny on a busy machine may need longer than this to restart its worker."""
    dask_scheduler.plugins["xdask-placement"].empty_pools.seconds = seconds


def _allow_failures(count: int, dask_scheduler: Any = None) -> None:
    dask_scheduler.allowed_failures = count


def test_a_pool_that_cannot_start_is_named_with_the_end_of_its_log_and_nothing_stays(tmp_path: Path) -> None:
    pools = [Pool(EAST), Pool(WEST, prefix=("/bin/sh", "-c", "echo no such machine; exit 3"))]
    with pytest.raises(PlacementError, match=r"(?s)pool of us-west-2 did not start.*no such machine"):
        start(pools, tmp_path / "run")
    assert not _running_below(tmp_path)


def test_a_scheduler_that_cannot_start_shows_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDASK_PLACEMENT", "{")
    with pytest.raises(PlacementError, match=r"(?s)scheduler did not start.*JSONDecodeError"):
        start([], tmp_path / "run", _Unreadable())
    assert not _running_below(tmp_path)


_KILLED = """
import json, os, signal
from xdask_pipelines.placement import local_regions

if __name__ == "__main__":
    with local_regions(["us-east-1", "us-west-2"]) as client:
        workers = list(client.run(os.getppid).values()) + list(client.run(os.getpid).values())
        print(json.dumps([client.run_on_scheduler(os.getpid), *workers]), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_nothing_outlives_a_process_that_is_killed_while_it_uses_local_regions(tmp_path: Path) -> None:
    (tmp_path / "killed.py").write_text(_KILLED)
    done = subprocess.run([sys.executable, tmp_path / "killed.py"], capture_output=True, text=True, timeout=90)
    pids = json.loads(done.stdout)
    assert len(pids) == 5
    deadline = monotonic() + 40
    while alive := [pid for pid in pids if is_alive(pid)]:
        assert monotonic() < deadline, alive
        sleep(0.1)


class _Unreadable(Settings):
    def to_environment(self) -> dict[str, str]:
        return {"XDASK_PLACEMENT": "{"}


def _running_below(folder: Path) -> Sequence[str]:
    """Command lines of processes that name a folder, after a moment to end."""
    for _ in range(50):
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid() and is_alive(int(entry.name)):
                try:
                    command = (entry / "cmdline").read_bytes().decode(errors="replace")
                except OSError:
                    continue
                if str(folder) in command:
                    found.append(command)
        if not found:
            return []
        sleep(0.1)
    return found

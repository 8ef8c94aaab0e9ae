"""What breaks under a run: processes that die, disks that are full, folders that are not there. As a person sees it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import psutil
import pytest
from distributed import Client

from tests.jobs.lab import REPO
from tests.support.machines import machine
from xdask_pipelines.catalog import open_catalog
from xdask_pipelines.topology import Topology

pytestmark = pytest.mark.damage
XDASK = str(Path(sys.executable).with_name("xdask"))
SLOW = '''
import time

import xarray as xr

from xdask_pipelines.assets import Source, analysis

WHICH = {"variable": "tas", "experiment_id": "pre-industrial"}


def _wait(block):
    time.sleep(0.02)
    return block + 1


@analysis(sources={"tas": Source("cmip6", WHICH)}, units="K")
def slow(tas: xr.DataArray) -> xr.DataArray:
    """Some seconds of many short tasks."""
    field = tas.squeeze(drop=True)
    rows = field.chunk({field.dims[0]: 1})
    return xr.apply_ufunc(_wait, rows, dask="parallelized", output_dtypes=[float], keep_attrs=True)
'''


class Lab:
    """A project of its own, used through its command line alone."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.topology = Topology.load(root / "regions.yaml")

    def start(self, *words: str, inside: list[str] | None = None) -> subprocess.Popen[str]:
        environment = {**os.environ, "XDASK_TOPOLOGY": str(self.root / "regions.yaml")}
        command = [*(inside or []), *words]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def xdask(self, *words: str, inside: list[str] | None = None, fails: bool = False) -> str:
        """What the command says, or what its error says."""
        return self.end(self.start(XDASK, *words, inside=inside), fails=fails)

    def end(self, run: subprocess.Popen[str], *, fails: bool = False) -> str:
        out, err = run.communicate(timeout=150)
        assert run.returncode == int(fails), out + err
        assert "Traceback" not in err
        return out + err if fails else out

    def pids(self) -> dict[str, int]:
        pids: dict[str, int] = json.loads((self.root / "var" / "pools" / "pools.json").read_text())["pids"]
        return pids

    def slow_run(self) -> subprocess.Popen[str]:
        """A run of the slow analysis, some of whose tasks are done."""

        def done(dask_scheduler: Any) -> int:
            return sum(t.state == "memory" for t in dask_scheduler.tasks.values())

        run = self.start(XDASK, "run", "slow")
        address = json.loads((self.root / "var" / "pools" / "pools.json").read_text())["address"]
        with Client(address, timeout=20, set_as_default=False) as client:
            until(lambda: client.run_on_scheduler(done) > 5)
        return run

    def made(self) -> list[str]:
        """Stores of the slow analysis that the catalog knows."""
        catalog = open_catalog(self.topology.catalog_url)
        return sorted({e.key for e in catalog.search(dataset="slow", superseded=True)})


def until(condition: Callable[[], Any], seconds: float = 60) -> None:
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, f"not within {seconds} s"
        sleep(0.05)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    root = tmp_path_factory.mktemp("frail")
    for name in ("regions.yaml", "dagster.yaml", "workspace.yaml"):
        shutil.copy(REPO / name, root)
    shutil.copytree(REPO / "data", root / "data")
    (root / "analyses").mkdir()
    (root / "analyses" / "slow.py").write_text(SLOW)
    lab = Lab(root)
    lab.xdask("pools", "up")
    lab.xdask("sync", "cmip6")
    yield lab
    lab.xdask("pools", "down")


def test_a_worker_process_that_dies_in_mid_run_does_no_harm(lab: Lab) -> None:
    run = lab.slow_run()
    children = psutil.Process(lab.pids()["us-west-2"]).children()  # one of them only tracks resources
    (worker,) = [p for p in children if "spawn_main" in " ".join(p.cmdline())]
    worker.send_signal(signal.SIGKILL)
    said = lab.end(run)
    assert "misplaced 0" in said
    assert len(lab.made()) == 1


def test_a_pool_that_dies_is_named_with_its_remedy_and_the_rerun_succeeds(lab: Lab) -> None:
    before, run = lab.made(), lab.slow_run()
    pool = psutil.Process(lab.pids()["us-west-2"])
    for process in [pool, *pool.children(recursive=True)]:
        process.send_signal(signal.SIGKILL)
    said = lab.end(run, fails=True)
    assert "us-west-2" in said
    assert "xdask pools up" in said
    assert lab.made() == before
    lab.xdask("pools", "up")
    assert "misplaced 0" in lab.xdask("run", "slow")


def test_a_run_goes_on_after_its_scheduler_died_and_was_started_again(lab: Lab) -> None:
    before, run = lab.made(), lab.slow_run()
    psutil.Process(lab.pids()["scheduler"]).send_signal(signal.SIGKILL)
    assert "The scheduler has ended. Start the pools again with `xdask pools up`" in lab.xdask(
        "pools", "status", fails=True
    )
    lab.xdask("pools", "up")
    assert "misplaced 0" in lab.end(run)
    assert len(lab.made()) == len(before) + 1


def test_the_main_job_runs_from_a_machine_that_has_no_data(lab: Lab) -> None:
    own = [lab.topology.data_folder(r) for r in lab.topology.worker_regions]
    results = [lab.topology.results_folder(r) for r in lab.topology.worker_regions]
    said = lab.xdask("demo", inside=machine(hidden=[*own, *results]))
    assert "+3.3986 K" in said
    assert "misplaced 0" in said


def test_a_read_only_var_is_said_before_anything_runs(lab: Lab) -> None:
    inside = machine(fixed=[lab.topology.var])
    for words in (["demo"], ["sync"]):
        said = lab.xdask(*words, inside=inside, fails=True)
        assert "cannot be written" in said, words
        assert "Read-only file system" in said or "make the file and its folder writable" in said


def test_a_full_disk_is_told_and_nothing_is_catalogued(lab: Lab) -> None:
    lab.xdask("pools", "down")
    before, results = lab.made(), lab.topology.results_folder("us-west-2") / "results"
    script = f"{XDASK} pools up >&2; dd if=/dev/zero of={results}/ballast bs=1k count=380 2>/dev/null; {XDASK} run slow"
    said = lab.end(lab.start("sh", "-c", script, inside=machine(full=[results])), fails=True)
    assert "No space left on device" in said
    assert "Free space" in said
    assert lab.made() == before

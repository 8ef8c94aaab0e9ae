"""Regions on machines of their own, joined by a wide-area network and started by the commands of the documentation alone."""

from __future__ import annotations

import json
import re
import signal
from collections import Counter
from collections.abc import Iterator
from time import monotonic

import pytest

from benchmarks.wan.network import lacking
from tests.support.places import eventually
from tests.wan.attached_regions import (
    CLIENT,
    DARMSTADT,
    HOLDS,
    OREGON,
    STANDBY,
    SYDNEY,
    AttachedRegions,
    attached_regions,
)

#: What a command takes at both ends: imports, and the history of Dagster.
START_SECONDS = 12.0
#: Of three rows each, of the 145 of the field.
BLOCKS = 49
#: The field of the model: 145 latitudes, 192 longitudes, single precision.
FIELD_BYTES = 145 * 192 * 4
#: Each task is described to its worker, and each is reported.
TASK_BYTES = 2_000
#: What three workers tell the scheduler in a second besides.
TALK_BYTES = 15_000
pytestmark = [pytest.mark.wan, pytest.mark.timeout(900)]
ANALYSES = '''
import time

import xarray as xr

from xdask_pipelines.assets import Source, analysis

A1B = {"tas": Source("cmip6", {"variable": "tas", "experiment_id": "A1B"})}


def _slowly(tas: xr.DataArray) -> xr.DataArray:
    def wait(block):
        if block.size:
            time.sleep(0.5)
            with open("MARKS", "a") as marks:
                marks.write("one\\n")
        return block

    return xr.apply_ufunc(wait, tas.chunk({"lat": 3}), dask="parallelized", output_dtypes=[tas.dtype], keep_attrs=True)


@analysis(sources=A1B, units="K")
def slow_field(tas: xr.DataArray) -> xr.DataArray:
    """The field, a few rows at a time."""
    return _slowly(tas)


@analysis(sources=A1B, units="K")
def slow_field_again(tas: xr.DataArray) -> xr.DataArray:
    """The same, by another name."""
    return _slowly(tas)


@analysis(sources=A1B, units="K")
def warming(tas: xr.DataArray) -> xr.DataArray:
    """The mean over the latitudes."""
    return tas.mean("lat")


@analysis(units="K")
def meeting(cmip6_reference_tas_regridded: xr.DataArray, era5_historic_temp_regridded: xr.DataArray) -> xr.DataArray:
    """Results of two Regions, cell by cell."""
    return cmip6_reference_tas_regridded + era5_historic_temp_regridded
'''


@pytest.fixture(scope="module")
def regions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AttachedRegions]:
    assert lacking() is None, lacking()
    with attached_regions(tmp_path_factory.mktemp("attached")) as found:
        (found.folder(CLIENT) / "analyses").mkdir()
        (found.folder(CLIENT) / "analyses" / "own.py").write_text(ANALYSES.replace("MARKS", str(found.top / "marks")))
        found.scheduler(CLIENT)
        found.worker("east", DARMSTADT)
        found.worker("west", OREGON)
        found.worker("sydney", SYDNEY)
        assert eventually(lambda: up(found), 180), found.log("east").read_text()
        yield found


def up(regions: AttachedRegions) -> bool:
    try:
        regions.xdask("pools", "status")
    except AssertionError:
        return False
    return True


def test_the_main_job_has_the_figures_of_one_machine(regions: AttachedRegions) -> None:
    before, began = regions.network.tell(), monotonic()
    regions.xdask("demo")
    seconds, after = monotonic() - began, regions.network.tell()
    report = json.loads((regions.folder(CLIENT) / "var/demo/report.json").read_text())
    assert report["mean_difference_K"] == pytest.approx(3.3986, abs=2e-4)
    assert report["climate_signal_K"] == pytest.approx(4.4051, abs=2e-4)
    assert report["misplaced_tasks"] == 0
    tasks, told = Counter[str](), Counter[str]()
    for asset in report["assets"].values():
        tasks.update(asset["tasks_by_region"])
        told.update(asset["bytes_across"])
    assert set(tasks) == set(HOLDS)
    across = {pair: after[pair] - before[pair] for pair in after}
    between = sum(n for pair, n in across.items() if CLIENT not in pair.split("->"))
    # Each of the three differences is of two Regions: one field of each pair has to cross, in single precision.
    assert 3 * FIELD_BYTES <= between <= 1.1 * 3 * FIELD_BYTES + TASK_BYTES * tasks.total(), across
    results = sum(n for pair, n in told.items() if pair.endswith(f"->{CLIENT}"))
    to_client = sum(across[f"{region}->{CLIENT}"] for region in HOLDS)
    assert to_client <= 1.1 * results + TASK_BYTES * tasks.total() + TALK_BYTES * seconds, (across, told, seconds)
    assert list(regions.folder(DARMSTADT).glob("results/results/era5_monthly_mean/*"))


def test_the_doctor_offers_the_links_that_it_measures(regions: AttachedRegions) -> None:
    said = regions.xdask("doctor")
    assert "darmstadt and us-west-2: round trip 8" in said
    assert "write - {between: [darmstadt, us-west-2], rtt_ms: 8" in said


def blocks_done(regions: AttachedRegions) -> int:
    """Blocks of the slow analyses that workers have computed, also those that were lost."""
    marks = regions.top / "marks"
    return len(marks.read_text().splitlines()) if marks.exists() else 0


def test_a_worker_that_ends_in_mid_run_loses_nothing(regions: AttachedRegions) -> None:
    regions.worker("west-2", OREGON)
    assert eventually(lambda: "us-west-2: 2 worker processes" in regions.xdask("pools", "status"), 60)
    run = regions.start("run", CLIENT, "run", "slow_field")
    assert eventually(lambda: blocks_done(regions) >= 8, 60), regions.log("run").read_text()
    assert regions.stop("west-2") == 0
    assert run.wait(120) == 0, regions.log("run").read_text()
    assert blocks_done(regions) == BLOCKS
    assert "drained" in regions.log("west-2").read_text()
    assert "misplaced 0" in regions.log("run").read_text()


def test_a_blocked_road_is_named_by_the_run_and_by_the_doctor(regions: AttachedRegions) -> None:
    regions.network.tell(f"cut {DARMSTADT} {SYDNEY}")
    try:
        began = monotonic()
        said = regions.xdask("run", "meeting", fails=True)
        seconds = monotonic() - began
        assert re.search(
            r"(darmstadt cannot connect to ap-southeast-2|ap-southeast-2 cannot connect to darmstadt), ports 9000-9031",
            said,
        )
        assert seconds < 15 + START_SECONDS
        said = regions.xdask("doctor", fails=True)
        assert "ap-southeast-2 cannot connect to darmstadt, ports 9000-9031" in said
        assert "darmstadt cannot connect to ap-southeast-2, ports 9000-9031" in said
        assert "exeter," not in said
    finally:
        regions.network.tell(f"restore {DARMSTADT} {SYDNEY}")
    assert "misplaced 0" in regions.xdask("run", "meeting")


def test_a_firewall_before_the_workers_is_named_by_the_doctor_and_stops_no_run_that_can_do_without(
    regions: AttachedRegions,
) -> None:
    """The worker joins, because it connects itself; small results come with its own messages."""
    regions.stop("west")
    regions.network.tell(f"shut {CLIENT} {OREGON}")
    try:
        regions.worker("west", OREGON)
        assert eventually(lambda: up(regions), 60), regions.log("west").read_text()
        said = regions.xdask("doctor", fails=True)
        assert f"{CLIENT} cannot connect to {OREGON}, ports 9000-9031" in said
        assert f"{OREGON} cannot connect" not in said
        assert "misplaced 0" in regions.xdask("run", "warming")
    finally:
        regions.network.tell(f"open {CLIENT} {OREGON}")
    assert f"{CLIENT} cannot connect" not in regions.xdask("doctor")


def test_a_scheduler_that_comes_back_at_another_address_is_found_and_the_run_ends(regions: AttachedRegions) -> None:
    run = regions.start("again", CLIENT, "run", "slow_field_again")
    before = blocks_done(regions)
    assert eventually(lambda: blocks_done(regions) >= before + 8, 60), regions.log("again").read_text()
    regions.name_scheduler(STANDBY)
    regions.scheduler(STANDBY)
    regions.stop(f"scheduler-{CLIENT}", signal.SIGKILL)
    assert run.wait(180) == 0, regions.log("again").read_text()
    assert "misplaced 0" in regions.log("again").read_text()
    assert regions.running["west"].poll() is None, "the worker was not restarted"
    assert up(regions)

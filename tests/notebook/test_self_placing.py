"""Lazy objects of a project compute themselves where their data are, and nothing else changes."""

from __future__ import annotations

import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import dask.bag as db
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from distributed import Client
from xarray.backends.locks import get_dask_scheduler

from xdask_pipelines import open_project
from xdask_pipelines.errors import PlacementError
from xdask_pipelines.notebook import Project
from xdask_pipelines.placement import Evidence, pin

WEST, EAST = "us-west-2", "us-east-1"


@pytest.fixture
def tas(project: Project) -> xr.DataArray:
    opened = project.open(dataset="models", member_id="r2i1p1f2")
    assert isinstance(opened, xr.DataArray)
    return opened


def expected(folder: Path) -> xr.DataArray:
    """What plain xarray reads."""
    (store,) = (folder / "data" / WEST / "models").rglob("r2i1p1f2/Amon/tas/gn/*")
    return xr.open_zarr(store, consolidated=True, decode_times=xr.coders.CFDatetimeCoder(use_cftime=True)).tas.load()


@pytest.mark.parametrize(
    "ask",
    [
        lambda x: x.compute(),
        lambda x: x.copy().load(),
        lambda x: x.copy(data=x.values),
        lambda x: x.copy(data=np.asarray(x.data)),
        lambda x: x.copy(data=x.data.compute()),
        lambda x: dask.compute(x)[0],
        lambda x: x.to_dataset(name="tas").compute().tas,
        lambda x: x.persist().compute(),
        lambda x: x.copy(data=(x.persist() + 0).values),
    ],
    ids=["compute", "load", "values", "asarray", "dask array", "dask.compute", "dataset", "persist", "on persisted"],
)
def test_lazy_objects_compute_themselves_at_home(project: Project, tas: xr.DataArray, folder: Path, ask: Any) -> None:
    assert np.array_equal(ask(tas).values, expected(folder).values)
    assert project.evidence.misplaced_tasks == 0
    assert set(project.evidence.tasks_by_region) <= {WEST}
    assert project.evidence.bytes_across


def test_evidence_is_that_of_the_same_computation_by_name(project: Project, tas: xr.DataArray) -> None:
    mean = tas.mean(("lat", "lon"))
    by_name, named = project.compute(mean), project.evidence
    by_itself = mean.compute()
    assert by_name.identical(by_itself)
    for about in ("tasks_by_region", "bytes_read_by_region", "bytes_across", "neutral_tasks"):
        assert getattr(project.evidence, about) == getattr(named, about), about
    assert named.bytes_read_by_region[WEST] > 0


def test_blocks_of_two_regions_are_put_together_on_the_client(project: Project) -> None:
    east, west = (pin(da.full((4, 6), value, chunks=(2, 3)), r) for value, r in ((1.0, EAST), (2.0, WEST)))
    both = da.concatenate([east, west]).compute()
    assert both.sum() == 72
    assert set(project.evidence.bytes_across) == {f"{EAST}->eu-west-2", f"{WEST}->eu-west-2"}


def test_threads_compute_at_once_and_leave_the_configuration_as_it_was(project: Project, tas: xr.DataArray) -> None:
    configured = {name: dask.config.get(name) for name in ("scheduler", "array_optimize")}
    jobs = {
        "same": lambda i: float((tas - 273.15).max().compute()),
        "kept": lambda i: float((tas + i).persist().max().compute()) - i,
        "several": lambda i: float(dask.compute((tas * 2).max(), (tas + i).mean())[0]) / 2,
        "by name": lambda i: float(project.compute((tas + i + 0.5).max())) - i - 0.5,
        "plain": lambda i: float(da.ones(6, chunks=2).map_blocks(np.copy).sum().compute()),
    }
    with ThreadPoolExecutor(8) as threads:
        values = {name: [threads.submit(job, i) for i in range(8)] for name, job in jobs.items()}
        got = {name: [future.result(60) for future in futures] for name, futures in values.items()}
    highest = float(tas.max())
    wanted = dict.fromkeys(("kept", "several", "by name"), highest) | {"same": highest - 273.15, "plain": 6.0}
    for name, value in wanted.items():
        assert got[name] == pytest.approx([value] * 8, abs=1e-3), name
    assert {name: dask.config.get(name) for name in configured} == configured


def test_a_plot_computes_itself(project: Project, tas: xr.DataArray) -> None:
    try:
        (line,) = tas.isel(time=0).mean("lon").plot()
        assert len(line.get_xdata()) == 18
        mesh = tas.mean("time").plot()
        assert np.isfinite(mesh.get_array()).all()
    finally:
        plt.close("all")
    assert project.evidence.tasks_by_region[WEST] > 0


def test_delayed_values_of_placed_arrays_place_themselves(project: Project, tas: xr.DataArray) -> None:
    assert dask.delayed(float)(tas.max().data).compute() == float(tas.max())
    assert set(project.evidence.tasks_by_region) == {WEST}


def test_what_is_not_placed_is_computed_as_before(project: Project) -> None:
    threads: set[str] = set()

    def note(block: np.ndarray) -> np.ndarray:
        import threading

        threads.add(threading.current_thread().name)
        return block

    x = da.ones(4, chunks=2).map_blocks(note, dtype=float)
    assert x.sum().compute() == 4
    assert x.persist().sum().compute() == 4
    assert dask.delayed(sum)([1, 2]).compute() == 3
    assert x.compute(num_workers=1, scheduler="synchronous").sum() == 4
    assert threads  # in this process
    assert project.evidence == Evidence()
    with dask.config.set(scheduler="synchronous"):
        assert db.from_sequence([1, 2]).sum().compute() == 3
    target = np.zeros(4)
    da.store(x, target)
    assert target.sum() == 4


def test_a_client_of_the_user_s_own_keeps_what_is_not_placed(project: Project, tas: xr.DataArray) -> None:
    local: dict[str, Any] = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with Client(**local) as own:
        with pytest.raises(PlacementError, match=r"project\.compute\(x\)"):
            tas.mean().compute()  # it was created after the project, and takes all collections
        mean = project.open(dataset="models", member_id="r2i1p1f2").mean()  # from here on the project is asked first
        assert float(mean) == float(project.compute(tas.mean()))
        before = own.run_on_scheduler(_count)
        assert da.ones(3).map_blocks(lambda b: np.array([b.sum()]), dtype=float, chunks=(1,)).compute() == [3.0]
        assert da.ones(3).persist().sum().compute() == 3
        assert own.run_on_scheduler(_count) > before
        with pytest.raises(PlacementError, match="a client of your own keeps"):
            (tas + (tas + 1).persist()).compute()
        assert get_dask_scheduler() == "distributed", "xarray locks files by it"
    assert da.ones(3).sum().compute() == 3
    project.open(dataset="models", member_id="r2i1p1f2").mean().compute()


def _count(dask_scheduler: Any) -> int:
    return len(dask_scheduler.computations)


@pytest.mark.parametrize("scheduler", ["threads", "synchronous"])
def test_another_scheduler_is_refused_by_name(tas: xr.DataArray, scheduler: str) -> None:
    with pytest.raises(PlacementError, match=r"project\.compute\(x\)"):
        tas.mean().compute(scheduler=scheduler)


def test_options_and_files_of_this_machine_are_refused(project: Project, tas: xr.DataArray, tmp_path: Path) -> None:
    with pytest.raises(PlacementError, match="num_workers"):
        tas.compute(num_workers=2)
    with pytest.raises(PlacementError, match=r"project\.compute\(x\)\.to_netcdf"):
        tas.to_netcdf(tmp_path / "tas.nc")
    with pytest.raises(PlacementError, match=r"project\.compute\(x\)\.to_netcdf"):
        tas.to_dataset(name="tas").drop_encoding().to_zarr(tmp_path / "tas.zarr")
    project.compute(tas).to_netcdf(tmp_path / "whole.nc")


def test_after_closing_nothing_is_left(folder: Path) -> None:
    before = dask.config.get("scheduler", None)
    project = open_project(folder / "regions.yaml")
    tas = project.open(dataset="models", member_id="r1i1p1f2")
    project.close()
    assert dask.config.get("scheduler", None) is before
    with pytest.raises(PlacementError, match=r"project\.compute\(x\)"):
        tas.mean().compute()


def test_the_configuration_can_be_sent_to_other_processes(project: Project) -> None:
    assert pickle.loads(pickle.dumps(dask.config.get("scheduler"))) is None


def test_opened_again_the_latest_computes_and_projects_are_not_mixed(folder: Path, tmp_path: Path) -> None:
    first = open_project(folder / "regions.yaml")
    second = open_project(folder / "regions.yaml")
    for project in (first, second):
        project.open(dataset="models", member_id="r1i1p1f2")
    second.open(dataset="models", member_id="r1i1p1f2").mean().compute()
    assert second.evidence.tasks_by_region
    shutil.copy(folder / "regions.yaml", tmp_path)
    with open_project(tmp_path / "regions.yaml"):
        first.open(dataset="models", member_id="r1i1p1f2").mean().compute()
        with pytest.raises(PlacementError, match=r"none of them.*project\.compute\(x\)"):
            pin(da.ones(3), WEST).compute()
    second.close()
    first.close()

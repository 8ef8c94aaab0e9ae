"""The job that this project is for: 120 months of files in one Region, a model in another, a difference of their means."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

from tests.support.access_helpers import described
from tests.support.places import CLIENT_REGION, EAST, SETTINGS, WEST, Cluster
from xdask_pipelines.access import open_entries
from xdask_pipelines.climate import (
    combine_partials,
    difference,
    mean_of_partials,
    month_partial,
    regrid,
    time_weighted_mean,
    with_bounds,
)
from xdask_pipelines.placement import Evidence, Plan, compute, plan
from xdask_pipelines.synthetic import write_cmip6_member, write_era5_month

T2M = "air_temperature_at_2_metres"
MONTHS = [(year, month) for year in range(2001, 2011) for month in range(1, 13)]
HOURS = 8
CHUNKS = {"two-chunks": (4, 100, 100), "single-chunk": (HOURS, 181, 360)}


def write_month(root: Path, chunks: tuple[int, int, int], when: tuple[int, int]) -> Path:
    return write_era5_month(root, *when, hours=HOURS, chunks=chunks)


@dataclass(frozen=True)
class Job:
    """Files, the lazy parts of the job, and what plain NumPy makes of the files."""

    files: list[Path]
    partial: xr.Dataset
    difference: xr.DataArray
    total: np.ndarray
    model_mean: np.ndarray
    stored_bytes: dict[str, int]


@pytest.fixture(scope="module", params=CHUNKS)
def job(running: Cluster, request: pytest.FixtureRequest) -> Job:
    root = running.data[EAST] / request.param
    with ProcessPoolExecutor(2, mp_context=get_context("forkserver")) as workers:
        files = list(workers.map(partial(write_month, root, CHUNKS[request.param]), MONTHS, chunksize=12))
    store = write_cmip6_member(running.data[WEST] / request.param, years=range(2001, 2003))
    keys = [str(f.relative_to(running.data[EAST])) for f in files]
    months = [month_partial(open_entries([e])[T2M]) for e in described(running.client, EAST, *keys)]
    everything = combine_partials(months)
    (model,) = described(running.client, WEST, str(store.relative_to(running.data[WEST])), file_format="zarr2")
    tas = with_bounds(open_entries([model]), "tas")
    historic = regrid(mean_of_partials(everything), tas.lat, tas.lon)
    total, stored = np.zeros((181, 360)), 0
    for path in files:
        with h5py.File(path) as file:
            total += file[T2M][:].sum(axis=0, dtype=np.float64)
            stored += file[T2M].id.get_storage_size()
    with xr.open_zarr(store, chunks=None) as plainly:
        model_mean = plainly.tas.values.astype(np.float64).mean(axis=0)  # months of a 360_day year are equal
    return Job(
        files=files,
        partial=everything,
        difference=difference(time_weighted_mean(tas), historic),
        total=total,
        model_mean=model_mean,
        stored_bytes={EAST: stored, WEST: (store / "tas/0.0.0").stat().st_size},
    )


def between_workers(across: dict[str, int]) -> int:
    return sum(n for pair, n in across.items() if CLIENT_REGION not in pair)


def assert_foretold(foretold: Plan, evidence: Evidence) -> None:
    """Within a fifth of what happened: tasks, bytes read, bytes across each pair."""
    for said, was in (
        (foretold.tasks_by_region, evidence.tasks_by_region),
        (foretold.bytes_read_by_region, evidence.bytes_read_by_region),
        (foretold.bytes_across, evidence.bytes_across),
    ):
        assert said.keys() == was.keys()
        for name, n in was.items():
            assert 0.8 * n <= said[name] <= 1.2 * n, (name, said, was)


def dense_regrid(field: np.ndarray, target: tuple[int, int]) -> np.ndarray:
    """First-order conservative regridding from its definition: area-weighted means over overlaps, by full matrices."""

    def overlaps(lower: np.ndarray, upper: np.ndarray, low: np.ndarray, up: np.ndarray) -> np.ndarray:
        return np.clip(np.minimum(up[:, None], upper) - np.maximum(low[:, None], lower), 0, None)

    ny, nx = field.shape
    edges = np.sin(np.deg2rad(np.clip(np.linspace(90 + 90 / (ny - 1), -90 - 90 / (ny - 1), ny + 1), -90, 90)))
    new = np.sin(np.deg2rad(np.linspace(-90, 90, target[0] + 1)))
    rows = overlaps(edges[1:], edges[:-1], new[:-1], new[1:])
    step = 360 / nx
    west = (np.arange(nx) - 0.5) * step
    new = np.linspace(0, 360, target[1] + 1)
    columns = sum(overlaps(west + turn, west + step + turn, new[:-1], new[1:]) for turn in (0, 360))
    return rows / rows.sum(1, keepdims=True) @ field @ (columns / columns.sum(1, keepdims=True)).T


def test_sums_and_counts_equal_numpy_without_tolerance_and_every_read_is_at_home(cluster: Cluster, job: Job) -> None:
    foretold = plan(job.partial, settings=SETTINGS)
    with cluster.recorder.recording() as recording:
        (got,), evidence = compute(cluster.client, job.partial)
    assert np.array_equal(got["sum"], job.total)
    assert (got["count"] == 120 * HOURS).all()
    assert not cluster.recorder.strays(recording)
    assert set(recording.opened) == {EAST}
    assert {Path(p) for p in recording.opened[EAST]} == set(job.files)
    assert evidence.tasks_by_region == recording.tasks
    assert evidence.bytes_read_by_region == {EAST: job.stored_bytes[EAST]}
    assert evidence.neutral_tasks == evidence.misplaced_tasks == evidence.reused_tasks == 0
    assert_foretold(foretold, evidence)


def test_the_difference_ships_one_small_field_and_agrees_with_a_dense_computation(cluster: Cluster, job: Job) -> None:
    foretold = plan(job.difference, settings=SETTINGS)
    with cluster.recorder.recording() as recording:
        (got,), evidence = compute(cluster.client, job.difference)
    expected = job.model_mean - dense_regrid(job.total / (120 * HOURS), (144, 192))
    assert abs(got - expected).max() < 1e-9
    assert not np.isnan(got).any()
    assert not cluster.recorder.strays(recording)
    assert set(recording.opened) == {EAST, WEST}
    assert evidence.bytes_read_by_region == job.stored_bytes
    assert evidence.tasks_by_region == recording.tasks
    smallest_cut = 144 * 192 * 8  # either mean, on the model's grid
    assert between_workers(recording.moved) == between_workers(dict(evidence.bytes_across)) <= 1.1 * smallest_cut
    assert_foretold(foretold, evidence)
    assert foretold.reading_tasks_by_region[EAST] >= 120
    assert foretold.warnings == ()

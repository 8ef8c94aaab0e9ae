"""Ocean models on their native grids: the areas of their cells come from the catalog, and area means use them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from tests.climate.test_curvilinear import cdo, ocean, rectangular
from tests.jobs.ocean_models import EAST, LAT, LON, WEST, models, write_oceans
from xdask_pipelines import open_project
from xdask_pipelines.access.describing.validation import Claim
from xdask_pipelines.access.header import describe
from xdask_pipelines.access.native_grids.area_entries import areas_of_run
from xdask_pipelines.assets import Source
from xdask_pipelines.catalog import Entry, open_catalog
from xdask_pipelines.catalog.runs import Segment
from xdask_pipelines.climate import area_weighted_mean, regrid, regrid_by_weights, time_weighted_mean
from xdask_pipelines.climate.analyses import ensemble_statistics
from xdask_pipelines.climate.regions import regional_mean
from xdask_pipelines.errors import AccessError, ClimateError, XdaskError
from xdask_pipelines.operations.planning import plan_asset
from xdask_pipelines.operations.project import instance, run_assets
from xdask_pipelines.operations.syncs.sync_by_hand import sync_datasets
from xdask_pipelines.placement.graph.homes import homes_of
from xdask_pipelines.resources.pools.local_pools import LocalPools
from xdask_pipelines.resources.provenance import Provenance
from xdask_pipelines.resources.results import Results
from xdask_pipelines.topology import Topology


@pytest.fixture(scope="module")
def made() -> dict[str, xr.Dataset]:
    return models()


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory, made: dict[str, xr.Dataset]) -> Iterator[LocalPools]:
    folder = tmp_path_factory.mktemp("oceans")
    write_oceans(folder, made)
    topology = Topology.load(folder / "regions.yaml")
    with pytest.MonkeyPatch.context() as patch:  # the package's own project may be up, too
        patch.setenv("XDASK_TOPOLOGY", str(folder / "regions.yaml"))
        pools = LocalPools(topology)
        pools.up()
        try:
            for done in sync_datasets(topology):
                assert not done.get("quarantined"), done
            yield pools
        finally:
            pools.close()
            pools.down()


def opened(project: Any, model: str, **facets: str) -> xr.DataArray:
    wanted = {"dataset": "cmip6", "variable_id": "tos", "experiment_id": "ssp245", "source_id": model, **facets}
    return project.open(**wanted)


def by_numpy(made: xr.Dataset) -> np.ndarray:
    """The mean of each step over the cells with values."""
    values, area = made.tos.values, made.areacello.values
    known = np.isfinite(values)
    return (np.where(known, values, 0) * area).sum((1, 2)) / (known * area).sum((1, 2))


def materialized(pools: LocalPools, name: str) -> tuple[xr.DataArray, Entry]:
    topology = pools.topology
    with instance(topology) as history:
        run_assets(topology, pools, history, [name])
    results = Results(topology, open_catalog(topology.catalog_url), pools)
    (entry,) = results.find(name)
    (computed,), _ = pools.compute(results.open([entry]))
    return computed, entry


def test_the_mean_of_an_ocean_model_uses_the_areas_of_its_own_run(
    pools: LocalPools, made: dict[str, xr.Dataset]
) -> None:
    with open_project() as project:
        tos = opened(project, "NEAR")
        assert tos.attrs["cell_measures"] == "area: areacello"
        mean = area_weighted_mean(tos, 0.0)
        found = mean.compute()
        part = area_weighted_mean(tos.isel(j=slice(100, 200)) - 273.15, 0.0).compute()  # arithmetic, a selection
        assert set(project.evidence.bytes_read_by_region) == {WEST}
        assert project.evidence.misplaced_tasks == 0
        assert project.open(dataset="cmip6", variable_id="areacello", source_id="FAR").name == "areacello"
    np.testing.assert_allclose(found, by_numpy(made["NEAR"]), rtol=1e-12)
    np.testing.assert_allclose(part, by_numpy(made["NEAR"].isel(j=slice(100, 200))) - 273.15, rtol=1e-12)
    assert "cell_measures" not in found.attrs


def test_areas_of_another_run_in_another_region_serve_where_there_are_no_others(
    pools: LocalPools, made: dict[str, xr.Dataset]
) -> None:
    with open_project() as project:
        tos = opened(project, "FAR")
        assert tos.areacello.chunks is not None
        assert homes_of(tos.areacello.data) == {EAST}
        found = area_weighted_mean(tos, 0.0).compute()
        evidence = project.evidence
    np.testing.assert_allclose(found, by_numpy(made["FAR"]), rtol=1e-12)
    assert evidence.misplaced_tasks == 0
    assert set(evidence.bytes_read_by_region) == {EAST, WEST}
    assert evidence.bytes_across.get(f"{WEST}->{EAST}", 0) == 0, "areas move to the field, which is larger"
    assert sum(evidence.bytes_across.values()) < 2 * made["FAR"].areacello.nbytes


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("TWO", r"several, whose values may differ: .*/historical/r9i1p1f1/.*; .*/piControl/r8i1p1f1/"),
        ("NONE", r"the catalog has no areacello of grid_label='gn' source_id='NONE' in the dataset cmip6"),
        ("SHAPE", r"SHAPE/ssp245/r1i1p1f1/Ofx/.* sizes \{'j': 15, 'i': 30\}, and .*Omon/tos/.*\{'j': 20, 'i': 30\}"),
        ("MOVED", r"the latitudes of .*/Ofx/areacello/.* differ from those of .*/Omon/tos/"),
    ],
)
def test_without_sure_areas_data_open_and_the_mean_says_why(
    pools: LocalPools, made: dict[str, xr.Dataset], model: str, reason: str
) -> None:
    with open_project() as project:
        tos = opened(project, model)
        assert "areacello" not in tos.coords
        for each in (tos, time_weighted_mean(tos), tos - 273.15):
            with pytest.raises(ClimateError, match=rf"the areas of its cells are not known: .*{reason}"):
                area_weighted_mean(each)
        np.testing.assert_allclose(time_weighted_mean(tos).compute()[5, 5], np.average(
            made[model].tos[:, 5, 5], weights=[31, 28, 31]))  # fmt: skip
        with pytest.raises(ClimateError, match=r"native grid.*cdo gencon"):
            regional_mean(tos, ["MED"])


def test_several_entries_with_the_same_values_are_one(pools: LocalPools, made: dict[str, xr.Dataset]) -> None:
    with open_project() as project:
        means = [area_weighted_mean(opened(project, "SAME", experiment_id=e), 0.0) for e in ("ssp245", "historical")]
        for found in project.compute(*means):
            np.testing.assert_allclose(found, by_numpy(made["SAME"]), rtol=1e-12)
        runs = project.catalog.search(dataset="cmip6", source_id="SAME", variable_id="tos")
        shared = {areas_of_run(project.catalog, [Segment(((run,),), None)]).replicas for run in runs}
        assert len(runs) == 2
        assert len(shared) == 1, "both runs share one array, so that arithmetic compares nothing"
        parent = opened(project, "PARENT")
        np.testing.assert_array_equal(parent.areacello, made["PARENT"].areacello)


def test_unstructured_fields_carry_areas_too(pools: LocalPools, made: dict[str, xr.Dataset]) -> None:
    with open_project() as project:
        tos = opened(project, "CELLS")
        assert tos.areacello.dims == ("cell",)
        np.testing.assert_allclose(area_weighted_mean(tos, 0.0).compute(), by_numpy(made["CELLS"]), rtol=1e-12)
        with pytest.raises(ClimateError, match=r"native grid.*cdo gencon"):
            regional_mean(tos, ["MED"])


def test_areas_that_no_attribute_names_must_have_the_same_places(
    pools: LocalPools, made: dict[str, xr.Dataset]
) -> None:
    with open_project() as project:
        np.testing.assert_array_equal(opened(project, "GUESSED").areacello, made["GUESSED"].areacello)
        velocity = opened(project, "GUESSED", variable_id="uo")
        with pytest.raises(ClimateError, match=r"the longitudes of .*areacello.* differ from those of .*uo"):
            area_weighted_mean(velocity)


def test_an_ensemble_of_native_and_rectangular_grids_is_averaged(
    pools: LocalPools, made: dict[str, xr.Dataset]
) -> None:
    chosen = ["NEAR", "PARENT", "RECTANGULAR"]
    with open_project() as project:
        runs = project.ensemble(dataset="cmip6", variable_id="tos", experiment_id="ssp245", source_id=chosen)
        assert "areacello" not in runs[next(run for run in runs if "RECT" in str(run))].coords
        means = {run: time_weighted_mean(area_weighted_mean(tos, 0.0)) for run, tos in runs.items()}
        found, *each = project.compute(ensemble_statistics(means).ensemble_mean, *means.values())
    days = np.array([31, 28, 31]) / 90
    for run, value in zip(runs, each, strict=True):
        if run.source_id in made:
            np.testing.assert_allclose(value, by_numpy(made[run.source_id]) @ days, rtol=1e-12)
    np.testing.assert_allclose(found, np.mean(each), rtol=1e-12)


def test_an_area_mean_as_an_asset_names_its_areas(pools: LocalPools, made: dict[str, xr.Dataset]) -> None:
    plan = plan_asset(pools.topology, "sea_surface")
    assert set(plan.tasks_by_region) == {WEST}
    found, entry = materialized(pools, "sea_surface")
    np.testing.assert_allclose(found, by_numpy(made["NEAR"]), rtol=1e-12)
    record = Provenance.of(entry)
    assert ["/Ofx/areacello/gn/" in used.key for used in record.sources] == [False, True]
    assert record.experiments == ("ssp245",)
    assert not any("areacello" in name for name in record.uncounted)


def test_a_stored_native_map_keeps_its_areas(pools: LocalPools, made: dict[str, xr.Dataset]) -> None:
    stored, entry = materialized(pools, "mean_map")
    assert entry.region == WEST
    np.testing.assert_array_equal(stored.areacello, made["NEAR"].areacello)
    found, _ = materialized(pools, "mean_of_map")
    days = np.array([31, 28, 31]) / 90
    np.testing.assert_allclose(float(found), by_numpy(made["NEAR"]) @ days, rtol=1e-12)


def test_large_areas_from_another_region_do_not_move_a_stored_map(
    pools: LocalPools, made: dict[str, xr.Dataset]
) -> None:
    stored, entry = materialized(pools, "far_map")
    assert entry.region == WEST
    np.testing.assert_array_equal(stored.areacello, made["FAR"].areacello)


def test_arithmetic_of_runs_with_areas_stays_lazy(pools: LocalPools, made: dict[str, xr.Dataset]) -> None:
    found, _ = materialized(pools, "change")
    np.testing.assert_allclose(found.where(found.notnull(), 0.0), 0.0, atol=1e-9)


def test_a_plan_refuses_areas_in_doubt_and_other_areas_are_another_version(pools: LocalPools) -> None:
    with pytest.raises(XdaskError, match="several, whose values may differ"):
        plan_asset(pools.topology, "doubtful")
    catalog = open_catalog(pools.topology.catalog_url)
    facets = {"variable_id": "tos", "source_id": "NEAR", "experiment_id": "ssp245"}
    source = Source("cmip6", facets)
    found = source.resolve(catalog, None, "")
    assert [replicas[0].variable for replicas in found.groups] == ["tos", "areacello"]
    bare = type(found)(found.runs)
    assert source.version(found) != source.version(bare) == found.runs[""][0].parts[0][0].etag


def test_regridding_without_weights_names_the_command(pools: LocalPools) -> None:
    with open_project() as project, pytest.raises(ClimateError, match="cdo gencon,TARGETGRID"):
        regrid(opened(project, "NEAR"), np.arange(-85.0, 90, 10), np.arange(5.0, 360, 10))


def test_weights_files_in_the_catalog_regrid_in_the_region_of_the_data(pools: LocalPools) -> None:
    expected = regrid(rectangular(), LAT, LON, min_fraction=0.3).values
    with open_project() as project:
        tos = opened(project, "WEIGHED")
        for convention in ("scrip", "esmf"):
            weights = project.open(dataset="weights", grids=f"weighed_{convention}")
            found = regrid_by_weights(tos, weights, LAT, LON, 0.3).compute()
            np.testing.assert_allclose(found, expected, atol=1e-10)
            assert set(project.evidence.bytes_read_by_region) == {WEST}
            assert project.evidence.misplaced_tasks == 0
    file = pools.topology.data_folder(WEST) / "weights" / "weighed_esmf.nc"
    with pytest.raises(AccessError, match=r"its path says tas.*`variable: weights` in regions"):
        describe(file, "netcdf4", claim=Claim(names=("tas",)))
    stored, entry = materialized(pools, "regridded")
    days = np.array([31, 28]) / 59
    mean = np.tensordot(days, rectangular().values, 1)
    as_rows = rectangular()[0].copy(data=mean)
    np.testing.assert_allclose(stored, regrid(as_rows, LAT, LON, min_fraction=0.3), atol=1e-10)
    assert [used.dataset for used in Provenance.of(entry).sources] == ["cmip6", "weights"]
    assert "cell_measures" not in stored.attrs


@pytest.mark.cdo
def test_weights_by_cdo_are_synced_and_give_what_remapcon_gives(
    pools: LocalPools, tmp_path: Path, made: dict[str, xr.Dataset]
) -> None:
    whole = ocean()
    whole.assign(tos=whole.tos.fillna(0.0)).to_netcdf(tmp_path / "whole.nc")
    whole.assign(tos=(("j", "i"), made["NEAR"].tos.values[0], whole.tos.attrs)).to_netcdf(tmp_path / "tos.nc")
    cdo("gencon,r72x36", tmp_path / "whole.nc", pools.topology.data_folder(WEST) / "weights" / "near_r72x36.nc")
    for done in sync_datasets(pools.topology, ["weights"]):
        assert not done.get("quarantined"), done
    cdo("remapcon,r72x36", tmp_path / "tos.nc", tmp_path / "out.nc", area_min=0.4)
    wanted = xr.open_dataset(tmp_path / "out.nc").tos.load()
    with open_project() as project:
        weights = project.open(dataset="weights", grids="near_r72x36")
        lazy = regrid_by_weights(opened(project, "NEAR"), weights, wanted.lat.values, wanted.lon.values, 0.4)
        found = lazy.isel(time=0).compute()
        assert set(project.evidence.bytes_read_by_region) == {WEST}
    assert np.array_equal(found.isnull(), wanted.isnull())
    assert float(abs(found - wanted.values).max()) < 1e-10

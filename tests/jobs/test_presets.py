"""The main job by a preset of regions.yaml: the one of `deploy/aws`, on synthetic data of the same layouts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import yaml

from xdask_pipelines.build import build_definitions
from xdask_pipelines.climate import area_weighted_mean, regrid
from xdask_pipelines.errors import MissingEntries, TopologyError, XdaskError
from xdask_pipelines.operations.demo import configs_of, run_demo
from xdask_pipelines.resources.pools.local_pools import LocalPools
from xdask_pipelines.synthetic import write_cmip6_member, write_era5_month
from xdask_pipelines.topology import Topology

AWS = Path(__file__).parents[2] / "deploy/aws/regions.yaml"
PRESET = "ssp245-2050-01"
MONTHS = ("2011-01", "2011-02", "2011-03", "2011-04")


def local(folder: Path, **observed: str) -> Topology:
    """Write the topology of AWS for folders of this machine, with other months of ERA5."""
    content: dict[str, Any] = yaml.safe_load(AWS.read_text())
    content["profile"] = "local"
    content["presets"][PRESET]["era5_historic_temp_regridded"] |= observed
    for worker in content["workers"]:
        for dataset in worker["datasets"]:
            dataset["excerpt"] = dataset["name"] == "era5"
    (folder / "regions.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return Topology.load(folder / "regions.yaml")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Topology, LocalPools]]:
    folder = tmp_path_factory.mktemp("preset")
    topology = local(folder, first="2011-02", last="2011-03")
    east, west = folder / "data/us-east-1/era5-pds", folder / "data/us-west-2"
    for month in MONTHS:
        year, number = map(int, month.split("-"))
        write_era5_month(east, year, number, hours=24, shape=(19, 36), chunks=(24, 10, 10), seed=number)
    write_cmip6_member(west, years=range(2049, 2052), shape=(18, 36))
    write_cmip6_member(west, experiment_id="historical", years=range(2004, 2015), shape=(18, 36), seed=1)
    pools = LocalPools(topology)
    pools.up()
    yield topology, pools
    pools.close()
    pools.down()


def test_one_month_of_a_projection_minus_the_mean_of_months_of_era5(project: tuple[Topology, LocalPools]) -> None:
    topology, pools = project
    report = run_demo(topology, pools, configs_of(topology, PRESET, None))
    assert report["experiment_id"] == "ssp245"
    assert report["misplaced_tasks"] == 0
    assert "era5_monthly_mean" in report["ran_assets"]
    folder = topology.data_folder("us-east-1") / "era5-pds"
    hourly = [xr.open_dataset(f)["air_temperature_at_2_metres"] for f in sorted(folder.rglob("*.nc"))[1:3]]
    historic = xr.concat([x.astype("f8") for x in hourly], "time0").mean("time0")
    (store,) = (topology.data_folder("us-west-2") / "ScenarioMIP").rglob("v20190507")
    model = xr.open_zarr(store, decode_times=xr.coders.CFDatetimeCoder(use_cftime=True)).tas
    january = model.sel(time="2050-01").astype("f8").mean("time")
    renamed = {n: "lat" for n in historic.dims if str(n).startswith("lat")} | {
        n: "lon" for n in historic.dims if str(n).startswith("lon")
    }
    on_grid = regrid(historic.rename(renamed).compute(), model.lat, model.lon, method="conservative")
    expected = float(area_weighted_mean(january.compute() - on_grid))
    assert report["mean_difference_K"] == pytest.approx(expected, abs=2e-4)
    closes = report["model_bias_K"] + report["climate_signal_K"]
    assert report["mean_difference_K"] == pytest.approx(closes, abs=1e-4)
    assert np.isfinite(expected)


def test_only_the_months_of_the_preset_are_computed_and_once(project: tuple[Topology, LocalPools]) -> None:
    topology, pools = project
    again = run_demo(topology, pools, configs_of(topology, PRESET, None))
    assert "era5_monthly_mean[2011-02, 2011-03]" in again["reused_assets"]
    assert again["ran_assets"] == []


def test_a_month_that_is_not_there_is_named(project: tuple[Topology, LocalPools]) -> None:
    topology, pools = project
    configs = configs_of(topology, PRESET, None)
    configs["era5_historic_temp_regridded"] |= {"first": "2010-12", "last": "2011-02"}
    with pytest.raises(XdaskError, match="1 month of era5_monthly_mean from 2010-12 to 2011-02 is missing: 2010-12"):
        run_demo(topology, pools, configs)
    configs["era5_historic_temp_regridded"] |= {"first": "2011-02"}
    configs["cmip6_predicted_tas_regridded"] |= {"source_id": "HadGEM3-GC31-LL"}
    with pytest.raises(MissingEntries, match="HadGEM3-GC31-LL"):
        run_demo(topology, pools, configs)


def test_the_preset_is_a_job_that_the_launchpad_shows(project: tuple[Topology, LocalPools]) -> None:
    topology, pools = project
    job = build_definitions(topology, {"pools": pools}).resolve_job_def("compare_temperatures_ssp245_2050_01")
    assert job.run_config is not None
    shown = job.run_config["ops"]["cmip6_predicted_tas_regridded"]["config"]
    assert (shown["experiment_id"], shown["first"]) == ("ssp245", "2050-01")


def test_presets_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    topology = local(tmp_path)
    with pytest.raises(XdaskError, match=r"no preset .ssp585. in regions.yaml. Available: ssp245-2050-01"):
        configs_of(topology, "ssp585", None)
    (tmp_path / "regions.yaml").write_text(AWS.read_text().replace(f"{PRESET}:", "'1 month':"))
    with pytest.raises(TopologyError, match="'1 month' is not the name of a preset"):
        Topology.load(tmp_path / "regions.yaml")

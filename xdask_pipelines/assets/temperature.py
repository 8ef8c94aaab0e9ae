"""The main job: projected minus historic near-surface air temperature, and its split into bias and signal.

Belongs here: the analyses of the ERA5-CMIP6 temperature difference, as plain functions. Does not belong here: climate
arithmetic (climate), placement, storage.
"""

import re
from collections.abc import Mapping
from typing import Any

import dagster as dg
import xarray as xr
from pydantic import Field

from xdask_pipelines import climate
from xdask_pipelines.assets.analysis import analysis
from xdask_pipelines.assets.month_ranges import MonthRange
from xdask_pipelines.assets.source import Source
from xdask_pipelines.climate.axes import horizontal_names

GROUP = "temperature"
#: Datasets that the assets read.
DATASETS = {"era5", "cmip6"}
#: Possible near-surface air temperatures and differences of them, K, with room beyond what was ever measured.
_ABSOLUTE, _DIFFERENCE = (170.0, 340.0), (-90.0, 90.0)


#: Config values by asset.
Configs = Mapping[str, Mapping[str, Any]]
#: Name of the job that makes all results that have no partitions.
JOB = "compare_temperatures"


class Run(dg.Config):
    """One run of one model, by its CMIP6 facets; the defaults are the sample's."""

    source_id: str = Field("MetUM-N96", description="Model.")
    member_id: str = Field("r1i1p1", description="Ensemble member.")
    table_id: str = Field("Ayr", description="Table, which says how often: Amon is monthly.")
    grid_label: str | None = Field(None, description="Grid: gn is the model's own; may be empty if there is only one.")
    first: str | None = Field(
        None, description="First year or month of the period, such as 2015 or 2015-01; all if empty."
    )
    last: str | None = Field(None, description="Last year or month of the period, included.")


class Projection(Run):
    """A projection."""

    experiment_id: str = Field("A1B", description="Scenario: A1B or E1 in the sample, ssp245 and others in CMIP6.")


class Reference(Run):
    """The same model's run of the past."""

    experiment_id: str = Field("pre-industrial", description="pre-industrial in the sample, historical in CMIP6.")


class Observed(Reference):
    """The months of ERA5 whose mean is taken, and the run of the model on whose grid it is put."""

    first: str | None = Field(None, description="First month of ERA5, such as 2011-01; all months if empty.")
    last: str | None = Field(None, description="Last month of ERA5, included.")


def _facets(config: Projection | Reference) -> dict[str, str]:
    names = ("source_id", "experiment_id", "member_id", "table_id", "grid_label")
    values = {name: getattr(config, name) for name in names}
    return {"variable_id": "tas", **{name: value for name, value in values.items() if value}}


def _period_mean(tas: xr.DataArray, config: Run) -> xr.DataArray:
    """Time-weighted mean over the period of the config."""
    return climate.time_weighted_mean(climate.select_period(tas, config.first, config.last))


def _regridded(mean: xr.DataArray, model: xr.DataArray) -> xr.DataArray:
    """A mean on a model's grid, whatever its latitudes and longitudes are called."""
    lat, lon = horizontal_names(model)
    return climate.regrid(mean, model[lat], model[lon], method="conservative")


def temperature_job(preset: str = "", configs: Configs | None = None) -> Any:
    """The main job by its name: all of it but the months, which are launched as their data come.

    Parameters
    ----------
    preset, configs
        Name of a preset of the topology, and the config values of its assets, which the launchpad then shows.
    """
    return dg.define_asset_job(
        f"{JOB}_{re.sub('[^A-Za-z0-9]', '_', preset)}" if preset else JOB,
        dg.AssetSelection.assets("temperature_difference", "model_bias", "climate_signal").upstream()
        & dg.AssetSelection.groups(GROUP) - dg.AssetSelection.assets("era5_monthly_mean"),
        description="Projected minus historic temperature, its bias and its signal"
        + (f", as the preset {preset} says." if preset else ", of all months that are materialized."),
        config={"ops": {name: {"config": dict(values)} for name, values in configs.items()}} if configs else None,
    )


def temperature_assets(months: dg.PartitionsDefinition[str]) -> list[dg.AssetsDefinition]:
    """All assets of the main job.

    Parameters
    ----------
    months
        Months of ERA5.
    """

    @analysis(
        sources={"hourly": Source("era5", {"variable": "air_temperature_at_2_metres"})},
        partitions_def=months,
        preview=climate.mean_of_partials,
        units="K",
        valid_range=_ABSOLUTE,
        group_name=GROUP,
    )
    def era5_monthly_mean(hourly: xr.DataArray) -> xr.Dataset:
        """Sum and count of a month's hourly 2 m temperature: what exact means over many months are made of."""
        return climate.month_partial(hourly)

    @analysis(
        sources={"model": Source("cmip6", _facets, grid=True)},
        months={"era5_monthly_mean": lambda config: MonthRange(config.first, config.last)},
        units="K",
        valid_range=_ABSOLUTE,
        group_name=GROUP,
    )
    def era5_historic_temp_regridded(
        era5_monthly_mean: xr.Dataset, model: xr.DataArray, config: Observed
    ) -> xr.DataArray:
        """Mean 2 m temperature of the months of the config, conservatively regridded to the model's grid, K."""
        mean = climate.mean_of_partials(era5_monthly_mean)
        return _regridded(mean, model)

    @analysis(sources={"tas": Source("cmip6", _facets)}, units="K", valid_range=_ABSOLUTE, group_name=GROUP)
    def cmip6_predicted_tas_regridded(tas: xr.DataArray, config: Projection) -> xr.DataArray:
        """Mean projected near-surface air temperature on the model's own grid, K."""
        return _regridded(_period_mean(tas, config), tas)

    @analysis(sources={"tas": Source("cmip6", _facets)}, units="K", valid_range=_ABSOLUTE, group_name=GROUP)
    def cmip6_reference_tas_regridded(tas: xr.DataArray, config: Reference) -> xr.DataArray:
        """Mean near-surface air temperature of the model's own past, on its own grid, K."""
        return _regridded(_period_mean(tas, config), tas)

    @analysis(units="K", valid_range=_DIFFERENCE, caveat="a demonstration, not science", group_name=GROUP)
    def temperature_difference(
        cmip6_predicted_tas_regridded: xr.DataArray, era5_historic_temp_regridded: xr.DataArray
    ) -> xr.DataArray:
        """Projected minus historic near-surface air temperature, K: the model's bias and the warming together."""
        return climate.difference(cmip6_predicted_tas_regridded, era5_historic_temp_regridded)

    @analysis(
        units="K", valid_range=_DIFFERENCE, caveat="an offset between different times, not a bias", group_name=GROUP
    )
    def model_bias(
        cmip6_reference_tas_regridded: xr.DataArray, era5_historic_temp_regridded: xr.DataArray
    ) -> xr.DataArray:
        """The model's own past minus the reanalysis, K; an offset, not a bias, where the two are of other times."""
        return climate.model_bias(cmip6_reference_tas_regridded, era5_historic_temp_regridded)

    @analysis(units="K", valid_range=_DIFFERENCE, group_name=GROUP)
    def climate_signal(
        cmip6_predicted_tas_regridded: xr.DataArray, cmip6_reference_tas_regridded: xr.DataArray
    ) -> xr.DataArray:
        """Projected minus the same model's past, K: the warming."""
        return climate.climate_signal(cmip6_predicted_tas_regridded, cmip6_reference_tas_regridded)

    return [
        era5_monthly_mean,
        era5_historic_temp_regridded,
        cmip6_predicted_tas_regridded,
        cmip6_reference_tas_regridded,
        temperature_difference,
        model_bias,
        climate_signal,
    ]

"""Climate analyses of CMIP6 runs as assets: climatology, anomalies, regional series, trends, warming levels, ensembles.

Belongs here: which data go into which function of `climate`. Does not belong here: the arithmetic (``climate.analyses``),
what people fill in (``climate_config``), the main job (``temperature``).
"""

from __future__ import annotations

from typing import Any

import dagster as dg
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xdask_pipelines import climate
from xdask_pipelines.assets.analysis import analysis
from xdask_pipelines.assets.climate_config import (
    DATASET,
    AnomalyConfig,
    ChangeConfig,
    ClimatologyConfig,
    Data,
    FrostConfig,
    SeriesConfig,
    SkillConfig,
    TrendConfig,
    WarmDaysConfig,
    WarmingConfig,
)
from xdask_pipelines.assets.source import Source
from xdask_pipelines.catalog.runs import RUN
from xdask_pipelines.catalog.times import Time
from xdask_pipelines.climate import analyses
from xdask_pipelines.climate.analyses import Member
from xdask_pipelines.climate.regions import regional_mean

GROUP = "climate"


def _facets(config: Data) -> dict[str, Any]:
    return config.facets()


def _period(config: Data) -> Time | None:
    return config.period()


def _continues(config: Data) -> bool:
    return config.starts_with_parent()


RUN_SOURCE = Source(DATASET, _facets, time=_period, with_parent=_continues)
RUNS_SOURCE = Source(DATASET, _facets, time=_period, with_parent=_continues, each=RUN)


def climate_assets(*, with_era5: bool = True) -> list[dg.AssetsDefinition]:
    """Return the climate analyses, each for a run or an ensemble that its config names.

    Parameters
    ----------
    with_era5
        Whether the project has ``era5_monthly_mean``, which some compare with.
    """

    @analysis(sources={"field": RUN_SOURCE}, preview=lambda result: result[0], gaps="allowed", group_name=GROUP)
    def cmip6_climatology(field: xr.DataArray, config: ClimatologyConfig) -> xr.DataArray:
        """Mean of each month or season over all years of a period."""
        return analyses.climatology(field, config.every)

    @analysis(sources={"field": RUN_SOURCE}, preview=lambda result: result[-1], gaps="allowed", group_name=GROUP)
    def cmip6_anomaly(field: xr.DataArray, config: AnomalyConfig) -> xr.DataArray:
        """Differences of each step from the climatology of a baseline."""
        return analyses.anomaly(field, config.baseline, config.every)

    @analysis(sources={"field": RUN_SOURCE}, gaps="allowed", group_name=GROUP)
    def cmip6_regional_series(field: xr.DataArray, config: SeriesConfig) -> xr.DataArray:
        """Annual anomalies from a baseline, averaged over regions."""
        means = regional_mean(field, config.regions)
        return analyses.period_means(analyses.anomaly(means, config.baseline), "year")

    @analysis(sources={"field": RUN_SOURCE}, preview=lambda result: result.slope, gaps="allowed", group_name=GROUP)
    def cmip6_trend(field: xr.DataArray, config: TrendConfig) -> xr.Dataset:
        """Sen's slope of annual means for each decade, and the p-value of the Mann-Kendall test."""
        return analyses.sen_trend(analyses.period_means(field, "year"))

    @analysis(
        sources={"field": RUN_SOURCE}, preview=lambda result: result.central_year, gaps="allowed", group_name=GROUP
    )
    def cmip6_warming_levels(field: xr.DataArray, config: WarmingConfig) -> xr.Dataset:
        """First windows of years in which the global mean reaches each warming level."""
        warming = analyses.anomaly(climate.area_weighted_mean(field), config.baseline, "year")
        return analyses.warming_level_crossing(warming, config.levels, config.window)

    @analysis(
        sources={"runs": RUNS_SOURCE}, preview=lambda result: result.ensemble_mean, gaps="allowed", group_name=GROUP
    )
    def cmip6_ensemble_change(runs: dict[Member, xr.DataArray], config: ChangeConfig) -> xr.Dataset:
        """Change from a baseline to a later period: mean, spread, percentiles and agreement of sign over models."""
        changes = {}
        for run, field in runs.items():
            change = analyses.anomaly(field, config.baseline, "year")
            later = climate.time_weighted_mean(climate.select_period(change, config.future_first, config.future_last))
            changes[run] = climate.regrid(later, *_even_grid(config.degrees))
        return analyses.ensemble_statistics(changes)

    @analysis(
        sources={"runs": RUNS_SOURCE},
        months={"era5_monthly_mean": SkillConfig.months},
        preview=analyses.taylor_points,
        gaps="allowed",
        group_name=GROUP,
    )
    def cmip6_skill(runs: dict[Member, xr.DataArray], era5_monthly_mean: xr.Dataset, config: SkillConfig) -> xr.Dataset:
        """Bias, error, pattern correlation and standard deviation of runs against ERA5 over the same months."""
        grid = _even_grid(config.degrees)
        reference = climate.regrid(climate.mean_of_partials(era5_monthly_mean), *grid)
        figures = [
            analyses.skill(climate.regrid(climate.time_weighted_mean(f), *grid), reference) for f in runs.values()
        ]
        return xr.concat(figures, xr.Variable("run", [str(run) for run in runs]), combine_attrs="drop_conflicts")

    return [
        cmip6_climatology,
        cmip6_anomaly,
        cmip6_regional_series,
        cmip6_trend,
        cmip6_warming_levels,
        cmip6_ensemble_change,
        *([cmip6_skill] if with_era5 else []),
        *(_extremes() if analyses.has_indices() else []),
    ]


def _even_grid(degrees: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return centres of cells of equal steps."""
    return np.arange(-90 + degrees / 2, 90, degrees), np.arange(degrees / 2, 360, degrees)


def _extremes() -> list[dg.AssetsDefinition]:
    """Return the analyses of extremes, which need the extra [indices]."""

    @analysis(
        sources={"tasmin": RUN_SOURCE},
        preview=lambda result: result[-1],
        gaps="allowed",
        units="days",
        group_name=GROUP,
    )
    def cmip6_frost_days(tasmin: xr.DataArray, config: FrostConfig) -> xr.DataArray:
        """Days of each year whose minimum temperature is below 0 degC (FD)."""
        return analyses.frost_days(tasmin)

    @analysis(
        sources={"tasmax": RUN_SOURCE},
        preview=lambda result: result[-1],
        gaps="allowed",
        units="days",
        group_name=GROUP,
    )
    def cmip6_warm_days(tasmax: xr.DataArray, config: WarmDaysConfig) -> xr.DataArray:
        """Days of each year above the 90th percentile of their day of the year in a baseline (TX90p)."""
        return analyses.warm_days(tasmax, config.baseline)

    return [cmip6_frost_days, cmip6_warm_days]

"""Config of the climate analyses: which data, which period, which baseline, which regions; checked before a run.

Belongs here: what people fill in, and what each part of it means for a source. Does not belong here: the analyses
(``climate_analyses``).
"""

from __future__ import annotations

from typing import Any, Literal

import dagster as dg
from pydantic import Field, field_validator, model_validator

from xdask_pipelines.assets.month_ranges import MonthRange
from xdask_pipelines.catalog.runs import RUN
from xdask_pipelines.catalog.times import Time, range_of
from xdask_pipelines.climate.regions import region
from xdask_pipelines.climate.times.baselines import BASELINES, baseline_years

DATASET = "cmip6"
HISTORICAL = "historical"
_BASELINES = ", ".join(BASELINES)


def dividing(degrees: float) -> float:
    """Return the step of a grid that reaches from pole to pole; refuse others."""
    if abs(180 / degrees - round(180 / degrees)) > 1e-9:
        raise ValueError("180 must be a multiple of it")
    return degrees


class Data(dg.Config):
    """Catalogued CMIP6 data, and a period of it."""

    variable_id: str = Field("tas", description="Variable, by its CMIP6 name.")
    table_id: str = Field("Amon", description="Table, which says how often: Amon is monthly, day daily.")
    experiment_id: str = Field("ssp245", description="Experiment; a scenario begins with its historical run.")
    grid_label: str | None = Field(None, description="Grid: gn is the model's own; may be empty if there is only one.")
    first: str | None = Field("1850", description="First year, month or day; all that there is if both are empty.")
    last: str | None = Field("2100", description="Last year, month or day, included.")

    @model_validator(mode="after")
    def _period(self) -> Data:
        self.period()
        return self

    def period(self) -> Time | None:
        """Return the period; None for all that there is."""
        if not self.first and not self.last:
            return None
        if not self.first or not self.last:
            raise ValueError("first and last: give both, or neither")
        range_of((self.first, self.last))
        return self.first, self.last

    def facets(self) -> dict[str, str]:
        """Return the facets that the catalog is asked for."""
        values = {name: getattr(self, name) for name in ("variable_id", "table_id", "experiment_id", "grid_label")}
        return {name: value for name, value in values.items() if value}

    def starts_with_parent(self) -> bool:
        """Return whether the historical run comes before the experiment."""
        return self.experiment_id != HISTORICAL


class OneRun(Data):
    """One run of one model."""

    source_id: str = Field("UKESM1-0-LL", description="Model.")
    member_id: str = Field("r1i1p1f2", description="Ensemble member.")

    def facets(self) -> dict[str, str]:
        """Return the facets that the catalog is asked for."""
        return {**super().facets(), "source_id": self.source_id, "member_id": self.member_id}


class Runs(Data):
    """All runs that match, or those of some models."""

    source_ids: list[str] = Field([], description="Models; all that the catalog has if empty.")
    member_ids: list[str] = Field([], description="Members; all if empty.")

    def facets(self) -> dict[str, Any]:
        """Return the facets that the catalog is asked for; lists for models and members."""
        lists = dict(zip(RUN, (self.source_ids, self.member_ids), strict=True))
        return {**super().facets(), **{name: values for name, values in lists.items() if values}}


class Baseline(dg.Config):
    """A period that anomalies are relative to."""

    baseline: str = Field("ar6-recent", description=f"Two years such as 1986-2005, or a name: {_BASELINES}.")

    @field_validator("baseline")
    @classmethod
    def _known_baseline(cls, value: str) -> str:
        baseline_years(value)
        return value


class Regions(dg.Config):
    """Regions of means."""

    regions: list[str] = Field(
        ["global", "land", "sea"],
        description="global, land, sea, AR6 acronyms such as MED, box(south, north, west, east), or several joined by &.",
    )

    @field_validator("regions")
    @classmethod
    def _known_regions(cls, values: list[str]) -> list[str]:
        if not values:
            raise ValueError("name at least one region")
        for value in values:
            region(value)
        return values


class ClimatologyConfig(OneRun):
    """A climatology of one run."""

    every: Literal["month", "season"] = Field("month", description="Months, or seasons (DJF with the December before).")
    first: str | None = Field("1995", description="First year.")
    last: str | None = Field("2014", description="Last year, included.")


class AnomalyConfig(OneRun, Baseline):
    """Anomalies of one run."""

    every: Literal["month", "season", "year"] = Field("month", description="What of the annual cycle is removed.")


class SeriesConfig(OneRun, Baseline, Regions):
    """Annual anomalies of one run by region."""


class TrendConfig(OneRun):
    """A trend of one run."""

    first: str | None = Field("1971", description="First year.")
    last: str | None = Field("2020", description="Last year, included.")


class FrostConfig(OneRun):
    """Frost days of one run."""

    variable_id: str = Field("tasmin", description="Daily minimum temperature, by its CMIP6 name.")
    table_id: str = Field("day", description="Table of daily values.")


class WarmDaysConfig(OneRun, Baseline):
    """TX90p of one run."""

    variable_id: str = Field("tasmax", description="Daily maximum temperature, by its CMIP6 name.")
    table_id: str = Field("day", description="Table of daily values.")
    baseline: str = Field("wmo-1961-1990", description=f"Two years such as 1961-1990, or a name: {_BASELINES}.")


class WarmingConfig(OneRun, Baseline):
    """Warming levels of one run."""

    levels: list[float] = Field([1.5, 2.0, 3.0, 4.0], description="Warming levels, in the units of the variable.")
    baseline: str = Field("pre-industrial", description=f"Two years such as 1850-1900, or a name: {_BASELINES}.")
    window: int = Field(20, ge=1, description="Years of a window.")


class SkillConfig(Runs):
    """Skill of runs against ERA5 over the same months, on a grid of equal steps."""

    experiment_id: str = Field("historical", description="Experiment; a scenario begins with its historical run.")
    first: str | None = Field("1995", description="First year or month, of runs and of ERA5.")
    last: str | None = Field("2014", description="Last year or month, included.")
    degrees: float = Field(2.0, gt=0, le=30, description="Step of the common grid, in degrees; it must divide 180.")

    @field_validator("degrees")
    @classmethod
    def _divides(cls, value: float) -> float:
        return dividing(value)

    @field_validator("variable_id")
    @classmethod
    def _near_surface(cls, value: str) -> str:
        if value != "tas":
            raise ValueError("the reference is the 2 m temperature of ERA5, so only tas can be compared")
        return value

    @model_validator(mode="after")
    def _same_months(self) -> SkillConfig:
        self.months()
        return self

    def months(self) -> MonthRange:
        """Return the months of ERA5."""
        if not self.first or not self.last:
            raise ValueError("first and last: give both, so that runs and ERA5 are of the same months")
        ends = (
            f"{self.first}-01" if len(self.first) == 4 else self.first,
            f"{self.last}-12" if len(self.last) == 4 else self.last,
        )
        return MonthRange(*ends)


class ChangeConfig(Runs, Baseline):
    """Change of an ensemble between a baseline and a later period, on a grid of equal steps."""

    future_first: str = Field("2081", description="First year of the later period.")
    future_last: str = Field("2100", description="Last year of the later period, included.")
    first: str | None = Field("1995", description="First year that is read: that of the baseline or before.")
    degrees: float = Field(2.0, gt=0, le=30, description="Step of the common grid, in degrees; it must divide 180.")

    @field_validator("degrees")
    @classmethod
    def _divides(cls, value: float) -> float:
        return dividing(value)

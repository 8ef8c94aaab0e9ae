"""Names of facets and their values for people, and whether an experiment is of the past.

Belongs here: words. Does not belong here: which values there are (facet_choice).

Sources: the CMIP6 controlled vocabularies for experiments and tables (https://github.com/WCRP-CMIP/CMIP6_CVs); the SRES
scenarios of CMIP3 and ENSEMBLES (IPCC, 2000).
"""

from __future__ import annotations

import re
from typing import Literal

from xdask_pipelines.catalog import Entry

Kind = Literal["historical", "projection"]
KINDS: tuple[Kind, ...] = ("historical", "projection")
EXPERIMENT = "experiment_id"
#: Titles of facets, in the order in which they are chosen; all others follow.
_TITLES = {
    "dataset": "Dataset",
    "variable": "Variable",
    EXPERIMENT: "Experiment",
    "source_id": "Model",
    "institution_id": "Institution",
    "activity_id": "Activity",
    "table_id": "Frequency",
    "member_id": "Member",
    "grid_label": "Grid",
    "version": "Version",
}
_VALUES = {
    "table_id": {
        "Amon": "monthly, atmosphere",
        "Omon": "monthly, ocean",
        "Lmon": "monthly, land",
        "SImon": "monthly, sea ice",
        "day": "daily",
        "Oday": "daily, ocean",
        "6hrPlev": "6-hourly, pressure levels",
        "3hr": "3-hourly",
        "E1hr": "hourly",
        "Ayr": "yearly, atmosphere",
        "Oyr": "yearly, ocean",
        "fx": "fixed in time",
        "Ofx": "fixed in time, ocean",
    },
    "grid_label": {"gn": "the model's own grid", "gr": "regridded", "gr1": "regridded, 1"},
    EXPERIMENT: {
        "historical": "observed forcing, 1850 to 2014",
        "piControl": "pre-industrial control",
        "amip": "observed sea surface, 1979 to 2014",
        "ssp119": "SSP1-1.9",
        "ssp126": "SSP1-2.6, low emissions",
        "ssp245": "SSP2-4.5, medium emissions",
        "ssp370": "SSP3-7.0, high emissions",
        "ssp585": "SSP5-8.5, very high emissions",
        "1pctCO2": "CO2 rises by 1 % a year",
        "abrupt-4xCO2": "CO2 is quadrupled at once",
        "A1B": "SRES A1B, medium emissions",
        "A2": "SRES A2, high emissions",
        "B1": "SRES B1, low emissions",
        "E1": "E1, emissions that limit warming to 2 K",
        "pre-industrial": "before industry",
    },
}
_PAST = re.compile(r"hist|^amip|pi-?control|pre-?industrial|^past\d|^lgm|^lig|midholocene", re.IGNORECASE)


def order(name: str) -> tuple[int, str]:
    """Return the sort key of facets: those of all models first, others by name."""
    names = list(_TITLES)
    return (names.index(name) if name in names else len(names), name)


def facet_title(name: str) -> str:
    """Return the title of a facet: ``source_id`` is "Model"."""
    return _TITLES.get(name) or name.removesuffix("_id").replace("_", " ").capitalize()


def value_title(name: str, value: str, count: int) -> str:
    """Return a value with what it means and how many entries have it: ``ssp245: SSP2-4.5, medium emissions (12)``."""
    meaning = _VALUES.get(name, {}).get(value, "")
    return f"{value}{f': {meaning}' if meaning else ''} ({count:,})"


def variable_title(entry: Entry) -> str:
    """Return the name and the units of the variable of an entry, from its header; empty without header."""
    about = (entry.header or {}).get("variables", {}).get(entry.variable, {})
    attrs = about.get("attrs", {})
    name = str(attrs.get("long_name") or attrs.get("standard_name") or "").replace("_", " ")
    units = f", {attrs['units']}" if attrs.get("units") else ""
    return f"{name}{units}" if name else ""


def kind_of(experiment: str) -> Kind:
    """Return whether an experiment is of the past or a projection; data without experiment are observations or analyses."""
    return "historical" if not experiment or _PAST.search(experiment) else "projection"

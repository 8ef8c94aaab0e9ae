"""Finding the entries with the areas of a field's cells in the catalog.

Belongs here: which entries fit a field, and when several are one. Does not belong here: opening them (``attached_areas``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xdask_pipelines.access.coordinates import unpack
from xdask_pipelines.catalog import Catalog, Entry
from xdask_pipelines.catalog.backend import Query
from xdask_pipelines.catalog.runs import Segment
from xdask_pipelines.catalog.series import Replicas, are_replicas, replica_difference
from xdask_pipelines.climate import same_coordinate
from xdask_pipelines.climate.axes import horizontal_role
from xdask_pipelines.climate.cell_measures import AREA_NAMES, measured_area

#: Facets that say nothing about a grid; all other facets that the field and its areas both have must be equal.
_NOT_OF_GRID = frozenset(
    {
        *("variable", "variable_id", "table_id", "table", "cmip_table", "mip_table", "product", "frequency", "realm"),
        *("experiment_id", "experiment", "activity_id", "activity", "institution_id", "institution", "institute"),
        *("member_id", "member", "ensemble", "variant_label", "year", "month", "day", "store", "file"),
    }
)
_EXPERIMENTS, _MEMBERS = ("experiment_id", "experiment"), ("member_id", "member", "ensemble", "variant_label")
_PACKING = ("_FillValue", "missing_value", "scale_factor", "add_offset", "_Unsigned")


@dataclass(frozen=True)
class FoundAreas:
    """The entries with the areas of a field's cells: one in each Region that holds them; or why there are none.

    Attributes
    ----------
    variable
        Name of the areas in the entries.
    dims
        The field's horizontal dimensions; empty if its header does not say them.
    replicas
        Entries with the same values; empty if there are none.
    missing
        The reason, as a clause.
    """

    variable: str = ""
    dims: tuple[str, ...] = ()
    replicas: Replicas = ()
    missing: str = ""

    @property
    def version(self) -> list[str]:
        """Return what identifies the values: equal for all replicas, whichever of them the catalog has."""
        return sorted({str(_identity(entry, self.variable)) for entry in self.replicas})


@dataclass(frozen=True)
class _Field:
    """What a field's entry says of its cells."""

    entry: Entry
    name: str
    dims: tuple[str, ...]
    places: Mapping[str, Mapping[str, Any]]
    measured: str

    @property
    def sizes(self) -> dict[str, int]:
        variable = (self.entry.header or {})["variables"][self.name]
        return dict(zip(variable["dims"], variable["shape"], strict=True))


def areas_of_run(catalog: Catalog, segments: Sequence[Segment]) -> FoundAreas | None:
    """Find the areas of the cells of a run on a curvilinear or unstructured grid.

    Areas are entries of the same dataset whose variable is the one that the field's ``cell_measures`` names, else
    ``areacello`` or ``areacella``, and whose facets agree in all that concerns the grid (``source_id``, ``grid_label``). If
    all of them have the same values, they are taken for one, so that all runs of a model share one lazy array. If not,
    those of the run's own experiment and member are taken; else those of its member in any experiment and those of its
    parent. Again, several are taken only if their values are the same: there is no arbitrary choice.

    Parameters
    ----------
    catalog
        Where to look.
    segments
        The run's segments, the parent's first.

    Returns
    -------
    The entries, or why there are none; None for a field of rows and columns, and for one that has areas in its own file.
    """
    entry = segments[-1].parts[0][0]
    field = _field(entry)
    if field is None:
        return None
    names = (field.measured,) if field.measured else AREA_NAMES
    every = _searched(catalog, entry, names)
    unfit = {each.id: problem for each in every if (problem := _misfit(field, each))}
    fitting = [each for each in every if each.id not in unfit]
    if fitting:
        everywhere = _the_same(field, fitting)
        for wanted in [] if everywhere.replicas else _by_preference(entry):
            if nearer := [each for each in fitting if any(one.items() <= each.facets.items() for one in wanted)]:
                return _the_same(field, nearer)
        return everywhere
    facets = " ".join(f"{name}={value!r}" for name, value in entry.facets.items() if name not in _NOT_OF_GRID)
    lacks = f"the catalog has no {' or '.join(names)} of {facets or 'this grid'} in the dataset {entry.dataset}"
    return FoundAreas(dims=field.dims, missing="; ".join(list(unfit.values())[:3]) or lacks)


def _field(entry: Entry) -> _Field | None:
    """Return what matters of an entry if its variable is on a native grid, and has no areas in the same file."""
    header = entry.header or {}
    variables = header.get("variables", {})
    data = [name for name, v in variables.items() if not v.get("coordinate")]
    name = str(header.get("variable") or (data[0] if len(data) == 1 else ""))
    if name not in variables or name in AREA_NAMES or variables[name]["attrs"].get("standard_name") == "cell_area":
        return None
    variable = variables[name]
    dims, places = tuple(variable["dims"]), _places(header)
    if any(c["dims"] == [n] and n in dims for n, c in places.items()):
        return None  # rows and columns, or a section along one of them
    measured = measured_area(variable["attrs"])
    companions = {**header.get("coords", {}), **{n: v for n, v in variables.items() if v.get("coordinate")}}
    shared = {tuple(c["dims"]) for c in places.values() if set(c["dims"]) <= set(dims) and c["dims"]}
    if measured in companions or not (measured or len(shared) == 1):
        return None
    horizontal = tuple(d for d in dims if d in next(iter(shared))) if len(shared) == 1 else ()
    return _Field(entry, name, horizontal, places, measured)


def _places(header: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the coordinates in a header that have latitudes or longitudes, without bounds and vertices."""
    every = {**header.get("coords", {}), **{n: v for n, v in header["variables"].items() if v.get("coordinate")}}
    bounds = {str(c["attrs"].get("bounds", "")) for c in every.values()}
    return {
        name: c
        for name, c in every.items()
        if len(c["dims"]) <= 2 and name not in bounds and horizontal_role(name, c["attrs"])
    }


def _by_preference(entry: Entry) -> list[list[dict[str, str]]]:
    """Return the facets of areas in order of preference: the same experiment and member; the member, or the parent."""
    experiment = next((name for name in _EXPERIMENTS if name in entry.facets), None)
    member = next((name for name in _MEMBERS if name in entry.facets), None)
    own = {name: entry.facets[name] for name in (experiment, member) if name}
    choices = [[own]] if own else []
    if member:
        attrs = (entry.header or {}).get("attrs", {})
        before = [{member: entry.facets[member]}]
        if experiment and attrs.get("parent_experiment_id") and attrs.get("parent_variant_label"):
            before.append({experiment: str(attrs["parent_experiment_id"]), member: str(attrs["parent_variant_label"])})
        choices.append(before)
    return choices


def _searched(catalog: Catalog, entry: Entry, names: Sequence[str]) -> list[Entry]:
    terms = {"dataset": (entry.dataset,), "variable": tuple(names)}
    found = {each.id: each for each in catalog.backend.search(Query(terms=terms))}
    return [each for _, each in sorted(found.items()) if _agree(each.facets, entry.facets)]


def _agree(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    return all(one[name] == other[name] for name in (one.keys() & other.keys()) - _NOT_OF_GRID)


def _misfit(field: _Field, areas: Entry) -> str:
    """Return why areas are not those of a field's cells, as a clause that names both files; empty if they are."""
    variable = (areas.header or {}).get("variables", {}).get(areas.variable)
    if variable is None:
        return f"the catalog has no header of {areas} with the variable {areas.variable}"
    sizes = {d: n for d, n in zip(variable["dims"], variable["shape"], strict=True) if n != 1 or d in field.dims}
    wanted = {d: field.sizes[d] for d in field.dims or sizes if d in field.sizes}
    if sizes != wanted or not sizes:
        return f"{areas} has {areas.variable} of the sizes {sizes}, and {field.entry} has cells of the sizes {wanted}"
    compared = 0
    for name, place in _places(areas.header or {}).items():
        role = horizontal_role(name, place["attrs"])
        same = [_same_place(c, place) for n, c in field.places.items() if horizontal_role(n, c["attrs"]) == role]
        if False in same:
            return f"the {role}s of {areas} differ from those of {field.entry}"
        compared += True in same
    if not field.measured and compared < 2:  # such as areas of tracer cells for velocities, on a grid of the same size
        return (
            f"{field.name} of {field.entry} has no cell_measures, and its latitudes and longitudes cannot be compared with "
            f"those of {areas}"
        )
    return ""


def _same_place(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool | None:
    """Return whether two coordinates in headers are equal; None if they are too large for headers and have no digest."""
    if one["dims"] != other["dims"] or one["shape"] != other["shape"]:
        return False
    if "data" in one and "data" in other:
        return same_coordinate(unpack(one), unpack(other))
    digests = one.get("digest"), other.get("digest")
    return digests[0] == digests[1] if all(digests) else None


def _the_same(field: _Field, entries: Sequence[Entry]) -> FoundAreas:
    """Return entries as one if nothing distinguishes their values."""
    variables = sorted({entry.variable for entry in entries})
    identities = {_identity(entry, entry.variable) for entry in entries}
    copies = are_replicas(entries) and not replica_difference(entries)
    if len(variables) > 1 or (len(identities) > 1 and not copies):
        listed = "; ".join(map(str, entries[:8])) + (f"; and {len(entries) - 8} more" if len(entries) > 8 else "")
        return FoundAreas(dims=field.dims, missing=f"the catalog has several, whose values may differ: {listed}")
    by_region = {entry.region: entry for entry in reversed(entries)}
    return FoundAreas(variables[0], field.dims, tuple(entry for _, entry in sorted(by_region.items())))


def _identity(entry: Entry, variable: str) -> tuple[str, ...]:
    """Return what two entries have in common only if their areas are the same."""
    described = (entry.header or {}).get("variables", {}).get(variable, {})
    if digest := described.get("digest"):
        packing = (str(described["attrs"].get(name)) for name in _PACKING)
        return (str(digest), str(described["dtype"]), str(described["attrs"].get("units")), *packing)
    return entry.etag, str(entry.size_bytes)

"""Reproducing a stored result: it is computed again from the recorded entries and config, and compared; nothing is stored.

Belongs here: the run and the comparison. Does not belong here: what is recorded (resources.provenance), output (cli).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xdask_pipelines.assets.analysis_definition import Analysis, run
from xdask_pipelines.catalog import Catalog, Change, Entry, open_catalog
from xdask_pipelines.errors import ChangedEntry, XdaskError
from xdask_pipelines.operations.records.stored_result import stored_result
from xdask_pipelines.placement import Evidence
from xdask_pipelines.placement.client.compute import Progress
from xdask_pipelines.resources.parts import only
from xdask_pipelines.resources.pools.pools_of_topology import pools_of
from xdask_pipelines.resources.pools.standing_pools import Tell
from xdask_pipelines.resources.provenance import Provenance
from xdask_pipelines.resources.reporting.lineage import identity, is_result, lineage_of
from xdask_pipelines.resources.reporting.result_report import address_of_result
from xdask_pipelines.resources.results import Results
from xdask_pipelines.system.packages import deciding_versions
from xdask_pipelines.topology import Topology

Part = xr.DataArray | xr.Dataset


@dataclass(frozen=True)
class Reproduction:
    """What computing a result again showed.

    Attributes
    ----------
    result
        Address of the stored result.
    identical
        Whether all values have the same bits.
    largest_difference
        By variable, in its units; NaN if only one of both lacks a value somewhere.
    different_values
        Number of values that differ in any bit, by variable.
    changed
        Sentences about what is not as it was: code, packages.
    evidence
        Of the computation.
    """

    result: str
    identical: bool
    largest_difference: Mapping[str, float] = field(default_factory=dict)
    different_values: Mapping[str, int] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    evidence: Evidence = field(default_factory=Evidence)


def reproduce(
    topology: Topology, name: str, partition: str = "", watch: Progress | None = None, note: Tell | None = None
) -> Reproduction:
    """Compute a stored result again from what its record names, on running pools, and compare all values.

    Direct inputs are those of the record: files, and stored upstream results, which are not computed again.

    Parameters
    ----------
    topology, name, partition
        As for `stored_result`.
    watch, note
        Called with progress, and with lines for what delays the computation.

    Raises
    ------
    XdaskError
        If there is no such result or analysis, or its record is incomplete; if an entry of the record is gone or has
        another digest, the error names each; if the pools are down.
    """
    pools = pools_of(topology, watch, note)
    try:
        stored = stored_result(topology, name, partition, {"pools": pools})
        entry, made = stored.entry, stored.made
        if made is None:
            raise XdaskError(
                f"The project defines no analysis {entry.dataset} any more, so its result cannot be computed again. "
                "Restore its file in the folder analyses."
            )
        record = Provenance.of(entry)
        entries = _recorded_entries(stored.results.catalog, entry, record)
        again = _computed_lazily(topology, stored.results, made, entry, record, entries)
        before = only(stored.results.open([entry]))
        return _compared(pools, entry, _changes(made, record), before, again)
    except ChangedEntry as error:
        raise XdaskError(
            f"{name} cannot be reproduced, because what is stored is not what was catalogued: {error} A store of a result "
            "that something else has changed is worthless; compute it again with `xdask run`."
        ) from error
    finally:
        pools.close()


def _recorded_entries(catalog: Catalog, entry: Entry, record: Provenance) -> list[Entry]:
    """Return the entries that the record names directly, exactly as they were.

    Raises
    ------
    XdaskError
        If the record does not name all, or one is gone or has changed.
    """
    if record.source_count:
        raise XdaskError(
            f"The record of {entry.dataset} names {len(record.sources):,} of its {record.source_count:,} sources, so it "
            "cannot be reproduced. Reproduce its partitions, or the results it was made from."
        )
    found = lineage_of(catalog, entry)
    problems = []
    for used in record.sources:
        id_ = identity(used)
        where = f"{used.dataset} {used.key} {used.part}".strip() + f" in {used.region}"
        if id_ in found.gone:
            problems.append(f"{where} is not in the catalog any more (digest {used.digest})")
        elif id_ in found.changed:
            problems.append(f"{where} has the digest {found.changed[id_].etag}, and had {used.digest}")
    if problems:
        raise XdaskError(
            f"{entry.dataset} cannot be computed from what it was made from: {'; '.join(problems)}. Restore these, and "
            f"run `xdask sync`; or compute a new result from what there is: `xdask run {entry.dataset}`."
        )
    return [found.entries[identity(used)] for used in record.sources]


def _computed_lazily(
    topology: Topology, results: Results, made: Analysis, entry: Entry, record: Provenance, entries: list[Entry]
) -> Part:
    """Return the result as a lazy object, from the recorded entries alone.

    The analysis asks a catalog that holds nothing else, so that newer versions of its data do not count.
    """
    of_results = [each for each, used in zip(entries, record.sources, strict=True) if is_result(used)]
    inputs = {}
    for upstream in made.upstream:
        if not (own := [each for each in of_results if each.dataset == upstream]):
            raise XdaskError(
                f"{made.name} now follows from {upstream}, which the record of its result does not name: the code has "
                f"changed too much to reproduce it. Run `xdask run {made.name}` for a new result."
            )
        inputs[upstream] = results.open(own)
    with TemporaryDirectory(prefix="xdask-reproduce-") as folder:
        recorded = open_catalog(f"sqlite://{Path(folder).as_posix()}/catalog.sqlite")
        files = [each for each in entries if each not in of_results]
        if files:
            recorded.commit(Change(upserts=files))
        result = run(made, topology, recorded, dict(record.config), [entry.part], inputs)
    return result.parts[entry.part]


def _changes(made: Analysis, record: Provenance) -> tuple[str, ...]:
    """Return sentences about code and packages that are not those of the record."""
    changed = []
    if record.code_version != made.code_version:
        changed.append(f"the code of {made.name} is {made.code_version}, and was {record.code_version or 'unknown'}")
    now = deciding_versions()
    if not record.packages:
        changed.append("the record names no versions of packages: it is of an earlier version of xdask_pipelines")
    for name, before in record.packages.items():
        if now.get(name) != before:
            changed.append(f"{name} is {now.get(name, 'not installed')}, and was {before}")
    return tuple(changed)


def _compared(pools: Any, entry: Entry, changed: tuple[str, ...], before: Part, again: Part) -> Reproduction:
    """Compare all values in the Regions of the data; only two numbers for each variable come here."""
    old, new = _variables(before), _variables(again)
    problems = [f"{name} is missing now" for name in old.keys() - new.keys()]
    problems += [f"{name} was not there" for name in new.keys() - old.keys()]
    for name in sorted(old.keys() & new.keys()):
        if (old[name].dims, old[name].shape) != (new[name].dims, new[name].shape):
            problems.append(f"{name} is {_form(new[name])}, and was {_form(old[name])}")
        elif old[name].dtype != new[name].dtype:
            problems.append(f"{name} has the type {new[name].dtype}, and had {old[name].dtype}")
        problems += [f"the coordinate {c} of {name} differs" for c in _other_coordinates(old[name], new[name])]
    comparable = [n for n in old.keys() & new.keys() if old[n].dims == new[n].dims and old[n].shape == new[n].shape]
    lazy = {
        name: difference(old[name].reset_coords(drop=True), new[name].reset_coords(drop=True)) for name in comparable
    }
    values, evidence = pools.compute(*lazy.values())
    figures = dict(zip(lazy, values, strict=True))
    different = {name: int(each.different) for name, each in figures.items()}
    largest = {name: float(each.largest) for name, each in figures.items()}
    identical = not problems and not any(different.values())
    return Reproduction(address_of_result(entry), identical, largest, different, (*changed, *problems), evidence)


def _variables(part: Part) -> dict[str, xr.DataArray]:
    if isinstance(part, xr.DataArray):
        return {str(part.name or "result"): part}
    return {str(name): variable for name, variable in part.data_vars.items()}


def _form(array: xr.DataArray) -> str:
    return " x ".join(f"{dim} {size}" for dim, size in array.sizes.items()) or "a number"


def _other_coordinates(old: xr.DataArray, new: xr.DataArray) -> list[str]:
    """Return dimension coordinates whose values differ."""
    return [
        str(dim)
        for dim in old.dims
        if (dim in old.coords) != (dim in new.coords)
        or (dim in old.coords and not np.array_equal(old[dim].values, new[dim].values))
    ]


def difference(old: xr.DataArray, new: xr.DataArray) -> xr.Dataset:
    """Return the number of values with other bits, and the largest difference; lazy if one is lazy.

    Parameters
    ----------
    old, new
        Of one shape; coordinates are not compared.

    Returns
    -------
    ``different``, where all NaN are equal; and ``largest``, NaN if only one of both is NaN somewhere.
    """
    dims = list(old.dims)
    plain = [each.drop_vars(list(each.coords)).drop_attrs() for each in (old, new)]
    chunks = next((each.chunksizes for each in plain if each.chunks is not None), None)
    if chunks is not None:
        plain = [each.chunk(dict(chunks)) for each in plain]
    bits = xr.apply_ufunc(_other_bits, *plain, dask="parallelized", output_dtypes=[bool])
    gap = xr.apply_ufunc(_gap, *plain, dask="parallelized", output_dtypes=[np.float64])
    return xr.Dataset({"different": bits.sum(dims), "largest": gap.max(dims, skipna=False)})


def _other_bits(old: NDArray[Any], new: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where values have other bits; all NaN are equal."""
    if old.dtype != new.dtype:
        kind = np.result_type(old, new)
        old, new = old.astype(kind), new.astype(kind)
    if old.dtype.kind != "f":
        return np.asarray(old != new)
    # not ascontiguousarray, which returns a vector for a number
    whole = np.dtype(f"u{old.dtype.itemsize}")
    other = np.asarray(old, order="C").view(whole) != np.asarray(new, order="C").view(whole)
    return np.asarray(other & ~(np.isnan(old) & np.isnan(new)))


def _gap(old: NDArray[Any], new: NDArray[Any]) -> NDArray[np.float64]:
    """Return absolute differences; 0 where both are NaN or equal, NaN where only one is NaN."""
    first, second = old.astype(np.float64), new.astype(np.float64)
    same = (first == second) | (np.isnan(first) & np.isnan(second))
    with np.errstate(invalid="ignore"):
        return np.where(same, 0.0, np.abs(first - second))

"""`analysis`: a plain function of xarray objects becomes a Dagster asset that computes where its data lies.

Belongs here: what every analysis shares: opening inputs, versions, handing the result to the IO manager. Does not belong
here: any particular analysis.
"""

import hashlib
import inspect
import json
import sysconfig
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cloudpickle
import dagster as dg
import xarray as xr

from xdask_pipelines.access import open_entries
from xdask_pipelines.access.completeness import steps_of
from xdask_pipelines.assets.datasets import catalog_key
from xdask_pipelines.assets.replicas import choose
from xdask_pipelines.catalog import Catalog, Entry
from xdask_pipelines.catalog.resolve import Replicas
from xdask_pipelines.climate import with_bounds
from xdask_pipelines.errors import XdaskError
from xdask_pipelines.resources.failures import explained
from xdask_pipelines.resources.io_manager import Result, entries_of
from xdask_pipelines.resources.results import PARTITION
from xdask_pipelines.topology import Topology

warnings.filterwarnings("ignore", category=dg.BetaWarning)  # backfill policies and data versions, used on purpose

#: Where installed packages lie, this one among them: every process of one image has them.
_INSTALLED = (Path(sysconfig.get_path("purelib")), Path(sysconfig.get_path("platlib")), Path(__file__).parents[1])

Facets = Mapping[str, str] | Callable[[Any], Mapping[str, str]]


@dataclass(frozen=True)
class Source:
    """Catalogued data that an analysis reads.

    Parameters
    ----------
    dataset
        Name in ``regions.yaml``.
    facets
        What must fit, exactly; or a function of the asset's config that gives it.
    grid
        True if only the grid is used: the asset then depends on the grid alone, not on the values.
    """

    dataset: str
    facets: Facets = field(default_factory=dict)
    grid: bool = False

    def resolve(self, catalog: Catalog, config: Any, partition: str) -> Replicas:
        """The one entry asked for, in each Region that holds it, or `MissingEntries` or `AmbiguousEntries`."""
        wanted = self.facets(config) if callable(self.facets) else self.facets
        times = [partition] if partition else None
        ((_, replicas),) = catalog.replicas(dataset=self.dataset, times=times, each=None, **wanted)
        return replicas

    def open(self, entry: Entry) -> xr.DataArray | xr.Dataset:
        """Lazy and placed; a file with one variable gives an array."""
        return as_field(open_entries([entry]))

    def version(self, replicas: Replicas) -> str:
        """Digest of what is used of the entry; of all replicas, so that it does not depend on which is read."""
        found = sorted({self._version_of(entry) for entry in replicas})
        return found[0] if len(found) == 1 else _digest(found)

    def _version_of(self, entry: Entry) -> str:
        if not self.grid:
            return entry.etag
        coords = (entry.header or {}).get("coords", {})
        return _digest({n: c["data"] for n, c in coords.items() if n.startswith(("lat", "lon"))})


def as_field(opened: xr.Dataset) -> xr.DataArray | xr.Dataset:
    """The one variable of a dataset, with its bounds and whose data they are; a dataset of several as it is."""
    said = {k: opened.attrs[k] for k in ("license", "attribution") if k in opened.attrs}
    names = [str(n) for n in opened.data_vars]
    return with_bounds(opened, names[0]).assign_attrs(said) if len(names) == 1 else opened


@dataclass(frozen=True)
class Analysis:
    """An analysis before Dagster: its function, what it reads, what it follows from."""

    name: str
    function: Callable[..., Any]
    sources: Mapping[str, Source]
    upstream: tuple[str, ...]
    config_type: type[dg.Config] | None
    config_name: str
    code_version: str
    partitions_def: dg.PartitionsDefinition[str] | None
    group_name: str
    preview: Callable[[Any], xr.DataArray]
    units: str | None
    valid_range: tuple[float, float] | None
    caveat: str

    @property
    def partitioned(self) -> bool:
        """Whether it is made partition by partition."""
        return self.partitions_def is not None

    def config(self, values: Mapping[str, Any] | None) -> Any:
        """Typed config from a run's values.

        Raises
        ------
        XdaskError
            If there is no such value, with those that there are.
        """
        known = sorted(self.config_type.model_fields) if self.config_type else []
        if unknown := sorted(set(values or {}) - set(known)):
            there_is = f"There is {', '.join(known)}" if known else "It takes none"
            raise XdaskError(f"{self.name} has no config value {', '.join(unknown)}. {there_is}.")
        return self.config_type(**(values or {})) if self.config_type else None

    def replicas(self, catalog: Catalog, config: Any, partition: str) -> dict[str, Replicas]:
        """What one partition reads, by parameter: each entry, in each Region that holds it."""
        return {name: source.resolve(catalog, config, partition) for name, source in self.sources.items()}

    def version(
        self,
        config: Any,
        replicas: Mapping[str, Replicas],
        upstream: Mapping[str, Mapping[str, str]],
        partition: str,
    ) -> str:
        """Data version: digest of the code, the config, the sources' digests and the versions of upstream results.

        ``upstream`` gives each upstream result's versions by partition; of those a partition uses only its own.
        """
        used = {
            name: {partition: versions[partition]} if partition in versions else dict(versions)
            for name, versions in upstream.items()
        }
        return _digest(
            {
                "code": self.code_version,
                "config": config.model_dump() if config else None,
                "sources": {name: self.sources[name].version(found) for name, found in replicas.items()},
                "upstream": used,
            }
        )


_ANALYSES: dict[dg.AssetKey, Analysis] = {}


def analysis_of(asset: dg.AssetsDefinition) -> Analysis | None:
    """The analysis that an asset was made from, if `analysis` made it."""
    return _ANALYSES.get(asset.key) if len(list(asset.keys)) == 1 else None


def analysis_named(name: str) -> Analysis | None:
    """The analysis of that name, if there is one."""
    return _ANALYSES.get(dg.AssetKey(name))


def analysis(
    *,
    sources: Mapping[str, Source] | None = None,
    partitions_def: dg.PartitionsDefinition[str] | None = None,
    preview: Callable[[Any], xr.DataArray] = lambda result: result,
    units: str | None = None,
    valid_range: tuple[float, float] | None = None,
    caveat: str = "",
    group_name: str = "analysis",
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Make an asset of a plain function of xarray objects.

    Parameters of the function are, by name: a key of ``sources`` (opened lazily from the catalog), ``config`` or whatever
    is annotated with a `dagster.Config` (filled in the launchpad), else an upstream asset. The function returns a lazy
    ``DataArray`` or ``Dataset``; it is computed and stored in the Region of its data, or, if it needs two Regions, computed
    over both and stored in the client's.

    Parameters
    ----------
    sources
        Catalogued data by parameter.
    partitions_def
        Partitions; the function is called for each key by itself, and sources must hold exactly that month.
    preview
        From the result to the horizontal field that the picture shows.
    units, valid_range
        Units that the result must have, and smallest and largest value that can be, for the blocking checks.
    caveat
        What pictures must say where a source is an excerpt.
    group_name
        Group in the UI.

    Examples
    --------
    >>> @analysis()                                                                    # doctest: +SKIP
    ... def warming(cmip6_predicted_tas_regridded: xr.DataArray,
    ...             cmip6_reference_tas_regridded: xr.DataArray) -> xr.DataArray:
    ...     return cmip6_predicted_tas_regridded - cmip6_reference_tas_regridded
    """

    def decorate(function: Callable[..., Any]) -> dg.AssetsDefinition:
        made = _analysis_from(
            function,
            sources or {},
            preview,
            partitions_def=partitions_def,
            group_name=group_name,
            units=units,
            valid_range=valid_range,
            caveat=caveat,
        )
        asset = _asset_from(made, ())
        _ANALYSES[asset.key] = made
        _send_by_value(function)
        return asset

    return decorate


def _send_by_value(function: Callable[..., Any]) -> None:
    """Let a module that is not installed travel with the work: neither scheduler nor workers have it."""
    module = inspect.getmodule(function)
    file = getattr(module, "__file__", None)
    installed = file is None or any(Path(file).is_relative_to(path) for path in _INSTALLED)
    if module is not None and not installed and module.__name__ != "__main__":
        cloudpickle.register_pickle_by_value(module)


def _analysis_from(
    function: Callable[..., Any],
    sources: Mapping[str, Source],
    preview: Callable[[Any], xr.DataArray],
    **said: Any,
) -> Analysis:
    hints = inspect.get_annotations(function, eval_str=True)
    parameters = list(inspect.signature(function).parameters)
    configs = [n for n in parameters if inspect.isclass(hints.get(n)) and issubclass(hints[n], dg.Config)]
    unknown = sorted(set(sources) - set(parameters))
    if unknown:
        raise dg.DagsterInvalidDefinitionError(
            f"{function.__name__} has no parameter for its source {', '.join(unknown)}; its parameters are {parameters}"
        )
    return Analysis(
        name=function.__name__,
        function=function,
        sources=sources,
        upstream=tuple(n for n in parameters if n not in sources and n not in configs),
        config_type=hints[configs[0]] if configs else None,
        config_name=configs[0] if configs else "",
        code_version=_digest(inspect.getsource(function)),
        preview=preview,
        **said,
    )


def following(
    made: Analysis, topology: Topology, condition: dg.AutomationCondition[dg.AssetKey] | None = None
) -> dg.AssetsDefinition:
    """The asset of an analysis in the graph of a topology: after the syncs of what it reads, in all their Regions.

    Parameters
    ----------
    made
        The analysis; a dataset that the topology does not name is left out, and is told of when it is read.
    topology
        Which Regions hold which datasets.
    condition
        When Dagster launches it by itself.
    """
    datasets = sorted({source.dataset for source in made.sources.values()} & set(topology.dataset_names))
    keys = [catalog_key(name, region) for name in datasets for region in topology.regions_of(name)]
    return _asset_from(made, keys, condition)


def _asset_from(
    made: Analysis, after: Sequence[dg.AssetKey], condition: dg.AutomationCondition[dg.AssetKey] | None = None
) -> dg.AssetsDefinition:
    @dg.asset(
        name=made.name,
        ins={name: dg.AssetIn(key=name) for name in made.upstream},
        deps=after,
        config_schema=made.config_type.to_config_schema().as_field() if made.config_type else None,
        required_resource_keys={"catalog", "topology"},
        io_manager_key="results",
        partitions_def=made.partitions_def,
        backfill_policy=dg.BackfillPolicy.single_run() if made.partitioned else None,
        automation_condition=condition,
        code_version=made.code_version,
        description=inspect.getdoc(made.function),
        group_name=made.group_name,
        kinds={"xarray", "dask"},
    )
    def compute(context: dg.AssetExecutionContext, **inputs: Any) -> dg.Output[Result]:
        with explained():
            values = context.op_execution_context.op_config
            resources = context.resources
            result = run(made, resources.topology, resources.catalog, values, _keys(context), inputs)
        for line in result.replicas:
            context.log.info(line)
        return dg.Output(result, data_version=dg.DataVersion(result.data_version))

    return compute


def _keys(context: dg.AssetExecutionContext) -> Sequence[str]:
    return context.partition_keys if context.has_partition_key or context.has_partition_key_range else [""]


def run(
    made: Analysis,
    topology: Topology,
    catalog: Catalog,
    values: Mapping[str, Any] | None,
    keys: Sequence[str],
    inputs: Mapping[str, Any],
) -> Result:
    """Call the function for every partition key; everything stays lazy.

    Parameters
    ----------
    made
        The analysis.
    topology, catalog
        Resolve its sources; what several Regions hold is read, for all keys, where least is shipped.
    values
        Config of the run.
    keys
        Partition keys; ``[""]`` without partitions.
    inputs
        Lazy upstream results, by parameter.
    """
    config = made.config(values)
    upstream = {n: {e.part: e.attributes["data_version"] for e in entries_of(x)} for n, x in inputs.items()}
    used = {e.id: e for x in inputs.values() for e in entries_of(x)}
    excerpts = {e.attributes["excerpt"] for e in used.values() if "excerpt" in e.attributes}
    experiments = {name for e in used.values() for name in e.attributes.get("experiments", "").split(", ") if name}
    parts, versions, steps = {}, {}, {}
    found = {key: made.replicas(catalog, config, key) for key in keys}
    unread = {name for name, source in made.sources.items() if source.grid}
    choice = choose(topology, {n: [found[k][n] for k in keys] for n in made.sources}, used.values(), unread)
    for i, key in enumerate(keys):
        entries = {name: choice.of(replicas) for name, replicas in found[key].items()}
        arguments: dict[str, Any] = {name: made.sources[name].open(entry) for name, entry in entries.items()}
        for name, x in inputs.items():
            arguments[name] = x.isel({PARTITION: i}, drop=True) if made.partitioned and PARTITION in x.dims else x
        if made.config_name:
            arguments[made.config_name] = config
        parts[key] = made.function(**arguments)
        versions[key] = made.version(config, found[key], upstream, key)
        used |= {e.id: e for e in entries.values()}
        for name, entry in entries.items():
            if made.sources[name].grid:
                continue
            if "experiment_id" in entry.facets:
                experiments.add(entry.facets["experiment_id"])
            if counted := steps_of(entry):
                steps[key] = counted
                if counted.excerpt and not counted.complete:
                    excerpts.add(str(counted))
    return Result(
        parts=parts,
        versions=versions,
        upstream={name: _digest(of_parts) for name, of_parts in upstream.items()},
        code_version=made.code_version,
        config=config.model_dump() if config else {},
        sources=tuple(used.values()),
        excerpt="; ".join(sorted(excerpts)),
        caveat=made.caveat,
        experiments=tuple(sorted(experiments)),
        steps=steps,
        preview=made.preview,
        replicas=choice.said,
    )


def _digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()

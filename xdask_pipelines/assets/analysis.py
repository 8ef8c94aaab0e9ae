"""`analysis`: a plain function of xarray objects becomes a Dagster asset that computes where its data lies.

Belongs here: from a function to its asset. Does not belong here: what an analysis is and how it runs (analysis_definition),
any particular analysis.
"""

import inspect
import sysconfig
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cloudpickle
import dagster as dg
import xarray as xr
from dagster._core.definitions.metadata.metadata_value import ObjectMetadataValue

from xdask_pipelines.assets.analysis_definition import Analysis, run
from xdask_pipelines.assets.datasets import catalog_key, region_tag
from xdask_pipelines.assets.month_ranges import MonthRange, refuse_other_keys
from xdask_pipelines.assets.source import Source, digest
from xdask_pipelines.climate.regions import region
from xdask_pipelines.partitions import FEWEST
from xdask_pipelines.resources.failures import explained
from xdask_pipelines.resources.io_manager import Result
from xdask_pipelines.topology import Topology

warnings.filterwarnings("ignore", category=dg.BetaWarning)  # backfill policies and data versions, used on purpose

#: Where installed packages lie, this one among them: every process of one image has them.
_INSTALLED = (Path(sysconfig.get_path("purelib")), Path(sysconfig.get_path("platlib")), Path(__file__).parents[1])

#: Owner of an analysis that names none.
ANALYSTS = "team:analysts"
#: Key of the metadata of an asset that holds its `Analysis`. The UI shows the name: a bare object would be shown as
#: "unserializable", as Dagster sends no objects to other processes.
_METADATA = "xdask/analysis"


def analysis_of(asset: dg.AssetsDefinition | dg.AssetSpec) -> Analysis | None:
    """Find the analysis of an asset in its metadata, if `analysis` defined the asset."""
    for spec in [asset] if isinstance(asset, dg.AssetSpec) else asset.specs:
        value = spec.metadata.get(_METADATA)
        if isinstance(value, ObjectMetadataValue) and isinstance(value.instance, Analysis):
            return value.instance
    return None


def analyses_of(assets: Iterable[dg.AssetsDefinition | dg.AssetSpec]) -> dict[str, Analysis]:
    """Find the analyses among assets, by name."""
    return {made.name: made for asset in assets if (made := analysis_of(asset))}


def analysis(
    *,
    sources: Mapping[str, Source] | None = None,
    partitions_def: dg.PartitionsDefinition[str] | None = None,
    preview: Callable[[Any], xr.DataArray] = lambda result: result,
    units: str | None = None,
    valid_range: tuple[float, float] | None = None,
    gaps: str | None = None,
    caveat: str = "",
    months: Mapping[str, Callable[[Any], MonthRange]] | None = None,
    group_name: str = "analysis",
    owners: Sequence[str] = (ANALYSTS,),
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
        Partitions; the function is called for each key by itself, and sources must hold exactly that period. Keys in time
        are periods (``fmt="%Y-%m"`` for months): an analysis that follows gets them along time, with bounds, so that means,
        climatologies and trends take them. A partition of a longer period gets all partitions inside it.
    preview
        From the result to the field that the picture shows: a map, or any one or two dimensions.
    units, valid_range
        Units that the result must have, and smallest and largest value that can be, for the blocking checks. With a
        ``valid_range`` every cell must have a value, too, unless ``gaps`` says otherwise.
    gaps
        Where cells may lack values: ``"none"`` (every cell must have one), ``"allowed"`` (such cells are only reported),
        or a region (`climate.regions.region`) such as ``"land"`` for an ocean field: cells with a part in it may lack
        values.
        None is ``"none"`` with a ``valid_range``, else ``"allowed"``.
    caveat
        What pictures must say where a source is an excerpt.
    months
        By upstream asset with monthly partitions: from the config to the months that the function gets, and that have to be
        there. Without it, the function gets all months.
    group_name
        Group in the UI.
    owners
        E-mail addresses, or names such as ``team:ocean``, that the UI shows and filters by.

    Examples
    --------
    >>> @analysis(units="K")
    ... def warming(cmip6_predicted_tas_regridded: xr.DataArray,
    ...             cmip6_reference_tas_regridded: xr.DataArray) -> xr.DataArray:
    ...     return cmip6_predicted_tas_regridded - cmip6_reference_tas_regridded
    >>> warming.key.to_user_string()
    'warming'
    """
    if gaps not in (None, "none", "allowed"):
        region(gaps)

    def decorate(function: Callable[..., Any]) -> dg.AssetsDefinition:
        refuse_other_keys(function.__name__, partitions_def)
        made = _analysis_from(
            function,
            sources or {},
            preview,
            partitions_def=partitions_def,
            group_name=group_name,
            owners=tuple(owners),
            units=units,
            valid_range=valid_range,
            gaps=gaps,
            caveat=caveat,
            months=months or {},
        )
        _send_by_value(function)
        return _asset_from(made, ())

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
        code_version=digest(inspect.getsource(function)),
        preview=preview,
        **said,
    )


def following(
    made: Analysis,
    topology: Topology,
    analyses: Mapping[str, Analysis],
    condition: dg.AutomationCondition[dg.AssetKey] | None = None,
    partitions_of_a_run: int = FEWEST,
) -> dg.AssetsDefinition:
    """The asset of an analysis in the graph of a topology: after the syncs of what it reads, in all their Regions.

    Parameters
    ----------
    made
        The analysis; a dataset that the topology does not name is left out; reading it is an error that names it.
    topology
        Which Regions hold which datasets.
    analyses
        All analyses by name, those upstream among them.
    condition
        When Dagster launches it by itself.
    partitions_of_a_run
        Most partitions that one run of a backfill takes. Each run is stored and checked by itself, so that a backfill
        that is interrupted loses at most the runs that are under way.
    """
    datasets = sorted({source.dataset for source in made.sources.values()} & set(topology.dataset_names))
    keys = [catalog_key(name, region) for name in datasets for region in topology.regions_of(name)]
    tags = region_tag(_regions_of(made, topology, analyses, {made.name}))
    return _asset_from(made, keys, condition, tags, partitions_of_a_run)


def _regions_of(made: Analysis, topology: Topology, analyses: Mapping[str, Analysis], seen: set[str]) -> set[str]:
    """Regions whose data an analysis is made of, through all analyses that it follows from."""
    found = {
        region
        for source in made.sources.values()
        if source.dataset in topology.dataset_names
        for region in topology.regions_of(source.dataset)
    }
    for name in made.upstream:
        if name not in seen and (before := analyses.get(name)):
            found |= _regions_of(before, topology, analyses, seen | {name})
    return found


def _asset_from(
    made: Analysis,
    after: Sequence[dg.AssetKey],
    condition: dg.AutomationCondition[dg.AssetKey] | None = None,
    tags: Mapping[str, str] | None = None,
    partitions_of_a_run: int = FEWEST,
) -> dg.AssetsDefinition:
    @dg.asset(
        name=made.name,
        ins={name: dg.AssetIn(key=name) for name in made.upstream},
        deps=after,
        config_schema=made.config_type.to_config_schema().as_field() if made.config_type else None,
        required_resource_keys={"catalog", "topology"},
        io_manager_key="results",
        partitions_def=made.partitions_def,
        backfill_policy=dg.BackfillPolicy.multi_run(partitions_of_a_run) if made.partitioned else None,
        automation_condition=condition,
        code_version=made.code_version,
        description=inspect.getdoc(made.function),
        group_name=made.group_name,
        kinds={"xarray", "dask"},
        owners=made.owners,
        tags=tags,
        metadata={_METADATA: ObjectMetadataValue(made.name, instance=made)},
    )
    def compute(context: dg.AssetExecutionContext, **inputs: Any) -> dg.Output[Result]:
        with explained():
            values = context.op_execution_context.op_config
            resources = context.resources
            result = run(made, resources.topology, resources.catalog, values, _keys(context), inputs)
        for line in result.made_from.replicas:
            context.log.info(line)
        return dg.Output(result, data_version=dg.DataVersion(result.data_version))

    return compute


def _keys(context: dg.AssetExecutionContext) -> Sequence[str]:
    return context.partition_keys if context.has_partition_key or context.has_partition_key_range else [""]

"""Sensors: what runs, or is reported, because something happened.

Belongs here: launching what new data allow, and alerts of failed syncs. Does not belong here: what runs, the clock
(schedules), where alerts go (resources.alerts).
"""

import json
from collections.abc import Iterable
from time import time
from typing import Any

import dagster as dg

from xdask_pipelines.assets.analysis_definition import Analysis
from xdask_pipelines.assets.datasets import catalog_key, lustre_key
from xdask_pipelines.assets.reuse import covered
from xdask_pipelines.catalog import Catalog
from xdask_pipelines.errors import XdaskError
from xdask_pipelines.resources.alerts import count_failed_syncs, send_alert
from xdask_pipelines.resources.pools.pools_of_topology import is_controlled
from xdask_pipelines.schedules import SYNC_JOB
from xdask_pipelines.system.safe_text import markdown, without_secrets
from xdask_pipelines.topology import Topology

#: A pool that starts from zero waits this long before its first instance is asked for.
_CONTROLLER_SECONDS = 15
_FIRST_SYNC_SECONDS = 30
_ENDS = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
_UNFINISHED = [status for status in dg.DagsterRunStatus if status not in _ENDS]


class NewMonths(dg.AutomationCondition[dg.AssetKey]):
    """True of a partition when a sync brought its data: all of them for the first time, or another version of them.

    It is true once for each version, and not as long as there is no result: what fails is not tried for ever, and what
    fails because of a damaged file is tried again when that file is replaced. When it looks for the first time it only
    remembers what there is; what was not materialized until then is a person's to launch.

    Parameters
    ----------
    made
        Analysis of the asset.
    catalog
        Holds the entries of its sources.
    """

    def __init__(self, made: Analysis, catalog: Catalog) -> None:
        self._made, self._catalog = made, catalog

    @property
    def description(self) -> str:
        """What the UI shows."""
        return "A sync brought the partition's data, or another version of them."

    def evaluate(self, context: dg.AutomationContext[dg.AssetKey]) -> dg.AutomationResult[dg.AssetKey]:
        """Compare what the catalog holds now with what it held at the last look."""
        partitions = context.partitions_def
        if partitions is None:
            return dg.AutomationResult(context, context.get_empty_subset())
        now = covered(self._made, self._catalog, partitions.get_partition_keys())
        before = json.loads(context.cursor) if context.cursor else now
        new = {key for key, version in now.items() if before.get(key) != version}
        subset = context.asset_graph_view.get_subset_from_partition_keys(context.key, partitions, new)
        return dg.AutomationResult(context, subset, cursor=json.dumps(now))


def new_months(analyses: Iterable[Analysis]) -> dg.AutomationConditionSensorDefinition:
    """Looks after each sync; to be switched on in the UI."""
    return dg.AutomationConditionSensorDefinition(
        "new_months",
        target=dg.AssetSelection.assets(*(dg.AssetKey(made.name) for made in analyses if made.partitioned)),
        use_user_code_server=True,
        minimum_interval_seconds=60,
        description="Launches partitions whose data a sync has brought.",
    )


def pool_controller(topology: Topology) -> list[dg.SensorDefinition]:
    """Return the sensor that sizes the pools; none where no service keeps them."""
    if not is_controlled(topology):
        return []
    from xdask_pipelines.resources.pools.ecs_controller import EcsController  # imports boto3

    lines: list[str] = []
    controllers: dict[int, EcsController] = {}  # its clients and its connection serve all ticks of this process

    @dg.sensor(
        name="pool_controller",
        minimum_interval_seconds=_CONTROLLER_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Sizes the pools by their backlog, keeps the scheduler's name true, and publishes figures.",
    )
    def control(context: dg.SensorEvaluationContext, pools: dg.ResourceParam[Any]) -> dg.SensorResult:
        controller = controllers.get(id(pools)) or controllers.setdefault(id(pools), EcsController(pools, lines.append))
        lines.clear()
        memory = controller.look(json.loads(context.cursor or "{}"), lambda: _hours_since_sync(context, topology))
        for line in lines:
            context.log.info(line)
        said = "; ".join(lines) or "nothing to change"
        return dg.SensorResult(skip_reason=dg.SkipReason(said), cursor=json.dumps(memory))

    return [control]


def first_sync(topology: Topology) -> list[dg.SensorDefinition]:
    """Return the sensor that launches the first sync of a deployment; none where no service keeps the pools.

    It launches one run for each set of places that were never synced: a sync that fails is a person's to launch again.
    """
    if not is_controlled(topology):
        return []

    @dg.sensor(
        name="first_sync",
        job_name=SYNC_JOB,
        minimum_interval_seconds=_FIRST_SYNC_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Launches a sync, once, when a dataset was never synced.",
    )
    def launch(context: dg.SensorEvaluationContext, pools: dg.ResourceParam[Any]) -> dg.RunRequest | dg.SkipReason:
        latest = context.instance.get_latest_materialization_event
        never = [place for place in topology.places if latest(catalog_key(*place)) is None]
        if not never:
            return dg.SkipReason("every dataset was synced")
        unfinished = dg.RunsFilter(job_name=SYNC_JOB, statuses=_UNFINISHED)
        if context.instance.get_runs(unfinished, limit=1):
            return dg.SkipReason("a sync has not ended yet")
        try:
            for region in sorted({place.region for place in never}):
                pools.service(region).state()
        except XdaskError as error:  # the stacks of worker Regions are deployed after this process started
            return dg.SkipReason(f"a pool is not deployed yet: {error}")
        return dg.RunRequest(run_key=" ".join(sorted(f"{name}@{region}" for name, region in never)))

    return [launch]


def _hours_since_sync(context: dg.SensorEvaluationContext, topology: Topology) -> dict[str, float]:
    """Return how old the oldest of the last syncs of each Region is; Regions without a sync are left out."""
    hours: dict[str, float] = {}
    for place in topology.places:
        if event := context.instance.get_latest_materialization_event(catalog_key(*place)):
            hours[place.region] = max(hours.get(place.region, 0.0), (time() - event.timestamp) / 3600)
    return hours


def failed_syncs(topology: Topology) -> dg.SensorDefinition:
    """Tells of syncs that failed, where the topology names somebody to tell."""
    steps = {
        key(name, region).to_python_identifier(): f"{name} in {region}"
        for name, region in topology.places
        for key in (lustre_key, catalog_key)
    }
    address = topology.alert_address
    addressee = markdown(without_secrets(address)) if address else "nobody (name `alerts` in regions.yaml)"
    running = dg.DefaultSensorStatus.RUNNING if address else dg.DefaultSensorStatus.STOPPED

    @dg.run_failure_sensor(
        name="failed_syncs",
        default_status=running,
        description=f"Tells {addressee} of syncs that failed.",
    )
    def tell(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
        failed = {
            steps[event.step_key]: _said(event)
            for event in context.get_step_failure_events()
            if event.step_key in steps
        }
        if failed:
            count_failed_syncs(topology, len(failed))
        if not failed or not address:
            return dg.SkipReason("no sync failed, or there is no address for alerts")
        subject = f"xdask: sync failed: {', '.join(sorted(failed))}"
        send_alert(address, subject, {"run_id": context.dagster_run.run_id, "failed": failed})
        return None

    return tell


def _said(event: dg.DagsterEvent) -> str:
    data: Any = event.step_failure_data
    if data.user_failure_data and data.user_failure_data.description:
        return str(data.user_failure_data.description)
    return str(data.error.message if data.error else "failed")

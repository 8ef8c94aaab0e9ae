"""The report of a result: its content, collected from the catalog and the run history.

Belongs here: from a catalog entry to a written page. Does not belong here: the page (report_page), choosing the result
(operations, checks).
"""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from graphlib import TopologicalSorter
from typing import Any

import dagster as dg

from xdask_pipelines.catalog import Catalog, Entry
from xdask_pipelines.catalog.times import period_text
from xdask_pipelines.climate.times.baselines import BASELINES
from xdask_pipelines.errors import XdaskError
from xdask_pipelines.placement.evidence import Evidence
from xdask_pipelines.resources.reporting.citations import citations_of
from xdask_pipelines.resources.reporting.lineage import Lineage, Made, lineage_of
from xdask_pipelines.resources.reporting.report_folder import Listed, file_name, folder_at, published
from xdask_pipelines.resources.reporting.report_page import ReportContent, report_page
from xdask_pipelines.resources.result_summary import figure_text, picture_in
from xdask_pipelines.resources.results import run_command
from xdask_pipelines.system.safe_text import from_markdown
from xdask_pipelines.system.units import format_bytes
from xdask_pipelines.topology import Topology

#: Folder of reports of projects whose regions.yaml names none.
DEFAULT_FOLDER = "var/reports"
_LONGEST_TITLE = 300


def write_report(
    topology: Topology,
    catalog: Catalog,
    history: dg.DagsterInstance,
    entry: Entry,
    description: str,
    address: str = "",
) -> str:
    """Write the page of one result, and the index of its folder.

    Parameters
    ----------
    topology, catalog, history
        The project.
    entry
        The result.
    description
        Docstring of the analysis: its first line becomes the title.
    address
        A folder, relative to that of the topology, or ``s3://bucket/prefix``; empty for that of regions.yaml, else
        ``var/reports``.

    Returns
    -------
    Address of the page.

    Raises
    ------
    XdaskError
        If the history does not have the run of the result, or the folder cannot be written.
    """
    address = address or (topology.reports.folder if topology.reports else DEFAULT_FOLDER)
    content = content_of(topology, catalog, history, entry, description)

    def s3() -> Any:
        from xdask_pipelines.resources.aws.clients import client  # imports boto3

        return client("s3", topology.client.region)

    return published(folder_at(address, topology.root, s3), content.listed, report_page(content))


def content_of(
    topology: Topology, catalog: Catalog, history: dg.DagsterInstance, entry: Entry, description: str
) -> ReportContent:
    """Collect the content of a report; parameters and errors as of `write_report`."""
    metadata, made, checks = _of_run(history, entry)
    lineage = lineage_of(catalog, entry)
    title, *rest = _paragraphs(description) or [entry.dataset.replace("_", " ")]
    units = str(metadata.get("units", ""))
    value = metadata.get("value")
    shown = "" if value is None else figure_text(value, units)
    mean = metadata.get("area_weighted_mean")
    mean_text = "" if mean is None else figure_text(mean, units)
    record = lineage.result.record
    name = file_name(entry.dataset, entry.part)
    listed = Listed(name, title[:_LONGEST_TITLE].rstrip("."), entry.dataset, entry.part, made, shown or mean_text)
    evidence = metadata.get("evidence")
    config = {key: str(value) for key, value in record.config.items() if value not in (None, "", [])}
    return ReportContent(
        listed=listed,
        paragraphs=tuple(rest),
        png=base64.b64decode(picture_in(metadata)),
        number=shown,
        no_picture=str(metadata.get("picture", "")),
        facts={
            "area-weighted mean": mean_text,
            "units": "1 (dimensionless)" if units == "1" else units,
            "period": _periods(lineage),
            "scenario": ", ".join(record.experiments),
            "baseline": _baseline(lineage),
            "partition": entry.part,
            "settings": ", ".join(f"{key} = {value}" for key, value in config.items()),
            "processing": "; ".join(
                dict.fromkeys(_step(step) for made in lineage.every_result for step in made.record.processing)
            ),
            "computed in": entry.region,
            "size": format_bytes(entry.size_bytes),
        },
        notes=record.excerpts,
        evidence=Evidence.from_dict(evidence) if isinstance(evidence, Mapping) else None,
        lineage=lineage,
        citations=tuple(
            citations_of(topology, [lineage.entries[id_] for id_ in lineage.files if id_ in lineage.entries])
        ),
        checks=checks,
        commands=tuple(commands_of(lineage)),
    )


def _of_run(history: dg.DagsterInstance, entry: Entry) -> tuple[dict[str, Any], str, dict[str, str]]:
    """Return metadata, time and checks of the materialization that wrote a result."""
    run_id = entry.attributes.get("run_id", "")
    key = dg.AssetKey.from_user_string(entry.dataset)
    materialized = history.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION).records
    found = [
        (record, event)
        for record in materialized
        if (event := record.asset_materialization) is not None
        and event.asset_key == key
        and (event.partition or "") in ("", entry.part)
    ]
    if not found:
        raise XdaskError(
            f"{entry.dataset}: the run history has no materialization by the run {run_id}, which wrote the result. "
            f"Materialize it again: `xdask run {entry.dataset}`."
        )
    record, event = found[-1]
    checks = {}
    evaluated = history.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION).records
    for each in evaluated:
        dagster_event = each.event_log_entry.dagster_event
        evaluation = dagster_event.asset_check_evaluation_data if dagster_event else None
        if evaluation is not None and evaluation.asset_key == key:
            state = "passed" if evaluation.passed else "warning"
            checks[evaluation.check_name] = f"{state}: {from_markdown(evaluation.description or '')}".rstrip(": ")
    made = datetime.fromtimestamp(record.timestamp, UTC).strftime("%Y-%m-%d %H:%M")
    return {name: value.value for name, value in event.metadata.items()}, made, checks


def _paragraphs(description: str) -> list[str]:
    """Return the first line of a docstring, and the paragraphs below it, each as one line."""
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n", description.strip()) if part.strip()]


def _periods(lineage: Lineage) -> str:
    """Return the period of the files of each dataset that were read."""
    ranges: dict[str, tuple[int, int]] = {}
    for id_ in lineage.files:
        entry = lineage.entries.get(id_)
        if entry is None or entry.time_start is None or entry.time_end is None:
            continue
        first, last = ranges.get(_run_name(entry), (entry.time_start, entry.time_end))
        ranges[_run_name(entry)] = min(first, entry.time_start), max(last, entry.time_end)
    texts = [f"{name} {period_text(*both)}" for name, both in ranges.items()]
    asked = [
        f"of these {config['first'] or 'the first'} to {config['last'] or 'the last'} by {made.entry.dataset}"
        for made in lineage.every_result
        if {"first", "last"} <= (config := made.record.config).keys() and (config["first"] or config["last"])
    ]
    return "; ".join(dict.fromkeys([*texts, *asked])) or "unknown"


def _run_name(entry: Entry) -> str:
    experiment = entry.facets.get("experiment_id", "")
    return f"{entry.dataset} {experiment}".strip()


def _baseline(lineage: Lineage) -> str:
    """Return the baseline that a config names, with its years."""
    named = [str(made.record.config["baseline"]) for made in lineage.every_result if "baseline" in made.record.config]
    return ", ".join(
        f"{name} ({BASELINES[name][0]}-{BASELINES[name][1]})" if name in BASELINES else name
        for name in dict.fromkeys(named)
    )


def _step(step: Mapping[str, str]) -> str:
    settings = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in step.items() if name != "kind")
    return f"{step.get('kind', '')}: {settings}"


def commands_of(lineage: Lineage) -> Iterable[str]:
    """Iterate over the commands that compute a result again, upstream results first."""
    yield "xdask sync"
    yield "xdask pools up"
    made: dict[str, list[Made]] = {}
    for each in lineage.every_result:
        made.setdefault(each.entry.dataset, []).append(each)
    needs = {
        name: {n for each in of_asset for n in each.record.upstream if n in made} for name, of_asset in made.items()
    }
    for name in TopologicalSorter(needs).static_order():
        yield _run(made[name])
    yield f"xdask reproduce {shlex.quote(address_of_result(lineage.result.entry))}   # computes, compares, stores nothing"


def address_of_result(entry: Entry) -> str:
    """Return the address by which a stored result is named: ``region:key``, and its partition after ``#``."""
    return f"{entry.region}:{entry.key}" + (f"#{entry.part}" if entry.part else "")


def _run(made: Sequence[Made]) -> str:
    """Return the command that runs an asset, for all of its partitions that were used."""
    words = run_command(made[0].entry.dataset, [each.entry.part for each in made]).split(" ")
    for name, value in made[0].record.config.items():
        words += ["-c", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
    return shlex.join(words)

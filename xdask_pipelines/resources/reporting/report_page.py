"""The page of a result: one file of HTML that explains the result to somebody who has nothing else.

Belongs here: the sections of the page. Does not belong here: collecting their content (result_report), the frame of a
page (system.web_page), where it is written (report_folder).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from xdask_pipelines.placement.evidence import Evidence
from xdask_pipelines.placement.footprint import in_words
from xdask_pipelines.placement.prediction.transfers_drawing import transfers_drawing
from xdask_pipelines.resources.reporting.citations import UNKNOWN, Citation, attributes_of
from xdask_pipelines.resources.reporting.lineage import Lineage
from xdask_pipelines.resources.reporting.report_folder import Listed, marked
from xdask_pipelines.system.markup import Markup, items, picture, table, text
from xdask_pipelines.system.units import counted, format_bytes
from xdask_pipelines.system.web_page import web_page

#: More files are counted; the provenance record has them all.
_MOST_FILES = 60


@dataclass(frozen=True)
class ReportContent:
    """Everything on the page.

    Attributes
    ----------
    listed
        The page in the index: title, asset, partition, time, figure.
    paragraphs
        What the docstring says below its first line.
    png
        The picture; empty without one.
    number
        A scalar result with its units; empty for others.
    no_picture
        Why there is neither.
    facts
        Period, scenario, baseline, area-weighted mean and others, by name; empty ones are left out.
    notes
        What restricts the result, such as an excerpt.
    evidence
        Of the materialization; None if the history does not have it.
    lineage, citations
        Sources.
    checks
        What each check found, by name.
    commands
        Lines for a shell that compute the result again.
    """

    listed: Listed
    paragraphs: tuple[str, ...]
    png: bytes
    number: str
    no_picture: str
    facts: Mapping[str, str]
    notes: tuple[str, ...]
    evidence: Evidence | None
    lineage: Lineage
    citations: tuple[Citation, ...]
    checks: Mapping[str, str] = field(default_factory=dict)
    commands: tuple[str, ...] = ()


def report_page(content: ReportContent) -> str:
    """Return the page: a complete HTML document without scripts and addresses from which anything is loaded."""
    listed = content.listed
    name = f"{listed.asset} {listed.part}".strip()
    parts = [
        f"<h1>{text(listed.title)}</h1>",
        f'<p class="faint">{text(name)}, computed {text(listed.made)} UTC</p>',
        *(f"<p>{text(paragraph)}</p>" for paragraph in content.paragraphs),
        *(f'<p class="note">{text(note)}</p>' for note in content.notes),
        _shown(content, name),
        _facts(content.facts),
        _evidence(content.evidence),
        _sources(content.lineage),
        _citations(content.citations),
        _reproduction(content),
        f"<footer>Written by xdask_pipelines from its catalog and run history. {text(_digest(content))}</footer>",
    ]
    return web_page(listed.title, Markup("\n".join(filter(None, parts))), marked(listed))


def _digest(content: ReportContent) -> str:
    entry = content.lineage.result.entry
    return f"Store {entry.region}:{entry.key}, digest {entry.etag}."


def _shown(content: ReportContent, name: str) -> str:
    if content.png:
        described = f"{name}: {content.listed.title}"
        return f"<figure>{picture(content.png, 'png', described)}</figure>"
    if content.number:
        return f'<p class="number">{text(content.number)}</p>'
    return f'<p class="note">{text(content.no_picture or "This result has no picture.")}</p>'


def _facts(facts: Mapping[str, str]) -> str:
    rows = [(name, value) for name, value in facts.items() if value]
    return _section("Result", _wide(table((), rows)))


def _evidence(evidence: Evidence | None) -> str:
    if evidence is None:
        return _section("Evidence", "<p>unknown: the run is not in the history of this project any more.</p>")
    if not evidence.tasks_by_region and not evidence.bytes_across:
        return _section("Evidence", "<p>Nothing was computed in a Region: the result was computed by the client.</p>")
    said = (
        f"{counted(sum(evidence.tasks_by_region.values()), 'task')} ran in the Region of their data, "
        f"{evidence.misplaced_tasks} elsewhere. {format_bytes(sum(evidence.bytes_read_by_region.values()))} were read "
        f"there, and {format_bytes(sum(evidence.bytes_across.values()))} crossed between Regions."
    )
    drawing = transfers_drawing(evidence.tasks_by_region, evidence.bytes_read_by_region, evidence.bytes_across)
    cost = [(f"cost, {kind}", f"{usd:.6f} USD") for kind, usd in sorted(evidence.cost_usd.items())]
    cost += [(f"energy in {region}", f"{1000 * kwh:.4f} Wh") for region, kwh in sorted(evidence.kwh_by_region.items())]
    cost += [(f"CO2e in {region}", f"{1000 * kg:.4f} g") for region, kg in sorted(evidence.co2e_kg_by_region.items())]
    return _section(
        "Evidence", f"<p>{text(said)}</p>{_wide(evidence.by_region())}<figure>{drawing}</figure>"
    ) + _section("Cost", f"{table((), cost)}<p class='faint'>{text(in_words(evidence.as_dict()))}</p>" if cost else "")


def _sources(lineage: Lineage) -> str:
    head = ("Dataset", "Region", "File or store", "Version", "Size", "Digest", "tracking_id")
    rows = []
    for id_, used in list(lineage.files.items())[:_MOST_FILES]:
        entry = lineage.entries.get(id_)
        tracking = attributes_of(entry).get("tracking_id", UNKNOWN) if entry else UNKNOWN
        where = f"{used.key} {used.part}".strip()
        version = used.version or UNKNOWN
        rows.append((used.dataset, used.region, where, version, format_bytes(used.size_bytes), used.digest, tracking))
    files = len(lineage.files)
    more = f"<p>{text(f'and {files - _MOST_FILES:,} more')}</p>" if files > _MOST_FILES else ""
    through = [f"{made.entry.dataset} {made.entry.part}".strip() for made in lineage.upstream.values()]
    unknown = [
        *(f"{used.dataset} {used.key} is not in the catalog any more" for used in lineage.gone.values()),
        *(f"{entry.dataset} {entry.key} has changed since" for entry in lineage.changed.values()),
        *(
            f"{made.entry.dataset}: its record has {len(made.record.sources):,} of {made.record.source_count:,} sources"
            for made in lineage.every_result
            if made.record.source_count
        ),
    ]
    said = f"<p>Through the results {text(_some(through))}.</p>" if through else ""
    return _section("Sources", f"{_wide(table(head, rows, right=(4,)), 'keys')}{more}{said}{items(unknown)}")


def _citations(citations: Sequence[Citation]) -> str:
    head = ("Data", "Licence", "Attribution", "DOI", "Further information")
    rows = [
        (each.title, each.licence, each.attribution, each.doi, each.further_information or UNKNOWN)
        for each in citations
    ]
    bibtex = "\n\n".join(each.bibtex() for each in citations)
    return _section(
        "Licences and citation", f"{_wide(table(head, rows))}<pre>{text(bibtex)}</pre>" if rows else "<p>none</p>"
    )


def _reproduction(content: ReportContent) -> str:
    record = content.lineage.result.record
    packages = ", ".join(f"{name} {number}" for name, number in record.packages.items()) or UNKNOWN
    rows = [
        ("code of the analysis", record.code_version or UNKNOWN),
        ("packages", packages),
        *((f"check {name}", said) for name, said in content.checks.items()),
    ]
    commands = "\n".join(content.commands)
    return _section("How to reproduce", f"<pre>{text(commands)}</pre>{_wide(table((), rows))}")


def _section(title: str, inner: str) -> str:
    return f"<section><h2>{text(title)}</h2>{inner}</section>" if inner else ""


def _wide(inner: str, kind: str = "") -> str:
    return f'<div class="{f"wide {kind}".strip()}">{inner}</div>'


def _some(names: Sequence[str], most: int = 12) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more

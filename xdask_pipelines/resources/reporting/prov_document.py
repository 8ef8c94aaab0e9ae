"""Provenance of a result in the form of W3C PROV: entities, activities, agents, and how they are related.

Belongs here: the document as PROV-JSON. Does not belong here: collecting the lineage (lineage), writing files.

Formats: https://www.w3.org/TR/prov-dm/ and https://www.w3.org/submissions/2013/SUBM-prov-json-20130424/.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xdask_pipelines.catalog import Entry
from xdask_pipelines.resources.provenance import UsedEntry
from xdask_pipelines.resources.reporting.citations import attributes_of, doi_in
from xdask_pipelines.resources.reporting.lineage import Lineage, Made, identity

#: Names of this document; a URN, because nothing is published at an address.
_NAMESPACE = "urn:xdask:"
#: Attributes of files that identify them elsewhere.
_IDENTIFIERS = ("tracking_id", "further_info_url")

Document = dict[str, dict[str, Any]]


def prov_document(lineage: Lineage) -> Document:
    """Return the lineage of a result as a PROV-JSON document.

    Entities are files of datasets and results, with digests, and plans: the code of each analysis. Activities are
    materializations and the regriddings inside them. The agent is this software, of the version that ran.

    Parameters
    ----------
    lineage
        Of the result.
    """
    document: Document = {"prefix": {"xdask": _NAMESPACE}, "entity": {}, "activity": {}, "agent": {}}
    for id_, used in lineage.files.items():
        document["entity"][f"xdask:entry/{id_}"] = _file(used, lineage.entries.get(id_))
    for id_, used in lineage.gone.items():
        document["entity"].setdefault(f"xdask:entry/{id_}", _file(used, None))
    for made in lineage.every_result:
        _add(document, made)
    return {kind: members for kind, members in document.items() if members}


def _file(used: UsedEntry, entry: Entry | None) -> dict[str, Any]:
    attrs = attributes_of(entry) if entry else {}
    named = {name: attrs[name] for name in _IDENTIFIERS if name in attrs}
    if doi := doi_in(attrs):
        named["doi"] = doi
    return _entity(
        f"{used.dataset} {used.key} {used.part}".strip(),
        "xdask:Data",
        {
            **{name: getattr(used, name) for name in ("dataset", "region", "key", "part", "version", "digest")},
            "size_bytes": str(used.size_bytes),
            **named,
        },
    )


def _entity(label: str, kind: str, values: Mapping[str, str]) -> dict[str, Any]:
    own = {f"xdask:{name}": value for name, value in values.items() if value}
    return {"prov:label": label, "prov:type": {"$": kind, "type": "prov:QUALIFIED_NAME"}, **own}


def _add(document: Document, made: Made) -> None:
    """Add a result: its entity, its materialization and what that used, its agent and its plan."""
    entry, record = made.entry, made.record
    result, run = f"xdask:entry/{entry.id}", entry.attributes.get("run_id", "unknown")
    activity = f"xdask:materialization/{entry.id}/{entry.version}"
    names = {"dataset": entry.dataset, "region": entry.region, "key": entry.key, "part": entry.part}
    document["entity"][result] = _entity(
        f"{entry.dataset} {entry.part}".strip(),
        "xdask:Result",
        {**names, "version": entry.version, "digest": entry.etag, "size_bytes": str(entry.size_bytes)},
    )
    document["activity"][activity] = {
        "prov:label": f"materialization of {entry.dataset} {entry.part}".strip(),
        "prov:type": {"$": "xdask:Materialization", "type": "prov:QUALIFIED_NAME"},
        "xdask:run_id": run,
        **{f"xdask:config_{name}": str(value) for name, value in record.config.items() if value is not None},
    }
    version = record.packages.get("xdask_pipelines", "unknown")
    agent = f"xdask:software/xdask_pipelines/{version}"
    document["agent"][agent] = {
        "prov:label": f"xdask_pipelines {version}",
        "prov:type": {"$": "prov:SoftwareAgent", "type": "prov:QUALIFIED_NAME"},
        **{f"xdask:package_{name}": number for name, number in record.packages.items()},
    }
    plan = f"xdask:code/{entry.dataset}/{record.code_version or 'unknown'}"
    document["entity"][plan] = {
        "prov:label": f"code of {entry.dataset}",
        "prov:type": {"$": "prov:Plan", "type": "prov:QUALIFIED_NAME"},
        "xdask:digest": record.code_version or "unknown",
    }
    used = [f"xdask:entry/{identity(each)}" for each in record.sources]
    _relate(document, "wasGeneratedBy", {"prov:entity": result, "prov:activity": activity})
    _relate(document, "wasAssociatedWith", {"prov:activity": activity, "prov:agent": agent, "prov:plan": plan})
    _relate(document, "wasAttributedTo", {"prov:entity": result, "prov:agent": agent})
    for each in used:
        _relate(document, "used", {"prov:activity": activity, "prov:entity": each})
        _relate(
            document,
            "wasDerivedFrom",
            {"prov:generatedEntity": result, "prov:usedEntity": each, "prov:activity": activity},
        )
    for number, step in enumerate(record.processing, 1):
        inner = f"{activity}/{number}"
        settings = {f"xdask:{name}": value for name, value in step.items() if name != "kind"}
        kind = step.get("kind", "step")
        document["activity"][inner] = {
            "prov:label": f"{kind} in {entry.dataset}",
            "prov:type": {"$": f"xdask:{kind.capitalize()}", "type": "prov:QUALIFIED_NAME"},
            **settings,
        }
        # PROV has no parts of activities: the materialization is informed by what happened inside it
        _relate(document, "wasInformedBy", {"prov:informed": activity, "prov:informant": inner})
        _relate(document, "wasAssociatedWith", {"prov:activity": inner, "prov:agent": agent})


def _relate(document: Document, kind: str, members: dict[str, str]) -> None:
    relations = document.setdefault(kind, {})
    if members not in relations.values():
        relations[f"_:{kind}{len(relations) + 1}"] = members

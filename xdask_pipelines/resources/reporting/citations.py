"""Whose data a result is made of: licences, DOIs and BibTeX, from what the files and regions.yaml say. Nothing is fetched.

Belongs here: finding and formatting citations. Does not belong here: which entries were used (lineage), the page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from xdask_pipelines.catalog import Entry
from xdask_pipelines.topology import Topology

UNKNOWN = "unknown"
_DOI = re.compile(r"\b(10\.\d{4,9}/[^\s\"'<>;,]+)")
#: Attributes in which files name a DOI, the plainest first; ``references`` may hold other text too.
_WITH_DOI = ("doi", "DOI", "dataset_doi", "identifier_product_doi", "further_info_url", "references", "citation")
_RUN = ("source_id", "experiment_id", "member_id")
_TEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{c: f"\\{c}" for c in "&%$#_{}"},
}


@dataclass(frozen=True)
class Citation:
    """What is owed for one dataset, or one run of a model in it; ``unknown`` where nobody says it.

    Attributes
    ----------
    key
        Key in BibTeX.
    dataset, title, author, year, version, licence, attribution, doi, further_information
        As text.
    """

    key: str
    dataset: str
    title: str
    author: str
    year: str
    version: str
    licence: str
    attribution: str
    doi: str
    further_information: str

    def bibtex(self) -> str:
        """Return the entry in BibTeX; fields that are unknown are named in its note.

        Examples
        --------
        >>> doi = "10.24381/cds.adbb2d47"
        >>> print(Citation("era5", "era5", "ERA5", "ECMWF", "2018", "", "CC-BY-4.0", "", doi, "").bibtex())
        @misc{era5,
          title = {{ERA5}},
          author = {{ECMWF}},
          year = {2018},
          doi = {10.24381/cds.adbb2d47},
          note = {Licence: CC-BY-4.0}
        }
        """
        fields = {"title": f"{{{_tex(self.title)}}}", "author": f"{{{_tex(self.author)}}}", "year": _tex(self.year)}
        # biber and BibTeX take these two literally, but for braces
        fields |= {"doi": re.sub(r"[{}\\]", "", self.doi), "url": re.sub(r"[{}\\]", "", self.further_information)}
        fields["version"] = _tex(self.version)
        unknown = [name for name, text in fields.items() if text.strip("{}") == UNKNOWN]
        notes = [self.attribution, f"Licence: {self.licence}"]
        notes += [f"{', '.join(unknown)} {UNKNOWN}"] if unknown else []
        fields["note"] = _tex(". ".join(note.rstrip(".") for note in notes if note and note != UNKNOWN))
        lines = [f"  {name} = {{{text}}}" for name, text in fields.items() if text and name not in unknown]
        return f"@misc{{{self.key},\n" + ",\n".join(lines) + "\n}"


def citations_of(topology: Topology, entries: Iterable[Entry]) -> list[Citation]:
    """Return what is owed for entries of datasets, each dataset, or run of a model, once.

    Parameters
    ----------
    topology
        Its datasets have licences, attributions and DOIs where the files do not say them.
    entries
        Files and stores that were read.
    """
    found: dict[tuple[str, ...], Citation] = {}
    for entry in entries:
        citation = _citation(topology, entry)
        same = (citation.dataset, citation.title, citation.doi, citation.licence, citation.further_information)
        found.setdefault(same, citation)
    keys: dict[str, int] = {}
    unique = []
    for citation in found.values():
        keys[citation.key] = keys.get(citation.key, 0) + 1
        number = keys[citation.key]
        unique.append(citation if number == 1 else Citation(**{**_fields(citation), "key": f"{citation.key}-{number}"}))
    return unique


def _fields(citation: Citation) -> dict[str, str]:
    return {name: getattr(citation, name) for name in Citation.__dataclass_fields__}


def _citation(topology: Topology, entry: Entry) -> Citation:
    attrs = attributes_of(entry)
    stated = _stated(topology, entry)
    run = [value for name in _RUN if (value := entry.facets.get(name) or attrs.get(name))]
    title = " ".join([entry.dataset, *run]) if run else attrs.get("title", entry.dataset)
    created = re.match(r"\d{4}", attrs.get("creation_date", "") or entry.version.removeprefix("v"))
    return Citation(
        key=re.sub(r"[^A-Za-z0-9]+", "-", "-".join([entry.dataset, *run])).strip("-").lower(),
        dataset=entry.dataset,
        title=title,
        author=attrs.get("institution") or attrs.get("institution_id") or UNKNOWN,
        year=created[0] if created else UNKNOWN,
        version=entry.version,
        licence=stated.get("license") or attrs.get("license") or UNKNOWN,
        attribution=stated.get("attribution") or attrs.get("attribution") or UNKNOWN,
        doi=doi_in(attrs) or stated.get("doi") or UNKNOWN,
        further_information=attrs.get("further_info_url", ""),
    )


def attributes_of(entry: Entry) -> dict[str, str]:
    """Return the global attributes of a file that are text, from its header; none if it has not been described."""
    attrs = (entry.header or {}).get("attrs", {})
    return {str(name): value.strip() for name, value in attrs.items() if isinstance(value, str) and value.strip()}


def doi_in(attrs: Mapping[str, str]) -> str:
    """Return the DOI that a file's attributes name; empty if they name none.

    Examples
    --------
    >>> doi_in({"references": "Hersbach et al., doi:10.24381/cds.adbb2d47."})
    '10.24381/cds.adbb2d47'
    """
    for name in _WITH_DOI:
        if match := _DOI.search(attrs.get(name, "")):
            return match[1].rstrip(".)]")
    return ""


def _stated(topology: Topology, entry: Entry) -> dict[str, str]:
    """Return what regions.yaml says of an entry's dataset, of the mount that holds it if that is still there."""
    if entry.dataset not in topology.dataset_names:
        return {}
    there = [stanza for region, stanza in topology.datasets(entry.dataset) if region == entry.region]
    holding = [stanza for stanza in there if entry.key.startswith(f"{stanza.mount}/")]
    for stanza in holding or there:
        said = {"license": stanza.license, "attribution": stanza.attribution, "doi": stanza.doi}
        return {name: text for name, text in said.items() if text}
    return {}


def _tex(text: str) -> str:
    return "".join(_TEX.get(c, c) for c in " ".join(text.split()))

"""Provenance of a result: one record that is stored in its catalog entry.

Belongs here: the record and its form in an entry. Does not belong here: filling it (analysis_definition), following it
to upstream results (input_steps), its display in the UI (io_manager).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from typing import Any

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from xdask_pipelines.access.completeness import Steps
from xdask_pipelines.catalog import Entry

#: Limit of sources in a record, because every search reads it.
MOST_SOURCES = 1_000
_NAME = "provenance"


@dataclass(frozen=True, slots=True)
class UsedEntry:
    """An entry that was read, with its version at that time, and the fixes of its header (`access.describing.fixes`)."""

    dataset: str
    region: str
    key: str
    part: str
    version: str
    digest: str
    size_bytes: int
    fixes: tuple[str, ...] = ()

    @classmethod
    def of(cls, entry: Entry) -> UsedEntry:
        """The record of an entry."""
        return cls(
            *(entry.dataset, entry.region, entry.key, entry.part, entry.version, entry.etag, entry.size_bytes),
            fixes=tuple((entry.header or {}).get("fixes", ())),
        )


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Provenance of one part of a result.

    Attributes
    ----------
    code_version
        Digest of the function's source.
    packages
        Versions of Python and of the packages that decide the bits of a result, this one among them.
    config
        Values of the run's config.
    processing
        Recorded steps inside the analysis, such as regriddings: ``kind``, and settings.
    sources
        Entries that were read, files and results; only the first `MOST_SOURCES`.
    source_count, source_digest
        Number and digest of all sources, if the record has only some.
    replicas
        Sentences about the chosen Region, and the reason, if several had the same data.
    upstream
        Version of each upstream result, by name.
    steps
        Time steps of each file that was read, by name and period of the input.
    uncounted
        Inputs whose expected number of steps is unknown.
    time_steps
        Number of steps in a partial; None for other results.
    excerpted
        Whether any input is declared an excerpt.
    excerpts
        Sentences about missing data, including those of upstream results.
    experiments
        CMIP6 experiments, including those of upstream results.
    attributions
        Required attributions and licences, including those of upstream results.
    """

    code_version: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    processing: tuple[Mapping[str, str], ...] = ()
    sources: tuple[UsedEntry, ...] = ()
    source_count: int = 0
    source_digest: str = ""
    replicas: tuple[str, ...] = ()
    upstream: Mapping[str, str] = field(default_factory=dict)
    steps: Mapping[str, Steps] = field(default_factory=dict)
    uncounted: tuple[str, ...] = ()
    time_steps: int | None = None
    excerpted: bool = False
    excerpts: tuple[str, ...] = ()
    experiments: tuple[str, ...] = ()
    attributions: tuple[str, ...] = ()

    @classmethod
    def of(cls, entry: Entry) -> Provenance:
        """Return the record in the entry of a result; an empty one if it has none.

        Raises
        ------
        pydantic.ValidationError
            If the record in the entry is not valid.
        """
        return _RECORD.validate_python((entry.header or {}).get(_NAME, {}))

    @staticmethod
    def is_in(entry: Entry) -> bool:
        """Return whether an entry has a record; results of older versions without record must be recomputed."""
        return _NAME in (entry.header or {})

    def in_header(self) -> dict[str, Any]:
        """Return the record for the header of an entry."""
        kept = self
        if len(self.sources) > MOST_SOURCES:
            every = "\n".join(f"{s.region}:{s.key}#{s.part} {s.version} {s.digest}" for s in self.sources)
            kept = replace(
                self,
                sources=self.sources[:MOST_SOURCES],
                source_count=len(self.sources),
                source_digest=hashlib.blake2b(every.encode(), digest_size=16).hexdigest(),
            )
        return {_NAME: _RECORD.dump_python(kept, mode="json", exclude_defaults=True)}


_RECORD = TypeAdapter(Provenance)


def inherited(entries: Iterable[Entry]) -> tuple[set[str], set[str], set[str]]:
    """Return excerpts, experiments and attributions of the inputs of a result."""
    excerpts: set[str] = set()
    experiments: set[str] = set()
    attributions: set[str] = set()
    for entry in entries:
        before = Provenance.of(entry)
        excerpts.update(before.excerpts)
        experiments.update(before.experiments)
        attributions.update(before.attributions)
        if "attribution" in entry.attributes:
            licence = entry.attributes.get("license", "licence unknown")
            attributions.add(f"{entry.attributes['attribution']} ({licence})")
    return excerpts, experiments, attributions

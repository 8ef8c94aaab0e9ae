"""What a result was made from: one record, written with its catalog entry and read back as a whole.

Belongs here: the record and its form in an entry. Does not belong here: filling it (analysis_definition), walking it to the
results that a result was made from (input_steps), what the UI shows of it (io_manager).
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

#: Of one part; an entry is read by every search that finds it.
MOST_SOURCES = 1_000
_NAME = "provenance"


@dataclass(frozen=True, slots=True)
class UsedEntry:
    """An entry that was read: which one, and what it held then."""

    dataset: str
    region: str
    key: str
    part: str
    version: str
    digest: str
    size_bytes: int

    @classmethod
    def of(cls, entry: Entry) -> UsedEntry:
        """The record of an entry."""
        return cls(entry.dataset, entry.region, entry.key, entry.part, entry.version, entry.etag, entry.size_bytes)


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What one part of a result was made from.

    Attributes
    ----------
    code_version
        Digest of the function's source.
    config
        Values of the run's config.
    sources
        Entries that were read, files and results. Of more than `MOST_SOURCES` a record keeps the first.
    source_count, source_digest
        Of all of them, where a record keeps some.
    replicas
        Which Region was chosen where several held the same data, and why, in sentences.
    upstream
        Version of each result that it was made from, by name.
    steps
        Time steps of each file that was read, by name and period of the input.
    uncounted
        Inputs of which nobody knows how many steps they should have.
    time_steps
        Steps that went into a partial mean; None for anything else.
    excerpted
        Whether some input is declared an excerpt.
    excerpts
        What is known to be missing, in sentences; of what it was made from, too.
    experiments
        Experiments of CMIP6, of what it was made from, too.
    attributions
        Who must be named, and under which licence; of what it was made from, too.
    """

    code_version: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
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
        """The record that an entry of a result carries; an empty one if it carries none.

        Raises
        ------
        pydantic.ValidationError
            The entry carries something else.
        """
        return _RECORD.validate_python((entry.header or {}).get(_NAME, {}))

    @staticmethod
    def is_in(entry: Entry) -> bool:
        """Whether an entry carries a record: results of versions without one must be computed again."""
        return _NAME in (entry.header or {})

    def in_header(self) -> dict[str, Any]:
        """What the header of an entry carries."""
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
    """Excerpts, experiments and attributions of what a result is made from."""
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

"""How a dataset's paths say what its files hold: one layout for each convention.

Belongs here: paths to entries, and the reasons why a path is none. Does not belong here: reading or listing
files. What cannot be an entry is quarantined with its reason: never dropped, never fatal.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from xdask_pipelines.catalog.entry import Entry
from xdask_pipelines.catalog.listing import StoredObject
from xdask_pipelines.catalog.times import time_range


@dataclass(frozen=True, kw_only=True)
class Holding:
    """One mount of a dataset in one Region, as the topology describes it.

    ``attributes`` (licence, attribution) go into each entry. ``exclude`` are keys of files or stores known to be bad,
    such as retracted CMIP6 versions: they are quarantined.
    """

    dataset: str
    region: str
    layout: str
    mount: str
    excerpt: bool = False
    attributes: Mapping[str, str] = field(default_factory=dict)
    exclude: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, order=True)
class Quarantined:
    """An object or store that is not catalogued, and why."""

    key: str
    reason: str


class Layout(Protocol):
    """One convention of paths."""

    def parse(self, objects: Iterable[StoredObject], holding: Holding) -> tuple[list[Entry], list[Quarantined]]:
        """Entries and refusals for the objects (sorted by key, without problems) of one mount."""
        ...


def parse(objects: Iterable[StoredObject], holding: Holding) -> tuple[list[Entry], list[Quarantined]]:
    """Entries of one mount by its own layout, and all that is quarantined, each sorted by key."""
    usable: list[StoredObject] = []
    quarantined: list[Quarantined] = []
    for item in objects:
        if item.problem:
            quarantined.append(Quarantined(item.key, item.problem))
        elif item.key.endswith("/"):
            quarantined.append(Quarantined(item.key, "it is an empty object that stands for a folder"))
        else:
            usable.append(item)
    entries, refused = LAYOUTS[holding.layout].parse(usable, holding)
    quarantined += refused
    quarantined += [Quarantined(e.key, "it is on the exclude list") for e in entries if e.key in holding.exclude]
    return [entry for entry in entries if entry.key not in holding.exclude], sorted(quarantined)


class Era5Pds:
    """``[…/]{year}/{month}/data/{variable}.nc``, one variable and month a file, as in the public era5-pds bucket."""

    _PATH = re.compile(r"(?:.*/)?(\d{4,5})/(\d\d)/data/([A-Za-z][A-Za-z0-9_]*)\.nc", re.ASCII | re.DOTALL)
    _DEPTH = 4
    # main.nc describes a month and holds no field; there is one each month, so reporting them would be noise.
    _IGNORED = re.compile(r"(?:.*/)?\d{4,5}/\d\d/main\.nc", re.ASCII | re.DOTALL)

    def parse(self, objects: Iterable[StoredObject], holding: Holding) -> tuple[list[Entry], list[Quarantined]]:
        """See :meth:`Layout.parse`."""
        entries: list[Entry] = []
        quarantined: list[Quarantined] = []
        for item in objects:
            match = self._PATH.fullmatch(item.key)
            if self._IGNORED.fullmatch(item.key):
                continue
            if match is None or _depth(item.key, holding) > self._DEPTH:
                reason = "its path is not {year}/{month}/data/{variable}.nc below the mount"
                quarantined.append(Quarantined(item.key, reason))
            elif not (1 <= int(match[2]) <= 12 and int(match[1]) >= 1):
                quarantined.append(Quarantined(item.key, f"{match[1]}-{match[2]} is not a month"))
            elif item.size_bytes == 0:
                quarantined.append(Quarantined(item.key, "it is empty"))
            else:
                year, month, variable = match.groups()
                start, end = time_range(f"{year}-{month}")
                entries.append(
                    Entry(
                        dataset=holding.dataset,
                        region=holding.region,
                        layout=holding.layout,
                        key=item.key,
                        format="netcdf4",
                        variable=variable,
                        facets={"variable": variable, "year": year, "month": month},
                        time_start=start,
                        time_end=end,
                        size_bytes=item.size_bytes,
                        etag=item.etag,
                        modified_ns=item.modified_ns,
                        attributes=dict(holding.attributes),
                        excerpt=holding.excerpt,
                    )
                )
        return entries, quarantined


class Cmip6Pds:
    """One consolidated Zarr v2 store a variable and version, in the CMIP6 data reference syntax.

    ``[CMIP6/]{activity_id}/{institution_id}/{source_id}/{experiment_id}/{member_id}/{table_id}/{variable_id}/``
    ``{grid_label}/{version}/``; leading parts may belong to the mount. All objects of a store make one entry.
    """

    FACETS = (
        "activity_id",
        "institution_id",
        "source_id",
        "experiment_id",
        "member_id",
        "table_id",
        "variable_id",
        "grid_label",
    )

    def parse(self, objects: Iterable[StoredObject], holding: Holding) -> tuple[list[Entry], list[Quarantined]]:
        """See :meth:`Layout.parse`."""
        stores, quarantined = _stores(list(objects))
        entries: list[Entry] = []
        for folder, members in sorted(stores.items()):
            parts = folder.split("/")
            depth = _depth(folder, holding)
            named = parts[-9:]
            extra = depth > 10 or (depth == 10 and parts[-10] != "CMIP6")
            if len(named) < 9 or extra:
                reason = "its path is not [CMIP6/]" + "/".join(f"{{{name}}}" for name in (*self.FACETS, "version"))
                quarantined.append(Quarantined(folder, f"{reason} below the mount"))
            elif not re.fullmatch(r"v\d+", named[8], re.ASCII):
                quarantined.append(Quarantined(folder, f"{named[8]!r} is not a version such as v20190815"))
            else:
                facets = dict(zip(self.FACETS, named, strict=False))
                entries.append(
                    Entry(
                        dataset=holding.dataset,
                        region=holding.region,
                        layout=holding.layout,
                        key=folder,
                        format="zarr2",
                        variable=facets["variable_id"],
                        facets=facets,
                        version=named[8],
                        size_bytes=sum(item.size_bytes for item in members),
                        etag=_store_etag(folder, members),
                        modified_ns=max(item.modified_ns for item in members),
                        attributes=dict(holding.attributes),
                        excerpt=holding.excerpt,
                    )
                )
        return entries, quarantined


LAYOUTS: dict[str, Layout] = {"cmip6-pds": Cmip6Pds(), "era5-pds": Era5Pds()}


def _depth(key: str, holding: Holding) -> int:
    """How many parts of the path lie below the mount."""
    return key.removeprefix(f"{holding.mount}/").count("/") + 1


def _store_etag(folder: str, members: list[StoredObject]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for item in members:
        for text in (item.key[len(folder) + 1 :], item.etag):
            data = text.encode("utf-8")
            digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def _stores(objects: list[StoredObject]) -> tuple[dict[str, list[StoredObject]], list[Quarantined]]:
    """Objects by the store they belong to: a folder that holds consolidated metadata."""
    roots = {folder for item in objects if (folder := _inside(item.key, ".zmetadata"))}
    groups = {folder for item in objects if (folder := _inside(item.key, ".zgroup"))}
    empty = {folder for item in objects if item.size_bytes == 0 and (folder := _inside(item.key, ".zmetadata"))}
    stores: dict[str, list[StoredObject]] = defaultdict(list)
    reasons: dict[str, str] = {}
    above_of: dict[str, tuple[list[str], str]] = {}
    for item in objects:
        folder = item.key.rpartition("/")[0]
        if folder not in above_of:
            above = list(_folders(folder))
            above_of[folder] = [f for f in above if f in roots], next((f for f in above if f in groups), "")
        inside, group = above_of[folder]
        if len(inside) > 1:
            for store in inside:
                reasons[store] = f"stores lie in one another: {' and '.join(inside)}"
        elif inside:
            stores[inside[0]].append(item)
        elif group:
            reasons[group] = "it is a store without .zmetadata, half-written or not consolidated"
        else:
            reasons[item.key] = "it belongs to no Zarr store"
    reasons |= dict.fromkeys(sorted(empty), "its .zmetadata is empty")
    whole = {folder: members for folder, members in stores.items() if folder not in reasons}
    return whole, [Quarantined(key, reason) for key, reason in sorted(reasons.items())]


def _inside(key: str, name: str) -> str:
    folder, _, last = key.rpartition("/")
    return folder if last == name else ""


def _folders(path: str) -> Iterator[str]:
    """The path and the folders above it, the outermost first."""
    parts = path.split("/")
    return ("/".join(parts[:i]) for i in range(1, len(parts) + 1))

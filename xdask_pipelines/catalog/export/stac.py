"""Export as a static STAC catalog in a folder: one collection for each dataset, one item for each entry.

Belongs here: collections, and writing the folder atomically. Does not belong here: the item of one entry (stac_item).

Format: https://github.com/radiantearth/stac-spec/tree/v1.1.0. Every document is validated before it is visible, with
the schemas in pystac and ``stac_schemas``, without network access.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import cache
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import Any

import pystac
from jsonschema import Draft7Validator
from jsonschema.exceptions import best_match
from pystac.layout import CustomLayoutStrategy
from pystac.validation.local_validator import get_local_schema_cache
from referencing import Registry, Resource

from xdask_pipelines.catalog.entry import Entry
from xdask_pipelines.catalog.export.stac_item import Range, Unpack, bbox_of, facets_of, item_of, time_of
from xdask_pipelines.catalog.extent import Extent
from xdask_pipelines.errors import CatalogError

_MARK = {"xdask:export": "stac"}
_OWN_SCHEMAS = ("cmip6", "datacube")
_SAID_EVERY = 1000


def export_stac(
    entries: Sequence[Entry],
    address_of: Callable[[Entry], str],
    unpack: Unpack,
    folder: Path,
    *,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, int]:
    """Write a self-contained static catalog.

    The catalog is written to a temporary folder, which then replaces the previous export. Readers see the old or the
    new one, or for a moment none.

    Parameters
    ----------
    entries
        Entries sorted by dataset, as from a search.
    address_of
        Returns the address of an entry's data for readers.
    unpack
        See :func:`xdask_pipelines.catalog.export.stac_item.item_of`.
    folder
        Folder of the export; created if missing. An existing folder must be empty, or an export of this function.
    tell
        Called with lines of progress.

    Returns
    -------
    Number of items by dataset.

    Raises
    ------
    CatalogError
        If there are no entries, the folder contains other files or cannot be written, or an entry cannot be represented
        in STAC. The folder is then unchanged.
    """
    if not entries:
        raise CatalogError("No entries to export. Check the filters with `xdask catalog search`.")
    _refuse_others(folder)
    root = pystac.Catalog(
        id="xdask", description="Datasets, and the Region in which each lies.", extra_fields=dict(_MARK)
    )
    counts: dict[str, int] = {}
    for dataset, its in groupby(entries, key=lambda entry: entry.dataset):
        held = list(its)
        collection = _collection(dataset, held)
        for entry in held:
            collection.add_item(item_of(entry, address_of(entry), unpack))
        root.add_child(collection)
        counts[dataset] = len(held)
    staged = folder.with_name(f".{folder.name}.{os.getpid()}")
    # Subfolders by two digits of the id avoid a folder with 500,000 files.
    layout = CustomLayoutStrategy(item_func=lambda item, parent: f"{parent}/{item.id[:2]}/{item.id}.json")
    root.normalize_hrefs(f"{staged}/", strategy=layout)  # without the slash pystac takes a name with a dot for a file
    for kind, document in [("catalog", root), *(("collection", child) for child in root.get_children())]:
        _check(kind, document.to_dict(include_self_link=False), document.id)
    for number, item in enumerate(root.get_items(recursive=True), 1):
        _check(
            "item", item.to_dict(include_self_link=False), item.properties["title"]
        )  # takes 10 of the 13 ms for an item
        if number % _SAID_EVERY == 0:
            tell(f"{number} of {len(entries)} entries")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        root.save(pystac.CatalogType.SELF_CONTAINED)
        _replace(folder, staged)
    except OSError as error:
        raise CatalogError(f"{folder} cannot be written: {error}. It was not changed. Choose another folder") from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return counts


def link_to(address: str) -> str:
    """A link to an address. Of a path on this machine, odd characters are percent-encoded, as RFC 8089 wants it; an object
    of a bucket has no other name than its key, which readers of S3 take as it is.
    """
    path = address.removeprefix("file://")
    return Path(path).as_uri() if path != address else address


def _refuse_others(folder: Path) -> None:
    """Refuse a folder that contains anything but an export, because it would be removed."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    try:
        document = json.loads((folder / "catalog.json").read_text())
        ours = _MARK.items() <= document.items()
        children = {link["href"].split("/")[1] for link in document["links"] if link["rel"] == "child"}
        strangers = sorted({path.name for path in folder.iterdir()} - children - {"catalog.json"})
    except (OSError, ValueError, KeyError, IndexError, AttributeError):
        ours, strangers = False, []
    if not ours or strangers:
        what = (
            f"contains {', '.join(strangers)} in addition to an export" if ours else "exists and is not a STAC export"
        )
        raise CatalogError(
            f"{folder} {what}, but an export replaces the whole folder. Nothing was written. Choose another folder"
        )


def _replace(folder: Path, staged: Path) -> None:
    old = folder.with_name(f"{staged.name}.old")
    if folder.exists():
        folder.rename(old)
    try:
        staged.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _collection(dataset: str, entries: Sequence[Entry]) -> pystac.Collection:
    facets: defaultdict[str, set[str]] = defaultdict(set)
    for entry in entries:
        for name, value in {**facets_of(entry), "xdask:region": entry.region}.items():
            facets[name].add(value)
    attributes = entries[0].attributes
    licence = attributes.get("license", "")
    return pystac.Collection(
        id=dataset,
        description=f"{dataset}: {len(entries)} files and stores in {', '.join(sorted(facets['xdask:region']))}.",
        extent=pystac.Extent(
            pystac.SpatialExtent([_around(entry.extent for entry in entries)]),
            pystac.TemporalExtent([_span(time_of(entry) for entry in entries)]),
        ),
        license=licence if re.fullmatch(r"[\w.+-]+", licence) else "other",
        providers=_providers(attributes.get("attribution", ""), facets["cmip6:institution_id"]),
        summaries=pystac.Summaries({name: sorted(values) for name, values in sorted(facets.items()) if values}, 10**9),
    )


def _providers(attribution: str, institutions: Iterable[str]) -> list[pystac.Provider]:
    providers = [pystac.Provider(name, roles=[pystac.ProviderRole.PRODUCER]) for name in sorted(institutions)]
    if attribution:
        providers.append(pystac.Provider(attribution, roles=[pystac.ProviderRole.LICENSOR]))
    return providers


def _span(ranges: Iterable[Range | None]) -> list[datetime | None]:
    known = [found for found in ranges if found]
    return [min(start for start, _ in known), max(end for _, end in known)] if known else [None, None]


def _around(extents: Iterable[Extent | None]) -> list[float]:
    """Return the smallest box that contains all extents; the whole Earth if none is known."""
    known = sorted({extent for extent in extents if extent})
    if not known:
        return [-180.0, -90.0, 180.0, 90.0]
    south, north = min(e[1] for e in known), max(e[3] for e in known)
    reach, widest, west = max(e[2] for e in known) - 360, 0.0, -180.0  # the complement of the widest gap, going east
    for first, _, last, _ in known:
        if first - reach > widest:
            widest, west = first - reach, first
        reach = max(reach, last)
    return bbox_of((west, south, west + 360 - widest, north))


def _check(kind: str, document: dict[str, Any], what: str) -> None:
    """Refuse a document that does not match its schemas."""
    error = best_match(_core(kind).iter_errors(document))
    if error is None and kind == "item":
        error = next(filter(None, (best_match(v.iter_errors(document["properties"])) for v in _own_schemas())), None)
    if error is not None:
        where = "/".join(map(str, error.absolute_path)) or kind
        raise CatalogError(
            f"{what} cannot be represented in STAC: {where}: {error.message}. Nothing was written. Exclude it with a filter"
        )


@cache
def _core(kind: str) -> Draft7Validator:
    """Return STAC's own schema from pystac; its registry cannot fetch others."""
    schemas = get_local_schema_cache()
    registry: Registry[Any] = Registry().with_resources((k, Resource.from_contents(v)) for k, v in schemas.items())
    (uri,) = (uri for uri in schemas if uri.endswith(f"/{kind}.json") and f"/{kind}-spec/" in uri)
    return Draft7Validator(schemas[uri], registry=registry)


@cache
def _own_schemas() -> tuple[Draft7Validator, ...]:
    folder = resources.files("xdask_pipelines.catalog").joinpath("stac_schemas")
    return tuple(Draft7Validator(json.loads(folder.joinpath(f"{n}.json").read_text())) for n in _OWN_SCHEMAS)

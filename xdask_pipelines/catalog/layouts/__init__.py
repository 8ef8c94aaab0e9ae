"""How a dataset's paths encode what its files hold: one layout for each convention, in a file ``…_layout.py`` of its own.

Belongs here: finding layouts, and how facets become entries: objects that no layout may use, the exclude list. Does not
belong here: any one convention. What cannot be an entry is quarantined with its reason: never dropped, never fatal.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from sys import intern

from xdask_pipelines.catalog.entry import Entry, Format
from xdask_pipelines.catalog.layouts.base import FILE_FORMATS, Content, Layout, Quarantined, Reading
from xdask_pipelines.catalog.layouts.stores import stores_of
from xdask_pipelines.catalog.manifest.listing import StoredObject
from xdask_pipelines.topology.layout_names import module_of
from xdask_pipelines.topology.mount import Mount
from xdask_pipelines.topology.names import is_plain_key

__all__ = ["Content", "Layout", "Quarantined", "Reading", "fingerprint", "layout_named", "parse"]

#: What entries depend on; not where a mount comes from, nor how it is listed.
_SAID = ("dataset", "region", "layout", "path", "excerpt", "pattern", "variable")


@cache
def layout_named(name: str) -> Layout:
    """Import a layout by its name: the constant ``LAYOUT`` of the module that `topology.layout_names.module_of` gives."""
    layout: Layout = import_module(f"{__name__}.{module_of(name)}").LAYOUT
    return layout


def fingerprint(mounts: Sequence[Mount]) -> str:
    """Digest of mounts' descriptions and of the layouts' code: if it is the same, the same objects give the same entries."""
    said = [
        [*(getattr(mount, name) for name in _SAID), dict(mount.attributes), sorted(mount.exclude)]
        for mount in sorted(mounts, key=lambda mount: mount.path)
    ]
    text = json.dumps([_code(), said], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@cache
def _code() -> str:
    digest = hashlib.blake2b(digest_size=16)
    for module in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(module.read_bytes())
    return digest.hexdigest()


def parse(objects: Iterable[StoredObject], mount: Mount) -> tuple[list[Entry], list[Quarantined]]:
    """Entries of one mount by its own layout, and all that is quarantined, each sorted by key."""
    usable: list[StoredObject] = []
    spoilt: list[Quarantined] = []
    quarantined: list[Quarantined] = []
    for item in objects:
        if item.problem:
            spoilt.append(Quarantined(item.key, item.problem))
        elif item.key.endswith("/"):
            quarantined.append(Quarantined(item.key, "it is an empty object that stands for a folder"))
        elif not is_plain_key(item.key):
            quarantined.append(Quarantined(item.key, "its path has an empty part, . or .., which no folder can hold"))
        else:
            usable.append(item)
    layout = layout_named(mount.layout)
    things: Sequence[tuple[StoredObject, Format | None]]
    if layout.by_file(mount):
        things = [(item, None) for item in usable]
    else:
        stores, refused = stores_of(usable, spoilt)
        things = [(store.whole, store.format) for store in stores]
        quarantined += refused
    entries: list[Entry] = []
    for item, file_format in things:
        said = layout.read(item.key, mount)
        if said is None:
            continue
        if isinstance(said, str):
            quarantined.append(Quarantined(item.key, said))
        elif item.size_bytes == 0:
            quarantined.append(Quarantined(item.key, "it is empty"))
        elif mount.excludes(item.key):
            quarantined.append(Quarantined(item.key, "it is on the exclude list"))
        else:
            suffix = item.key[item.key.rfind(".") :]
            entries.append(_entry(item, file_format or FILE_FORMATS[suffix], said, mount))
    quarantined += [*spoilt, *_excluded_in_vain(usable, mount)]
    return entries, sorted(quarantined)


def _entry(item: StoredObject, file_format: Format, said: Reading, mount: Mount) -> Entry:
    # A million entries have few attributes and values between them: kept once, they save a third of the memory.
    return Entry(
        dataset=mount.dataset,
        region=mount.region,
        layout=mount.layout,
        key=item.key,
        format=file_format,
        variable=intern(said.variable),
        facets={name: intern(value) for name, value in said.facets.items()},
        version=said.version,
        time_start=said.times[0],
        time_end=said.times[1],
        size_bytes=item.size_bytes,
        etag=item.etag,
        modified_ns=item.modified_ns,
        attributes=mount.attributes,
        excerpt=mount.excerpt,
    )


def _excluded_in_vain(objects: list[StoredObject], mount: Mount) -> list[Quarantined]:
    """What the exclude list names and does not lie there: perhaps misspelt, so that what was meant is catalogued."""
    vain = set(mount.exclude)
    for item in objects if vain else ():
        vain.difference_update(mount.folders(item.key))
    return [Quarantined(f"{mount.path}/{path}", "the exclude list names it, and it is not there") for path in vain]

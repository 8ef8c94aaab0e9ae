"""A mount: one folder of a dataset in one Region.

Belongs here: its properties, and paths below it. Does not belong here: its form in regions.yaml (stanzas), layouts
(catalog).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A folder of a Region with files of one dataset.

    Attributes
    ----------
    dataset, region
        The dataset of the files, and their Region.
    layout
        Name of the layout of the paths below the mount.
    path
        Path below the Region's data folder; every key of the mount begins with it.
    excerpt
        Whether the data are knowingly incomplete.
    attributes
        Licence and attribution, which are written into each entry.
    exclude
        Paths below the mount of files, stores or folders that are known to be bad, such as retracted CMIP6 versions:
        they are quarantined.
    pattern, variable
        Settings of the layout ``generic``.
    source
        ``s3://bucket`` or ``s3://bucket/prefix`` from which the mount is imported; empty if the folder itself is the
        source.
    from_bucket
        Whether the objects of ``source`` are listed; else the files of the mount are.
    anonymous
        Whether the bucket is read without credentials, as public open-data buckets allow.
    inventory
        ``s3://…`` folder of an S3 Inventory of the bucket, which is read instead of listing; empty to list the bucket.
    """

    dataset: str
    region: str
    layout: str
    path: str
    excerpt: bool = False
    attributes: Mapping[str, str] = field(default_factory=dict)
    exclude: frozenset[str] = frozenset()
    pattern: str = ""
    variable: str = ""
    source: str = ""
    from_bucket: bool = False
    anonymous: bool = False
    inventory: str = ""

    @property
    def bucket(self) -> str:
        """Name of the bucket."""
        return self.source.removeprefix("s3://").partition("/")[0]

    @property
    def prefix(self) -> str:
        """Prefix of keys in the bucket; empty, or with a slash at the end."""
        prefix = self.source.removeprefix("s3://").partition("/")[2].rstrip("/")
        return prefix and f"{prefix}/"

    def holds(self, key: str) -> bool:
        """Return whether a path is on the mount, or is the mount itself."""
        return f"{key}/".startswith(f"{self.path}/")

    def below(self, key: str) -> str:
        """Return the path below the mount; empty for the mount itself."""
        return "" if key == self.path else key.removeprefix(f"{self.path}/")

    def depth(self, key: str) -> int:
        """Return how many parts of the path are below the mount."""
        return self.below(key).count("/") + 1

    def excludes(self, key: str) -> bool:
        """Return whether the path or a folder above it is on the exclude list."""
        return bool(self.exclude) and any(path in self.exclude for path in self.folders(key))

    def folders(self, key: str) -> Iterator[str]:
        """Iterate over the path below the mount, and the folders above it."""
        parts = self.below(key).split("/")
        return ("/".join(parts[:i]) for i in range(1, len(parts) + 1))

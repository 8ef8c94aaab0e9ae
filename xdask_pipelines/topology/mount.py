"""One mount of a dataset in one Region: what every floor that lists, reads or imports it has to know.

Belongs here: the value, and paths below it. Does not belong here: what the file may say (stanzas), layouts (catalog).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A folder of a Region that holds files of one dataset.

    Attributes
    ----------
    dataset, region
        Whose files, and where.
    layout
        Name of the layout of the paths below it.
    path
        Below the Region's data folder; every key of the mount begins with it.
    excerpt
        The data are knowingly incomplete.
    attributes
        Licence and attribution, which go into each entry.
    exclude
        Paths below the mount, of files, stores or whole folders known to be bad, such as retracted CMIP6 versions: they
        are quarantined.
    pattern, variable
        For the layout ``generic``.
    source
        ``s3://bucket`` or ``s3://bucket/prefix`` that the mount is imported from; empty: it is a folder of its own.
    from_bucket
        Whether ``source`` says what there is, and the mount follows; else the mount itself is listed.
    anonymous
        Ask the bucket without credentials, as open-data buckets want of those who have no rights of their own.
    inventory
        ``s3://…`` folder of an S3 Inventory of the bucket, to be read instead of listing; empty: list.
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
        """Keys in the bucket begin with this; empty or with a slash at the end."""
        prefix = self.source.removeprefix("s3://").partition("/")[2].rstrip("/")
        return prefix and f"{prefix}/"

    def holds(self, key: str) -> bool:
        """Whether a path lies on the mount, or is the mount itself."""
        return f"{key}/".startswith(f"{self.path}/")

    def below(self, key: str) -> str:
        """The path below the mount; empty for the mount itself."""
        return "" if key == self.path else key.removeprefix(f"{self.path}/")

    def depth(self, key: str) -> int:
        """How many parts of the path lie below the mount."""
        return self.below(key).count("/") + 1

    def excludes(self, key: str) -> bool:
        """Whether the path or a folder above it is on the exclude list."""
        return bool(self.exclude) and any(path in self.exclude for path in self.folders(key))

    def folders(self, key: str) -> Iterator[str]:
        """The path below the mount, and those of the folders above it."""
        parts = self.below(key).split("/")
        return ("/".join(parts[:i]) for i in range(1, len(parts) + 1))

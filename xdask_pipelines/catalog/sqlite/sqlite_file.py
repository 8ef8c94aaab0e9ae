"""The SQLite file: opening, schema, transactions, and error messages.

Belongs here: connections and errors of the file. Does not belong here: the meaning of its tables.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from xdask_pipelines.catalog.sqlite.sqlite_schema import SCHEMA_VERSION, STEPS, create, version_of
from xdask_pipelines.catalog.sqlite.sqlite_seals import seal
from xdask_pipelines.errors import CatalogError

_BUSY_SECONDS = 60.0
_DAMAGED = (
    "run `xdask sync --full`, which repairs what it can; if it cannot, restore the file from a backup, or move it away and "
    "run xdask sync, which rebuilds the catalog from the data, without results"
)
_REMOTE = (
    "nfs",
    "cifs",
    "smb",
    "lustre",
    "9p",
    "fuse.sshfs",
    "fuse.s3fs",
    "fuse.goofys",
    "fuse.mount-s3",
    "ceph",
    "gpfs",
)


class SqliteFile:
    """Transactions on one catalog file, from any thread and process. The first write creates the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()

    def __reduce__(self) -> tuple[type[SqliteFile], tuple[Path]]:
        return type(self), (self._path,)  # connections cannot be pickled

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection | None]:
        """Open a read transaction; None if the catalog does not exist yet."""
        with self._in_words("read"):
            db = self._connection("ro") if _has_content(self._path) else None
            if db is None or not self._has_schema(db):
                yield None
                return
            if version_of(db) != SCHEMA_VERSION:
                with self.writing():
                    pass  # a write transaction migrates the file to this version
            db.execute("BEGIN")
            try:
                yield db
            finally:
                db.execute("ROLLBACK")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Open a write transaction, which is rolled back on any error."""
        with self._in_words("written"):
            if not self._path.exists():
                self._refuse_remote_disk()
                self._path.parent.mkdir(parents=True, exist_ok=True)
            db = self._connection("rwc")
            # IMMEDIATE, because a transaction that reads first and writes later fails if another process writes.
            db.execute("BEGIN IMMEDIATE")
            try:
                if not self._has_schema(db):
                    create(db)
                for version in range(version_of(db), SCHEMA_VERSION):
                    STEPS[version](db)
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    def _connection(self, mode: str) -> sqlite3.Connection:
        """Return the connection of this thread; a new one after a fork, or if the file was deleted and created again."""
        with suppress(FileNotFoundError):
            status = self._path.stat()
            kept = getattr(self._local, mode, None)
            if kept is not None and kept[0] == (os.getpid(), status.st_dev, status.st_ino):
                connection: sqlite3.Connection = kept[1]
                return connection
        # Without URI escapes, a path with ? or % would open another file.
        url = f"file:{quote(os.fspath(self._path.absolute()))}?mode={mode}"
        db = sqlite3.connect(url, uri=True, isolation_level=None, timeout=_BUSY_SECONDS)
        db.create_function("seal", -1, seal, deterministic=True)
        db.text_factory = _text
        if mode == "ro" and not self._can_share(db):
            return sqlite3.connect(f"{url}&immutable=1", uri=True, isolation_level=None)
        db.execute("PRAGMA cache_size = -65536")
        if mode == "rwc":
            _retry_while_locked(lambda: db.execute("PRAGMA journal_mode = WAL"))
            # With WAL, NORMAL may lose the last commits at a power failure, but never corrupts the file.
            db.execute("PRAGMA synchronous = NORMAL")
        status = self._path.stat()
        setattr(self._local, mode, ((os.getpid(), status.st_dev, status.st_ino), db))
        return db

    def _can_share(self, db: sqlite3.Connection) -> bool:
        """Return False in a read-only folder without a writer, where SQLite cannot create its side files."""
        try:
            db.execute("PRAGMA user_version")
        except sqlite3.OperationalError as error:
            if "unable to open" not in str(error) or self._path.with_name(f"{self._path.name}-wal").exists():
                raise
            return False
        return True

    def _has_schema(self, db: sqlite3.Connection) -> bool:
        version = version_of(db)
        if version == SCHEMA_VERSION or version in STEPS:
            return True
        (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if version or tables:
            raise CatalogError(
                f"{self._path} is not a catalog of this version (schema {version}, expected {SCHEMA_VERSION}); move it "
                f"away and run xdask sync, which rebuilds it from the data"
            )
        return False

    def _refuse_remote_disk(self) -> None:
        kind = file_system(self._path)
        if kind.startswith(_REMOTE):
            raise CatalogError(
                f"The catalog {self._path} is on a network file system ({kind}), where SQLite can lose writes of "
                f"several machines. Move it to a local disk"
            )

    @contextmanager
    def _in_words(self, done: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            reason = str(error)
            if "locked" in reason:
                hint = f"another process has been writing for {_BUSY_SECONDS:.0f} s; wait for it or end it"
            elif "full" in reason:
                hint = "make room on that disk and try again"
            elif "readonly" in reason or "unable to open" in reason:
                hint = "make the file and its folder writable for this user"
            else:
                hint = _DAMAGED
            raise CatalogError(
                f"The catalog {self._path} cannot be {done}: {reason}; nothing was changed. To fix it: {hint}"
            ) from error
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # messages about damage may not be UTF-8
            raise CatalogError(
                f"The catalog {self._path} cannot be {done}: {error}; nothing was changed. To fix it: {_DAMAGED}"
            ) from error
        except OSError as error:
            raise CatalogError(f"The catalog {self._path} cannot be {done}: {error}") from error


def _text(data: bytes) -> str:
    """Decode text of the file; damaged text that is not UTF-8 is found by the seals."""
    return data.decode("utf-8", "surrogateescape")


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except (FileNotFoundError, NotADirectoryError):
        return False


def _retry_while_locked(action: Callable[[], object]) -> None:
    """Retry while the file is locked, because switching to WAL needs exclusive access and does not wait."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            action()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def file_system(path: Path) -> str:
    """Return the type of a path's file system in Linux; empty if it is unknown."""
    try:
        lines = Path("/proc/self/mounts").read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    nearest = ("", "")
    real = path.resolve()
    for line in lines:
        _, folder, kind, *_ = line.split(" ")
        folder = folder.replace("\\040", " ")
        if real.is_relative_to(folder) and len(folder) >= len(nearest[0]):
            nearest = (folder, kind)
    return nearest[1]

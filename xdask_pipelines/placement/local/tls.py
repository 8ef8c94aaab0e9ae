"""TLS settings of Dask processes: they contain the paths of certificates, never their content.

Belongs here: file names, who can read them, and Dask's settings for them. Does not belong here: creating certificates
(certificates).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from distributed import Security

AUTHORITY, NODE, NODE_KEY = "ca.pem", "node.pem", "node-key.pem"
#: Command that creates and renews certificates.
CERTS = "xdask certs"
_ROLES = ("scheduler", "worker", "client")


def has_certificates(folder: Path) -> bool:
    """Return whether a folder has certificates, even invalid ones: connections never fall back to plain TCP."""
    return any((folder / name).exists() for name in (AUTHORITY, NODE, NODE_KEY))


def security(folder: Path) -> Security:
    """Return the settings of a client that connects only to processes with the certificates of a folder."""
    files = {f"tls_{role}_cert": str(folder / NODE) for role in _ROLES}
    files |= {f"tls_{role}_key": str(folder / NODE_KEY) for role in _ROLES}
    return Security(require_encryption=True, tls_ca_file=str(folder / AUTHORITY), **files)


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a process that encrypts all Dask connections.

    Options of ``dask worker`` are not enough: they set no certificate for a client that a task opens.
    """
    prefix = "DASK_DISTRIBUTED__COMM__"
    named = {f"{prefix}REQUIRE_ENCRYPTION": "True", f"{prefix}TLS__CA_FILE": str(folder / AUTHORITY)}
    for role in _ROLES:
        named[f"{prefix}TLS__{role.upper()}__CERT"] = str(folder / NODE)
        named[f"{prefix}TLS__{role.upper()}__KEY"] = str(folder / NODE_KEY)
    return named


def readable_by_others(status: os.stat_result, group: int) -> bool:
    """Whether others than this process can read a key, or change it.

    Kubernetes mounts a Secret as files of root that only the group of the Pod can read, which is the group of this process.
    """
    of_pod = status.st_uid == 0 and status.st_gid == group and stat.S_IMODE(status.st_mode) == 0o440
    return bool(status.st_mode & 0o077) and not of_pod

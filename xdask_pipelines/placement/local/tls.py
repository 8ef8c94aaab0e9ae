"""How Dask processes use the certificates of a folder: by paths, never by content.

Belongs here: names of the files, and what Dask must be told of them. Does not belong here: making them (certificates).
"""

from __future__ import annotations

from pathlib import Path

from distributed import Security

AUTHORITY, NODE, NODE_KEY = "ca.pem", "node.pem", "node-key.pem"
#: Command that makes and renews certificates.
CERTS = "xdask certs"
_ROLES = ("scheduler", "worker", "client")


def has_certificates(folder: Path) -> bool:
    """Whether certificates were made in a folder, valid or not, all there or not: nothing falls back to plain TCP."""
    return any((folder / name).exists() for name in (AUTHORITY, NODE, NODE_KEY))


def security(folder: Path) -> Security:
    """What a client needs to speak to processes that use the certificates of a folder, and to no others."""
    files = {f"tls_{role}_cert": str(folder / NODE) for role in _ROLES}
    files |= {f"tls_{role}_key": str(folder / NODE_KEY) for role in _ROLES}
    return Security(require_encryption=True, tls_ca_file=str(folder / AUTHORITY), **files)


def environment(folder: Path) -> dict[str, str]:
    """Environment of a process all of whose Dask connections are to be encrypted.

    Options of ``dask worker`` would not do: they name no certificate for a client that a task opens.
    """
    prefix = "DASK_DISTRIBUTED__COMM__"
    named = {f"{prefix}REQUIRE_ENCRYPTION": "True", f"{prefix}TLS__CA_FILE": str(folder / AUTHORITY)}
    for role in _ROLES:
        named[f"{prefix}TLS__{role.upper()}__CERT"] = str(folder / NODE)
        named[f"{prefix}TLS__{role.upper()}__KEY"] = str(folder / NODE_KEY)
    return named

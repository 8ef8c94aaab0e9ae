"""Connecting to a scheduler: encrypted if certificates exist, and refused if versions differ.

Belongs here: creating a client, and the errors that explain why a connection failed. Does not belong here: requests to
the scheduler (scheduler_rpc).
"""

from __future__ import annotations

import os
import socket
import ssl
from pathlib import Path

from distributed import Client, Security

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.dask_internals.connections import host_and_port, without_version_warnings
from xdask_pipelines.placement.local import tls
from xdask_pipelines.placement.versions import refuse_different_versions

_PROBE_SECONDS = 2.0
_RESTART = "restart the pools: `xdask pools down`, `xdask pools up`"


def connect(
    address: str,
    certificates: str | os.PathLike[str] | None = None,
    *,
    timeout: float = 30.0,
    set_as_default: bool = False,
) -> Client:
    """Connect to a scheduler, and check that client, scheduler and workers have the same versions.

    Parameters
    ----------
    address
        Address of the scheduler, ``tcp://host:port`` or ``tls://host:port``.
    certificates
        Folder that ``xdask certs`` filled; None takes the certificates in Dask's configuration, if any.
    timeout
        Seconds until the attempt fails.
    set_as_default
        Whether plain Dask in this process uses this client too.

    Returns
    -------
    The connected client.

    Raises
    ------
    PlacementError
        If the address is not valid, the folder has no certificates, only one side uses TLS, certificates have expired
        or are signed by different authorities, or versions differ.
    OSError
        If no scheduler answers.
    """
    _check_address(address)
    folder = None if certificates is None else _folder(certificates)
    security = _security(address, folder)
    try:
        with without_version_warnings():  # different versions are an error below
            client = Client(address, security=security, timeout=timeout, set_as_default=set_as_default)
    except OSError as error:
        if problem := _problem(address, folder, security or Security()):
            raise PlacementError(problem) from error
        raise
    try:
        refuse_different_versions(client)
    except BaseException:
        client.close()
        raise
    return client


def _check_address(address: str) -> None:
    try:
        scheme, separator, _ = address.partition("://")
        usable = (not separator or scheme in ("tcp", "tls")) and bool(host_and_port(address)[1])
    except (AttributeError, TypeError, ValueError):  # not a string, no port, or a port that is not a number
        usable = False
    if not usable:
        raise PlacementError(
            f"{address!r} is not the address of a scheduler. Write tcp://host:port or tls://host:port, as "
            "`xdask pools status` shows it."
        )


def _folder(certificates: str | os.PathLike[str]) -> Path:
    """Return the folder of certificates, or raise if a file is missing in it."""
    try:
        folder = Path(certificates).expanduser()
    except (TypeError, RuntimeError) as error:  # not a path, or the home folder of an unknown user
        raise PlacementError(
            f"{certificates!r} is not a folder of certificates ({error}). Pass the folder that `{tls.CERTS}` filled, or "
            "a copy of it, such as 'var/certs'."
        ) from error
    names = (tls.AUTHORITY, tls.NODE, tls.NODE_KEY)
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        lacks = (
            f"has no {', '.join(missing)}" if folder.is_dir() else "is a file" if folder.exists() else "does not exist"
        )
        raise PlacementError(
            f"The certificates cannot be used: the folder {folder.resolve()} {lacks}. Pass the folder that "
            f"`{tls.CERTS}` filled (var/certs), or a copy of it; or create them with `{tls.CERTS}`, and {_RESTART}."
        )
    return folder


def _security(address: str, certificates: Path | None) -> Security | None:
    """Return the certificates to use, None for Dask's own configuration; raise if they do not fit the address."""
    encrypted = address.startswith("tls://")
    if certificates is None:
        if encrypted and _context(Security(), None) is None:
            raise PlacementError(
                f"The scheduler at {address} accepts only TLS, but this process has no certificates. Pass the folder of "
                "the scheduler's certificates, or a copy of it, as `certificates=`."
            )
        return None
    if not encrypted:
        raise PlacementError(
            f"The scheduler at {address} does not use TLS, but this process has to use the certificates in "
            f"{certificates}. To enable TLS on the scheduler, {_RESTART}."
        )
    given = tls.security(certificates)
    _context(given, certificates)
    return given


def _context(security: Security, certificates: Path | None) -> ssl.SSLContext | None:
    try:
        context: ssl.SSLContext | None = security.get_connection_args("client")["ssl_context"]
    except OSError as error:  # includes ssl.SSLError
        where = f"in {certificates}" if certificates else "that Dask's configuration names"
        raise PlacementError(
            f"The certificates {where} cannot be used: {error}. Create them with `{tls.CERTS}`, and {_RESTART}."
        ) from error
    return context


# ---- causes of failed connections -----------------------------------------------------------------------------------


def _problem(address: str, certificates: Path | None, security: Security) -> str | None:
    """Return the reason if a connection failed because of TLS, else None.

    The reason comes from one more handshake with the standard library, because Dask wraps the original error in several
    ways.
    """
    context = _context(security, certificates)
    if not address.startswith("tls://") or context is None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if _handshake(address, context):
            return (
                f"The scheduler at {address} accepts only TLS, and refused the connection. Use the address that begins with "
                "tls://, and pass the folder of its certificates, or a copy of it, as `certificates=`."
            )
        return None
    try:
        _handshake(address, context)
    except ssl.SSLError as error:
        reason = getattr(error, "verify_message", "") or str(error.reason or error)
        if "expired" in reason.lower():
            if certificates:
                _refuse_expired(certificates)
            return (
                f"A certificate of the scheduler at {address}, or of this process, has expired. Renew it with "
                f"`{tls.CERTS}`, and {_RESTART}."
            )
        own = f"those in {certificates}" if certificates else "those that Dask's configuration names"
        return (
            f"The scheduler at {address} and this process do not trust each other's certificates ({reason}). This process "
            f"uses {own}. Use the scheduler's certificates instead, or {_RESTART}."
        )
    return None


def _refuse_expired(certificates: Path) -> None:
    from xdask_pipelines.placement.local.certificates import refuse_expired  # kept light: rarely needed

    refuse_expired(certificates)


def _handshake(address: str, context: ssl.SSLContext) -> bool:
    """Try a TLS handshake, and return whether the port uses TLS; raise if a certificate is refused."""
    try:
        with (
            socket.create_connection(host_and_port(address), timeout=_PROBE_SECONDS) as plain,
            context.wrap_socket(plain) as encrypted,
        ):
            if context.verify_mode != ssl.CERT_NONE:
                encrypted.recv(1)  # in TLS 1.3 the server refuses a client only after the handshake
            return True
    except ssl.SSLError:
        if context.verify_mode == ssl.CERT_NONE:
            return False
        raise
    except OSError:
        return False

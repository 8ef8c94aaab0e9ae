"""Certificates for the Dask processes of one project, signed by the project's own certificate authority.

Belongs here: creating, renewing and reading certificates. Does not belong here: how processes use them (tls), the path
of their folder (topology).

Scheduler, workers and clients hold the same certificate and accept only certificates that the authority signed. Every
process with the files of this folder may therefore connect, and no other.
"""

from __future__ import annotations

import fcntl
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from xdask_pipelines.errors import PlacementError, XdaskError
from xdask_pipelines.placement.local.tls import AUTHORITY, CERTS, NODE, NODE_KEY
from xdask_pipelines.system.files import write_atomically

#: Key that signs new certificates. Dask processes never read it, so it may be kept elsewhere.
AUTHORITY_KEY = "ca-key.pem"
NAMES = ("127.0.0.1", "::1", "localhost")
_AUTHORITY_DAYS, _NODE_DAYS, _RENEW_DAYS = 3650, 365, 30
#: Certificates are valid from one hour in the past, because clocks of machines differ.
_EARLIER = timedelta(hours=1)
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?"
_HOST = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*")


@dataclass(frozen=True)
class Certificates:
    """The certificates in a folder, and what `make_certificates` did.

    Attributes
    ----------
    done
        ``kept`` if all certificates were still valid for long enough.
    until
        When the first certificate expires.
    names
        Names and addresses of the machines in the certificate.
    """

    done: Literal["made", "renewed", "kept"]
    until: datetime
    names: tuple[str, ...]


def make_certificates(folder: Path, hosts: Iterable[str] = (), now: datetime | None = None) -> Certificates:
    """Create an authority and a certificate that it signs, or renew them if they expire within 30 days.

    Parameters
    ----------
    folder
        Folder of the certificates. It is created if missing, and closed to other users.
    hosts
        Further names and addresses of machines, in addition to loopback and to those already in the certificate.
    now
        Current time; None takes the system clock.

    Returns
    -------
    The certificates, and what was done.

    Raises
    ------
    XdaskError
        If a host is not valid, files do not belong together, or the signing key is needed but missing.
    """
    now = now or datetime.now(UTC)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    with _alone(folder):
        for name in (NODE_KEY, AUTHORITY_KEY):
            if (folder / name).exists():
                (folder / name).chmod(0o600)
        authority, node = _certificate(folder / AUTHORITY), _certificate(folder / NODE)
        key = _key(folder / NODE_KEY)
        names = tuple(dict.fromkeys([*NAMES, *(_names(node) if node else ()), *(_host(h) for h in hosts)]))
        if authority and node and key and _serves(authority, node, key, names, now):
            return Certificates("kept", _until(authority, node), names)
        signing, authority = _authority(folder, authority, now)
        if key is None:
            key = ec.generate_private_key(ec.SECP256R1())
            write_atomically(folder / NODE_KEY, _pem(key), mode=0o600)
        made = _node(key, authority, signing, names, now)
        write_atomically(folder / NODE, made.public_bytes(serialization.Encoding.PEM), mode=0o644)
        return Certificates("renewed" if node else "made", _until(authority, made), names)


def expiry(folder: Path) -> datetime:
    """Return when the first certificate of a folder expires.

    Raises
    ------
    PlacementError
        If a certificate is missing or cannot be read.
    """
    existing = [_certificate(folder / name) for name in (AUTHORITY, NODE)]
    if None in existing:
        raise PlacementError(f"The folder {folder} has no certificates. Create them with `{CERTS}`.")
    return _until(*(c for c in existing if c))


def refuse_expired(folder: Path, now: datetime | None = None) -> None:
    """Raise `PlacementError` if certificates are missing or have expired."""
    until = expiry(folder)
    if until <= (now or datetime.now(UTC)):
        raise PlacementError(
            f"The certificates in {folder} expired on {until:%Y-%m-%d %H:%M} UTC. Renew them with `{CERTS}`, and restart "
            "the pools: `xdask pools down`, `xdask pools up`."
        )


def expires_soon(until: datetime, now: datetime | None = None) -> bool:
    """Return whether `make_certificates` would renew a certificate that expires then."""
    return until - (now or datetime.now(UTC)) < timedelta(days=_RENEW_DAYS)


# ---- creating -------------------------------------------------------------------------------------------------------


def _authority(
    folder: Path, found: x509.Certificate | None, now: datetime
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """Return the authority's key and certificate, created or renewed if necessary.

    A renewal keeps the key, so that old and new certificates trust each other.
    """
    key = _key(folder / AUTHORITY_KEY)
    if found and key is None:
        raise XdaskError(
            f"The key that signs certificates, {folder / AUTHORITY_KEY}, is missing. Put it back; or remove {folder}, run "
            f"`{CERTS}`, and copy the new certificates to all machines."
        )
    if found and key and key.public_key() != found.public_key():
        raise XdaskError(
            f"{AUTHORITY} and {AUTHORITY_KEY} in {folder} do not belong together. Put the right ones back; or remove the "
            f"folder, run `{CERTS}`, and copy the new certificates to all machines."
        )
    if key is None:
        key = ec.generate_private_key(ec.SECP256R1())
        write_atomically(folder / AUTHORITY_KEY, _pem(key), mode=0o600)
    if found and found.not_valid_after_utc - now > timedelta(days=_NODE_DAYS):
        return key, found
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "xdask_pipelines authority")])
    usage = _usage(key_cert_sign=True, crl_sign=True)
    made = (
        _builder(name, name, key, now, _AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_atomically(folder / AUTHORITY, made.public_bytes(serialization.Encoding.PEM), mode=0o644)
    return key, made


def _node(
    key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    signing: ec.EllipticCurvePrivateKey,
    names: Sequence[str],
    now: datetime,
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "xdask_pipelines node")])
    both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    return (
        _builder(name, authority.subject, key, now, _NODE_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(both, critical=False)
        .add_extension(x509.SubjectAlternativeName([_general(n) for n in names]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
        .sign(signing, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host(text: str) -> str:
    """Return a host in the form in which certificates contain it."""
    try:
        return str(ip_address(text))
    except ValueError:
        if _HOST.fullmatch(text):
            return text.lower()
    raise XdaskError(
        f"{text!r} is not a name or address of a machine. Write it like scheduler.example.org or 10.0.0.5."
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


# ---- reading --------------------------------------------------------------------------------------------------------


def _certificate(path: Path) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise _unreadable(path) from error


def _key(path: Path) -> ec.EllipticCurvePrivateKey | None:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise _unreadable(path) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise _unreadable(path)
    return key


def _unreadable(path: Path) -> PlacementError:
    return PlacementError(
        f"{path} was not created by `{CERTS}`. Put the right file back; or remove {path.parent}, run `{CERTS}`, and copy "
        "the new certificates to all machines."
    )


def _names(certificate: x509.Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(name.value) for name in names]


def _until(*certificates: x509.Certificate) -> datetime:
    return min(c.not_valid_after_utc for c in certificates)


def _serves(
    authority: x509.Certificate,
    node: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    names: Sequence[str],
    now: datetime,
) -> bool:
    """Return whether the certificates are complete, valid and contain all names."""
    try:
        node.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return (
        node.public_key() == key.public_key()
        and set(names) <= set(_names(node))
        and not expires_soon(_until(authority, node), now)
    )


# ---- writing --------------------------------------------------------------------------------------------------------


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, because two processes that create an authority at once would mix their files."""
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    kind = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())

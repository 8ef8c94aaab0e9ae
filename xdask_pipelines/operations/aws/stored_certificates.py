"""TLS certificates of a deployment: created here, stored in Secrets Manager.

Belongs here: putting them into their secret. Does not belong here: creating them (placement.local.certificates), reading
them at start (start_on_ecs, and the set-up of worker hosts).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from xdask_pipelines.errors import AwsError, XdaskError
from xdask_pipelines.placement.local import tls
from xdask_pipelines.placement.local.certificates import AUTHORITY_KEY, expires_soon, expiry, make_certificates
from xdask_pipelines.resources.aws.clients import call, client
from xdask_pipelines.resources.var import writable
from xdask_pipelines.topology import Topology, aws_names

Tell = Callable[[str], None]
#: What a process needs; the key of the authority stays on the machine that issues certificates.
_FILES = (tls.AUTHORITY, tls.NODE, tls.NODE_KEY)


def store_certificates(topology: Topology, tell: Tell) -> bool:
    """Create certificates, or renew those that expire soon, and store them; return whether the secret changed.

    On a machine without the key of the authority, such as that of a pipeline, stored certificates are kept while they are
    valid.

    Raises
    ------
    XdaskError
        The stored certificates are of another authority, or expire soon and this machine cannot renew them.
    AwsError
        The secret does not exist, or may not be read or written.
    """
    secrets = client("secretsmanager", topology.client.region)
    folder, stored = topology.certificates, _stored(secrets)
    if stored and not (folder / AUTHORITY_KEY).exists():
        until = _expiry_of(stored)
        if expires_soon(until):
            raise XdaskError(
                f"The stored certificates expire on {until:%Y-%m-%d}, and this machine does not have the key of their "
                f"authority. Run `xdask certs --aws` on the machine whose {folder.name} folder has {AUTHORITY_KEY}."
            )
        tell(f"the stored certificates are valid until {until:%Y-%m-%d}; nothing was done")
        return False
    if stored and (folder / tls.AUTHORITY).exists() and not _same_authority(stored, folder):
        raise XdaskError(
            f"The stored certificates are of another authority than those in {folder}. Use the folder of the machine that "
            f"stored them; or, to replace them everywhere, delete the value of the secret {aws_names.TLS_SECRET}, store "
            "again, and restart all services."
        )
    writable(topology, folder.name)
    made = make_certificates(folder, (aws_names.SCHEDULER_HOST,))
    wanted = {name: (folder / name).read_text("utf-8") for name in _FILES}
    if stored == wanted:
        tell(f"the stored certificates are valid until {made.until:%Y-%m-%d}; nothing was done")
        return False
    call(secrets, "put_secret_value", SecretId=aws_names.TLS_SECRET, SecretString=json.dumps(wanted))
    tell(f"stored certificates that are valid until {made.until:%Y-%m-%d}; services use them from their next start")
    tell(f"keep {folder}: it alone has {AUTHORITY_KEY}, with which later certificates are signed")
    return True


def _stored(secrets: Any) -> dict[str, str] | None:
    """Return what the secret holds; None before anything was stored."""
    try:
        text = call(secrets, "get_secret_value", SecretId=aws_names.TLS_SECRET)["SecretString"]
    except AwsError as error:
        if error.code == "ResourceNotFoundException" and "staging label" in str(
            error
        ):  # the secret is there, and empty
            return None
        raise
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) and found.keys() == set(_FILES) else None


def _expiry_of(stored: Mapping[str, str]) -> datetime:
    with TemporaryDirectory() as name:
        for file in (tls.AUTHORITY, tls.NODE):
            (Path(name) / file).write_text(stored[file])
        return expiry(Path(name))


def _same_authority(stored: Mapping[str, str], folder: Path) -> bool:
    from cryptography import x509

    ours = x509.load_pem_x509_certificate((folder / tls.AUTHORITY).read_bytes())
    theirs = x509.load_pem_x509_certificate(stored[tls.AUTHORITY].encode())
    return ours.public_key() == theirs.public_key()

"""Addresses of catalogs in OpenSearch, and the credentials of a process.

Belongs here: addresses and their files of certificates. Does not belong here: connections (opensearch_node).
"""

from __future__ import annotations

import re
import shlex
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from opensearchpy import Connection

from xdask_pipelines.errors import CatalogError

EXAMPLE = "opensearch+https://host:9200/xdask"
_OPTIONS = ("aws_region", "ca", "certs")
#: Names of the files in the folder ``certs``, as `xdask opensearch up` and `xdask certs` create them.
_AUTHORITY, _CERTIFICATE, _KEY = "ca.pem", "node.pem", "node-key.pem"


@dataclass(frozen=True)
class Address:
    """The address of a catalog: ``opensearch+https://host:port/name``.

    Parameters
    ----------
    secure
        Whether TLS is used. Without TLS, only loopback is accepted.
    host, port
        Host and port of the node or of the domain's endpoint.
    name
        Prefix of the names of all indices.
    aws_region
        Region for which requests are signed with SigV4; None does not sign them.
    ca
        File with the certificate of a trusted authority; None trusts those of the system.
    certs
        Folder with a trusted authority, and the client's certificate and key; None uses no client certificate.
    """

    secure: bool
    host: str
    port: int
    name: str
    aws_region: str | None = None
    ca: str | None = None
    certs: str | None = None

    @classmethod
    def parse(cls, url: str) -> Address:
        """Parse an address.

        Raises
        ------
        CatalogError
            If the address is not valid, contains a password, or would send documents unencrypted to another machine.
        """
        try:
            parts = urlsplit(url.removeprefix("opensearch+"))
            host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 9200)
            options = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        except ValueError as error:
            raise CatalogError(f"{url!r} is not a catalog address ({error}); write {EXAMPLE}") from error
        if parts.username or parts.password:
            raise CatalogError(
                f"The address of the catalog at {host} contains a user name or password, which would appear in logs. Leave "
                f"it out: requests are signed with AWS credentials if the address ends in ?aws_region=REGION"
            )
        name = parts.path.strip("/")
        odd = set(options) - set(_OPTIONS) or [""] in options.values()
        if not host or not re.fullmatch(r"[a-z][a-z0-9-]{0,60}", name) or odd:
            raise CatalogError(
                f"{url!r} is not a catalog address; write {EXAMPLE} (the name in lower-case letters, digits and "
                f"hyphens), with ?aws_region=REGION to sign requests, ?ca=FILE to trust an authority, and ?certs=FOLDER "
                f"to show a certificate too"
            )
        secure = parts.scheme == "https"
        if not secure and host not in ("127.0.0.1", "localhost", "::1"):
            raise CatalogError(
                f"{url!r} would send documents unencrypted to another machine; write opensearch+https://"
            )
        if "certs" in options and ("ca" in options or not secure):
            raise CatalogError(
                f"{url!r} names certificates that cannot be used: ?certs=FOLDER needs opensearch+https://, and holds the "
                f"authority to trust, so that ?ca=FILE is left out"
            )
        return cls(secure, host, port, name, *(options.get(o, [None])[0] for o in _OPTIONS))

    @property
    def server(self) -> str:
        """Return the URL of the node for other programs."""
        return f"http{'s' if self.secure else ''}://{self.endpoint}"

    @property
    def endpoint(self) -> str:
        """Return host and port in the form of URLs."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def curl(self) -> str:
        """Return a curl command to the node, to which a path can be appended."""
        files = [f"--cacert {shlex.quote(self.ca)}"] if self.ca else []
        if self.certs:
            options = {"cacert": _AUTHORITY, "cert": _CERTIFICATE, "key": _KEY}
            files = [f"--{option} {shlex.quote(str(Path(self.certs) / name))}" for option, name in options.items()]
        return " ".join(["curl", *files, self.server])

    def context(self) -> ssl.SSLContext:
        """Return the TLS context for the address, with the current content of its files.

        Raises
        ------
        CatalogError
            If a file is missing or cannot be read, or files do not belong together.
        """
        if self.certs is None:
            ca = self.ca or Connection.default_ca_certs()
            _readable(self, ca, "Correct ?ca=FILE in its address")
            return self._trusting(ca)
        remedy = (
            "Correct ?certs=FOLDER in its address (`catalog:` in regions.yaml): `xdask opensearch up` prints the address of "
            "its node, whose files only the user who started it may read"
        )
        folder = Path(self.certs)
        for name in (_AUTHORITY, _CERTIFICATE, _KEY):
            _readable(self, str(folder / name), remedy)
        context = self._trusting(str(folder / _AUTHORITY))
        try:
            context.load_cert_chain(folder / _CERTIFICATE, folder / _KEY)
        except ssl.SSLError as error:
            raise CatalogError(
                f"The catalog at {self} cannot be queried: {_CERTIFICATE} and {_KEY} in {folder} are not a certificate and "
                f"its key ({error.reason}). {remedy}"
            ) from error
        return context

    def _trusting(self, ca: str | None) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=ca)
        except ssl.SSLError as error:
            raise CatalogError(
                f"The catalog at {self} cannot be queried: {ca} does not contain the certificate of an authority "
                f"({error.reason}). Put the right file there, or use another in the address"
            ) from error

    def __str__(self) -> str:
        return f"opensearch+{self.server}/{self.name}"


def _readable(address: Address, file: str | None, remedy: str) -> None:
    try:
        if file is not None:
            Path(file).open("rb").close()
    except OSError as error:
        raise CatalogError(
            f"The catalog at {address} cannot be queried: {file} cannot be read ({error.strerror}). {remedy}"
        ) from error

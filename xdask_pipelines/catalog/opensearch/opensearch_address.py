"""Where a catalog in OpenSearch lies, and as whom a process asks there.

Belongs here: addresses, and the files that they name. Does not belong here: connections (opensearch_node).
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
#: Files of a folder that ``certs`` names: `xdask opensearch up` and `xdask certs` call them so.
_AUTHORITY, _CERTIFICATE, _KEY = "ca.pem", "node.pem", "node-key.pem"


@dataclass(frozen=True)
class Address:
    """Where a catalog lies: ``opensearch+https://host:port/name``.

    Parameters
    ----------
    secure
        Whether TLS is spoken. Without, only loopback is accepted.
    host, port
        Of the node, or of the domain's end point.
    name
        Prefix of the names of all indices.
    aws_region
        Sign requests with SigV4 for a domain in this Region; None: do not sign.
    ca
        File with the certificate of the authority to trust; None: those of the system.
    certs
        Folder with an authority to trust, and the certificate and key to show; None: show none.
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
        """Read an address.

        Raises
        ------
        CatalogError
            It is not one, holds a password, or would send documents unencrypted to another machine.
        """
        try:
            parts = urlsplit(url.removeprefix("opensearch+"))
            host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 9200)
            options = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        except ValueError as error:
            raise CatalogError(f"{url!r} is not a catalog address ({error}); write {EXAMPLE}") from error
        if parts.username or parts.password:
            raise CatalogError(
                f"The address of the catalog at {host} holds a name or password, which would end up in logs. Leave it "
                f"out: requests are signed with AWS credentials if the address ends in ?aws_region=REGION"
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
        """URL of the node, as other programs take it."""
        return f"http{'s' if self.secure else ''}://{self.endpoint}"

    @property
    def endpoint(self) -> str:
        """Host and port, as URLs have them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def curl(self) -> str:
        """Beginning of a command for a shell that asks the node something, to which a path is added."""
        files = [f"--cacert {shlex.quote(self.ca)}"] if self.ca else []
        if self.certs:
            options = {"cacert": _AUTHORITY, "cert": _CERTIFICATE, "key": _KEY}
            files = [f"--{option} {shlex.quote(str(Path(self.certs) / name))}" for option, name in options.items()]
        return " ".join(["curl", *files, self.server])

    def context(self) -> ssl.SSLContext:
        """TLS as the address asks for it, with what its files hold now.

        Raises
        ------
        CatalogError
            A file is not there or cannot be read, or files do not belong together.
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
                f"The catalog at {self} cannot be queried: {ca} holds no certificate of an authority ({error.reason}). Put "
                f"the right file there, or name another in the address"
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

"""Rules for requests of browsers to a server on loopback: it answers only its own pages and links to them.

Belongs here: the rules, as a function of a request's headers. Does not belong here: servers that apply them (webserver
for Dagster, placement.dashboard_access for Dask), the routes of a server.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
#: Headers of every response: no other origin may frame it, embed it or guess its type.
ANSWER_HEADERS = {
    "X-Frame-Options": "SAMEORIGIN",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def own_hosts(port: int, configured: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the values of the header Host under which a server on loopback is reached.

    Parameters
    ----------
    port
        Port on which the server listens.
    configured
        Further values: those of a tunnel or a reverse proxy, as ``host`` or ``host:port``.
    """
    names = [f"{name}:{port}" for name in _LOOPBACK_NAMES]
    if port == 80:
        names += _LOOPBACK_NAMES
    return (*names, *(name.lower() for name in configured))


def refusal(
    method: str,
    path: str,
    headers: Iterable[tuple[str, str]],
    hosts: Sequence[str],
    *,
    not_by_link: tuple[str, ...] = (),
) -> str | None:
    """Return why a request is refused, or None if it is answered.

    A page of another origin can make a browser send requests, but cannot choose the headers Host, Origin and
    Sec-Fetch-*. A foreign name that resolves to loopback (DNS rebinding) is visible in Host. Programs send neither
    Origin nor Sec-Fetch-*, and are answered.

    Parameters
    ----------
    method, path
        Method and path of the request; a WebSocket is opened by GET.
    headers
        Names in any case, and values.
    hosts
        Names of this server: `own_hosts`.
    not_by_link
        Prefixes of paths that links on other sites may not open.

    References
    ----------
    https://www.w3.org/TR/fetch-metadata/ and https://fetch.spec.whatwg.org/#origin-header
    """
    sent: dict[str, list[str]] = {}
    for name, value in headers:
        sent.setdefault(name.lower(), []).append(value.strip())
    for name in ("host", "origin", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest"):
        if len(sent.get(name, ())) > 1:
            return f"The request has more than one header {name.title()}. Send one."
    first = {name: values[0] for name, values in sent.items()}
    host = first.get("host", "").lower()
    if host not in hosts:
        return (
            f"The request is for the host {host!r}, which is not a name of this server. Open http://{hosts[0]}, or add "
            "the host and port of your tunnel or proxy to `ui_hosts` in regions.yaml and restart the server."
        )
    origin = first.get("origin")
    if origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}"):
        return f"The request comes from a page of {origin!r}. Only pages of http://{host} may send requests here."
    site = first.get("sec-fetch-site", "none")
    if site not in ("none", "same-origin") and not (
        method in ("GET", "HEAD")
        and first.get("sec-fetch-mode") == "navigate"
        and first.get("sec-fetch-dest") == "document"
        and not path.startswith(not_by_link)
    ):
        return f"A page of another site sent the request ({site}). Open http://{host}{path} by its address instead."
    return None

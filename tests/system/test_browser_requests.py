"""A server on loopback answers its own pages, links to its pages, and programs; nothing else that a browser sends."""

from __future__ import annotations

import pytest

from xdask_pipelines.system.browser_requests import own_hosts, refusal

HOST = "127.0.0.1:3000"
HOSTS = own_hosts(3000, ["localhost:8080", "Dagster.example.org"])
LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


def asked(method: str = "POST", path: str = "/graphql", **headers: str) -> str | None:
    named = {name.replace("_", "-"): value for name, value in {"Host": HOST, **headers}.items()}
    return refusal(method, path, named.items(), HOSTS, not_by_link=("/graphql",))


@pytest.mark.parametrize("host", [HOST, "localhost:3000", "LOCALHOST:3000", "[::1]:3000", "localhost:8080"])
def test_own_and_configured_names_are_answered(host: str) -> None:
    assert asked(Host=host) is None
    assert asked(Host=host, Origin=f"http://{host}", Sec_Fetch_Site="same-origin") is None


def test_a_proxy_that_speaks_https_is_answered() -> None:
    assert asked(Host="dagster.example.org", Origin="https://dagster.example.org") is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:3000",
        "127.0.0.1",
        "127.0.0.1:3001",
        "127.0.0.1.evil.example:3000",
        "localhost.:3000",
        "127.1:3000",
        "",
    ],
)
def test_any_other_name_is_refused_also_if_it_resolves_to_loopback(host: str) -> None:
    """DNS rebinding: for the browser, page and server are of one origin then."""
    said = asked(Host=host, Origin=f"http://{host}", Sec_Fetch_Site="same-origin")
    assert said is not None
    assert "ui_hosts" in said


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "",
        "http://localhost:3000",
        "http://127.0.0.1:8000",
        "http://127.0.0.1:3000.evil.example",
    ],
)
def test_pages_of_another_origin_are_refused(origin: str) -> None:
    for method in ("GET", "POST"):
        assert "Only pages of" in (asked(method, Origin=origin) or "")


@pytest.mark.parametrize("site", ["cross-site", "same-site", "anything"])
def test_requests_of_another_site_without_origin_are_refused(site: str) -> None:
    """An image or a form by GET sends no Origin."""
    assert asked("GET", "/server_info", Sec_Fetch_Site=site, Sec_Fetch_Mode="no-cors", Sec_Fetch_Dest="image")


def test_links_open_pages_and_nothing_else() -> None:
    def by_link(method: str, path: str, **changed: str) -> str | None:
        return refusal(method, path, {"Host": HOST, **LINK, **changed}.items(), HOSTS, not_by_link=("/graphql",))

    assert by_link("GET", "/asset-groups") is None
    assert by_link("GET", "/graphql")
    assert by_link("POST", "/asset-groups")
    assert by_link("GET", "/asset-groups", **{"Sec-Fetch-Dest": "iframe"})


@pytest.mark.parametrize("name", ["Host", "Origin", "Sec-Fetch-Site"])
def test_a_header_given_twice_is_refused(name: str) -> None:
    good = {"Host": HOST, "Origin": f"http://{HOST}", "Sec-Fetch-Site": "same-origin"}
    assert refusal("POST", "/graphql", good.items(), HOSTS) is None
    assert "more than one" in (refusal("POST", "/graphql", [*good.items(), (name, good[name])], HOSTS) or "")


def test_port_80_needs_no_number() -> None:
    assert "localhost" in own_hosts(80)
    assert "localhost" not in own_hosts(3000)

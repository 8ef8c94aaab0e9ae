"""The check of signatures: a domain that answers everyone, one that refuses everyone, one that is as it should be."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.topologies import aws_topology
from xdask_pipelines.errors import CatalogError
from xdask_pipelines.operations.health import domain_checks
from xdask_pipelines.operations.health.domain_checks import check_signatures


class OneCatalog:
    """A catalog that answers, or does not."""

    def __init__(self, problem: str) -> None:
        self.problem = problem

    def manifest(self, dataset: str, region: str) -> None:
        if self.problem:
            raise CatalogError(self.problem)


@pytest.mark.parametrize(
    ("problem", "status", "states", "said"),
    [
        ("", 403, ["ok", "ok"], "refused a request without signature (status 403)"),
        ("", 200, ["ok", "problem"], "answered a request without signature with status 200"),
        (
            "no identity-based policy",
            403,
            ["problem", "ok"],
            "a signed request was not answered: no identity-based policy",
        ),
    ],
)
def test_signed_requests_are_answered_and_others_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, problem: str, status: int, states: list[str], said: str
) -> None:
    monkeypatch.setenv("XDASK_CATALOG", "opensearch+https://xdask.example.org:443/xdask?aws_region=eu-west-2")
    monkeypatch.setattr(domain_checks, "open_catalog", lambda url: OneCatalog(problem))
    monkeypatch.setattr(domain_checks, "_status_without_signature", lambda address: status)
    found = list(check_signatures(aws_topology(tmp_path, 1)))
    assert [each.state for each in found] == states
    assert said in " ".join(each.said for each in found)
    assert all(each.remedy for each in found if each.state == "problem")


def test_another_catalog_than_the_domain_is_noted(tmp_path: Path) -> None:
    (found,) = check_signatures(aws_topology(tmp_path, 1))
    assert (found.state, "are not signed" in found.said) == ("note", True)

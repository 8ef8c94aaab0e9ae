"""Examples in docstrings run as they are written, in a project that holds the sample."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from collections.abc import Iterator

import pytest

import xdask_pipelines
from tests.jobs.lab import Project


def examples() -> Iterator[doctest.DocTest]:
    for module in pkgutil.walk_packages(xdask_pipelines.__path__, "xdask_pipelines."):
        if ".templates." not in module.name and not module.name.endswith("__main__"):
            yield from doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(module.name))
    yield from doctest.DocTestFinder().find(xdask_pipelines)


EXAMPLES = {test.name: test for test in examples() if test.examples}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs(name: str, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.topology.root)
    told: list[str] = []
    failed = doctest.DocTestRunner().run(EXAMPLES[name], out=told.append)
    assert failed.failed == 0, "".join(told)


def test_no_example_is_skipped_but_those_that_need_aws() -> None:
    skipped = [e.source for test in EXAMPLES.values() for e in test.examples if doctest.SKIP in e.options]
    assert skipped == []
    assert len(EXAMPLES) >= 12

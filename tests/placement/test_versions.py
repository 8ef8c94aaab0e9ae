"""Who runs other versions than the scheduler is named in one sentence: a client on connecting, a worker on joining."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.support.places import EAST, WEST, Cluster
from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement import versions
from xdask_pipelines.placement.client.connect import connect
from xdask_pipelines.placement.local.cluster import Pool, start
from xdask_pipelines.placement.versions import own_versions, version_problem

NEW = {"python": "3.11.9.final.0", "dask": "2026.8.0", "numpy": "2.4.6"}


def test_equal_versions_are_no_problem() -> None:
    assert version_problem("this client", NEW, dict(NEW)) is None


def test_all_that_differs_is_told_in_one_sentence() -> None:
    old = NEW | {"dask": "2026.7.0", "python": "3.11.8.final.0"}
    assert version_problem("this client", old, NEW) == (
        "this client runs dask 2026.7.0, python 3.11.8; the scheduler runs dask 2026.8.0, python 3.11.9"
    )


@pytest.mark.parametrize("lacking", [NEW | {"numpy": None}, {p: v for p, v in NEW.items() if p != "numpy"}])
def test_what_is_not_installed_is_told_so(lacking: dict[str, str | None]) -> None:
    assert version_problem("x", lacking, NEW) == "x runs no numpy; the scheduler runs numpy 2.4.6"
    assert version_problem("x", NEW, lacking) == "x runs numpy 2.4.6; the scheduler runs no numpy"


def test_versions_of_what_reads_and_of_this_package_are_compared() -> None:
    assert {"python", "dask", "distributed", "numpy", "xarray", "zarr", "xdask_pipelines"} <= set(own_versions())


def test_a_client_of_other_versions_is_refused(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "own_versions", lambda: own_versions() | {"zarr": "3.0.0"})
    with pytest.raises(PlacementError, match=r"this client runs zarr 3\.0\.0; the scheduler runs zarr ") as caught:
        connect(cluster.client.scheduler.address)  # type: ignore[union-attr]
    assert "xdask pools down" in str(caught.value)


_OTHER_DASK = """
import importlib.metadata as metadata

true = metadata.version
metadata.version = lambda name: "2026.7.0" if name == "dask" else true(name)
"""


def test_a_worker_of_another_version_is_refused_on_joining(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(_OTHER_DASK)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    with pytest.raises(PlacementError) as caught:
        start([Pool(EAST, prefix=("env", f"PYTHONPATH={path}")), Pool(WEST)], tmp_path / "run")
    said = str(caught.value)
    assert re.search(r"the worker at tcp://\S+ runs dask 2026\.7\.0; the scheduler runs dask ", said), said
    assert f"The pool of {EAST} did not start" in said

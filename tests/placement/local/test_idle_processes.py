"""Idle processes of pools look at themselves seldom, unless the user wants it otherwise; and import what they need."""

from __future__ import annotations

import subprocess
import sys

import dask
import pytest

from tests.support.places import Cluster
from xdask_pipelines.placement.launch.process_command import intervals

NAMES = ("distributed.admin.tick.interval", "distributed.worker.profile.interval")


def test_all_processes_look_at_themselves_seldom(cluster: Cluster) -> None:
    found = [
        *cluster.client.run(lambda: [dask.config.get(name) for name in NAMES]).values(),
        *cluster.client.run(lambda: [dask.config.get(name) for name in NAMES], nanny=True).values(),
        cluster.client.run_on_scheduler(lambda: [dask.config.get(name) for name in NAMES]),
    ]
    assert found == [["200ms", "100ms"]] * 7


def test_what_the_user_sets_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASK_DISTRIBUTED__WORKER__PROFILE__INTERVAL", "10ms")
    assert intervals() == {"DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "200ms"}


def test_workers_start_without_what_only_clients_need() -> None:
    code = (
        "import sys; import xdask_pipelines.placement.preload\nprint({'scipy.optimize', 'pydantic'} & set(sys.modules))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True, timeout=120).strip() == "set()"

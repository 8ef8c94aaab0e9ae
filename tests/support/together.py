"""Which tests of several processes of pytest run in the same one, and in which order all run.

Belongs here: the groups. Does not belong here: how many processes there are (Makefile).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

REPO = Path(__file__).parents[2]
#: The first ones take the longest.
CLUSTER, JOBS, PLACEMENT = "cluster", "tests/jobs", "tests/placement"
#: Each of these tests takes minutes, and shares nothing with any other.
STORIES = "tests/infra/rehearsal/test_story.py"
#: Folders whose tests share the pools of one project.
WITH_POOLS = (JOBS, "tests/notebook")


@cache
def group(path: str) -> str:
    """Name of the group that a file of tests belongs to: the users of one set of processes, or the file alone."""
    for folder in WITH_POOLS:
        if path.startswith(f"{folder}/"):
            return folder
    return CLUSTER if "Cluster" in (REPO / path).read_text() else path


def order(item: pytest.Item) -> tuple[bool, ...]:
    """Sort key: stories, then groups; in their groups the hostile client's test and what reads stored results go last."""
    path = item.path.relative_to(REPO).as_posix()
    uses_cluster = "running" in getattr(item, "fixturenames", ())
    assert not uses_cluster or group(path) == CLUSTER, f"{path}: annotate the fixture of the shared cluster: `Cluster`"
    return (
        path != STORIES,
        group(path) != CLUSTER,
        group(path) != JOBS,
        path == f"{PLACEMENT}/test_hostile.py",
        path.startswith(f"{JOBS}/records/"),
        not path.startswith(PLACEMENT),
    )


class Together(LoadScopeScheduling):
    """Each group in one process, and each story in any, in the order of collection."""

    def __init__(self, config: pytest.Config, *rest: object) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, *rest)

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.split("::")[0]
        return nodeid if path == STORIES else group(path)

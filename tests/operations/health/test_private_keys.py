"""Which modes and owners of a key the doctor accepts."""

from __future__ import annotations

import os
import stat

import pytest

from xdask_pipelines.placement.local.tls import readable_by_others

GROUP, OTHER, USER = 10001, 20, 1000


def status(mode: int, owner: int, group: int) -> os.stat_result:
    return os.stat_result((stat.S_IFREG | mode, 0, 0, 1, owner, group, 0, 0, 0, 0))


@pytest.mark.parametrize(("mode", "owner", "group"), [(0o600, USER, OTHER), (0o400, USER, OTHER), (0o440, 0, GROUP)])
def test_a_key_of_the_owner_or_of_a_pod_is_private(mode: int, owner: int, group: int) -> None:
    assert not readable_by_others(status(mode, owner, group), GROUP)


@pytest.mark.parametrize(
    ("mode", "owner", "group"),
    [
        (0o640, 0, GROUP),
        (0o460, 0, GROUP),
        (0o444, 0, GROUP),
        (0o440, 0, OTHER),
        (0o440, USER, GROUP),
        (0o644, USER, GROUP),
    ],
)
def test_a_key_that_others_can_read_or_change_is_a_problem(mode: int, owner: int, group: int) -> None:
    assert readable_by_others(status(mode, owner, group), GROUP)

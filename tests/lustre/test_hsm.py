"""The ioctls of Lustre's HSM, byte by byte."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from tests.support import lustre_ioctls
from xdask_pipelines.errors import XdaskError
from xdask_pipelines.lustre import hsm
from xdask_pipelines.lustre.mount_files import residency_on_lustre, restore_on_lustre


@pytest.fixture
def lustre(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of 120 files, of which every other one is released."""
    marks, data = tmp_path / "marks", tmp_path / "data"
    marks.mkdir()
    data.mkdir()
    monkeypatch.setenv("LUSTRE_RELEASED", str(marks))
    monkeypatch.setattr(fcntl, "ioctl", lustre_ioctls.receive)
    for i in range(120):
        file = data / f"{i:03}\nname: (0x0000000d).nc"  # any name
        file.write_bytes(b"x" * i)
        if i % 2:
            lustre_ioctls.mark(str(file)).write_text("")
    return data


def test_numbers_and_sizes_are_those_of_the_header() -> None:
    assert (hsm.PATH2FID, hsm.STATE_GET, hsm.HSM_REQUEST) == (
        lustre_ioctls.PATH2FID,
        lustre_ioctls.STATE_GET,
        lustre_ioctls.HSM_REQUEST,
    )
    ours = {"hsm_user_state": hsm.STATE, "hsm_user_request": hsm.REQUEST, "hsm_user_item": hsm.ITEM, "lu_fid": hsm.FID}
    assert {name: each.size for name, each in ours.items()} == lustre_ioctls.SIZES == lustre_ioctls.sizes()


def test_released_files_are_counted_and_requested_in_requests_that_lustre_takes(lustre: Path) -> None:
    before = residency_on_lustre([lustre])
    assert (before.resident_files, before.released_files) == (60, 60)
    assert (before.resident_bytes, before.released_bytes) == (sum(range(0, 120, 2)), sum(range(1, 120, 2)))
    assert hsm.REQUEST.size + hsm.FILES_A_REQUEST * hsm.ITEM.size < lustre_ioctls.LARGEST_REQUEST
    restore_on_lustre([lustre])
    residency_on_lustre([lustre])
    residency_on_lustre([lustre])
    assert residency_on_lustre([lustre]).released_files == 0


def test_nothing_is_asked_where_nothing_is_released(lustre: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    restore_on_lustre([lustre / "000\nname: (0x0000000d).nc"])
    restore_on_lustre([lustre / "not there"])


def test_another_file_system_is_named(tmp_path: Path) -> None:
    file = tmp_path / "2011.nc"
    file.write_bytes(b"data")
    with pytest.raises(XdaskError, match=r"2011\.nc is not on Lustre, so the state of its content is unknown"):
        residency_on_lustre([tmp_path])


def test_a_refusal_of_lustre_is_quoted(lustre: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: int, request: int, argument: bytearray) -> int:
        if request == hsm.HSM_REQUEST:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        return lustre_ioctls.receive(file, request, argument)

    monkeypatch.setattr(fcntl, "ioctl", refuse)
    with pytest.raises(XdaskError, match="Operation not permitted"):
        restore_on_lustre([lustre])

"""What a machine lacks for a rehearsal is said in a sentence before anything starts; rehearsals at one time are apart."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from infra.rehearsal import machine
from infra.rehearsal.account.emulator import ENVIRONMENT_VARIABLE
from infra.rehearsal.rehearse import main
from infra.rehearsal.servers import postgres_server
from infra.rehearsal.tasks import task_networks
from infra.rehearsal.tasks.task_networks import LoopbackNetwork
from xdask_pipelines.errors import XdaskError
from xdask_pipelines.resources.opensearch import search_node
from xdask_pipelines.resources.opensearch.search_node import SearchNode


@pytest.fixture
def nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.rehearsal.rehearse.stage", None)
    monkeypatch.setattr("infra.rehearsal.rehearse.synthesize", None)


def refusal() -> str:
    done = CliRunner().invoke(main, ["--loopback"])
    assert done.exit_code == 1
    return done.output


@pytest.mark.usefixtures("nothing_starts")
def test_missing_tools_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said = refusal()
    assert "chroot, env, mount, nsenter, setpriv, unshare not found. On Debian: apt-get install util-linux" in said
    assert "Traceback" not in said


@pytest.mark.usefixtures("nothing_starts")
def test_a_user_without_namespaces_is_told_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "unshare_flags", lambda: "--no-such-flag")
    assert "This user cannot create mount namespaces" in refusal()


@pytest.mark.usefixtures("nothing_starts")
def test_a_missing_postgres_and_a_missing_emulator_are_told_together(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(postgres_server, "_PROGRAMS", tmp_path)
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(tmp_path))
    said = refusal()
    assert "Postgres is not installed, which has Dagster's history. On Debian: apt-get install postgresql." in said
    assert f"{tmp_path} has no emulator. Create it with `make .venv/.dev`" in said


def test_postgres_needs_its_own_user_where_root_rehearses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "17" / "bin").mkdir(parents=True)
    monkeypatch.setattr(postgres_server, "_PROGRAMS", tmp_path)
    monkeypatch.setattr(postgres_server, "_USER", "nobody-of-this-name")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(RuntimeError, match="there is no user nobody-of-this-name"):
        postgres_server.programs()


def test_without_root_all_regions_are_on_loopback_and_the_reason_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert (
        "bytes between them are not counted. Network namespaces need root: run as root." in machine.without_wide_area()
    )


def test_rehearsals_at_one_time_have_other_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    own = 1000 * os.getpid()  # blocks that no other process of this machine asks for
    monkeypatch.setattr(task_networks, "_BLOCKS", range(own, own + 16, 8))
    with closing(LoopbackNetwork(["a", "b"])) as one, closing(LoopbackNetwork(["a", "b"])) as other:
        addresses = [network.take(region) for network in (one, other) for region in ("a", "b", "a")]
        found = {each.address for each in addresses if each} | {one.database, other.database}
        assert len(found) == 8
        first = one.database
    with closing(LoopbackNetwork(["a"])) as again:
        assert again.database == first, "the addresses of one that has ended are free"
    with (
        closing(LoopbackNetwork(["a"])),
        closing(LoopbackNetwork(["a"])),
        pytest.raises(RuntimeError, match="2 rehearsals without network namespaces run on this machine"),
    ):
        LoopbackNetwork(["a"])


def test_a_port_that_another_node_took_meanwhile_is_not_the_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[int] = []
    monkeypatch.setattr(search_node, "_free_ports", lambda last: iter([9201 + len(started)]))
    monkeypatch.setattr(
        search_node, "port_problem", lambda port: "Port 9201 is used by another" if port == 9201 else None
    )
    monkeypatch.setattr(search_node, "jars", lambda folder, tell: tmp_path)
    monkeypatch.setattr(SearchNode, "_spawn", lambda self, java, classes, port, log: started.append(port) or 1)
    monkeypatch.setattr(SearchNode, "_answers_after_start", lambda self, pid, address: "9201" not in address)
    assert SearchNode(tmp_path / "one").up().startswith("opensearch+https://127.0.0.1:9202/")
    assert started == [9201, 9202]

    started.clear()
    (tmp_path / "one" / "node.log").write_text("why")
    monkeypatch.setattr(search_node, "port_problem", lambda port: None)
    monkeypatch.setattr(SearchNode, "_answers_after_start", lambda self, pid, address: False)
    with pytest.raises(XdaskError, match=r"(?s)did not start.*why"):
        SearchNode(tmp_path / "one").up()
    assert len(started) == 1

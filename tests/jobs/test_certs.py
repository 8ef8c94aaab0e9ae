"""A project whose pools speak TLS, as its operator sees it: made, used, expired, renewed, thrown away."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dask.array as da
import pytest
from click.testing import CliRunner

from tests.jobs.lab import REPO
from xdask_pipelines.cli import main
from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement import pin
from xdask_pipelines.placement.local import tls
from xdask_pipelines.placement.local.certificates import make_certificates
from xdask_pipelines.resources.pools.local_pools import LocalPools
from xdask_pipelines.topology import Topology


@pytest.fixture
def pools(tmp_path: Path) -> Iterator[LocalPools]:
    shutil.copy(REPO / "regions.yaml", tmp_path)
    shutil.copytree(REPO / "data", tmp_path / "data")
    pools = LocalPools(Topology.load(tmp_path / "regions.yaml"))
    try:
        yield pools
    finally:
        pools.close()
        pools.down()


def xdask(pools: LocalPools, *words: str, fails: bool = False) -> str:
    """What a command says; in this process, for each of their own takes seconds to import Dask."""
    done = CliRunner(env={"XDASK_TOPOLOGY": str(pools.topology.root / "regions.yaml")}).invoke(main, words)
    assert done.exit_code == int(fails), done.output
    return done.output


def found(pools: LocalPools, about: str = "certs") -> list[tuple[str, str]]:
    """What the doctor says of certificates, or of something else."""
    done = CliRunner(env={"XDASK_TOPOLOGY": str(pools.topology.root / "regions.yaml")}).invoke(
        main, ["doctor", "--json"]
    )
    return [(f["state"], f["said"] + f["remedy"]) for f in json.loads(done.stdout)["findings"] if f["about"] == about]


def test_certificates_from_the_first_to_the_last_day(pools: LocalPools) -> None:
    """One story, for pools are dear."""
    record = pools.folder / "pools.json"

    # Pools that were up before the certificates say that they do not use them.
    pools.up()
    assert pools.status().address.startswith("tcp://")
    assert "certificates in" in xdask(pools, "certs", "--host", "10.0.0.5")
    assert json.loads(xdask(pools, "certs", "--json"))["done"] == "kept"
    assert "valid already, nothing was done" in xdask(pools, "certs")
    said = xdask(pools, "pools", "up")
    assert "they do not use the newer certificates: run `xdask pools down`" in said
    problem = "every user of this machine can run code as you"
    assert [(state, problem in said) for state, said in found(pools, "pools")][1] == ("note", True)

    # Pools started since use them, and so does whoever finds them by their state.
    xdask(pools, "pools", "down")
    xdask(pools, "pools", "up")
    assert json.loads(record.read_text())["certificates"] == str(pools.topology.certificates)
    assert json.loads(xdask(pools, "pools", "status", "--json"))["address"].startswith("tls://")
    (got,), evidence = pools.compute(pin(da.ones(8, chunks=2), "us-east-1").sum())
    assert got == 8
    assert evidence.tasks_by_region.keys() == {"us-east-1"}
    assert pools.client().scheduler.address.startswith("tls://")  # type: ignore[union-attr]
    pools.close()
    secrets = [
        line for key in pools.topology.certificates.glob("*-key.pem") for line in key.read_text().splitlines()[1:-1]
    ]
    logs = [file.read_text() for file in pools.folder.iterdir() if file.is_file()]
    assert not any(secret in log for secret in secrets for log in logs)
    (finding,) = found(pools)
    assert finding[0] == "ok"
    assert "valid until" in finding[1]

    # On the last day, all that starts or connects says what to do.
    (pools.topology.certificates / tls.NODE).unlink()
    make_certificates(pools.topology.certificates, now=datetime.now(UTC) - timedelta(days=500))
    with pytest.raises(PlacementError, match=r"expired on .*`xdask certs`"):
        pools.client()
    assert "Renew them with `xdask certs`" in xdask(pools, "pools", "status", fails=True)
    assert [(state, "expired on" in said) for state, said in found(pools)] == [("problem", True)]
    xdask(pools, "pools", "down")
    assert "Renew them with `xdask certs`" in xdask(pools, "pools", "up", fails=True)
    assert not record.exists()
    assert "renewed" in xdask(pools, "certs")

    # Half of the files are an error, and no reason to go without.
    (pools.topology.certificates / tls.NODE).unlink()
    assert "has no certificates" in xdask(pools, "pools", "up", fails=True)
    make_certificates(pools.topology.certificates)
    (pools.topology.certificates / tls.NODE_KEY).chmod(0o644)
    assert [state for state, _ in found(pools)] == ["problem", "ok"]


def test_a_doctor_tells_of_certificates_that_will_soon_expire_and_of_none(pools: LocalPools) -> None:
    ((state, said),) = found(pools)
    assert (state, "every user of it can run code as you" in said, "`xdask certs`" in said) == ("note", True, True)
    make_certificates(pools.topology.certificates, now=datetime.now(UTC) - timedelta(days=340))
    ((state, said),) = found(pools)
    assert (state, "`xdask certs`" in said) == ("note", True)

"""The cost of a deployment by the hour, from its templates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.checks.assembly import Assembly
from tests.infra.conftest import Synthesize
from xdask_pipelines.errors import XdaskError
from xdask_pipelines.operations.aws.idle_cost import items_of


def total(folder: Path, *, asleep: bool = False, lustre: bool = True) -> float:
    return sum((item.asleep if asleep else item.idle) for item in items_of(folder) if lustre or not item.lustre)


def test_one_client_and_two_worker_regions_are_affordable_at_rest(synthesize: Synthesize) -> None:
    small, full = synthesize(2).folder, synthesize(2, "full").folder
    assert 0.15 < total(small) <= 0.25
    assert 0.03 < total(small, asleep=True) <= 0.06
    assert 0.7 < total(full) <= 1.30
    assert total(full, lustre=False) <= 0.7


def test_the_figures_are_those_of_the_price_table(synthesize: Synthesize) -> None:
    items = {(item.region, item.name): item for item in items_of(synthesize(2, "full").folder)}
    scheduler = items["eu-west-2", "xdask-scheduler, 2 vCPU, 8 GB"]
    assert scheduler.idle == pytest.approx(1.15 * (2 * 0.04048 + 8 * 0.004445))
    assert scheduler.asleep == 0
    lustre = items["us-east-1", "Lustre, 1200 GiB"]
    assert lustre.idle == pytest.approx(1200 * 0.145 / 730)
    pool = items["us-west-2", "pool, up to 12 m5d.4xlarge"]
    assert pool.idle == 0
    assert pool.busy == pytest.approx(12 * (16 * 0.0565 + 40 * 0.08 / 730 + 0.005))


def test_options_that_cost_by_the_hour_are_counted(synthesize: Synthesize) -> None:
    plain = total(synthesize(3).folder)
    gateways = total(synthesize(3, "small", network="transit-gateway").folder)
    assert gateways - plain == pytest.approx(0.05 * (1.15 + 1 + 1 + 1.17) + 0.1 * (3 * 1.15 + 2 + 1), abs=1e-3)
    nat = total(synthesize(2, "small", egress="nat", notebook="sagemaker").folder)
    assert nat > total(synthesize(2).folder) + 3 * 0.045
    items = items_of(synthesize(2, "small", egress="nat", notebook="sagemaker").folder)
    (notebook,) = [item for item in items if item.name == "notebook, ml.t3.medium"]
    assert (notebook.idle, notebook.asleep, notebook.busy) == (0, 0, pytest.approx(1.15 * 0.05))


def test_a_type_without_a_price_is_an_error_and_no_zero(synthesize: Synthesize, tmp_path: Path) -> None:
    made = synthesize(1)
    name = "xdask-dns-eu-west-2"
    template = dict(Assembly.read(made.folder).templates[name])
    template["Resources"] = {**template["Resources"], "New": {"Type": "AWS::Braket::Job", "Properties": {}}}
    manifest = json.loads((made.folder / "manifest.json").read_text())
    artifact = manifest["artifacts"][name]
    (tmp_path / "manifest.json").write_text(json.dumps({"artifacts": {name: artifact}}))
    (tmp_path / artifact["properties"]["templateFile"]).write_text(json.dumps(template))
    with pytest.raises(XdaskError, match="There is no price for AWS::Braket::Job"):
        items_of(tmp_path)


def test_a_folder_without_templates_is_named_with_the_command_that_writes_them(tmp_path: Path) -> None:
    with pytest.raises(XdaskError, match=r"There are no templates in .*: `make infra-synth`"):
        items_of(tmp_path)

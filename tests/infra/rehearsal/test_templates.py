"""Templates on their way into the emulator: order, stand-ins, references to other stacks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.rehearsal.account.stand_ins import STAND_INS, problems
from infra.rehearsal.account.templates import Stack, deployable, read_assembly, stand_in_ids
from tests.infra.rehearsal.written_assembly import CLIENT, EAST, written_assembly


def output(region: str, stack: str, key: str) -> str:
    return f"{key} of {stack}"


def of(stacks: list[Stack], name: str) -> Stack:
    return next(stack for stack in stacks if stack.name == name)


def test_stacks_come_after_those_whose_outputs_they_read_and_those_the_manifest_names(stacks: list[Stack]) -> None:
    names = [stack.name for stack in stacks]
    assert names.index("xdask-dns-eu-west-2") < names.index("xdask-client-eu-west-2")
    for region in ("eu-west-2", "us-east-1", "us-west-2"):
        assert names.index(f"xdask-network-{region}") < names.index("xdask-dns-eu-west-2")
    assert names.index("xdask-network-us-east-1") < names.index("xdask-worker-us-east-1")


def test_outputs_of_other_regions_are_put_in(stacks: list[Stack]) -> None:
    template = deployable(of(stacks, "xdask-dns-eu-west-2"), output)
    vpcs = template["Resources"]["Zone"]["Properties"]["VPCs"]
    assert vpcs[1] == {"VPCId": "Vpc of xdask-network-us-east-1", "VPCRegion": "us-east-1"}
    assert "GetStackOutput" not in json.dumps(template)


def test_a_stand_in_has_the_same_id_every_time_and_another_one_in_another_stack(stacks: list[Stack]) -> None:
    east, client = of(stacks, f"xdask-network-{EAST}"), of(stacks, f"xdask-network-{CLIENT}")
    assert stand_in_ids(east) == stand_in_ids(east)
    assert stand_in_ids(east)["Flow", ""] != stand_in_ids(client)["Flow", ""]
    text = deployable(east, output)["Outputs"]["Flow"]["Value"]["Fn::Sub"]
    assert text == f"log {stand_in_ids(east)['Flow', '']} of ${{Vpc}}"
    assert text.startswith("log fl-")


def test_the_name_of_a_capacity_provider_stays(stacks: list[Stack]) -> None:
    template = deployable(of(stacks, f"xdask-worker-{EAST}"), output)
    strategy = template["Resources"]["Service"]["Properties"]["CapacityProviderStrategy"]
    assert strategy == [{"CapacityProvider": f"xdask-workers-{EAST}", "Weight": 1}]


def test_an_attribute_that_a_stand_in_does_not_give_is_an_error() -> None:
    resources = {"Peer": {"Type": "AWS::EC2::VPCPeeringConnection"}}
    template = {"Resources": resources, "Outputs": {"A": {"Value": {"Fn::GetAtt": ["Peer", "Colour"]}}}}
    with pytest.raises(ValueError, match=r"attribute Colour of Peer .* Add the attribute to STAND_INS"):
        deployable(Stack("xdask-a", EAST, "1", template), output)


def test_a_type_that_the_emulator_learned_and_one_that_it_lacks_are_errors() -> None:
    supported = {"AWS::EC2::VPC", "AWS::FSx::FileSystem"}
    learned, lacking = problems({"AWS::EC2::VPC", "AWS::Foo::Bar"}, supported)
    assert learned == (
        "The emulator provisions AWS::FSx::FileSystem now. Remove AWS::FSx::FileSystem from STAND_INS, so that the "
        "rehearsal has the real one."
    )
    assert "does not provision AWS::Foo::Bar" in lacking


def test_every_stand_in_has_a_reason() -> None:
    assert all(each.reason.endswith(".") for each in STAND_INS.values())


def test_a_reference_to_a_stack_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    folder = written_assembly(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["artifacts"][f"xdask-network-{EAST}"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=f"refers to xdask-network-{EAST}, which the assembly does not have"):
        read_assembly(folder)

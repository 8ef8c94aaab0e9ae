"""Deployment: idempotent, with the events of what failed, rolled back by deploying what was there before."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from infra.rehearsal.account.clients import EmulatedClients
from infra.rehearsal.account.deploy import Deployment, DeploymentFailed
from infra.rehearsal.account.emulator import Emulator
from infra.rehearsal.account.leftovers import leftovers
from infra.rehearsal.account.templates import Stack
from tests.infra.rehearsal.written_assembly import CLIENT, EAST, WEST

REGIONS = (CLIENT, EAST, WEST)
#: Refused by CloudFormation, here and on AWS.
BAD = {"Type": "AWS::SSM::Parameter", "Properties": {"Name": "/bad", "Type": "SecureString", "Value": "a"}}


def changed(stacks: list[Stack], name: str, **resources: object) -> list[Stack]:
    """The same stacks, with other or more resources in one of them."""
    found = []
    for stack in stacks:
        if stack.name == name:
            template = json.loads(json.dumps(stack.template))
            template["Resources"] |= resources
            stack = replace(stack, template=template)
        found.append(stack)
    return found


def test_a_deployment_may_be_repeated_changed_rolled_back_and_destroyed(stacks: list[Stack], empty: Emulator) -> None:
    clients = EmulatedClients(url=empty.url)
    assert leftovers(clients, REGIONS) == []
    deployment = Deployment(clients, stacks)
    assert set(deployment.deploy().values()) == {"created"}
    assert set(deployment.deploy().values()) == {"unchanged"}

    more = changed(
        stacks, f"xdask-network-{EAST}", Log={"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": "/x"}}
    )
    done = Deployment(clients, more).deploy()
    assert [name for name, what in done.items() if what == "updated"] == [f"xdask-network-{EAST}"]
    assert any(each.name == "/x" for each in leftovers(clients, REGIONS))
    deployment.deploy()
    assert not any(each.name == "/x" for each in leftovers(clients, REGIONS))

    deployment.destroy()
    deployment.destroy()
    assert leftovers(clients, REGIONS) == []


def test_a_failed_update_names_its_resource_and_leaves_what_was_there(stacks: list[Stack], empty: Emulator) -> None:
    clients = EmulatedClients(url=empty.url)
    Deployment(clients, stacks).deploy()
    broken = changed(stacks, f"xdask-worker-{EAST}", Bad=BAD)
    with pytest.raises(DeploymentFailed, match=rf"xdask-worker-{EAST} in {EAST} .*\n.*Bad \(AWS::SSM::Parameter\)"):
        Deployment(clients, broken).deploy()
    assert set(Deployment(clients, stacks).deploy().values()) == {"unchanged"}


def test_a_stack_that_never_came_to_be_is_created_after_its_template_was_fixed(
    stacks: list[Stack], empty: Emulator
) -> None:
    clients = EmulatedClients(url=empty.url)
    with pytest.raises(DeploymentFailed):
        Deployment(clients, changed(stacks, f"xdask-worker-{EAST}", Bad=BAD)).deploy()
    assert Deployment(clients, stacks).deploy()[f"xdask-worker-{EAST}"] == "created"


def test_a_type_without_stand_in_stops_the_deployment_before_it_begins(stacks: list[Stack], empty: Emulator) -> None:
    clients = EmulatedClients(url=empty.url)
    with pytest.raises(DeploymentFailed, match="does not provision AWS::Foo::Bar"):
        Deployment(clients, changed(stacks, f"xdask-network-{EAST}", Foo={"Type": "AWS::Foo::Bar"})).deploy()
    assert leftovers(clients, REGIONS) == []

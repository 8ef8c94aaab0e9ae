"""A cloud assembly of the CDK as stacks that the emulator can deploy.

Belongs here: reading `cdk.out`, the order of deployment, stand-ins in place of listed types, values of references to other
stacks. Does not belong here: the list (stand_ins), deployment (deploy).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from infra.rehearsal.account.stand_ins import STAND_INS, fill

#: Takes the place of a resource: it has no property and costs nothing.
_EMPTY = {"Type": "AWS::CloudFormation::WaitConditionHandle"}
_IMAGE = "ami-0123456789abcdef0"
#: A secret that exists before anything is deployed, such as that of an OIDC client.
_FOREIGN_SECRET = re.compile(r"\{\{resolve:secretsmanager:arn:[^}$]*\}\}")
_REFERENCE = re.compile(r"\$\{(?!!)([A-Za-z0-9]+)(?:\.([A-Za-z0-9.]+))?\}")
#: Output of a stack: Region, stack, key.
Outputs = Callable[[str, str, str], str]


@dataclass(frozen=True)
class Stack:
    """One stack of an assembly: name, Region, account, template, the stacks that come before it, and its tags."""

    name: str
    region: str
    account: str
    template: Mapping[str, Any]
    needs: frozenset[str] = frozenset()
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def types(self) -> frozenset[str]:
        """Types of its resources."""
        return frozenset(str(resource["Type"]) for resource in self.template["Resources"].values())

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the properties of resources of one type by logical id."""
        return {
            logical_id: resource.get("Properties", {})
            for logical_id, resource in self.template["Resources"].items()
            if resource["Type"] == kind
        }


def read_assembly(folder: Path) -> list[Stack]:
    """Return the stacks of a cloud assembly in the order of deployment.

    Raises
    ------
    ValueError
        A stack refers to one that the assembly does not have.
    """
    artifacts: dict[str, Any] = json.loads((folder / "manifest.json").read_text("utf-8"))["artifacts"]
    stacks: dict[str, Stack] = {}
    for key, artifact in artifacts.items():
        if artifact["type"] != "aws:cloudformation:stack":
            continue
        _, _, account, region = artifact["environment"].split("/")
        template = json.loads((folder / artifact["properties"]["templateFile"]).read_text("utf-8"))
        name = artifact["properties"].get("stackName", key)
        listed = {artifacts[d]["properties"].get("stackName", d) for d in artifact.get("dependencies", ())
                  if artifacts[d]["type"] == "aws:cloudformation:stack"}  # fmt: skip
        needs = frozenset(listed | {reference["StackName"] for reference in _references(template)})
        stacks[name] = Stack(name, region, account, template, needs, artifact["properties"].get("tags", {}))
    for stack in stacks.values():
        if missing := stack.needs - stacks.keys():
            raise ValueError(f"{stack.name} refers to {', '.join(sorted(missing))}, which the assembly does not have.")
    order = TopologicalSorter({name: sorted(stacks[name].needs) for name in sorted(stacks)}).static_order()
    return [stacks[name] for name in order]


def _references(value: Any) -> Iterator[dict[str, str]]:
    """All `Fn::GetStackOutput` of a template."""
    if isinstance(value, dict):
        if "Fn::GetStackOutput" in value:
            yield value["Fn::GetStackOutput"]
        else:
            for each in value.values():
                yield from _references(each)
    elif isinstance(value, list):
        for each in value:
            yield from _references(each)


def stand_in_ids(stack: Stack) -> dict[tuple[str, str], str]:
    """Return what references to the stand-ins of a stack get: by logical id and attribute, which is empty for ``Ref``."""
    found = {}
    for logical_id, resource in stack.template["Resources"].items():
        stand_in = STAND_INS.get(resource["Type"])
        if stand_in is None:
            continue
        name = resource.get("Properties", {}).get(stand_in.named_by)

        def filled(pattern: str, ref: str = "", logical_id: str = logical_id, name: Any = name) -> str:
            return fill(
                pattern, account=stack.account, region=stack.region, stack=stack.name, logical_id=logical_id,
                name=name if isinstance(name, str) else None, ref=ref,
            )  # fmt: skip

        ref = filled(stand_in.ref)
        found[logical_id, ""] = ref
        found |= {(logical_id, attribute): filled(pattern, ref) for attribute, pattern in stand_in.attributes.items()}
    return found


def deployable(stack: Stack, outputs: Outputs) -> dict[str, Any]:
    """Return the template that the emulator gets.

    Parameters
    ----------
    stack
        As the CDK wrote it.
    outputs
        Gives outputs of the stacks that were deployed before.

    Raises
    ------
    ValueError
        An attribute of a stand-in is used that the list does not give.
    """
    ids = stand_in_ids(stack)
    gone = {logical_id for logical_id, attribute in ids if not attribute}

    def value_of(logical_id: str, attribute: str) -> str:
        if (logical_id, attribute) not in ids:
            kind = stack.template["Resources"][logical_id]["Type"]
            raise ValueError(
                f"{stack.name} uses the attribute {attribute} of {logical_id} ({kind}), which its stand-in does not give. "
                "Add the attribute to STAND_INS."
            )
        return ids[logical_id, attribute]

    def substituted(text: str) -> str:
        return _REFERENCE.sub(lambda hit: value_of(hit[1], hit[2] or "") if hit[1] in gone else hit[0], text)

    def resolved(value: Any) -> Any:
        if isinstance(value, list):
            return [resolved(each) for each in value]
        if isinstance(value, str):
            return _FOREIGN_SECRET.sub("a secret of the rehearsal", value)
        if not isinstance(value, dict):
            return value
        if value.get("Ref") in gone:
            return value_of(value["Ref"], "")
        if "Fn::GetAtt" in value:
            words = value["Fn::GetAtt"]
            logical_id, _, attribute = ".".join([words] if isinstance(words, str) else words).partition(".")
            if attribute == "DomainEndpoint":  # that of a real domain has no port
                return {"Fn::Select": [0, {"Fn::Split": [":", value]}]}
            return value_of(logical_id, attribute) if logical_id in gone else value
        if "Fn::GetStackOutput" in value:
            asked = value["Fn::GetStackOutput"]
            return outputs(asked.get("Region", stack.region), asked["StackName"], asked["OutputName"])
        if isinstance(value.get("Fn::Sub"), str):
            return {"Fn::Sub": substituted(value["Fn::Sub"])}
        if "Fn::Sub" in value:
            return {"Fn::Sub": [substituted(value["Fn::Sub"][0]), resolved(value["Fn::Sub"][1])]}
        return {key: resolved(each) for key, each in value.items()}

    template: dict[str, Any] = resolved(dict(stack.template))
    for logical_id in gone:
        needs = stack.template["Resources"][logical_id].get("DependsOn")
        template["Resources"][logical_id] = {**_EMPTY, **({"DependsOn": needs} if needs else {})}
    for parameter in template.get("Parameters", {}).values():
        if parameter["Type"] == "AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>":
            parameter |= {"Type": "String", "Default": _IMAGE}
    template.pop("Rules", None)  # the check of the bootstrap's version: nothing is bootstrapped
    template.get("Parameters", {}).pop("BootstrapVersion", None)
    return template

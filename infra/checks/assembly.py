"""Synthesized templates, as data: resources by stack, and what a reference in one of them leads to.

Belongs here: reading a cloud assembly, resolving `Ref`, `Fn::GetAtt`, `Fn::GetStackOutput`. Does not belong here: what the
resources mean (reachability, idle_cost).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple


class ResourceId(NamedTuple):
    """A resource: its stack and logical id."""

    stack: str
    logical_id: str


@dataclass(frozen=True)
class Resource:
    """A resource of a template."""

    id: ResourceId
    region: str
    type: str
    properties: Mapping[str, Any]
    document: Mapping[str, Any]

    def tag(self, key: str) -> str | None:
        """Return the value of a tag; None if it has no such tag."""
        tags = self.properties.get("Tags", ())
        return next((tag["Value"] for tag in tags if tag["Key"] == key), None)


@dataclass(frozen=True)
class Assembly:
    """All stacks of an app.

    Attributes
    ----------
    templates
        Templates by the names of their stacks.
    regions
        Regions by the names of stacks.
    """

    templates: Mapping[str, Mapping[str, Any]]
    regions: Mapping[str, str]

    @classmethod
    def read(cls, folder: Path) -> Assembly:
        """Read what the CDK wrote.

        Raises
        ------
        FileNotFoundError
            The folder has no ``manifest.json``.
        """
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        templates, regions = {}, {}
        for name, artifact in manifest["artifacts"].items():
            if artifact["type"] == "aws:cloudformation:stack":
                templates[name] = json.loads((folder / artifact["properties"]["templateFile"]).read_text("utf-8"))
                regions[name] = artifact["environment"].rpartition("/")[2]
        return cls(templates, regions)

    @cached_property
    def resources(self) -> dict[ResourceId, Resource]:
        """All resources."""
        return {
            (key := ResourceId(stack, logical_id)): Resource(
                key, self.regions[stack], document["Type"], document.get("Properties", {}), document
            )
            for stack, template in self.templates.items()
            for logical_id, document in template.get("Resources", {}).items()
        }

    def of_type(self, kind: str) -> Iterator[Resource]:
        """Iterate over the resources of a type, such as ``AWS::EC2::Subnet``."""
        return (resource for resource in self.resources.values() if resource.type == kind)

    def target(self, stack: str, value: Any) -> ResourceId | str:
        """Return the resource to which a value leads, or the value if it is text.

        Raises
        ------
        ValueError
            The value is something else.
        """
        while not isinstance(value, str):
            if "Ref" in value:
                return ResourceId(stack, value["Ref"])
            if "Fn::GetAtt" in value:
                return ResourceId(stack, value["Fn::GetAtt"][0])
            if "Fn::GetStackOutput" not in value:
                raise ValueError(f"{stack}: {value} is no reference to a resource")
            output = value["Fn::GetStackOutput"]
            stack = output["StackName"]
            value = self.templates[stack]["Outputs"][output["OutputName"]]["Value"]
        return value

"""Task definitions as containers: the template's words, environment, mounts and users.

Belongs here: what a definition and the overrides of a task say. Does not belong here: processes (agent, containers).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.rehearsal.account.templates import Stack
from infra.rehearsal.tasks.containers import Container, Mount, base_environment
from xdask_pipelines.topology.aws_names import PROJECT_PATH

#: Of the image (docker/Dockerfile).
_ENTRY_POINT = ["xdask"]


@dataclass(frozen=True)
class HostFolders:
    """Folders of this machine that stand for those of a host, by path on the host; and for volumes of AWS."""

    of_host: Mapping[str, Path]
    results: Path
    home: Path
    project: Path


def definitions_of(stacks: Sequence[Stack]) -> dict[str, dict[str, Any]]:
    """Return the definitions of all task families, as the templates have them: the emulator drops parts of them."""
    return {
        properties["Family"]: properties
        for stack in stacks
        for properties in stack.of_type("AWS::ECS::TaskDefinition").values()
    }


def containers_of(
    described: Mapping[str, Any],
    template: Mapping[str, Any],
    overrides: Mapping[str, Any],
    folders: HostFolders,
    environment: Mapping[str, str],
) -> list[Container]:
    """Return the containers of a task.

    Parameters
    ----------
    described
        Definition of the task, as the emulator describes it: references are resolved.
    template
        The same definition in the template.
    overrides
        Of the task.
    folders
        Folders of its host.
    environment
        What ECS adds to the environment, and what the rehearsal puts in place of the template's.
    """
    of_template = {each["Name"]: each for each in template.get("ContainerDefinitions", ())}
    volumes = {volume["Name"]: _folder(volume, folders) for volume in template.get("Volumes", ())}
    changed = {each["name"]: each for each in overrides.get("containerOverrides", ())}
    return [
        _container(
            each, of_template.get(each["name"], {}), changed.get(each["name"], {}), volumes, folders, environment
        )
        for each in described["containerDefinitions"]
    ]


def _container(
    described: Mapping[str, Any],
    template: Mapping[str, Any],
    override: Mapping[str, Any],
    volumes: Mapping[str, Path],
    folders: HostFolders,
    environment: Mapping[str, str],
) -> Container:
    words = override.get("command") or described.get("command") or []
    named = {
        each["name"]: each["value"] for each in (*described.get("environment", ()), *override.get("environment", ()))
    }
    mounts = [
        Mount(volumes[point["SourceVolume"]], point["ContainerPath"], bool(point.get("ReadOnly")))
        for point in template.get("MountPoints", ())
    ]
    linux = template.get("LinuxParameters", {})
    return Container(
        name=described["name"],
        words=[*(described.get("entryPoint") or _ENTRY_POINT), *words],
        environment={**base_environment(), **named, **environment},
        user=described.get("user", ""),
        mounts=[Mount(folders.project, PROJECT_PATH, True), *mounts],
        memory_folders_mib={each["ContainerPath"]: int(each["Size"]) for each in linux.get("Tmpfs", ())},
        essential=described.get("essential", True) and template.get("Essential", True),
        stop_seconds=int(described.get("stopTimeout") or 30),
        folder=PROJECT_PATH,
        capabilities=linux.get("Capabilities", {}).get("Add", ()),
    )


def _folder(volume: Mapping[str, Any], folders: HostFolders) -> Path:
    if "S3FilesVolumeConfiguration" in volume:
        return folders.results
    if "EFSVolumeConfiguration" in volume:
        return folders.home
    path = volume["Host"]["SourcePath"]
    if path not in folders.of_host:
        raise ValueError(f"The volume {volume['Name']} is {path} of its host, for which the rehearsal has no folder.")
    return folders.of_host[path]

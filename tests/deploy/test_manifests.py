"""Manifests of Kubernetes and Compose: no root, no secrets in the environment, no listening on all interfaces."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.documented import DEPLOY, DOCKERFILE, FILES, containers, documents, services

CONTAINERS = {name: (pod, container) for name, pod, container in containers()}
CERTIFICATES = {"ca.pem", "node.pem", "node-key.pem"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_listens_on_all_interfaces_or_names_the_key_that_signs(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"(?<![\d.])0\.0\.0\.0", text), "an address, and no part of 10.0.0.0"
    for word in ("[::]", "hostNetwork", "hostPort", "privileged: true", "ca-key.pem"):
        assert word not in text


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_pod_has_no_root_no_writable_system_and_no_secret_in_its_environment(name: str) -> None:
    pod, container = CONTAINERS[name]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] > 0
    assert not pod["automountServiceAccountToken"]
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"]
    assert not security["allowPrivilegeEscalation"]
    assert security["capabilities"]["drop"] == ["ALL"]
    assert "envFrom" not in container
    assert not any("secretKeyRef" in variable.get("valueFrom", {}) for variable in container.get("env", []))
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert mounts["certificates"]["readOnly"]
    assert "emptyDir" in volume(pod, "tmp")


def volume(pod: dict[str, Any], name: str) -> dict[str, Any]:
    return dict(next(v for v in pod["volumes"] if v["name"] == name))


def test_workers_drain_before_they_are_killed_and_only_read_data() -> None:
    pod, container = CONTAINERS["worker.yaml:worker"]
    drain = next(float(word.partition("=")[2]) for word in container["args"] if word.startswith("--drain-seconds"))
    assert pod["terminationGracePeriodSeconds"] > drain
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert mounts["data"]["readOnly"]
    assert volume(pod, "data")["persistentVolumeClaim"]["readOnly"]
    assert "emptyDir" in volume(pod, "spill")


def test_there_is_one_scheduler_never_two() -> None:
    (deployment,) = [d for d in documents(DEPLOY / "kubernetes/scheduler.yaml") if d["kind"] == "Deployment"]
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    assert "readinessProbe" in CONTAINERS["scheduler.yaml:scheduler"][1]


def test_the_policy_opens_the_ports_of_the_commands_and_no_others() -> None:
    policies = {d["metadata"]["name"]: d["spec"] for d in documents(DEPLOY / "kubernetes/network-policy.yaml")}
    assert policies["xdask-nothing-else"]["podSelector"] == {}
    assert "ingress" not in policies["xdask-nothing-else"]
    opened = {
        (port["port"], port.get("endPort"))
        for policy in policies.values()
        for rule in policy.get("ingress", [])
        for port in rule["ports"]
    }
    (ports,) = [word for word in CONTAINERS["worker.yaml:worker"][1]["args"] if word.startswith("--ports=")]
    first, last = map(int, re.findall(r"\d+", ports))
    assert opened == {(8786, None), (first, last)}


@pytest.mark.parametrize("name", services())
def test_a_service_has_no_root_no_published_port_and_no_secret_in_its_environment(name: str) -> None:
    service = services()[name]
    assert service["user"].startswith("${XDASK_USER:?")
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert not {"ports", "environment", "env_file", "privileged", "network_mode"} & set(service)


def test_workers_of_compose_drain_and_only_read_data() -> None:
    for name in ("exeter", "darmstadt"):
        service = services()[name]
        assert service["stop_grace_period"] == "60s"
        assert service["restart"] == "always"
        assert [mount.endswith(":/data:ro") for mount in service["volumes"]].count(True) == 1
        assert set(service["secrets"]) == CERTIFICATES


def test_the_image_installs_the_lock_of_the_makefile_and_is_not_root() -> None:
    text = DOCKERFILE.read_text()
    installs = [line for line in text.splitlines() if "pip install" in line]
    makefile = (DOCKERFILE.parents[1] / "Makefile").read_text()
    for option in ("--no-deps", "--require-hashes", "--requirement"):
        assert option in installs[0]
        assert f"{option} " in makefile
    users, image = (pins(DOCKERFILE.parents[1] / name) for name in ("requirements.lock", "docker/requirements.lock"))
    assert users.items() <= image.items(), "what users have, in the same versions"
    assert "jupyterlab" in image.keys() - users.keys()
    assert "--no-deps --no-build-isolation" in installs[1]
    stages = set(re.findall(r" AS (\S+)$", text, flags=re.MULTILINE))
    assert set(re.findall(r"^FROM (\S+)", text, flags=re.MULTILINE)) - stages == {"python:3.11-slim-bookworm"}
    user = re.findall(r"^USER (\d+):\d+", text, flags=re.MULTILINE)[-1]
    assert user == str(CONTAINERS["worker.yaml:worker"][0]["securityContext"]["runAsUser"])
    assert 'ENTRYPOINT ["xdask"]' in text
    assert "HEALTHCHECK" in text


def pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", lock.read_text(), flags=re.MULTILINE))


def test_what_the_image_copies_is_sent_to_its_build() -> None:
    ignored = (DOCKERFILE.parents[1] / ".dockerignore").read_text().splitlines()
    for line in re.findall(r"^COPY (?!--from)(.+)", DOCKERFILE.read_text(), flags=re.MULTILINE):
        for source in line.split()[:-1]:
            assert (DOCKERFILE.parents[1] / source).exists()
            assert f"!{source}" in ignored

"""Manifests are valid by the schemas of Kubernetes and the Compose specification, which refuse unknown keys."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from compose_spec import PyCompose

from tests.deploy.documented import DEPLOY, MANIFESTS, REPO, documents

#: Kubernetes supports its newest three minor releases.
_RELEASES = list(dict.fromkeys(kubernetes_validate.utils.all_versions()))
SUPPORTED = (_RELEASES[-3], _RELEASES[-1])
KUBERNETES = [
    pytest.param(document, id=f"{path.name}: {document['kind']} {document['metadata']['name']}")
    for path in MANIFESTS
    if path.parent.name == "kubernetes"
    for document in documents(path)
]
COMPOSE = (REPO / "compose.yaml", DEPLOY / "compose" / "compose.yaml")
_VARIABLES = {"XDASK_USER": "1000:1000", "XDASK_PROJECT": "/home/me/project"}


@pytest.mark.parametrize("release", SUPPORTED)
@pytest.mark.parametrize("document", KUBERNETES)
def test_kubernetes_accepts_the_document(document: dict[str, Any], release: str) -> None:
    kubernetes_validate.validate(document, release, strict=True)


@pytest.mark.parametrize("release", SUPPORTED)
def test_kubernetes_refuses_a_misspelled_key(release: str) -> None:
    (deployment,) = copy.deepcopy(documents(DEPLOY / "kubernetes" / "worker.yaml"))
    security = deployment["spec"]["template"]["spec"]["containers"][0]["securityContext"]
    security["readOnlyRootFileSystem"] = security.pop("readOnlyRootFilesystem")
    with pytest.raises(kubernetes_validate.ValidationError, match="readOnlyRootFileSystem"):
        kubernetes_validate.validate(deployment, release, strict=True)


def compose(path: Path) -> dict[str, Any]:
    """Return a Compose file with its variables and merged keys replaced, as Compose reads it."""
    text = re.sub(r"\$\{(\w+)(?::\?[^}]*)?\}", lambda variable: _VARIABLES[variable[1]], path.read_text())
    return dict(yaml.safe_load(text))


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.relative_to(REPO).as_posix())
def test_compose_accepts_the_file(path: Path) -> None:
    PyCompose.from_yaml(yaml.safe_dump(compose(path)))


def test_compose_refuses_a_misspelled_key() -> None:
    document = compose(DEPLOY / "compose" / "compose.yaml")
    document["services"]["exeter"]["read_olny"] = document["services"]["exeter"].pop("read_only")
    with pytest.raises(ValueError, match="read_olny"):
        PyCompose.from_yaml(yaml.safe_dump(document))

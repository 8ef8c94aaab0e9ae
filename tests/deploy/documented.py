"""The files and pages from which people start, and every `xdask` command in them.

Belongs here: finding commands, and reading them as the command line does. Does not belong here: what must hold.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import yaml

from xdask_pipelines.cli import main

REPO = Path(__file__).parents[2]
DEPLOY, PAGES, DOCKERFILE = REPO / "deploy", REPO / "docs" / "deploy", REPO / "docker" / "Dockerfile"
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())
MANIFESTS = [path for path in FILES if path.suffix == ".yaml"]
#: The words before the arguments of our image: the service of Compose, and the image.
_ENTRIES = ("client", "xdask_pipelines:0.1.0")
_ENDS = {"&&", "||", "|", "&", ";", ">", ">>", "2>&1", "<"}


def documents(path: Path) -> list[dict[str, Any]]:
    """Return the documents of a YAML file."""
    return list(yaml.safe_load_all(path.read_text()))


def containers() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield the name, the Pod and each container of all Pods of the Kubernetes manifests."""
    for path in MANIFESTS:
        for document in documents(path):
            if document.get("kind") == "Deployment":
                pod = document["spec"]["template"]["spec"]
                for container in pod["containers"]:
                    yield f"{path.name}:{container['name']}", pod, container


def services() -> dict[str, dict[str, Any]]:
    """Return the services of the Compose file."""
    (document,) = documents(DEPLOY / "compose" / "compose.yaml")
    return dict(document["services"])


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield where a command is, and its words after `xdask`."""
    for name, _, container in containers():
        yield name, container["args"]
    for name, service in services().items():
        yield f"compose.yaml:{name}", service["command"]
    for path in FILES:
        if path.suffix in (".service", ".sbatch"):
            for line in _lines(path.read_text()):
                yield from ((path.name, words) for words in _of_line(line.partition("ExecStart=")[2] or line))
    for path in PAGES.glob("*.md"):
        for block in re.findall(r"```sh\n(.*?)```", path.read_text(), flags=re.DOTALL):
            for line in _lines(block):
                yield from ((path.name, words) for words in _of_line(line))


def mentioned() -> Iterator[tuple[str, list[str]]]:
    """Yield commands in the prose of a page or the comment of a file, which may be incomplete."""
    for path in (*PAGES.glob("*.md"), *FILES, DOCKERFILE):
        for text in re.findall(r"`(xdask [^`\n]+)`", path.read_text()):
            yield path.name, [word for word in shlex.split(text)[1:] if word != "…"]


def _lines(text: str) -> list[str]:
    lines = text.replace("\\\n", " ").splitlines()
    return [line for line in lines if not line.lstrip().startswith("#")]


def _of_line(line: str) -> Iterator[list[str]]:
    simple: list[list[str]] = [[]]
    for word in shlex.split(line, comments=True):
        if word in _ENDS:
            simple.append([])
        else:
            simple[-1].append(word)
    for words in simple:
        found = _arguments(words)
        if found is not None:
            yield found


def _arguments(words: list[str]) -> list[str] | None:
    """Return the words after `xdask` in a simple command; None if it runs something else."""
    for word in ("--", *_ENTRIES):  # of `kubectl exec`, and of containers, whose entry point is xdask
        if words[:1] in (["docker"], ["kubectl"]) and {"run", "exec"} & set(words) and word in words:
            rest = words[words.index(word) + 1 :]
            return _arguments(rest) if word == "--" else rest
    while words and (words[0] in ("nohup", "exec") or re.match(r"[A-Z_]+=", words[0])):
        words = words[1:]
    if words[:2] == ["sudo", "-u"]:
        words = words[3:]
    return words[1:] if words and words[0].split("/")[-1] == "xdask" else None


def read(words: list[str]) -> None:
    """Read a command as the command line does, without running it.

    Raises
    ------
    click.UsageError
        The command line does not accept it.
    """
    words = [word for word in words if word != "$XDASK_OPTIONS"]  # of service files: further options
    command: click.Command = main
    context: click.Context | None = None
    while True:
        try:
            context = command.make_context(command.name or "xdask", words, parent=context)
        except click.exceptions.Exit:  # --help, --version
            return
        if not isinstance(command, click.Group):
            return
        words = [*context._protected_args, *context.args]
        name, found, words = command.resolve_command(context, words)
        assert found is not None, name
        command = found

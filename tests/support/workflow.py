"""A workflow of GitHub, run on this machine: its jobs in order, and each `run:` step as it is written.

Belongs here: events, conditions, expressions, and what the actions of our workflows do to a job's environment. Does not
belong here: what a step must bring about.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}")
_CONDITION = re.compile(r"github\.event_name (==|!=) '(\w+)'")


class StepFailed(Exception):
    """A step ended with another exit code than 0; the message has its output."""


@dataclass(frozen=True)
class Done:
    """A `run:` step that was run: job, command and output."""

    job: str
    command: str
    output: str


@dataclass
class Workflow:
    """A workflow in a clone of its repository.

    Parameters
    ----------
    file
        The workflow.
    clone
        Where its steps run.
    environment
        Of each job at its begin.
    variables
        Variables of the repository.
    keys
        Environment by which a role acts: what the log-in by OIDC gives.
    instead
        Commands that are run in place of those written.
    """

    file: Path
    clone: Path
    environment: Mapping[str, str]
    variables: Mapping[str, str]
    keys: Mapping[str, str]
    instead: Mapping[str, str] = field(default_factory=dict)

    def run(self, event: str, commit: str, /, **inputs: str) -> list[Done]:
        """Run all jobs of an event, in the order of their needs.

        Raises
        ------
        StepFailed
            A step failed.
        """
        jobs = yaml.safe_load(self.file.read_text())["jobs"]
        values = {"github.sha": commit, "github.event_name": event}
        values |= {f"inputs.{name}": value for name, value in inputs.items()}
        values |= {f"vars.{name}": value for name, value in self.variables.items()}
        chosen = [name for name, job in jobs.items() if _holds(job.get("if", ""), event)]
        for name in chosen:  # jobs are written after those that they need
            assert {jobs[name].get("needs")} - {None} <= set(chosen[: chosen.index(name)]), name
        return [done for name in chosen for done in self._job(name, jobs[name], values)]

    def _job(self, name: str, job: Mapping[str, Any], values: Mapping[str, str]) -> Iterator[Done]:
        environment = dict(self.environment)
        for step in job["steps"]:
            given = {key: _filled(str(value), values) for key, value in step.get("with", {}).items()}
            if "run" in step:
                yield self._step(name, step["run"], environment)
            else:
                self._action(step["uses"].partition("@")[0], given, values, environment)

    def _action(
        self, action: str, given: Mapping[str, str], values: Mapping[str, str], environment: dict[str, str]
    ) -> None:
        if action == "actions/checkout":
            commit = given.get("ref") or values["github.sha"]
            subprocess.run(["git", "checkout", "--quiet", "--detach", commit], cwd=self.clone, check=True)
        elif action == "actions/setup-python":
            assert given["python-version"] == f"{sys.version_info.major}.{sys.version_info.minor}"
        elif action == "aws-actions/configure-aws-credentials":
            assert given["role-to-assume"].startswith("arn:aws:iam::")
            environment |= {**self.keys, "AWS_REGION": given["aws-region"], "AWS_DEFAULT_REGION": given["aws-region"]}
        else:
            raise AssertionError(f"what {action} does to a job is not known here")

    def _step(self, job: str, command: str, environment: Mapping[str, str]) -> Done:
        words = ["bash", "-e", "-o", "pipefail", "-c", self.instead.get(command, command)]
        done = subprocess.run(
            words, cwd=self.clone, env=dict(environment), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise StepFailed(f"{job}: `{command}` failed with {done.returncode}:\n{done.stdout[-6000:]}")
        return Done(job, command, done.stdout)


def _holds(condition: str, event: str) -> bool:
    if not condition:
        return True
    hit = _CONDITION.fullmatch(condition)
    assert hit, f"a condition that is not known here: {condition}"
    return (event == hit[2]) == (hit[1] == "==")


def _filled(text: str, values: Mapping[str, str]) -> str:
    def value(hit: re.Match[str]) -> str:
        return next((found for word in hit[1].split("||") if (found := values.get(word.strip(), ""))), "")

    return _EXPRESSION.sub(value, text)

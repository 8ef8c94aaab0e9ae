"""The pipeline for AWS: it has the form that its service expects, and runs targets that exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import yaml

from xdask_pipelines.topology import Topology

REPO = Path(__file__).parents[2]
PIPELINE = REPO / "deploy/aws/pipeline/github-actions.yml"


def test_the_workflow_fits_its_schema() -> None:
    command = [
        Path(sys.executable).with_name("check-jsonschema"),
        "--builtin-schema",
        "vendor.github-workflows",
        PIPELINE,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_step_is_a_target_of_the_makefile_and_the_order_is_safe() -> None:
    jobs = yaml.safe_load(PIPELINE.read_text())["jobs"]
    steps = {name: [step["run"] for step in job["steps"] if "run" in step] for name, job in jobs.items()}
    assert steps == {
        "check": ["make infra-synth", "make rehearse"],
        "diff": ["make infra-diff"],
        "deploy": ["make infra-deploy YES=--yes"],
        "roll-back": ["make infra-deploy YES=--yes"],
    }
    targets = set(re.findall(r"^([a-z-]+):", (REPO / "Makefile").read_text(), flags=re.MULTILINE))
    assert {line.split()[1] for lines in steps.values() for line in lines} <= targets
    assert jobs["deploy"]["needs"] == "check"
    assert all(jobs[name]["environment"] == "aws" for name in ("deploy", "roll-back")), "a person approves"


def test_the_example_topology_can_be_deployed_as_it_is() -> None:
    topology = Topology.load(REPO / "deploy/aws/regions.yaml")
    assert topology.aws is not None
    assert topology.dataset_names == ("cmip6", "era5")
    assert set(topology.presets) == {"ssp245-2050-01"}

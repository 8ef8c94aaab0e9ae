"""Units of systemd, and the job script of Slurm."""

from __future__ import annotations

import configparser
import re
import subprocess
from pathlib import Path

import pytest

from tests.deploy.documented import DEPLOY

UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
SCRIPT = DEPLOY / "slurm" / "worker.sbatch"


def service(path: Path) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(strict=False, interpolation=None, comment_prefixes=("#", ";"))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(path.read_text())
    assert parser.sections() == ["Unit", "Service", "Install"]
    return parser["Service"]


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_is_hardened_and_has_no_secrets(path: Path) -> None:
    section = service(path)
    assert section["User"] == "xdask"
    assert section["ProtectSystem"] == "strict"
    for switch in ("NoNewPrivileges", "PrivateTmp", "ProtectHome", "RestrictSUIDSGID", "ProtectControlGroups"):
        assert section[switch] == "yes"
    assert section["CapabilityBoundingSet"] == ""
    # Only the main process drains: if its children got the signal too, they would end before they hand over.
    assert section["KillMode"] == "mixed"
    assert section["EnvironmentFile"].startswith("/etc/xdask/")
    assert "Environment" not in section
    assert section["RestartSec"] == "5"


def test_the_workers_unit_waits_for_the_drain_and_starts_again_after_any_end() -> None:
    section = service(DEPLOY / "systemd" / "xdask-worker@.service")
    drain = re.search(r"--drain-seconds (\d+)", section["ExecStart"])
    assert drain is not None
    assert int(section["TimeoutStopSec"]) > int(drain[1])
    # Workers end with exit code 0 when their scheduler stops.
    assert section["Restart"] == "always"
    assert section["ReadOnlyPaths"] == "/srv/xdask/%i/data"
    assert service(DEPLOY / "systemd" / "xdask-scheduler.service")["Restart"] == "on-failure"


@pytest.mark.parametrize("path", sorted((DEPLOY / "systemd").glob("*.env")), ids=lambda path: path.name)
def test_environment_files_hold_variables_of_the_commands_alone(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    known = {"XDASK_TOPOLOGY", "XDASK_CERTS", "XDASK_SCHEDULER", "XDASK_REGION_DATA", "XDASK_REGION_RESULTS"}
    assert {line.partition("=")[0] for line in lines} <= known | {"XDASK_OPTIONS"}


def run_script(tmp_path: Path, task: int) -> list[str]:
    """Run the script with a program in place of `xdask`; the words that it gets."""
    program = tmp_path / "bin" / "xdask"
    program.parent.mkdir(exist_ok=True)
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$$" "$@"\n')
    program.chmod(0o755)
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "XDASK_ENV": str(tmp_path),
        "SLURM_ARRAY_JOB_ID": "7",
        "SLURM_ARRAY_TASK_ID": str(task),
    }
    with subprocess.Popen(["bash", str(SCRIPT)], env=environment, stdout=subprocess.PIPE, text=True) as process:
        printed, _ = process.communicate()
    pid, *words = printed.splitlines()
    assert process.returncode == 0
    assert int(pid) == process.pid  # exec: a signal to the batch shell reaches xdask
    return words


def test_the_job_script_becomes_a_worker_with_ports_of_its_own(tmp_path: Path) -> None:
    from tests.deploy.documented import read

    first, second = run_script(tmp_path, 0), run_script(tmp_path, 1)
    read(first)
    assert first[first.index("--ports") + 1] == "9000-9031"
    assert second[second.index("--ports") + 1] == "9032-9063"
    assert first[first.index("--name") + 1] != second[second.index("--name") + 1]


def test_the_job_script_is_valid_and_drains_before_its_time_limit() -> None:
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)
    text = SCRIPT.read_text()
    before = re.search(r"^#SBATCH --signal=B:TERM@(\d+)$", text, flags=re.MULTILINE)
    drain = re.search(r"--drain-seconds (\d+)", text)
    assert before is not None
    assert drain is not None
    assert int(drain[1]) < int(before[1])

"""The SageMaker instance: its archive is built, its start script runs in a root of its own, and it stops when it is idle."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from infra.constructs import sagemaker_notebook
from infra.constructs.worker_host import with_settings
from infra.environment_archive import REQUIREMENTS, build_archive, environment_key
from infra.repository import REPOSITORY
from tests.support.set_up_scripts import ROOT, RUN, run_in_namespace, write_programs

pytestmark = pytest.mark.rehearsal
SCRIPT = Path(sagemaker_notebook.__file__).with_suffix(".sh")
IDLE = SCRIPT.with_name("sagemaker_idle.sh")
KEYS = {"ca.pem": "the authority", "node.pem": "the certificate", "node-key.pem": "the key"}
KEY = "environment/0123456789abcdef.tar.zst"
SETTINGS = {
    "REGION": "eu-west-2",
    "BUCKET": "xdask-results",
    "ENVIRONMENT_KEY": KEY,
    "TLS_SECRET": "xdask/tls",
    "CATALOG": "opensearch+https://search.example.org:443/xdask?aws_region=eu-west-2",
    "RESULTS_FILE_SYSTEM": "fs-results",
    "RESULTS_ACCESS_POINT": "fsap-results",
    "NOTEBOOK": "xdask-notebook",
    "IDLE_SECONDS": "3600",
}
#: ec2-user of Amazon Linux has the number 1000. The folder SageMaker is a disk that outlives a stop; the rest does not.
_ROOT = f"""{ROOT}
mount -t tmpfs local {{root}}/usr/local
mkdir -p {{root}}/etc/profile.d {{root}}/etc/pam.d {{root}}/usr/local/sbin {{root}}/home/ec2-user/SageMaker
mknod --mode=666 {{root}}/dev/urandom c 1 9
for kind in auth account session; do echo $kind sufficient pam_permit.so; done >{{root}}/etc/pam.d/runuser
sed -i '/:1000:/d' {{root}}/etc/passwd {{root}}/etc/group
echo 'ec2-user:x:1000:1000::/home/ec2-user:/bin/bash' >>{{root}}/etc/passwd
echo 'ec2-user:x:1000:' >>{{root}}/etc/group
for name in set-up.sh secret failing stubs; do cp -a {{given}}/$name {{root}}/; done
touch {{root}}/archive {{root}}/calls
chmod 666 {{root}}/calls
mount --bind {{archive}} {{root}}/archive
mount --bind {{disk}} {{root}}/home/ec2-user/SageMaker
chown 1000:1000 {{root}}/home/ec2-user {{root}}/home/ec2-user/SageMaker
{RUN}
ls {{root}}/usr/local/sbin >{{given}}/programs
chroot {{root}} find /run/xdask/tls -name '*.pem' -printf '%u %m\\n' >{{given}}/keys
cp {{root}}/home/ec2-user/.local/share/jupyter/kernels/xdask/kernel.json {{root}}/etc/profile.d/xdask.sh {{given}}/
if [ "$(cat {{given}}/code)" = 0 ]; then
    as_user="runuser -u ec2-user -- env -i HOME=/home/ec2-user PATH=/usr/bin:/bin"
    chroot {{root}} $as_user bash -c {{then}} >{{given}}/then 2>&1
fi
exit 0
"""


class Instance:
    """What became of an instance."""

    def __init__(self, given: Path) -> None:
        self._given = given
        self.code = int(self.read("code"))
        self.printed, self.calls, self.then = self.read("printed"), self.read("calls").splitlines(), self.read("then")

    def read(self, name: str) -> str:
        """Return a file that was copied from the instance."""
        file = self._given / name
        return file.read_text() if file.exists() else ""


def start(folder: Path, archive: Path, disk: Path, *, then: str = "true", failing: str = "nothing") -> Instance:
    """Run the start script on an instance, in a mount namespace; ``then`` is run by its user."""
    given, root = folder / "given", folder / "root"
    answers = {"aws s3 cp": "/archive", "aws secretsmanager": "/secret"}
    write_programs(given / "stubs", ("aws", "dnf", "mount"), answers)
    root.mkdir()
    disk.mkdir(exist_ok=True)
    program = '#!/bin/bash\necho "idle $REGION $NOTEBOOK $IDLE_SECONDS" >>/calls'
    (given / "set-up.sh").write_text(with_settings(SCRIPT, SETTINGS | {"IDLE_PROGRAM": program}) + "\nwait\n")
    (given / "secret").write_text(json.dumps(KEYS))
    (given / "failing").write_text(failing)
    names = {"root": root, "given": given, "archive": archive, "disk": disk, "then": then}
    prelude = _ROOT.format(**{name: shlex.quote(str(value)) for name, value in names.items()})
    run_in_namespace(prelude, "--fork", "--pid", "--mount-proc", timeout=200)
    return Instance(given)


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of this clone, with all packages of the image."""
    file = tmp_path_factory.mktemp("archive") / "environment.tar.zst"
    build_archive(file)
    return file


#: A kernel as Jupyter starts it, from the file that the start script wrote, asked by Jupyter's own client.
_ASK_A_KERNEL = r"""
set -e
. /etc/profile.d/xdask.sh
xdask --version
python=$(dirname "$(readlink -f "$(command -v xdask)")")/python
"$python" - <<'PROGRAM'
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel(kernel_name="xdask", startup_timeout=120)
said = []
client.execute_interactive(
    "import os, xdask_pipelines, distributed; print(xdask_pipelines.__file__, os.environ['XDASK_CATALOG'], "
    "os.environ['XDASK_TOPOLOGY'])",
    output_hook=lambda message: said.append(message["content"].get("text", "")), timeout=120)
print("kernel:", *said)
client.stop_channels()
manager.shutdown_kernel(now=True)
PROGRAM
"""


@pytest.mark.timeout(600)
def test_an_instance_has_a_kernel_of_the_locked_packages(archive: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    first = start(tmp_path / "first", archive, disk, then=_ASK_A_KERNEL)
    assert first.code == 0, first.printed
    assert first.calls[0] == "dnf install --assumeyes --quiet python3.11 zstd jq amazon-efs-utils"
    assert f"aws s3 cp --only-show-errors --region eu-west-2 s3://xdask-results/{KEY} -" in first.calls
    assert "idle eu-west-2 xdask-notebook 3600" in first.calls
    folder = "/home/ec2-user/SageMaker/.xdask/0123456789abcdef"
    assert "xdask 0.1.0" in first.then, first.then
    package = f"{folder}/lib/python3.11/site-packages/xdask_pipelines/__init__.py"
    assert f"{package} {SETTINGS['CATALOG']} {folder}/project/regions.yaml" in first.then, first.then
    assert [line.split()[:2] for line in first.read("keys").splitlines()] == [["ec2-user", "400"]] * len(KEYS)
    assert first.read("programs").split() == ["xdask-idle"]
    assert not any(text in call for call in first.calls for text in KEYS.values())

    again = start(tmp_path / "again", archive, disk, then=_ASK_A_KERNEL)  # after a stop
    assert again.code == 0, again.printed
    assert "kernel:" in again.then
    assert not [call for call in again.calls if call.startswith("aws s3")]


def test_a_download_that_fails_leaves_nothing_half(tmp_path: Path) -> None:
    half, disk = tmp_path / "half", tmp_path / "disk"
    half.write_bytes(b"half of an archive")
    found = start(tmp_path / "first", half, disk)
    assert found.code != 0
    assert not (disk / ".xdask" / "0123456789abcdef").exists()


def test_results_that_cannot_be_mounted_do_not_end_the_start(tmp_path: Path) -> None:
    empty = tmp_path / "empty.tar.zst"
    (tmp_path / "bin").mkdir()
    subprocess.run(["tar", "--create", "--zstd", "--file", empty, "--directory", tmp_path, "bin"], check=True)
    found = start(tmp_path / "first", empty, tmp_path / "disk", failing="mount\\ -t\\ s3files*")
    assert "warning: /results was not mounted" in found.printed
    assert "No module named ipykernel" in found.printed  # the archive is empty


def test_the_start_script_fits_into_a_lifecycle_configuration() -> None:
    text = with_settings(SCRIPT, SETTINGS | {"IDLE_PROGRAM": IDLE.read_text()})
    assert len(b64encode(text.encode())) < 16384 - 1024  # some ids are longer on AWS


def test_another_content_has_another_key(tmp_path: Path) -> None:
    for name in (REQUIREMENTS, "pyproject.toml", "regions.yaml", "analyses/own.py", "xdask_pipelines/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("one")
    before = environment_key(tmp_path)
    (tmp_path / "xdask_pipelines" / "__init__.pyc").write_text("compiled")
    assert environment_key(tmp_path) == before
    (tmp_path / "analyses" / "own.py").write_text("two")
    assert environment_key(tmp_path) != before
    assert environment_key(REPOSITORY).startswith("environment/")


class Jupyter(BaseHTTPRequestHandler):
    """Answers as Jupyter's API does."""

    answers: dict[str, Any]

    def do_GET(self) -> None:
        found = self.answers.get(self.path)
        self.send_response(200 if found is not None else 404)
        self.end_headers()
        self.wfile.write(json.dumps(found).encode())

    def log_message(self, *_: Any) -> None:
        return


@contextmanager
def jupyter(kernels: Any, terminals: Any) -> Iterator[str]:
    """Serve these kernels and terminals on loopback."""
    handler = type("Handler", (Jupyter,), {"answers": {"/api/kernels": kernels, "/api/terminals": terminals}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def watched(folder: Path, address: str, seconds: float = 6.0) -> list[str]:
    """Let the idle program look for some seconds; return what it asked of AWS."""
    folder.mkdir()
    calls = folder / "calls"
    (folder / "aws").write_text(f'#!/bin/bash\necho "$*" >>{calls}\n')
    (folder / "aws").chmod(0o755)
    settings = {"REGION": "eu-west-2", "NOTEBOOK": "xdask-notebook", "IDLE_SECONDS": "2", "PAUSE_SECONDS": "0.3"}
    given = {**os.environ, **settings, "JUPYTER": address, "PATH": f"{folder}:{os.environ['PATH']}"}
    program = subprocess.Popen(["bash", IDLE], env=given, stdout=subprocess.DEVNULL)
    try:
        program.wait(seconds)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()
    return calls.read_text().splitlines() if calls.exists() else []


def moment(seconds: float) -> str:
    """Return a moment in the form of Jupyter."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def test_an_instance_stops_when_nobody_uses_it(tmp_path: Path) -> None:
    stop = ["sagemaker stop-notebook-instance --region eu-west-2 --notebook-instance-name xdask-notebook"]
    idle = {"execution_state": "idle", "last_activity": moment(-7200)}
    with jupyter([idle], [{"last_activity": moment(-7200)}]) as address:
        assert watched(tmp_path / "idle", address) == stop
    with jupyter([], None) as address:  # no kernel, and no terminals at all
        assert watched(tmp_path / "empty", address) == stop
    with jupyter([idle, {"execution_state": "busy", "last_activity": moment(-7200)}], []) as address:
        assert watched(tmp_path / "busy", address, 4) == []
    with jupyter([idle], [{"last_activity": moment(60)}]) as address:
        assert watched(tmp_path / "terminal", address, 4) == []
    assert watched(tmp_path / "silent", "http://127.0.0.1:9", 4) == []

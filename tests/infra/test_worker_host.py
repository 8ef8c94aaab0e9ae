"""The set-up script of worker hosts, run by a real shell in a root of its own, with programs of AWS that only record."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from infra.constructs import worker_host
from infra.constructs.worker_host import mount_lines, with_settings
from tests.support.set_up_scripts import ROOT, RUN, run_in_namespace, write_programs
from xdask_pipelines.topology.stanzas import Dataset

pytestmark = pytest.mark.rehearsal
KEYS = {"ca.pem": "the authority", "node.pem": "the certificate", "node-key.pem": "the key"}
DATASETS = [
    Dataset(name="era5", layout="era5-pds", source="s3://era5-pds", mount="era5-pds", anonymous=True),
    Dataset(name="cmip6", layout="cmip6-pds", source="s3://cmip6-pds/CMIP6/CMIP/MOHC", mount="CMIP/MOHC"),
    Dataset(name="cmip6", layout="cmip6-pds", mount="own"),
]
LUSTRE = {"DNSName": "fs-1.fsx.eu-west-2.amazonaws.com", "LustreConfiguration": {"MountName": "abc"}}
SETTINGS = {
    "REGION": "us-east-1",
    "CLUSTER": "xdask-us-east-1",
    "LOG_GROUP": "/xdask/host",
    "USER_ID": "10001",
    "TLS_SECRET": "xdask/tls",
    "LUSTRE_NAME": "",
    "MOUNTS": mount_lines(DATASETS),
    "RESULTS_FILE_SYSTEM": "fs-results",
    "RESULTS_ACCESS_POINT": "fsap-results",
}
_RECORDED = ("aws", "dnf", "mount-s3", "mkfs.xfs", "mount", "mdadm", "shutdown", "hostname")
_ROOT = f"""{ROOT}
mkdir -p {{root}}/etc/ecs {{root}}/mnt {{root}}/dev/disk/by-id
cp -a {{given}}/. {{root}}/
for link in {{disks}}; do ln -s ../../nvme$link {{root}}/dev/disk/by-id/nvme-Amazon_EC2_NVMe_Instance_Storage_$link; done
{RUN}
cp {{root}}/etc/ecs/ecs.config {{given}}/ecs.config
cd {{root}}; find run/xdask mnt -printf '%m %U %p\\n' >{{given}}/files 2>/dev/null
cat run/xdask/tls/*.pem >{{given}}/keys
true
"""


@dataclass
class Host:
    """What became of a host."""

    code: int
    printed: str
    calls: list[str]
    config: str
    keys: str
    files: dict[str, tuple[str, str]] = field(default_factory=dict)

    def began(self, *starts: str) -> list[int]:
        """Return the place of the first call that begins so, for each."""
        return [next(i for i, call in enumerate(self.calls) if call.startswith(start)) for start in starts]


def set_up(folder: Path, *, lustre: str | None = None, disks: str = "a", failing: str = "nothing") -> Host:
    """Run the script on a host, in a mount namespace."""
    given, root = folder / "given", folder / "root"
    write_programs(given / "stubs", _RECORDED, {"aws secretsmanager": "/secret", "aws fsx": "/lustre"})
    root.mkdir()
    settings = SETTINGS | ({"LUSTRE_NAME": "xdask"} if lustre is not None else {})
    script = Path(worker_host.__file__).with_suffix(".sh")
    (given / "set-up.sh").write_text(with_settings(script, settings))
    (given / "secret").write_text(json.dumps(KEYS))
    (given / "lustre").write_text(lustre or "null")
    (given / "failing").write_text(failing)
    (given / "var" / "log").mkdir(parents=True)
    (given / "var" / "log" / "cloud-init-output.log").write_text('what "went" wrong\n')
    run_in_namespace(_ROOT.format(root=shlex.quote(str(root)), given=shlex.quote(str(given)), disks=disks))

    def read(name: str) -> str:
        return (given / name).read_text() if (given / name).exists() else ""

    files = {path: (mode, owner) for mode, owner, path in (line.split(" ", 2) for line in read("files").splitlines())}
    return Host(int(read("code")), read("printed"), read("calls").splitlines(), read("ecs.config"), read("keys"), files)


def test_a_host_has_disk_keys_data_and_results_in_this_order(tmp_path: Path) -> None:
    host = set_up(tmp_path)
    assert host.code == 0, host.printed
    order = host.began(
        "dnf install", "mkfs.xfs", "mount -o", "mount -t tmpfs", "aws secretsmanager", "mount-s3", "mount -t s3files"
    )
    assert order == sorted(order)
    assert "ECS_CLUSTER=xdask-us-east-1\n" in host.config
    assert "ECS_AWSVPC_BLOCK_IMDS=true\n" in host.config
    assert not [call for call in host.calls if call.startswith(("mdadm", "shutdown", "aws fsx", "aws logs"))]


def test_keys_are_whole_and_only_the_user_of_containers_can_read_them(tmp_path: Path) -> None:
    host = set_up(tmp_path)
    assert host.files["run/xdask/tls"] == ("500", "10001")
    for name in KEYS:
        assert host.files[f"run/xdask/tls/{name}"] == ("400", "10001")
    assert host.keys.split("\n")[:-1] == [KEYS[name] for name in sorted(KEYS)]
    assert not any(text in call for call in host.calls for text in KEYS.values())
    assert host.files["mnt/nvme/spill"] == ("700", "10001")


def test_each_dataset_with_a_bucket_is_one_mount_with_its_own_cache(tmp_path: Path) -> None:
    host = set_up(tmp_path)
    era5, cmip6 = [call for call in host.calls if call.startswith("mount-s3")]
    assert era5.startswith("mount-s3 era5-pds /mnt/data/era5-pds --region us-east-1 --read-only --allow-other")
    assert era5.endswith(" --no-sign-request")
    assert cmip6.startswith("mount-s3 cmip6-pds /mnt/data/CMIP/MOHC --prefix CMIP6/CMIP/MOHC/ --region")
    assert "--cache /mnt/nvme/cache/CMIP/MOHC " in cmip6
    assert "--no-sign-request" not in cmip6
    assert {"mnt/nvme/cache/era5-pds", "mnt/nvme/cache/CMIP/MOHC", "mnt/data/era5-pds"} <= host.files.keys()


def test_several_disks_become_one(tmp_path: Path) -> None:
    host = set_up(tmp_path, disks="a b")
    assert host.code == 0, host.printed
    (mdadm,) = [call for call in host.calls if call.startswith("mdadm")]
    assert mdadm == "mdadm --create /dev/md0 --level=0 --raid-devices=2 --run /dev/nvmea /dev/nvmeb"
    assert "mkfs.xfs -q -f /dev/md0" in host.calls


def test_lustre_is_mounted_where_there_is_one_and_buckets_where_there_is_none_yet(tmp_path: Path) -> None:
    host = set_up(tmp_path / "there", lustre=json.dumps(LUSTRE))
    assert host.code == 0, host.printed
    (mount,) = [call for call in host.calls if call.startswith("mount -t lustre")]
    assert mount.endswith("fs-1.fsx.eu-west-2.amazonaws.com@tcp:/abc /mnt/data")
    assert not [call for call in host.calls if call.startswith("mount-s3")]

    host = set_up(tmp_path / "not there", lustre="null")
    assert len([call for call in host.calls if call.startswith("mount-s3")]) == 2


@pytest.mark.parametrize(
    "failing",
    ["dnf*", "mkfs.xfs*", "mount\\ -o*", "aws\\ secretsmanager*", "mount-s3\\ cmip6*", "mount\\ -t\\ s3files*"],
)
def test_a_step_that_fails_ends_the_host_and_is_logged(tmp_path: Path, failing: str) -> None:
    host = set_up(tmp_path, failing=failing)
    assert host.code != 0
    assert host.calls[-1].startswith("shutdown -h now")
    log = next(call for call in host.calls if call.startswith("aws logs put-log-events"))
    assert "what went wrong" in log


def test_an_instance_without_its_own_disk_ends(tmp_path: Path) -> None:
    host = set_up(tmp_path, disks="")
    assert host.code != 0
    assert "no instance store" in host.printed
    assert host.calls[-1].startswith("shutdown")

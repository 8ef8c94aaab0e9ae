"""Making and renewing certificates: what lies in the folder afterwards, and that it fits together."""

from __future__ import annotations

import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from xdask_pipelines.errors import PlacementError, XdaskError
from xdask_pipelines.placement.local.certificates import AUTHORITY_KEY, NAMES, expiry, make_certificates, refuse_expired
from xdask_pipelines.placement.local.tls import AUTHORITY, NODE, NODE_KEY

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
FILES = (AUTHORITY, AUTHORITY_KEY, NODE, NODE_KEY)


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_one_certificate_serves_as_server_and_as_client_under_all_names(tmp_path: Path) -> None:
    made = make_certificates(tmp_path / "certs", ["10.0.0.5", "Scheduler.Example.org", "*.internal", "fd00::0:1"])
    assert made.done == "made"
    assert made.names == (*NAMES, "10.0.0.5", "scheduler.example.org", "*.internal", "fd00::1")
    node, authority = (certificate(tmp_path / "certs" / name) for name in (NODE, AUTHORITY))
    node.verify_directly_issued_by(authority)
    names = node.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(n.value) for n in names} == set(made.names)
    usage = node.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usage) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert not node.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert expiry(tmp_path / "certs") == made.until == node.not_valid_after_utc


def test_keys_are_for_their_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; os.umask(0)\n"
        "from xdask_pipelines.placement.local.certificates import make_certificates\n"
        "make_certificates(Path(sys.argv[1]))"
    )
    folder = tmp_path / "certs"
    subprocess.run([sys.executable, "-c", script, folder], check=True, timeout=60)
    assert mode(folder) == 0o700
    assert {name: mode(folder / name) for name in (NODE_KEY, AUTHORITY_KEY)} == {NODE_KEY: 0o600, AUTHORITY_KEY: 0o600}
    (folder / NODE_KEY).chmod(0o644)
    folder.chmod(0o755)
    assert make_certificates(folder).done == "kept"
    assert (mode(folder), mode(folder / NODE_KEY)) == (0o700, 0o600)
    assert not list(folder.glob("*.partial"))


def test_what_is_valid_is_left_alone_even_if_the_key_that_signs_is_kept_elsewhere(tmp_path: Path) -> None:
    make_certificates(tmp_path, ["10.0.0.5"])
    before = contents(tmp_path)
    again = make_certificates(tmp_path)
    assert (again.done, again.names) == ("kept", (*NAMES, "10.0.0.5"))
    assert contents(tmp_path) == before
    (tmp_path / AUTHORITY_KEY).rename(tmp_path.with_suffix(".elsewhere"))
    assert make_certificates(tmp_path).done == "kept"


@pytest.mark.parametrize("age", [500 * DAY, 340 * DAY])
def test_what_expired_or_soon_will_is_renewed_by_the_same_authority(tmp_path: Path, age: timedelta) -> None:
    make_certificates(tmp_path, ["10.0.0.5"], now=NOW - age)
    before = contents(tmp_path)
    renewed = make_certificates(tmp_path)
    after = contents(tmp_path)
    assert renewed.done == "renewed"
    assert renewed.until > NOW + 360 * DAY
    assert "10.0.0.5" in renewed.names
    assert {name for name in FILES if before[name] != after[name]} == {NODE}
    assert make_certificates(tmp_path).done == "kept"


def test_an_authority_that_soon_expires_is_renewed_with_its_key_so_that_old_certificates_stay_good(
    tmp_path: Path,
) -> None:
    make_certificates(tmp_path, now=NOW - 3500 * DAY)
    old = certificate(tmp_path / AUTHORITY)
    renewed = make_certificates(tmp_path)
    new, node = certificate(tmp_path / AUTHORITY), certificate(tmp_path / NODE)
    assert renewed.until > NOW + 360 * DAY
    assert new != old
    node.verify_directly_issued_by(new)
    node.verify_directly_issued_by(old)


def test_a_new_host_is_added_to_those_there_are(tmp_path: Path) -> None:
    make_certificates(tmp_path, ["10.0.0.5"])
    added = make_certificates(tmp_path, ["10.0.0.6"])
    assert (added.done, added.names) == ("renewed", (*NAMES, "10.0.0.5", "10.0.0.6"))


def test_what_is_missing_or_does_not_fit_is_made_anew(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    (tmp_path / NODE_KEY).unlink()
    assert make_certificates(tmp_path).done == "renewed"
    node, key = certificate(tmp_path / NODE), (tmp_path / NODE_KEY).read_bytes()
    make_certificates(tmp_path / "other")
    (tmp_path / NODE).write_bytes((tmp_path / "other" / NODE).read_bytes())
    assert make_certificates(tmp_path).done == "renewed"
    assert (tmp_path / NODE_KEY).read_bytes() == key
    assert certificate(tmp_path / NODE).public_key() == node.public_key()


def test_files_that_do_not_belong_together_are_not_overwritten(tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_certificates(tmp_path / name, now=NOW - 500 * DAY)
    one, two = tmp_path / "one", tmp_path / "two"
    key = (one / AUTHORITY_KEY).read_bytes()
    (one / AUTHORITY_KEY).unlink()
    with pytest.raises(XdaskError, match=r"ca-key.pem, is missing\. Put it back; or remove .*one, run `xdask certs`"):
        make_certificates(one)
    (one / AUTHORITY_KEY).write_bytes((two / AUTHORITY_KEY).read_bytes())
    with pytest.raises(XdaskError, match=r"ca.pem and ca-key.pem in .*one do not belong together"):
        make_certificates(one)
    (one / AUTHORITY_KEY).write_bytes(key)
    assert make_certificates(one).done == "renewed"


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_something_else_is_named(tmp_path: Path, name: str) -> None:
    make_certificates(tmp_path, now=NOW - 500 * DAY)
    (tmp_path / name).write_text("something else")
    with pytest.raises(PlacementError, match=rf"{name} was not created by `xdask certs`"):
        make_certificates(tmp_path)


@pytest.mark.parametrize("host", ["", "-a", "a b", "tls://x", "x:8786", "ä.example"])
def test_a_host_that_is_none_is_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(XdaskError, match="not a name or address of a machine"):
        make_certificates(tmp_path, [host])
    assert not (tmp_path / NODE).exists()


def test_many_at_once_make_one_authority(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from xdask_pipelines.placement.local.certificates import make_certificates\n"
        "print(make_certificates(Path(sys.argv[1])).done)"
    )
    command = [sys.executable, "-c", script, tmp_path / "certs"]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert sorted(p.communicate(timeout=60)[0].strip() for p in started) == ["kept", "kept", "made"]


def test_expired_and_missing_certificates_are_refused_with_the_command_that_helps(tmp_path: Path) -> None:
    with pytest.raises(PlacementError, match=r"has no certificates.*`xdask certs`"):
        refuse_expired(tmp_path)
    make_certificates(tmp_path, now=NOW - 500 * DAY)
    with pytest.raises(PlacementError, match=r"expired on 20.*`xdask certs`.*`xdask pools up`"):
        refuse_expired(tmp_path)
    make_certificates(tmp_path)
    refuse_expired(tmp_path)

"""Set-up scripts of machines on AWS, in a root of their own with programs that only record their words.

Belongs here: the programs, and what every such root has. Does not belong here: what a script must do (tests/infra).
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

#: Each records its words; one that the test lets fail ends with an error.
_PROGRAM = """#!/bin/bash
echo "$(basename "$0") $*" >>/calls
case "$(basename "$0") $*" in $(cat /failing)) exit 1;; esac
case "$(basename "$0") $*" in
    {answers}
    "mount -t tmpfs"*) exec /usr/bin/mount "$@";;
esac
"""
#: Programs of this machine at ``{root}``, and nothing else of it; format it with the path of an empty folder.
ROOT = """
mount -t tmpfs root {root}
for entry in usr bin sbin lib lib64 proc; do
    if [ -L /$entry ]; then cp -P /$entry {root}/$entry
    elif [ -d /$entry ]; then mkdir {root}/$entry; mount --rbind /$entry {root}/$entry; fi
done
mkdir -p {root}/etc {root}/run {root}/tmp {root}/var/log {root}/stubs {root}/dev
mknod --mode=666 {root}/dev/null c 1 3
ln -s /proc/self/fd {root}/dev/fd
cp /etc/passwd /etc/group /etc/ld.so.cache {root}/etc/
"""
#: Runs the script in that root; what it printed and its exit code are in the folder ``{given}``.
RUN = """
set +e
chroot {root} env -i PATH=/stubs:/usr/sbin:/usr/bin:/sbin:/bin bash /set-up.sh >{given}/printed 2>&1
echo $? >{given}/code
cp {root}/calls {given}/calls
"""


def write_programs(folder: Path, names: Sequence[str], answers: Mapping[str, str]) -> None:
    """Write the programs into a folder.

    Parameters
    ----------
    folder
        New folder, which the root has as ``/stubs``.
    names
        Names of the programs.
    answers
        File that a program prints, by the words with which its call begins.
    """
    folder.mkdir(parents=True)
    lines = "\n    ".join(f'"{words}"*) cat {file};;' for words, file in answers.items())
    for name in names:
        (folder / name).write_text(_PROGRAM.format(answers=lines))
        (folder / name).chmod(0o755)


def run_in_namespace(program: str, *flags: str, timeout: float = 60) -> None:
    """Run a program of the shell in a mount namespace of its own; further flags are those of ``unshare``."""
    words = ["unshare", "--mount", "--propagation", "private", *flags, "bash", "-ec", program]
    done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, done.stderr

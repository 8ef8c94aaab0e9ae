"""A new layout is one new file: the topology and the catalog find it."""

import shutil
import subprocess
import sys
from pathlib import Path

import xdask_pipelines

REGIONS = """
client: {region: eu-west-2}
workers:
  - region: us-east-1
    datasets: [{name: flat, layout: flat-files, mount: flat}]
"""
LAYOUT = """
from xdask_pipelines.catalog.layouts.base import Content, Reading


class FlatFiles:
    def by_file(self, mount):
        return True

    def read(self, key, mount):
        return Reading(variable=mount.below(key).removesuffix(".nc"), facets={"flat": "yes"})

    def content(self, variable, facets):
        return Content()


LAYOUT = FlatFiles()
"""
PROGRAM = """
import sys
from xdask_pipelines.topology import Topology

topology = Topology.load("regions.yaml")
assert not any(name.startswith("xdask_pipelines.catalog") for name in sys.modules), "no layout is imported to check names"
from xdask_pipelines.catalog.layouts import parse
from xdask_pipelines.catalog.manifest.listing import StoredObject

(entry,), quarantined = parse([StoredObject("flat/tas.nc", 1, "e", 1)], *topology.mounts("flat", "us-east-1"))
print(entry.variable, dict(entry.facets), quarantined)
"""


def test_one_new_file_is_a_layout(tmp_path: Path) -> None:
    package = Path(xdask_pipelines.__file__).parent
    shutil.copytree(package, tmp_path / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / package.name / "catalog/layouts/flat_files_layout.py").write_text(LAYOUT)
    (tmp_path / "regions.yaml").write_text(REGIONS)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "tas {'flat': 'yes'} []\n", done.stderr

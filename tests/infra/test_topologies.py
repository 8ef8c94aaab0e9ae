"""Any topology becomes templates with the same properties."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from infra.app import build
from infra.checks import exposure
from infra.checks.assembly import Assembly
from infra.checks.reachability import Reachability
from tests.support.topologies import WORKERS, document
from xdask_pipelines.topology import Topology


@st.composite
def topologies(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the content of a topology file: Regions, stage, options, sizes of networks."""
    stage = draw(st.sampled_from(["small", "full"]))
    egress = draw(st.sampled_from(["public", "nat"]))
    found = document(
        0,
        stage,
        egress=egress,
        network=draw(st.sampled_from(["peering", "transit-gateway"])),
        notebook=draw(st.sampled_from(["ecs", "sagemaker"])) if egress == "nat" else "ecs",
    )
    regions = draw(st.lists(st.sampled_from(WORKERS), min_size=1, max_size=6, unique=True))
    sizes = [draw(st.integers(16, 24)) for _ in ("client", *regions)]
    found["client"]["cidr"] = f"10.0.0.0/{sizes[0]}"
    for i, (region, size) in enumerate(zip(regions, sizes[1:], strict=True), 1):
        worker: dict[str, Any] = {"region": region, "cidr": f"10.{i}.0.0/{size}"}
        if draw(st.booleans()):
            worker["vpc"] = {"id": f"vpc-0000000{i}", "internet_gateway": f"igw-0000000{i}"}
        worker["pool"] = {
            "instance_type": draw(st.sampled_from(["m5d.4xlarge", "c5d.2xlarge"])),
            "max_workers": draw(st.integers(1, 20)),
            "spot": draw(st.booleans()),
        }
        worker["datasets"] = [
            {"name": f"d{j}", "layout": "era5-pds", "source": f"s3://bucket-{i}-{j}/a", "mount": f"m{j}/x"}
            for j in range(draw(st.integers(0, 8)))
        ]
        worker["lustre"] = {"zone": draw(st.sampled_from([1, 2]))}
        found["workers"].append(worker)
    return found


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@example(document(6, "full"))
@given(topologies())
def test_every_topology_has_the_properties(content: dict[str, Any]) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "regions.yaml").write_text(yaml.safe_dump(content))
        topology = Topology.load(folder / "regions.yaml")
        build(topology, str(folder / "out")).synth()
        assembly = Assembly.read(folder / "out")
    assert Reachability(assembly, topology).problems() == []
    assert exposure.overlapping_networks(assembly) == []
    assert exposure.custom_resources(assembly) == []
    assert exposure.implicit_removals(assembly) == []
    assert exposure.secrets_in_sight(assembly) == []
    assert topology.aws is not None
    door = ["xdask-network-eu-west-2/xdask-balancer:443"] if topology.aws.stage == "full" else []
    assert exposure.public_ingress(assembly) == door

"""`make rehearse`: the deployment of a project's regions.yaml, rehearsed from nothing to nothing.

Belongs here: the command. Does not belong here: the steps (story).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from time import strftime

import click

from infra.rehearsal.machine import obstacles, without_wide_area
from infra.rehearsal.program import Program
from infra.rehearsal.rehearsed_project import topology_to_rehearse, write_project
from infra.rehearsal.stage import StoryFailed, stage
from infra.rehearsal.story import Story
from xdask_pipelines.errors import XdaskError
from xdask_pipelines.topology import Topology, find_topology

ANALYSES = Path(__file__).with_name("analyses")


def synthesize(topology_file: Path, folder: Path) -> Path:
    """Write the templates of a topology into a folder, and return the folder."""
    from infra.app import build

    build(Topology.load(topology_file), str(folder)).synth()
    return folder


@click.command()
@click.option("--keep", is_flag=True, help="Keep the folder with logs and recorded calls.")
@click.option("--loopback", is_flag=True, help="Do not use network namespaces.")
@click.option("--stage", "of_stage", type=click.Choice(["small", "full"]), help="In place of that of the topology.")
def main(keep: bool, loopback: bool, of_stage: str | None) -> None:
    """Rehearse the deployment of the topology of this clone."""
    if problems := list(obstacles()):
        raise click.ClickException("The rehearsal cannot run on this machine.\n" + "\n".join(problems))
    if not loopback and (why := without_wide_area()):
        click.echo(why)
    topology = find_topology()
    file = topology_to_rehearse(topology)
    click.echo(f"rehearsing {file}, with the sample data in place of its datasets")
    folder = topology.root / "var" / f"rehearsal-{strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    project = folder.with_suffix(".project")
    data = write_project(file, project, of_stage or "")
    assembly = synthesize(project / "regions.yaml", folder.with_suffix(".cdk"))
    try:
        with stage(
            project / "regions.yaml",
            assembly,
            folder,
            data=data,
            analyses=ANALYSES,
            wide_area=not loopback,
            say=click.echo,
        ) as parts:
            outcome = Story(Program(parts), click.echo).tell()
    except (StoryFailed, XdaskError, RuntimeError) as error:
        raise click.ClickException(f"{error}\nLogs are in {folder / 'logs'}.") from error
    for finding in outcome.findings:
        click.secho(finding.problem, fg="yellow")
    for line in outcome.lines():
        click.echo(line)
    if outcome.findings or outcome.left:
        raise click.ClickException(f"The rehearsal found problems, see above. Its files are in {folder}.")
    if not keep:
        for each in (folder, assembly, project):
            shutil.rmtree(each)


if __name__ == "__main__":
    main()

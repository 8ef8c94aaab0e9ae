"""The story of a rehearsal: what is done to a deployment from nothing to nothing, and what must come of it.

Belongs here: the steps, and the table at the end. Does not belong here: parts (stage), what the program does (program), the
command (rehearse).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic

from infra.rehearsal.account.leftovers import Leftover, leftovers, remove_retained, retained
from infra.rehearsal.iam_contract import Finding, deployed_contract
from infra.rehearsal.program import Program
from infra.rehearsal.stage import StoryFailed
from infra.rehearsal.tasks.running_task import RunningTask
from xdask_pipelines.topology.aws_names import (
    DAGSTER_SERVICE,
    RUN_FAMILY,
    SCHEDULER_SERVICE,
    WORKER_CONTAINER,
    cluster_name,
    pool_service,
)

_FIGURE = re.compile(r"temperature difference, \S+ minus ERA5\s+([+-][\d.]+) K")
#: An analysis that takes long, and of which Dagster's pages launch a run: of its own task at stage full.
_SLOW = "slow_field"
#: What a block of the slow analysis prints, and how many of them there are before the instance is lost.
_BLOCK, _BLOCKS = "slow_field: one block", 5
#: What a pool may take to start from zero.
_POOL_SECONDS = 600.0
Say = Callable[[str], None]


@dataclass
class Outcome:
    """What a rehearsal brought about.

    Attributes
    ----------
    seconds
        What each step took.
    figure_kelvin
        Mean temperature difference of the main job.
    tasks, bytes_across
        Of the main job: tasks by Region, and bytes by pair of Regions as the relay counted them.
    findings
        Breaches of the contract of roles.
    stayed, left
        What templates retain, and what was left after that was removed too.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    figure_kelvin: float = float("nan")
    tasks: Counter[str] = field(default_factory=Counter)
    bytes_across: dict[str, int] = field(default_factory=dict)
    findings: Sequence[Finding] = ()
    stayed: Sequence[Leftover] = ()
    left: Sequence[Leftover] = ()

    def lines(self) -> Iterator[str]:
        """The table at the end."""
        yield f"{'step':44s} {'seconds':>8s}"
        for step, seconds in self.seconds.items():
            yield f"{step:44s} {seconds:8.1f}"
        yield f"{'temperature difference':44s} {self.figure_kelvin:+8.4f} K"
        for region, number in sorted(self.tasks.items()):
            yield f"{'tasks in ' + region:44s} {number:8d}"
        for pair, size in sorted(self.bytes_across.items()):
            yield f"{'bytes ' + pair.replace('->', ' to '):44s} {size / 1000:8.1f} kB"
        yield f"{'breaches of the contract of roles':44s} {len(self.findings):8d}"
        yield f"{'resources that templates retain':44s} {len(self.stayed):8d}"
        yield f"{'left after they are removed':44s} {len(self.left):8d}"


class Story:
    """The steps of a rehearsal.

    Parameters
    ----------
    program
        The program on its stage.
    say
        Gets lines of progress.
    """

    def __init__(self, program: Program, say: Say) -> None:
        self.program, self.stage, self.outcome = program, program.stage, Outcome()
        self._say, self._began = say, monotonic()

    def tell(self) -> Outcome:
        """Go through all steps.

        Raises
        ------
        StoryFailed
            A step did not happen.
        """
        with self._step("deploy all stacks"):
            self.program.deploy()
        with self._step("the scheduler's name leads to its task"):
            self.program.name_scheduler()
        with self._step("the first sync, with every pool at zero"):
            self.program.first_sync()
            if started := self._started_pools():
                raise StoryFailed(f"A sync needs no pool, and yet these were started: {', '.join(sorted(started))}.")
        self._main_job()
        self._examine()
        with self._step("a notebook computes"):
            self._say(self.program.compute_in_notebook())
        self._replace_scheduler()
        self._lose_instance()
        if self.program.family == DAGSTER_SERVICE:
            self._end_run()
        with self._step("every pool goes to zero"):
            self.program.stop_pools()
        if self.stage.file_systems.mounted(self.stage.topology.worker_regions[-1]):
            self._remount()
        with self._step("calls against the policies of their roles"):
            topology = self.stage.topology
            contract = deployed_contract(self.stage.clients, self.stage.stacks[0].account, topology.client.region)
            self.outcome.findings = contract.findings(list(self.stage.proxy.calls))
        self._destroy()
        return self.outcome

    def _started_pools(self) -> set[str]:
        """Return the pools that were asked for any instance until now."""
        pools = {pool_service(region) for region in self.stage.topology.worker_regions}
        scaled = [call.parameters for call in self.stage.proxy.calls if call.operation == "UpdateService"]
        return {asked["service"] for asked in scaled if asked["service"] in pools and asked.get("desiredCount")}

    def _examine(self) -> None:
        with self._step("the doctor examines the deployment"):
            found = self.program.doctor()
        for each in found:
            if each["state"] != "ok":
                self._say(f"{each['state']}: {each['about']}: {each['said']}")
        self._say(f"the doctor found {len(found)} facts")
        if problems := [each["said"] for each in found if each["state"] == "problem" and not _no_lustre(each["said"])]:
            raise StoryFailed("The doctor found problems: " + "; ".join(problems))

    def _main_job(self) -> None:
        before = self.stage.network.bytes_across()
        with self._step("the main job"):
            printed = self.program.run("xdask", "demo", "--no-sync")
        self._say(printed)
        hit = _FIGURE.search(printed)
        if hit is None:
            raise StoryFailed(f"The main job printed no temperature difference:\n{printed}")
        self.outcome.figure_kelvin = float(hit[1])
        after = self.stage.network.bytes_across()
        self.outcome.bytes_across = {pair: size - before[pair] for pair, size in after.items()}
        for region, number in re.findall(r"([a-z]+-[a-z]+-\d) (\d+)", _line(printed, "tasks by Region")):
            self.outcome.tasks[region] += int(number)

    def _replace_scheduler(self) -> None:
        region = self.stage.topology.client.region
        old = self.stage.task(region, SCHEDULER_SERVICE)
        ecs = self.stage.clients.of("ecs", region)
        with self._step("the scheduler is replaced at a new address"):
            ecs.stop_task(cluster=cluster_name(region), task=old.arn, reason="The rehearsal replaces it")
            self.stage.wait(
                lambda: any(task.arn != old.arn for task in self.stage.agent.running(region, SCHEDULER_SERVICE)),
                120,
                "another scheduler runs",
            )
            new = self.stage.task(region, SCHEDULER_SERVICE).interface.address
            if new == old.interface.address:
                raise StoryFailed(f"The new scheduler has the address of the old one, {new}.")
            self.program.name_scheduler()
            self.program.start_scheduler()

    def _lose_instance(self) -> None:
        """Lose an instance in mid-run: the service starts another one, and the run ends well."""
        region = self.stage.topology.worker_regions[-1]
        with self._step(f"an instance of {region} is lost in mid-run"):
            run = self.program.launch(_SLOW)
            self.stage.wait(lambda: bool(self._computing(region)), _POOL_SECONDS, "the run computes")
            victim = self._computing(region)[0]
            if self.program.succeeded(run):
                raise StoryFailed("The run ended before its instance was lost.")
            self.stage.agent.interrupt(victim)
            self.stage.wait(lambda: self.program.succeeded(run), 600, "the run ends")
            evidence = self.program.evidence(_SLOW)
            if evidence["run"] != run or evidence["misplaced_tasks"]:
                raise StoryFailed(f"The run {run}, whose instance was lost, is not what made the result: {evidence}")
            replaced = self.stage.agent.running(region, pool_service(region))
            if any(task.arn == victim.arn for task in replaced):
                raise StoryFailed(f"The lost task {victim.arn} still runs.")

    def _end_run(self) -> None:
        """End a run on its page: its task ends too (stage full)."""
        client = self.stage.topology.client.region
        with self._step("a run is ended on its page"):
            run = self.program.launch(_SLOW)
            self.stage.wait(lambda: self.program.computes(run), 180, "the run has begun")
            self.program.end(run)
            self.stage.wait(
                lambda: not self.stage.agent.running(client, RUN_FAMILY), 120, "the task of the run has ended"
            )

    def _remount(self) -> None:
        """Delete a file system and create it again, as an operator does while nothing needs its speed (stage full)."""
        region, mounted = self.stage.topology.worker_regions[-1], self.stage.file_systems.mounted
        with self._step(f"the file system of {region} goes, and comes again"):
            self.stage.command("lustre", "down", region)
            if mounted(region):
                raise StoryFailed(f"`xdask lustre down {region}` left a file system.")
            self.stage.command("lustre", "up", region)
            if not mounted(region):
                raise StoryFailed(f"`xdask lustre up {region}` made no file system.")

    def _computing(self, region: str) -> list[RunningTask]:
        """Return the tasks of a pool that computed some blocks of the slow analysis."""
        return [
            task for task in self.stage.agent.running(region, pool_service(region))
            if task.log(WORKER_CONTAINER).read_text().count(_BLOCK) >= _BLOCKS
        ]  # fmt: skip

    def _destroy(self) -> None:
        topology = self.stage.topology
        with self._step("destroy all stacks"):
            self.stage.deployment.destroy()
            self.stage.wait(self.stage.agent.idle, 180, "all tasks have ended")
        kept = {name for names in retained(self.stage.stacks).values() for name in names}
        self.outcome.stayed = leftovers(self.stage.clients, topology.regions)
        for each in self.outcome.stayed:
            self._say(f"stays: {each.kind} {each.name} ({each.region})")
        if len(self.outcome.stayed) > len(kept):
            self._say(f"the templates retain {len(kept)} resources: {', '.join(sorted(kept))}")
        remove_retained(self.stage.clients, self.outcome.stayed)
        self.outcome.left = leftovers(self.stage.clients, topology.regions)

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        self._say(f"{monotonic() - self._began:7.1f} s  {name}")
        began = monotonic()
        yield
        self.outcome.seconds[name] = monotonic() - began


def _no_lustre(said: str) -> bool:
    """Return whether a problem is that of every rehearsal of the stage full: a folder stands for the file system."""
    return said.startswith("the data are on ")


def _line(text: str, start: str) -> str:
    return next((line for line in text.splitlines() if line.startswith(start)), "")

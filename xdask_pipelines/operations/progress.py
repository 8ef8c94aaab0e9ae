"""Progress bars in a terminal, one for each Region.

Belongs here: drawing. Does not belong here: counting (placement).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from xdask_pipelines.placement.client.compute import Progress as Watch
from xdask_pipelines.placement.client.scheduler_rpc import RegionProgress


@contextmanager
def bars() -> Iterator[Watch]:
    """Show progress bars of a computation, if the output is a terminal."""
    columns = (TextColumn("{task.description:12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, transient=True) as display:
        display.disable = not display.console.is_terminal
        shown: dict[str, TaskID] = {}

        def watch(state: Mapping[str, RegionProgress]) -> None:
            for region, at in state.items():
                if region not in shown:
                    shown[region] = display.add_task(region, total=at.planned)
                display.update(shown[region], completed=at.done, total=at.planned)

        yield watch

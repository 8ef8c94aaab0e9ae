"""What clients ask of the plugin on a scheduler; each question names the method that answers it.

Belongs here: the questions. Does not belong here: what is made of the answers (compute), how they travel
(scheduler_requests).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dask.typing import Key
from distributed import Client

from xdask_pipelines.placement.dask_internals.scheduler_requests import ask


class SchedulerRPC:
    """Questions of a client to its scheduler.

    Parameters
    ----------
    client
        Connected. Each question raises `OSError` if the scheduler does not answer.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def version(self) -> dict[str, Any] | None:
        """``{"version", "client_region", "pools": {region: workers}}``; None from a scheduler without the plugin.

        Answered by `PlacementPlugin._answer_version`.
        """
        found: dict[str, Any] | None = ask(self._client, "version")
        return found

    def expect(self, outputs: Sequence[Key]) -> None:
        """Say what will be gathered from the next computation; `Deliveries._expect` hears it."""
        ask(self._client, "expect", client=self._client.id, keys=outputs)

    def newest(self, outputs: Sequence[Key]) -> str | None:
        """Which is this client's newest computation of these outputs; answered by `Ledger._answer_newest`."""
        found: str | None = ask(self._client, "newest", client=self._client.id, keys=outputs)
        return found

    def progress(self, outputs: Sequence[Key]) -> Mapping[str, tuple[int, int]] | None:
        """Tasks done and planned, by Region; answered by `Ledger._answer_progress`."""
        found: Mapping[str, tuple[int, int]] | None = ask(
            self._client, "progress", client=self._client.id, keys=outputs
        )
        return found

    def report(self, outputs: Sequence[Key], *, delivered: bool) -> Mapping[str, Any] | None:
        """Report of this client's newest computation of these outputs, which ends it; by `Ledger._answer_report`.

        Parameters
        ----------
        outputs
            Keys of its results.
        delivered
            Whether they have been gathered, so that the report tells of their transfer too.
        """
        found: Mapping[str, Any] | None = ask(
            self._client, "report", client=self._client.id, keys=outputs, delivered=delivered
        )
        return found

    def backlog(self) -> dict[str, dict[str, Any]]:
        """What waits for each pool, as `backlog.count` says."""
        found: dict[str, dict[str, Any]] = ask(self._client, "backlog")
        return found

    def drain(self, region: str, workers: int | Sequence[str]) -> dict[str, Any]:
        """Take workers out of a pool, as `draining.drain_on_scheduler` says."""
        found: dict[str, Any] = ask(self._client, "drain", region=region, workers=workers)
        return found

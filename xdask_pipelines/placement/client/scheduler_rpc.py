"""Requests of clients to the placement plugin on a scheduler. Each docstring names the method that answers.

Belongs here: one method for each request. Does not belong here: using the answers (compute), sending requests
(dask_internals.scheduler_requests).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dask.typing import Key
from distributed import Client

from xdask_pipelines.placement.dask_internals.scheduler_requests import ask


class RegionProgress(NamedTuple):
    """Progress of one Region in a computation: tasks done, tasks planned, and stored bytes that they have read."""

    done: int
    planned: int
    bytes_read: int


class SchedulerRPC:
    """Requests of a client to its scheduler.

    Parameters
    ----------
    client
        A connected client. Each request raises `OSError` if the scheduler does not answer.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def version(self) -> dict[str, Any] | None:
        """Return ``{"version", "client_region", "pools": {region: workers}}``; None if the scheduler has no plugin.

        Answered by `PlacementPlugin._answer_version`.
        """
        answer: dict[str, Any] | None = ask(self._client, "version")
        return answer

    def expect(self, outputs: Sequence[Key]) -> None:
        """Announce the results of the next computation that will be gathered; answered by `Deliveries._expect`."""
        ask(self._client, "expect", client=self._client.id, keys=outputs)

    def newest(self, outputs: Sequence[Key]) -> str | None:
        """Return the identifier of this client's newest computation of outputs; answered by `Ledger._answer_newest`."""
        answer: str | None = ask(self._client, "newest", client=self._client.id, keys=outputs)
        return answer

    def progress(self, outputs: Sequence[Key]) -> dict[str, RegionProgress] | None:
        """Return the progress of each Region; answered by `Ledger._answer_progress`."""
        answer: Mapping[str, tuple[int, int, int]] | None = ask(
            self._client, "progress", client=self._client.id, keys=outputs
        )
        return {region: RegionProgress(*counts) for region, counts in answer.items()} if answer is not None else None

    def report(self, outputs: Sequence[Key], *, delivered: bool) -> Mapping[str, Any] | None:
        """Return the report of this client's newest computation of these outputs, and end the computation.

        Answered by `Ledger._answer_report`.

        Parameters
        ----------
        outputs
            Keys of the results.
        delivered
            Whether the results have been gathered, so that the report includes their transfer.
        """
        answer: Mapping[str, Any] | None = ask(
            self._client, "report", client=self._client.id, keys=outputs, delivered=delivered
        )
        return answer

    def backlog(self) -> dict[str, dict[str, Any]]:
        """Return the backlog of each pool, as `backlog.count` describes it."""
        answer: dict[str, dict[str, Any]] = ask(self._client, "backlog")
        return answer

    def across(self) -> dict[str, int]:
        """Return the bytes between Regions since the scheduler started, by ``"src->dst"``; answered by `Ledger`."""
        answer: dict[str, int] = ask(self._client, "across")
        return answer

    def instances(self) -> dict[str, dict[str, Any]]:
        """Return the instances of all pools by name, as `scheduler.instances.instances` does."""
        found: dict[str, dict[str, Any]] = ask(self._client, "instances")
        return found

    def connected(self, clients: Sequence[str]) -> list[str]:
        """Return those of these clients that are connected; answered by `PlacementPlugin`."""
        found: list[str] = ask(self._client, "connected", clients=clients)
        return found

    def begin_drain(self, region: str, workers: Sequence[str]) -> dict[str, Any]:
        """Begin to drain workers that stay connected until they are stopped; ``refused`` has the reason if it is not done.

        Answered by `draining.Draining`; `instances` shows when they hold nothing and run no task.
        """
        answer: dict[str, Any] = ask(self._client, "begin_drain", region=region, workers=workers)
        return answer

    def drain(self, region: str, workers: int | Sequence[str]) -> dict[str, Any]:
        """Drain workers of a pool; answered by `draining.Draining`."""
        answer: dict[str, Any] = ask(self._client, "drain", region=region, workers=workers)
        return answer

"""Schedules: what runs by the clock.

Belongs here: cron lines, in UTC. Does not belong here: what runs.
"""

from __future__ import annotations

import dagster as dg

NIGHTLY = "0 0 * * *"


SYNC_JOB = "sync_datasets"


def nightly_sync(group: str) -> dg.ScheduleDefinition:
    """Sync of all datasets at 00:00 UTC."""
    job = dg.define_asset_job(SYNC_JOB, dg.AssetSelection.groups(group), description="Lustre and catalog.")
    return dg.ScheduleDefinition(
        name="nightly_sync",
        job=job,
        cron_schedule=NIGHTLY,
        execution_timezone="UTC",
        description="Every night, 00:00 UTC.",
    )

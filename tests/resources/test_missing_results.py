"""Results that are not there are asked for with the command that makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from xdask_pipelines.catalog import open_catalog
from xdask_pipelines.errors import MissingEntries
from xdask_pipelines.resources.results import Results


@pytest.mark.parametrize(
    ("partitions", "names", "command"),
    [
        ([""], "warming", "xdask run warming"),
        (["2026-03"], "warming[2026-03]", "xdask run warming --partition 2026-03"),
        (["2026-03", "2026-01"], "warming[2026-03], warming[2026-01]", "xdask run warming --partition 2026-01 2026-03"),
    ],
)
def test_a_missing_result_is_asked_for_with_its_command(
    tmp_path: Path, partitions: list[str], names: str, command: str
) -> None:
    results = Results(cast(Any, None), open_catalog(f"sqlite://{tmp_path}/catalog.sqlite"), cast(Any, None))
    with pytest.raises(MissingEntries) as caught:
        results.find("warming", partitions)
    remedy = f"Materialize warming first, in the UI or with `{command}`."
    assert str(caught.value) == f"Not materialized yet: {names}. {remedy}"

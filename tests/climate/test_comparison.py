"""Each row of the comparison with other tools names a test that is there."""

from __future__ import annotations

import re
from pathlib import Path

REPO = Path(__file__).parents[2]
ROWS = [
    row.strip("| \n").split(" | ")
    for row in (REPO / "docs/comparison.md").read_text().splitlines()
    if row.startswith("| ") and not row.startswith("| analysis")
]


def test_each_row_names_a_test() -> None:
    assert len(ROWS) >= 19
    named = [row[-1] for row in ROWS]
    assert len(set(named)) == len(named)
    for reference in named:
        file, name = reference.split("::")
        assert re.search(rf"^def {name}\(", (REPO / file).read_text(), re.M), reference

"""A plan foretells what evidence will say, by the rules that the scheduler uses, without a cluster."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from itertools import permutations
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from matplotlib.image import imread

from tests.support.places import CENTRAL, CLIENT_REGION, EAST, SETTINGS, WEST
from xdask_pipelines.placement import PlacementError, Plan, pin, plan
from xdask_pipelines.placement.prediction.box_layout import BOX_HEIGHT, box_places
from xdask_pipelines.placement.settings import Link, Rates
from xdask_pipelines.system.units import format_bytes

PAIR = (EAST, CLIENT_REGION)


def array(region: str, shape: tuple[int, ...], chunks: Any = -1, fill: float = 1.0) -> da.Array:
    return pin(da.full(shape, fill, chunks=chunks), region)


def test_a_task_of_two_regions_is_planned_in_the_region_that_costs_least() -> None:
    small, large = array(EAST, (10,)), array(WEST, (50, 10))
    foretold = plan((large - small).sum(), settings=SETTINGS)
    assert foretold.assigned_tasks_by_region.keys() == {WEST}
    assert foretold.late_tasks_by_region == {}
    assert foretold.bytes_across == {f"{EAST}->{WEST}": 80, f"{WEST}->{CLIENT_REGION}": 32}
    assert foretold.cost_usd["egress"] == pytest.approx(112 * 0.02e-9)
    dear = plan(array(CENTRAL, (10, 10)) - array(EAST, (5, 10, 10)), settings=SETTINGS)
    assert dear.assigned_tasks_by_region.keys() == {CENTRAL}
    assert dear.bytes_across[f"{EAST}->{CENTRAL}"] == 4_000


def test_what_would_be_refused_is_refused_in_the_plan() -> None:
    with dask.config.set(array_optimize=da.optimization.optimize):
        (fused,) = dask.optimize(array(EAST, (4,)) - array(WEST, (4,)))
    with pytest.raises(PlacementError, match="mixes data of"):
        plan(fused)


def test_warnings_say_what_is_large_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    east, west = (array(r, (4_000, 4_000), (1_000, 4_000), fill) for r, fill in ((EAST, 1), (WEST, 2)))
    delivered, across = plan(east - west, settings=SETTINGS).warnings
    assert delivered == f"128 MB will cross from {EAST} to {CLIENT_REGION}. Write them in {EAST}."
    assert across == f"128 MB will cross from {WEST} to {EAST}. First reduce or regrid them in {WEST}."
    assert plan((east.mean(axis=0) - west.mean(axis=0)).sum()).warnings == ()
    shared = da.ones((4_000, 4_000), chunks=(1_000, 4_000))
    (homeless,) = plan((pin(shared, EAST).mean(axis=0) - pin(shared, WEST).mean(axis=0)).sum()).warnings
    assert homeless == f"128 MB will cross from {EAST} to {WEST}. First reduce or regrid them in {EAST}."
    (anywhere,) = plan(shared.sum(), shared.max()).warnings
    assert anywhere.startswith("128 MB are computed by tasks without a home")
    monkeypatch.setattr(sys.modules["xdask_pipelines.placement.prediction.warnings"], "MAX_TASKS", 3)
    (many,) = plan(array(EAST, (40,), 10).sum()).warnings
    assert many.startswith("5 tasks are more than the 3")
    monkeypatch.undo()
    (guess,) = plan(dask.delayed(np.sum)(array(EAST, (40,), 10))).warnings
    assert "guessed" in guess


def test_memory_and_round_trips_are_foretold() -> None:
    small = replace(SETTINGS, pools={EAST: Rates(2, 10**6, 10**5)})
    whole = plan(pin(da.ones((400, 400), chunks=(100, 400)), EAST).rechunk((400, 100)).sum(), settings=small)
    pool, process = whole.warnings
    assert f"of memory in the pool of {EAST}, which has 1.0 MB" in pool
    assert f"One task in {EAST} needs" in process
    deep = array(EAST, (4, 10), (1, 10))
    for _ in range(30):
        deep = deep - deep.mean()
    (chain,) = plan(deep.sum(), settings=SETTINGS).warnings
    assert f"consecutive tasks in {EAST} wait" in chain
    assert plan(deep.sum(), settings=replace(SETTINGS, one_machine=True)).warnings == ()


def test_a_longer_way_takes_longer() -> None:
    lazy = array(EAST, (40, 1_000), (10, 1_000)).mean(axis=0)
    near, far = (
        plan(
            lazy, settings=replace(SETTINGS, links={f"{a}->{b}": Link(0.0, rtt) for a, b in permutations(PAIR)})
        ).seconds
        for rtt in (0.01, 0.3)
    )
    assert far - near == pytest.approx(3 * 0.29, rel=0.4)  # a round trip for each of two levels, and one for the result
    assert plan(lazy, settings=replace(SETTINGS, one_machine=True)).seconds < near


def test_a_plan_is_plain_json_and_a_picture() -> None:
    lazy = array(EAST, (400, 500), (100, 500)).mean(axis=0) - array(WEST, (400, 500), (100, 500)).mean(axis=0)
    foretold = plan(lazy, 3, settings=SETTINGS)
    again = json.loads(json.dumps(foretold.as_dict()))
    assert again["tasks_by_region"] == foretold.tasks_by_region
    assert again["warnings"] == []
    assert b"<svg" in foretold.picture("svg")
    image = imread(io.BytesIO(foretold.picture()), format="png")
    assert image.shape[1] == 1600
    assert len(np.unique(image.reshape(-1, image.shape[2]), axis=0)) > 50


def test_a_picture_shows_the_names_that_people_know() -> None:
    names = {EAST: "Deutscher $Wetterdienst$, Offenbach", CLIENT_REGION: "Met Office"}
    predicted = plan(array(EAST, (8,), (4,)).sum(), settings=replace(SETTINGS, region_names=names))
    assert predicted.as_dict()["region_names"] == names
    svg = predicted.picture("svg").decode()
    for name in names.values():
        assert f"<!-- {name} -->" in svg


def test_boxes_of_a_picture_leave_room_for_its_two_lines_of_text() -> None:
    for regions in range(1, 7):
        tops = [y + BOX_HEIGHT / 2 for _, y in box_places([f"r{i}" for i in range(regions)], "client").values()]
        assert max(tops) < 2.0, "the second line begins at 2.3 and is 0.2 high"


def test_nothing_lazy_is_an_empty_plan() -> None:
    empty = plan(3)
    assert isinstance(empty, Plan)
    assert (empty.tasks_by_region, empty.bytes_across, empty.warnings) == ({}, {}, ())
    assert empty.picture()


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (7_700_000, "7.7 MB"), (999_600, "1.0 MB"), (3e15, "3000 TB")],
)
def test_bytes_are_told_in_decimal_units(nbytes: float, text: str) -> None:
    assert format_bytes(nbytes) == text

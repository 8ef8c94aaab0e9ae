"""What a computation cost and what was avoided: estimates from what was counted, by hand."""

from __future__ import annotations

import pytest

from tests.support.places import CENTRAL, CLIENT_REGION, EAST, SETTINGS, WEST
from xdask_pipelines.placement import Evidence
from xdask_pipelines.placement.footprint import footprint, in_words
from xdask_pipelines.placement.graph.placement_rules import cheapest
from xdask_pipelines.placement.settings import WAITING_USD_PER_SECOND, Link, Settings


def test_cost_energy_and_emissions_follow_from_seconds_and_bytes() -> None:
    across = {f"{EAST}->{CLIENT_REGION}": 1_000, f"{CENTRAL}->{EAST}": 500}
    found = footprint(SETTINGS, {EAST: 10.0, WEST: 4.0}, {EAST: 10_000, WEST: 2_000, CLIENT_REGION: 77}, across)
    assert found["cost_usd"] == pytest.approx({"compute": 14e-5, "egress": 1_000 * 2e-11 + 500 * 2e-10})
    assert found["kwh_by_region"] == pytest.approx({EAST: 10e-6 + 1e-9, WEST: 4e-6, CENTRAL: 5e-10})
    assert found["co2e_kg_by_region"] == pytest.approx({EAST: 0.379 * (10e-6 + 1e-9)})  # others have no factor
    assert found["avoided"]["bytes"] == 12_000 - 1_500
    assert found["avoided"]["cost_usd"] == pytest.approx(12_000 * 2e-11 - 1_000 * 2e-11 - 500 * 2e-10)
    assert found["avoided"]["co2e_kg"] == pytest.approx(0.379 * (10_000 - 1_000) * 1e-12)
    assert "would have sent 10.5 kB more" in in_words(found)
    assert "estimate" in in_words(found)


def test_nothing_read_means_nothing_avoided_and_losses_add_up_as_losses() -> None:
    assert footprint(SETTINGS, {}, {}, {})["avoided"] == {}
    worse = footprint(SETTINGS, {}, {EAST: 10}, {f"{EAST}->{CLIENT_REGION}": 100})
    assert worse["avoided"]["bytes"] == -90
    assert "this sent 90 B more than hauling the inputs would have sent (+0.000000 USD" in in_words(worse)
    assert Evidence.total([Evidence(avoided=worse["avoided"])] * 2).avoided["bytes"] == -180


def test_egress_and_waiting_decide_together_and_ties_fall_the_same_way() -> None:
    slow = Link(usd_per_byte=0.0, bytes_per_second=1e5)
    assert slow.price == pytest.approx(WAITING_USD_PER_SECOND / 1e5)
    known = Settings(links={f"{EAST}->{WEST}": slow})
    assert cheapest([(10, {EAST}), (10, {WEST})], known.price) == EAST  # to send from here is dear: the other comes
    assert cheapest([(10, {WEST}), (10, {EAST})], Settings().price) == EAST
    for parts in ((3, 7), (7, 3), (1, 9)):
        inputs = [*((n, {WEST}) for n in parts), (10, {EAST})]
        assert cheapest(inputs, Settings().price) == cheapest(inputs[::-1], Settings().price) == EAST


def test_settings_survive_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in SETTINGS.to_environment().items():
        monkeypatch.setenv(name, text)
    assert Settings.from_environment() == SETTINGS


def test_a_run_that_ships_more_than_its_inputs_says_so_in_one_unit() -> None:
    worse = footprint(SETTINGS, {}, {EAST: 500}, {f"{EAST}->{CLIENT_REGION}": 12_500})
    assert "this sent 12.0 kB more than hauling the inputs would have sent" in in_words(worse)
    assert "-" not in in_words(worse).split("hauling")[1]

"""What every store of the catalog must do when it is written to: whole commits, leases, many at once."""

import multiprocessing
import multiprocessing.pool
import os
import pickle
import threading
import time
from collections.abc import Callable

import pytest

from tests.support.catalog_helpers import ERA5_PLACE, cmip6, era5, keys, stored
from xdask_pipelines.catalog import Catalog, Change, ManifestChange, open_catalog
from xdask_pipelines.errors import CatalogError, StaleWriter

SPAWN = multiprocessing.get_context("spawn")
ERA5 = ERA5_PLACE


# --- commit -----------------------------------------------------------------------------------------------------


def test_generations_grow_over_all_places_and_each_place_knows_its_own(catalog: Catalog):
    first = catalog.commit(Change([era5("2011-01")]))
    second = catalog.commit(Change([cmip6()]))
    assert 0 < first < second
    assert catalog.generation(**ERA5) == first
    assert catalog.generation("cmip6", "us-west-2") == second
    assert catalog.commit(Change()) == 0
    assert catalog.commit(Change(**ERA5)) == first, "nothing to do is no commit"


def test_an_entry_written_again_replaces_itself_and_leaves_no_trace_in_facets(catalog: Catalog):
    catalog.commit(Change([era5("2011-01", attributes={"run_id": "a", "note": "x"})]))
    catalog.commit(Change([era5("2011-01", attributes={"run_id": "b"})]))
    assert catalog.count() == 1
    assert catalog.count(run_id="a") == 0
    assert catalog.facets("run_id") == {"run_id": {"b": 1}}
    assert "note" not in catalog.names()


def test_removed_entries_leave_a_tombstone_until_they_are_written_again(catalog: Catalog):
    entry = era5("2011-01")
    catalog.commit(Change([entry, era5("2011-02")]))
    generation = catalog.commit(Change([], [entry.id]))
    assert keys(catalog.search()) == [era5("2011-02").key]
    assert catalog.facets("month") == {"month": {"02": 1}}
    (stone,) = catalog.tombstones(**ERA5)
    assert (stone.id, stone.key, stone.generation) == (entry.id, entry.key, generation)
    catalog.commit(Change([entry]))
    assert catalog.tombstones(**ERA5) == []
    assert catalog.count() == 2


def test_a_place_freed_by_a_removal_can_be_taken_in_the_same_commit(catalog: Catalog):
    catalog.commit(Change([era5("2011-01"), era5("2011-02")]))
    catalog.commit(Change([era5("2011-03"), era5("2011-04")], [era5("2011-02").id]))
    assert catalog.facets("month") == {"month": {"01": 1, "03": 1, "04": 1}}
    assert catalog.count(month="02") == 0


@pytest.mark.parametrize(
    "write",
    [
        lambda c: c.commit(Change([era5("2011-05")], ["0" * 32])),
        lambda c: c.commit(Change([era5("2011-05"), era5("2011-05")])),
        lambda c: c.commit(Change([era5("2011-05")], [era5("2011-05").id])),
        lambda c: c.commit(Change([], [era5("2011-01").id] * 2)),
        lambda c: c.commit(Change([era5("2011-05"), cmip6()], **ERA5)),
        lambda c: c.commit(Change([era5("2011-05")], [cmip6().id], **ERA5)),
        lambda c: c.commit(Change([era5("2011-05")], dataset="era5")),
        lambda c: c.commit(Change([era5("2011-05")], base_generation=1)),
        lambda c: c.commit(Change([era5("2011-05")], expected_entries=7, **ERA5)),
        lambda c: c.commit(Change([era5("2011-05")], lease=c.lease("cmip6", "us-west-2", "me"), **ERA5)),
        lambda c: c.commit(Change([era5("2011-05")], manifest=ManifestChange(put=[stored("a")]))),
    ],
)
def test_a_commit_that_cannot_be_right_writes_nothing(catalog: Catalog, write: Callable[[Catalog], int]):
    catalog.commit(Change([era5("2011-01"), cmip6()]))
    before = catalog.search(), catalog.generation(**ERA5), catalog.facets()
    with pytest.raises(CatalogError):
        write(catalog)
    assert (catalog.search(), catalog.generation(**ERA5), catalog.facets()) == before


def test_a_writer_that_builds_on_an_old_generation_writes_nothing(catalog: Catalog):
    base = catalog.commit(Change([era5("2011-01")]))
    catalog.commit(Change([era5("2011-02")]))
    with pytest.raises(StaleWriter, match=r"is at generation 2, but this commit is based on 1.* Nothing was written"):
        catalog.commit(Change([era5("2011-03")], base_generation=base, **ERA5))
    assert catalog.count() == 2
    catalog.commit(Change([cmip6()]))
    assert catalog.commit(Change([era5("2011-03")], base_generation=2, **ERA5)) == 4, "other places do not matter"


def test_manifests_are_kept_for_each_place_sorted(catalog: Catalog):
    place = {"dataset": "era5", "region": "us-east-1"}
    catalog.commit(
        Change([era5("2011-01")], manifest=ManifestChange(put=[stored("b"), stored("a\nb"), stored("ü")]), **place)
    )
    catalog.commit(Change([era5("2011-02")], manifest=ManifestChange(put=[stored("b", 99)], drop=["a\nb"]), **place))
    committed = catalog.manifest(**place)
    assert list(committed.objects) == [stored("b", 99), stored("ü")]
    assert committed.generation == 2
    assert committed.digests == {e.id: e.digest for e in (era5("2011-01"), era5("2011-02"))}
    assert list(catalog.manifest("era5", "us-west-2").objects) == []


# --- leases -----------------------------------------------------------------------------------------------------


def test_a_second_sync_is_refused_while_the_first_shows_life(catalog: Catalog):
    lease = catalog.lease(owner="first", **ERA5)
    for _ in range(3):
        with pytest.raises(StaleWriter, match="is being synced by first"):
            catalog.lease(owner="second", **ERA5)
        catalog.renew(lease)
    assert catalog.lease("era5", "us-west-2", "second").owner == "second", "another place is free"
    catalog.commit(Change([era5("2011-01")], lease=lease, base_generation=0, **ERA5))
    assert catalog.lease(owner="second", **ERA5).generation == 1


def test_a_dead_sync_s_lease_passes_to_whoever_asks_twice_and_the_dead_can_write_no_more(catalog: Catalog):
    dead = catalog.lease(owner="dead", **ERA5)
    with pytest.raises(StaleWriter):
        catalog.lease(owner="next", **ERA5)
    lease = catalog.lease(owner="next", **ERA5)
    with pytest.raises(StaleWriter, match="dead has lost its lease on era5 in us-east-1: next holds it now"):
        catalog.commit(Change([era5("2011-01")], lease=dead, **ERA5))
    with pytest.raises(StaleWriter):
        catalog.renew(dead)
    catalog.release(dead)
    assert catalog.count() == 0
    assert catalog.commit(Change([era5("2011-01")], lease=lease, **ERA5)) > 0


def test_two_who_ask_in_turn_do_not_take_over_from_each_other_s_question(catalog: Catalog):
    catalog.lease(owner="holder", **ERA5)
    for owner in ("second", "third", "second"):
        with pytest.raises(StaleWriter):
            catalog.lease(owner=owner, **ERA5)


@pytest.mark.parametrize("years", [-10, 10])
def test_a_clock_that_jumps_neither_ends_a_lease_nor_hides_a_commit(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, years: int
):
    lease = catalog.lease(**ERA5, owner="a")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + years * 365 * 86400)
    monkeypatch.setattr(time, "time_ns", lambda: int((now + years * 365 * 86400) * 1e9))
    with pytest.raises(StaleWriter, match="is being synced by a"):
        catalog.lease(**ERA5, owner="b")
    catalog.renew(lease)
    with pytest.raises(StaleWriter, match="is being synced by a"):
        catalog.lease(**ERA5, owner="b")
    catalog.renew(lease)
    generation = catalog.commit(Change([era5("2011-01")], **ERA5, lease=lease, base_generation=lease.generation))
    monkeypatch.undo()
    assert catalog.generation(**ERA5) == generation
    assert catalog.commit(Change([era5("2011-02")], **ERA5, base_generation=generation)) > generation


def test_any_commit_ends_a_lease_and_the_same_owner_may_take_it_anew(catalog: Catalog):
    lease = catalog.lease(owner="me", **ERA5)
    again = catalog.lease(owner="me", **ERA5)
    with pytest.raises(StaleWriter, match="lost its lease"):
        catalog.renew(lease)
    catalog.commit(Change([era5("2011-01")]))
    with pytest.raises(StaleWriter, match="a commit ended it"):
        catalog.commit(Change([era5("2011-02")], lease=again, **ERA5))
    catalog.release(catalog.lease(owner="other", **ERA5))
    assert catalog.lease(owner="me", **ERA5).generation == 1


# --- many writers and readers -----------------------------------------------------------------------------------


def _write_many(address: str, writer: int, commits: int) -> list[int]:
    catalog = open_catalog(address)
    return [
        catalog.commit(Change([era5("2011-07", f"v{writer}", key=f"w{writer}/{i}", facets={"turn": str(i)})]))
        for i in range(commits)
    ]


def _end(pool: multiprocessing.pool.Pool) -> None:
    """Let its processes end by themselves: one that is terminated while it measures coverage may hang."""
    pool.close()
    pool.join()


def _count_up(address: str, times: int) -> int:
    """Add one to a number kept in the catalog, as often as asked, and retry whenever another was faster."""
    catalog, stale = open_catalog(address), 0
    done = 0
    while done < times:
        base = catalog.generation("counter", "r")
        now = int(catalog.search(dataset="counter")[0].attributes["n"])
        if catalog.generation("counter", "r") != base:
            continue
        try:
            one_more = era5("2011-07", dataset="counter", region="r", attributes={"n": str(now + 1)})
            catalog.commit(Change([one_more], dataset="counter", region="r", base_generation=base))
            done += 1
        except StaleWriter:
            stale += 1
    return stale


def test_four_processes_with_many_commits_each_lose_none(address: str):
    commits = 1000 if address.startswith("sqlite") else 50  # each commit of a node is a dozen requests
    with SPAWN.Pool(4) as pool:
        generations = pool.starmap(_write_many, [(address, writer, commits) for writer in range(4)])
        _end(pool)
    catalog = open_catalog(address)
    assert sorted(g for one in generations for g in one) == list(range(1, 4 * commits + 1)), "each its own generation"
    assert all(one == sorted(one) for one in generations)
    assert catalog.count() == 4 * commits
    assert catalog.facets("variable") == {"variable": {f"v{writer}": commits for writer in range(4)}}
    assert set(catalog.facets("turn")["turn"].values()) == {4}


def test_read_modify_write_by_three_processes_loses_no_update(address: str):
    catalog = open_catalog(address)
    catalog.commit(Change([era5("2011-07", dataset="counter", region="r", attributes={"n": "0"})]))
    with SPAWN.Pool(3) as pool:
        pool.starmap(_count_up, [(address, 40)] * 3)
        _end(pool)
    assert catalog.search(dataset="counter")[0].attributes["n"] == "120"


def test_a_reader_sees_whole_commits_only(catalog: Catalog):
    """Each commit moves two entries to a new tag: no reader may see one moved and the other not."""
    catalog.commit(Change([era5("2011-01", attributes={"tag": "0"}), era5("2011-02", attributes={"tag": "0"})]))
    stop = threading.Event()
    torn: list[dict[str, int]] = []

    def read() -> None:
        while not stop.is_set():
            tags = catalog.facets("tag")["tag"]
            if list(tags.values()) != [2]:
                torn.append(tags)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for i in range(1, 60):
        catalog.commit(Change([era5(month, attributes={"tag": str(i)}) for month in ("2011-01", "2011-02")]))
    stop.set()
    for reader in readers:
        reader.join()
    assert torn == []


def test_a_catalog_crosses_to_another_process_and_survives_a_fork(filled: Catalog):
    assert pickle.loads(pickle.dumps(filled)).count() == 28
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            filled.commit(Change([era5("2012-01")]))
            os.write(write_end, str(filled.count()).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read_end, 10) == b"29"
    assert filled.count() == 29
    filled.commit(Change([era5("2012-02")]))
    assert filled.count() == 30


def test_more_entries_than_one_block_or_page_are_counted_and_found(catalog: Catalog, address: str):
    """SQLite: bits come in blocks of 65,536, dense and sparse terms on both sides of the first one's end. A node gives
    at most 10,000 hits at a time."""
    number = 66_000 if address.startswith("sqlite") else 11_000
    rare = -(-number // 4999)
    catalog.commit(
        Change(
            era5("2011-07", key=f"k/{i:06}", facets={"odd": str(i % 2), "rare": "yes" if i % 4999 == 0 else "no"})
            for i in range(number)
        )
    )
    assert catalog.count() == number
    assert keys(catalog.search(limit=10_500)) == [f"k/{i:06}" for i in range(10_500)]
    assert catalog.facets("odd", "rare") == {
        "odd": {"0": number // 2, "1": number // 2},
        "rare": {"no": number - rare, "yes": rare},
    }
    assert keys(catalog.search(rare="yes", odd="0")) == [f"k/{i:06}" for i in range(0, number, 9998)]
    assert keys(catalog.search(rare="yes", odd="1")) == [f"k/{i:06}" for i in range(4999, number, 9998)]
    catalog.commit(Change([], [e.id for e in catalog.search(rare="yes")]))
    assert catalog.facets("rare") == {"rare": {"no": number - rare}}

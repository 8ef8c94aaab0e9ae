"""Objects as columns and part by part: nothing depends on how they are cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.catalog_helpers import stored
from xdask_pipelines.catalog.manifest.listing import StoredObject
from xdask_pipelines.catalog.manifest.object_table import ObjectTable
from xdask_pipelines.catalog.manifest.packed_objects import PackedObjects, difference, digest_of, rising
from xdask_pipelines.errors import CatalogError

OBJECTS = st.dictionaries(st.sampled_from("abcdefghij"), st.integers(0, 1))
CUTS = st.sets(st.integers(0, 10))


def cut(objects: list[StoredObject], at: set[int]) -> list[ObjectTable]:
    ends = [0, *sorted(at), len(objects)]
    return [ObjectTable.of(objects[start:end]) for start, end in pairwise(ends)]


@given(now=OBJECTS, before=OBJECTS, now_at=CUTS, before_at=CUTS)
def test_two_streams_differ_in_the_same_however_they_are_cut(
    now: dict[str, int], before: dict[str, int], now_at: set[int], before_at: set[int]
):
    parts = [
        cut([stored(*item) for item in sorted(found.items())], at) for found, at in ((now, now_at), (before, before_at))
    ]
    put, gone, known = difference(*parts)
    assert {item.key: item.size_bytes for item in put} == dict(now.items() - before.items())
    assert [item.key for item in put] == sorted(now.keys() & {item.key for item in put})
    assert gone == sorted(before.keys() - now.keys())
    assert known == {item.key for item in put} & before.keys()


def test_a_listing_is_a_sequence_of_objects():
    objects = [stored(key) for key in ("a", "b/c", "b/d", "b-c", "ü")]
    objects.sort()
    found = ObjectTable.of(objects)
    assert list(found) == objects == list(PackedObjects.of(objects))
    assert found == objects
    assert found[1:3] == objects[1:3]
    assert found[-1] == objects[-1]
    assert [item.key for item in found.below("b")] == ["b/c", "b/d"]
    assert [item.key for item in found.below("a")] == ["a"]
    assert len(found.below("c")) == 0
    assert ObjectTable.of(()) == []
    with pytest.raises(IndexError):
        found[9]
    with pytest.raises(ValueError, match="without steps"):
        found[::2]


def test_a_fingerprint_is_of_keys_and_etags_with_their_borders():
    def of(*pairs: tuple[str, str]) -> str:
        return digest_of([ObjectTable.of([StoredObject(key, 1, etag, 1, "") for key, etag in pairs])])

    assert of(("a", "bc")) != of(("ab", "c"))
    assert of(("a", "b"), ("c", "d")) != of(("a", "bc"), ("d", ""))
    a, b = ObjectTable.of([stored("a", 1, "e", 1)]), ObjectTable.of([stored("b")])
    assert digest_of([a]) == digest_of([ObjectTable.of([stored("a", 9, "e", 5)])])
    assert digest_of([a, b]) == digest_of([ObjectTable.joined([b, a])]), "it does not matter how it is cut"
    assert digest_of([a, b], without={"b"}) == digest_of([a]) == digest_of([ObjectTable.of(()), a])


def test_unsorted_and_doubled_keys_are_refused_by_name():
    for keys in (("b", "a"), ("a", "a")):
        with pytest.raises(CatalogError, match="is not sorted or has a key twice: 'a' comes after"):
            list(rising([ObjectTable.of([stored(key)]) for key in keys], "here"))

"""Sets of fields: they behave like sets of paths, whatever the sets, and read and write the server's own format."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from setpoint.reconcile.cluster.fields import FieldSet, Path, applied_by, keys_of, owners, writer_of

ELEMENTS = ("f:a", "f:b", 'k:{"name":"x"}', 'k:{"port":80,"protocol":"TCP"}', 'v:"x"', "i:0")
PATHS = st.lists(st.sampled_from(ELEMENTS), min_size=1, max_size=4).map(tuple)
SETS = st.frozensets(PATHS, max_size=12)
quick = settings(database=None, derandomize=True, deadline=None, max_examples=300)


def of(paths: frozenset[Path]) -> FieldSet:
    """Return the tree of some paths."""
    return FieldSet.from_paths(paths)


@quick
@given(SETS, SETS)
def test_operations_are_those_of_sets_of_paths(one: frozenset[Path], other: frozenset[Path]) -> None:
    """Union, difference and intersection give just the paths that they give for plain sets (structured-merge-diff, fieldpath/set.go)."""
    assert frozenset(of(one).union(of(other)).paths()) == one | other
    assert frozenset(of(one).difference(of(other)).paths()) == one - other
    assert frozenset(of(one).intersection(of(other)).paths()) == one & other


@quick
@given(SETS)
def test_writing_and_reading_keeps_a_set(paths: frozenset[Path]) -> None:
    """What the server would write is read as the same set."""
    assert frozenset(FieldSet.parse(json.loads(json.dumps(of(paths).to_json()))).paths()) == paths


@quick
@given(SETS, SETS, PATHS)
def test_a_path_belongs_to_its_member_or_to_what_holds_it_as_one(paths: frozenset[Path], others: frozenset[Path], path: Path) -> None:
    """A member without members of anybody below stands for its whole value; one with some stands for itself."""
    every = paths | others
    whole = {one for one in every if not any(len(other) > len(one) and other[: len(one)] == one for other in every)}
    tree = of(paths)
    assert tree.has(path) == (path in paths)
    assert tree.owns(path, of(every)) == (path in paths or any(path[: len(one)] == one for one in whole & paths))


def test_the_documented_example_is_read() -> None:
    """The format's own example (fieldpath/serialize_test.go): dots mark members that have children, and empty ones are members."""
    ports: dict[str, Any] = {'k:{"protocol":"TCP","port":80}': {".": {}, "f:port": {}}}
    found = FieldSet.parse({"f:metadata": {"f:labels": {".": {}, "f:app": {}}}, "f:spec": {"f:ports": ports}})
    port = ("f:spec", "f:ports", 'k:{"port":80,"protocol":"TCP"}')
    assert set(found.paths()) == {("f:metadata", "f:labels"), ("f:metadata", "f:labels", "f:app"), port, (*port, "f:port")}
    assert keys_of(port[2]) == {"port": 80, "protocol": "TCP"}


def test_entries_that_cannot_be_read_are_left_out() -> None:
    """Another format, another shape or strange elements never stop a look at an object."""
    rows: list[Any] = [
        {"manager": "a", "operation": "Update", "fieldsType": "FieldsV2", "fieldsV1": {"f:x": {}}},
        {"manager": "b", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": None},
        "nonsense",
        {"manager": "c", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:x": {}, "z:y": {}, "k:{": {}}},
    ]
    found = owners({"metadata": {"managedFields": rows}})
    assert [owned.writer.manager for owned in found] == ["c"]
    assert applied_by(found, "c").has(("f:x",))
    assert applied_by(found, "a").empty
    assert owners({"metadata": {}}) == ()


def test_the_writer_is_the_last_of_several() -> None:
    """Of two managers that own a value the one with the later time wrote it."""
    rows: list[dict[str, Any]] = [
        {"manager": name, "operation": "Update", "time": time, "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
        for name, time in (("old", "2026-11-25T05:00:00Z"), ("new", "2026-11-25T06:00:00Z"), ("scale", None))
    ]
    found = writer_of(owners({"metadata": {"managedFields": rows}}), ("f:spec", "f:replicas"))
    assert found is not None
    assert found.manager == "new"
    assert writer_of(owners({"metadata": {"managedFields": rows}}), ("f:spec", "f:paused")) is None

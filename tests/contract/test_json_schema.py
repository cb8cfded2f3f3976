"""A report against its schema, in a process of its own: the place of the fault, and every way to harm or to stall it."""

import json
import time
from typing import Any

import pytest

from setpoint.adapters import json_schema
from setpoint.adapters.json_schema import JsonSchemaProcess
from setpoint.core.errors import WorldError

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["errors"],
    "properties": {"errors": {"type": "integer", "minimum": 0}, "files": {"type": "array", "items": {"type": "string"}}},
    "additionalProperties": False,
}


def fault(schema: Any, report: Any) -> str:
    """Ask the process."""
    data = [value if isinstance(value, bytes) else json.dumps(value).encode() for value in (schema, report)]
    return JsonSchemaProcess().fault(data[0], data[1])


@pytest.mark.parametrize(
    ("report", "words"),
    [
        ({"errors": 0, "files": ["a"]}, ""),
        ({"errors": 0, "files": ["a", 5]}, "at /files/1: 5 is not of type"),
        ({}, "at /: "),
        ({"errors": -1}, "at /errors: -1 is less than the minimum"),
        ({"errors": 0, "x": 1}, "at /: "),
        (b'{"errors": 0', "is not JSON"),
        (b'{"errors": 0, "errors": 0}', "stands twice"),
        (b"[]", "no object"),
    ],
)
def test_the_place_of_the_first_fault_is_named(report: Any, words: str) -> None:
    """A report that keeps to its schema has no fault; any other has one, with its place as a JSON pointer."""
    found = fault(SCHEMA, report)
    assert found.startswith(words) if words.startswith("at") else (words in found and bool(words) == bool(found))


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "nope"}, "the schema cannot be used"),
        ({"$ref": "https://example.com/other.json"}, "Retrieval is disabled"),
        ({"$ref": "file:///etc/passwd"}, "Retrieval is disabled"),
        ({"$schema": "https://example.com/own", "type": "object"}, "the schema cannot be used"),
        ({"patternProperties": {"(?=a)b": {}}}, "the schema cannot be used"),
        (b"{", "the schema cannot be used"),
        (b"[]", "the schema cannot be used"),
        (b" " * (json_schema.SCHEMA_LIMIT_BYTES + 1), "more than"),
    ],
)
def test_a_schema_that_cannot_be_used_is_a_fault(schema: Any, words: str) -> None:
    """No reference is fetched, from nowhere; patterns that could take for ever do not compile."""
    assert words in fault(schema, {})


def test_a_schema_that_explodes_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few lines that stand for a thousand million checks end at the limit of the processor's time, and nobody else is harmed."""
    monkeypatch.setattr(json_schema, "_CPU_S", 1)
    defs: dict[str, Any] = {f"n{n}": {"allOf": [{"$ref": f"#/$defs/n{n + 1}"}] * 2} for n in range(30)}
    began = time.monotonic()
    found = fault({"$defs": {**defs, "n30": {"type": "object"}}, "$ref": "#/$defs/n0"}, {})
    assert "takes more than" in found
    assert time.monotonic() - began < 35


def test_loops_and_patterns_end() -> None:
    """References that lead to themselves, and the pattern that stalls backtracking engines, are answered at once."""
    assert fault({"$ref": "#"}, {}) == ""
    assert fault({"properties": {"a": {"pattern": "^(a+)+$"}}}, {"a": "a" * 100 + "b"}).startswith("at /a: ")


def test_a_machine_without_time_is_no_fault_of_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the wall clock runs out nothing is said about the report: the caller tries again."""
    monkeypatch.setattr(json_schema, "_WALL_S", 0.0001)
    with pytest.raises(WorldError, match="SP414"):
        fault(SCHEMA, {"errors": 0})

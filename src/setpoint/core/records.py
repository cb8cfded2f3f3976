"""Frozen dataclasses to JSON values and back, by their types; called at the edges (journal, database, API), never guesses.

pydantic's TypeAdapter does the work, so a stored record that no longer fits its type is an error with the field's name.
"""

from typing import Any, TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")

_adapters: dict[type[Any], TypeAdapter[Any]] = {}


def _adapter(cls: type[Any]) -> TypeAdapter[Any]:
    """Return the type's adapter, built once: building costs milliseconds, using it microseconds."""
    if cls not in _adapters:
        _adapters[cls] = TypeAdapter(cls)
    return _adapters[cls]


def encode(record: Any) -> dict[str, Any]:
    """Return a dataclass as JSON values (dict, list, str, int, float, bool, None)."""
    value: dict[str, Any] = _adapter(type(record)).dump_python(record, mode="json")
    return value


def decode(cls: type[T], value: Any) -> T:
    """Return JSON values as the dataclass cls; unknown keys are dropped, so that an older reader can read a newer record.

    Raises:
        pydantic.ValidationError: a field is missing or has another type.
    """
    record: T = _adapter(cls).validate_python(value)
    return record

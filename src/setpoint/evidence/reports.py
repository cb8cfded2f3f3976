"""JSON reports from untrusted tasks: read strictly and within bounds, and made small for policies; pure.

Called by the schema check's own process and by the signer. A report is the predicate of an in-toto statement, so it is a JSON object;
what two readers could read differently (a key twice, NaN, half a surrogate pair) is refused. Source: RFC 8259, section 4 and 8.2.
"""

import json
import math
from typing import Any, Final, NoReturn

from setpoint.core import canonical
from setpoint.core.errors import UserError
from setpoint.pipeline.model import JSON_REPORT_BYTES

LIMIT_BYTES: Final = JSON_REPORT_BYTES
LIMIT_DEPTH: Final = 64
VIEW_DEPTH: Final = 6
VIEW_ITEMS: Final = 100
VIEW_TEXT: Final = 300
VIEW_VALUES: Final = 1_000
"""How much of a report a policy sees: CEL stops after 9,999 steps, so what is larger must be counted by the task itself."""
_FIX: Final = "let the task write one JSON object of at most {limit} MiB, 64 levels deep, without NaN and without keys that stand twice"


class _RefusedError(ValueError):
    """Something that JSON readers do not agree about."""


def parse_report(data: bytes, limit_bytes: int = LIMIT_BYTES) -> dict[str, Any]:
    """Return the object of a report.

    Raises:
        UserError: it is no JSON object, or beyond the bounds (SP413; where is the place, if there is one).
    """
    if len(data) > limit_bytes:
        raise _fault(f"it has more than {limit_bytes} bytes", limit_bytes=limit_bytes)
    try:
        value = json.loads(data.decode(), object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)
        deepest = _depth(value)
        canonical.dumps(value)  # half a surrogate pair has no UTF-8
    except json.JSONDecodeError as error:
        raise _fault(f"it is not JSON: {error.msg}", f"line {error.lineno}, column {error.colno}") from error
    except UnicodeDecodeError as error:
        raise _fault("it is not UTF-8", f"byte {error.start}") from error
    except RecursionError as error:
        raise _fault(f"it is nested deeper than {LIMIT_DEPTH}") from error
    except ValueError as error:
        raise _fault(str(error)[:VIEW_TEXT]) from error
    if deepest > LIMIT_DEPTH:
        raise _fault(f"it is nested deeper than {LIMIT_DEPTH}")
    if not isinstance(value, dict):
        raise _fault("it is no object, and a statement's predicate has to be one")
    return value


def _fault(what: str, where: str = "", limit_bytes: int = LIMIT_BYTES) -> UserError:
    return UserError("SP413", f"the report cannot be used: {what}", where=where, fix=_FIX.format(limit=limit_bytes >> 20))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _RefusedError(f"the key {twice[:80]!r} stands twice in one object")
    return found


def _constant(text: str) -> NoReturn:
    raise _RefusedError(f"{text} is no number of JSON")


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _RefusedError(f"the number {text[:40]} is too large")
    return number


def _depth(value: Any) -> int:
    deepest, todo = 0, [(value, 1)]
    while todo:
        item, level = todo.pop()
        deepest = max(deepest, level)
        children = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
        todo.extend((child, level + 1) for child in children)
    return deepest


class _Budget:
    """How many values may still be shown."""

    def __init__(self) -> None:
        self.left = VIEW_VALUES

    def take(self) -> bool:
        self.left -= 1
        return self.left >= 0


def policy_view(report: dict[str, Any]) -> dict[str, Any]:
    """Return what a policy sees of a report: the same object without what is too deep, too long or too much.

    What is left out is absent, never cut: a policy that names it is denied, and one that counts cannot miscount.
    """
    view = _view(report, 0, _Budget())
    return view if isinstance(view, dict) else {}


_ABSENT: Final = object()


def _view(value: Any, depth: int, budget: _Budget) -> Any:
    if not budget.take():
        return _ABSENT
    if isinstance(value, dict):
        if depth >= VIEW_DEPTH:
            return _ABSENT
        seen = {name: _view(item, depth + 1, budget) for name, item in sorted(value.items()) if len(name) <= VIEW_TEXT}
        return {name: item for name, item in seen.items() if item is not _ABSENT}
    if isinstance(value, list):
        if depth >= VIEW_DEPTH or len(value) > VIEW_ITEMS:
            return _ABSENT
        items = [_view(item, depth + 1, budget) for item in value]
        return _ABSENT if any(item is _ABSENT for item in items) else items
    if isinstance(value, str):
        return value if len(value) <= VIEW_TEXT else _ABSENT
    if isinstance(value, int) and not isinstance(value, bool):
        return value if -(2**63) <= value < 2**63 else _ABSENT
    return value


def merged(views: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what several views agree about: a key is there only if it has one value, or a mapping, in all of them."""
    first, rest = views[0], views[1:]
    found: dict[str, Any] = {}
    for name, value in first.items():
        others = [view.get(name, _ABSENT) for view in rest]
        if isinstance(value, dict) and all(isinstance(other, dict) for other in others):
            found[name] = merged([value, *others])
        elif all(_same(value, other) for other in others):
            found[name] = value
    return found


def _same(one: Any, other: Any) -> bool:
    """Say whether two JSON values are the same: Python's `True == 1` is not."""
    return other is not _ABSENT and canonical.dumps(one) == canonical.dumps(other)

"""Strict reading of a scanner's JSON: the type of everything that is looked at, with its place as a JSON pointer; pure.

Called by `sarif`, `cyclonedx` and what they are made of. Only what is read is checked: this is no validator of whole documents.
What is `null` counts as not there, for many tools write it so. Sources: RFC 6901 (pointers), RFC 8259 section 8.1 (byte order mark).
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from setpoint.core import clock
from setpoint.core.errors import SetpointError, UserError
from setpoint.evidence.reports import parse_report

TEXT: Final = 300
"""Characters of one text that a summary keeps."""
LISTED: Final = 100
"""Entries of one list that a summary keeps; a longer list is left out, never cut."""
_BOM: Final = b"\xef\xbb\xbf"
_FRACTION_DIGITS: Final = 6
_NAMED: Final = 3
_SCORES: Final = 1e9
"""Far beyond any score."""


class Place(NamedTuple):
    """Where something stands in a document: a chain of keys and indexes, made into text only when there is a fault."""

    above: "Place | None"
    part: str | int

    def __str__(self) -> str:
        parts: list[str] = []
        place: Place | None = self
        while place is not None:
            parts.append(str(place.part).replace("~", "~0").replace("/", "~1")[:TEXT])
            place = place.above
        return "/" + "/".join(reversed(parts))


def fault(what: str, where: Place | str = "", fix: str = "") -> UserError:
    """Return the error about a document: SP415, with the place in it."""
    fix = fix or "let the tool write what the task declares; `format: sarif` is SARIF 2.1.0, `format: cyclonedx` is CycloneDX JSON"
    return UserError("SP415", f"the report cannot be used: {what}", where=str(where), fix=fix)


def document(data: bytes, limit_bytes: int) -> dict[str, Any]:
    """Return the JSON object of a report; a byte order mark is taken off.

    Raises:
        UserError: it is XML, no JSON object, larger than the limit, or readers would not agree about it (SP413, SP415).
    """
    data = data.removeprefix(_BOM)
    if len(data) <= limit_bytes and data[:64].lstrip().startswith(b"<"):
        raise fault("it is XML", fix="let the tool write JSON: CycloneDX in XML is not read")
    try:
        return parse_report(data, limit_bytes)
    except SetpointError as error:
        raise fault(error.what.partition(": ")[2] or error.what, error.where) from error


def objects(holder: dict[str, Any], key: str, at: Place | None) -> Iterator[tuple[dict[str, Any], Place]]:
    """Yield (object, place) of a list of objects; nothing when it is not there."""
    place = Place(at, key)
    for index, item in enumerate(_typed(holder, key, at, list, "list") or ()):
        here = Place(place, index)
        if not isinstance(item, dict):
            raise fault("an object is wanted here", here)
        yield item, here


def child(holder: dict[str, Any], key: str, at: Place | None) -> dict[str, Any]:
    """Return an object; empty when it is not there."""
    return _typed(holder, key, at, dict, "object") or {}


def text(holder: dict[str, Any], key: str, at: Place | None) -> str:
    """Return a text, empty when it is not there."""
    return _typed(holder, key, at, str, "text") or ""


def short(holder: dict[str, Any], key: str, at: Place | None) -> str:
    """Return a text of at most TEXT characters, on one line; cut where it is longer, so only for people and for names."""
    return " ".join(text(holder, key, at)[: 4 * TEXT].split())[:TEXT]


def word(holder: dict[str, Any], key: str, at: Place | None, allowed: tuple[str, ...]) -> str:
    """Return one of the allowed words, empty when it is not there."""
    found = text(holder, key, at)
    if found and found not in allowed:
        raise fault(f"{found[:TEXT]!r} is none of {', '.join(allowed)}", Place(at, key))
    return found


def index(holder: dict[str, Any], key: str, at: Place | None) -> int:
    """Return an index, -1 when it is not there."""
    value = holder.get(key)
    if value is None:
        return -1
    if not isinstance(value, int) or isinstance(value, bool):
        raise fault("a whole number is wanted here", Place(at, key))
    return value


def flag(holder: dict[str, Any], key: str, at: Place | None) -> bool | None:
    """Return true or false, None when it is not there."""
    value = holder.get(key)
    if value is not None and not isinstance(value, bool):
        raise fault("true or false is wanted here", Place(at, key))
    return value


def number(value: object) -> float | None:
    """Return a number that stands as such or as text, None when it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if abs(found) < _SCORES else None  # NaN is not less than anything


def instant(written: object) -> str:
    """Return a written time as RFC 3339 in UTC, empty when it is none; finer than microseconds is cut, a date is its beginning."""
    if not isinstance(written, str) or len(written) > TEXT:
        return ""
    head, dot, rest = written.strip().partition(".")
    digits = len(rest) - len(rest.lstrip("0123456789"))
    plain = f"{head}.{rest[:digits][:_FRACTION_DIGITS].ljust(_FRACTION_DIGITS, '0')}{rest[digits:]}" if dot else head
    try:
        found = datetime.fromisoformat(plain)
        return clock.to_text(found if found.tzinfo is not None else found.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return ""


def listed(values: Iterator[str] | list[str]) -> list[str] | None:
    """Return distinct values sorted, None when there are more than LISTED or one is longer than TEXT: a cut list would lie."""
    found = sorted(set(values))
    return found if len(found) <= LISTED and all(len(value) <= TEXT for value in found) else None


def tools_of(tools: list[dict[str, str]]) -> str:
    """Return tools (`name`, `version`) as a sentence names them: `semgrep 1.2 and gitleaks 8.30`."""
    names = [f"{tool['name']} {tool['version']}".strip() for tool in tools]
    return " and ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _typed(holder: dict[str, Any], key: str, at: Place | None, kind: type, name: str) -> Any:
    value = holder.get(key)
    if value is not None and not isinstance(value, kind):
        raise fault(f"{'an' if name == 'object' else 'a'} {name} is wanted here", Place(at, key))
    return value

"""Durations as people write them (`30d`, `1h30m`) to seconds and back; called by the models of users' files."""

import re
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, WithJsonSchema

_PATTERN: Final = r"^(?:\d{1,5}d)?(?:\d{1,5}h)?(?:\d{1,5}m)?(?:\d{1,6}s)?$"
_PARTS: Final = re.compile(r"^(?:(\d{1,5})d)?(?:(\d{1,5})h)?(?:(\d{1,5})m)?(?:(\d{1,6})s)?$", re.ASCII)
_UNITS: Final = (86_400, 3_600, 60, 1)


def parse(text: str) -> int:
    """Return the seconds of `90s`, `10m`, `1h30m`, `12h`, `30d` (units in that order, each at most once).

    Raises:
        ValueError: text is no duration, or is zero.
    """
    match = _PARTS.match(text)
    seconds = sum(int(part) * unit for part, unit in zip(match.groups(), _UNITS, strict=True) if part) if match else 0
    if not seconds:
        raise ValueError(f"`{text}` is no duration: write it like 90s, 10m, 1h30m, 12h or 30d")
    return seconds


def to_text(seconds: int) -> str:
    """Return seconds as `parse` reads them: 5400 -> `1h30m`."""
    parts = []
    for unit, name in zip(_UNITS, "dhms", strict=True):
        count, seconds = divmod(seconds, unit)
        parts += [f"{count}{name}"] if count else []
    return "".join(parts) or "0s"


def _read(value: Any) -> int:
    if not isinstance(value, str):
        raise ValueError(f"`{value}` has no unit: write it like 90s, 10m, 1h30m, 12h or 30d")  # noqa: TRY004 - pydantic collects ValueErrors
    return parse(value)


Duration = Annotated[int, BeforeValidator(_read), WithJsonSchema({"type": "string", "pattern": _PATTERN, "minLength": 2})]
"""A duration in a file, in seconds in the model."""

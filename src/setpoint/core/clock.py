"""Time as an argument: stages are handed a Clock, so that tests decide what time it is; never reads the time itself."""

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Something that knows the time; `adapters.clock.SystemClock` is the real one."""

    def now(self) -> datetime:
        """Return the present instant, aware and in UTC."""
        ...


def to_text(instant: datetime) -> str:
    """Return an instant as RFC 3339 in UTC with milliseconds: `2026-11-23T06:00:00.000Z`."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_text(text: str) -> datetime:
    """Return the instant that `to_text` wrote.

    Raises:
        ValueError: text is not RFC 3339.
    """
    return datetime.fromisoformat(text)


def seconds_between(start: str, end: str) -> float:
    """Return the seconds from one written instant to another."""
    return (from_text(end) - from_text(start)).total_seconds()


def spoken(at: str) -> str:
    """Return a written instant as sentences say it, to the second: `2026-11-23 06:00:00 UTC`.

    Raises:
        ValueError: at is not RFC 3339.
    """
    return from_text(at).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")

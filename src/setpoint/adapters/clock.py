"""The real clock; handed to everything that asks for time."""

from datetime import UTC, datetime


class SystemClock:
    """Reads the machine's wall clock."""

    def now(self) -> datetime:
        """Return the present instant in UTC."""
        return datetime.now(UTC)

"""What holds need from outside: the journal's projection of them."""

from typing import Protocol

from setpoint.ground.hold.model import Hold


class HoldRecords(Protocol):
    """Holds as the journal tells them."""

    def holds(self, app: str | None = None, environment: str | None = None, *, ended: bool = False) -> list[Hold]:
        """Return open holds (with `ended`: all), oldest first; those of a whole environment belong to each of its applications."""
        ...

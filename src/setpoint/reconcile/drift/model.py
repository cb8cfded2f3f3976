"""Deviations that a look finds, and the records that people read; the words of drift.

A deviation lasts as long as a look; a record lasts for ever (`drift.found`, `drift.ended` in the journal).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from setpoint.ground.hold.model import Then
from setpoint.reconcile.model import Difference

UNKNOWN = "unknown"
"""The writer, when nothing tells who it was."""

Kind = Literal["replica", "image", "proxy", "object"]
Mode = Literal["correct", "report"]


@dataclass(frozen=True, slots=True)
class Deviation:
    """Something that a look found otherwise than Setpoint left it."""

    app: str
    """Empty: it concerns every application of the environment."""
    environment: str
    kind: Kind
    difference: Difference
    writer: str = UNKNOWN
    event: str = ""
    """What tells one occurrence from the next while a record is open: the number of a restart; empty for what simply is so."""
    over: bool = False
    """It was seen only after it had ended."""
    done: str = ""
    """What was or is done about it, where that is not up to the decision."""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What is the same case at the next look."""
        return (self.app, self.environment, self.difference.subject, self.difference.field)


class DriftState(StrEnum):
    """Where a case of drift stands."""

    OPEN = "open"
    """It is being corrected, at once or after a backoff."""
    REPORTED = "reported"
    """The environment's mode is `report`: it is left as it is."""
    HELD = "held"
    """It is left as it is for a while: under a break-glass lease, or until a person decides about it."""
    HEALED = "healed"
    """Setpoint brought it back."""
    ADOPTED = "adopted"
    """Its value was written into Git, merged and pinned: it is the desired one now."""
    GONE = "gone"
    """It is as desired again, or no longer matters, without a correction."""


@dataclass(frozen=True, slots=True)
class Drift:
    """One case of drift, journalled as `drift.found` and `drift.ended`."""

    drift: str
    """`d-<8>`"""
    app: str
    """Empty: the environment's proxy as a whole."""
    environment: str
    kind: Kind
    subject: str
    field: str
    desired: str
    live: str
    writer: str
    since: str
    state: DriftState
    count: int = 1
    """How often this subject drifted in a row; a correction waits longer each time."""
    heal_at: str = ""
    """When it is corrected; not before."""
    ordered_by: str = ""
    """Who had it corrected although the mode is `report`, or although it was held."""
    held_by: str = ""
    """What holds it, or held it last: the id of a break-glass lease, or of an adoption."""
    held_why: str = ""
    """What people read of that."""
    held_fix: str = ""
    """What a person can do about it; empty when it goes on by itself."""
    then: Then = "correct"
    """What becomes of it now that its lease is over: with anything but `correct` it is still held."""
    done: str = ""
    ended_at: str = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What makes a deviation this case."""
        return (self.app, self.environment, self.subject, self.field)

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.state in (DriftState.HEALED, DriftState.ADOPTED, DriftState.GONE)


@dataclass(frozen=True, slots=True)
class Holding:
    """What holds cases of drift: they are recorded and left as they are."""

    by: str
    """The id of a break-glass lease, or of an adoption."""
    why: str
    """What people read."""
    fix: str = ""
    """What a person can do about it."""
    adopted: bool = False
    """The value is in the desired state by now: a case that ends was adopted."""
    over: Then | None = None
    """None: it is in force. Else what it said would become of drift at its end."""


@dataclass(frozen=True, slots=True)
class DriftSum:
    """How many cases there were of one sort."""

    app: str
    environment: str
    kind: Kind
    state: DriftState
    count: int
    seconds: float
    """From found to ended, all together; 0 for what is open."""


@dataclass(frozen=True, slots=True)
class DriftWriter:
    """How many cases of drift there were of one field by one writer, in all applications of an environment."""

    environment: str
    kind: Kind
    field: str
    writer: str
    count: int

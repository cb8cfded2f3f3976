"""The words of a health verdict, and how a rule reads a live object."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from setpoint.reconcile.model import Health

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an object is, and which of its fields says so."""

    health: Health
    found: str
    """`2 of 3 updated replicas are available`"""
    field: str = ""
    """`status.availableReplicas`, `status.conditions[Ready]`; empty when nothing of the object says anything."""
    since: str = ""
    """When that began, as the object tells it (RFC 3339); empty when it does not."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One entry of `status.conditions` (API conventions, "Typical status properties")."""

    type: str
    status: str
    """True, False or Unknown."""
    reason: str
    message: str
    since: str
    observed_generation: int | None

    def verdict(self, health: Health) -> Verdict:
        """Return a verdict that this condition decides."""
        words = ": ".join(part for part in (self.reason, self.message) if part) or f"{self.type} is {self.status}"
        return Verdict(health, words[:500], f"status.conditions[{self.type}]", self.since)


def part(value: Object, *path: str) -> Mapping[str, Any]:
    """Return the mapping at a path; empty when there is none."""
    found: Any = value
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def number(value: Object, name: str, default: int = 0) -> int:
    """Return a whole number of a mapping."""
    found = value.get(name)
    return found if isinstance(found, int) and not isinstance(found, bool) else default


def text(value: Object, name: str) -> str:
    """Return a text of a mapping; empty when there is none."""
    found = value.get(name)
    return found if isinstance(found, str) else ""


def rows(value: Object, name: str) -> Iterator[Mapping[str, Any]]:
    """Yield the mappings of a list."""
    found = value.get(name)
    for row in found if isinstance(found, list) else ():
        if isinstance(row, Mapping):
            yield row


def conditions(value: Object) -> dict[str, Condition]:
    """Return the conditions of something that has them (a `status`, a route's parent) by type."""
    found = {}
    for row in rows(value, "conditions"):
        kind = text(row, "type")
        generation = row.get("observedGeneration")
        found[kind] = Condition(
            kind,
            text(row, "status"),
            text(row, "reason"),
            text(row, "message"),
            text(row, "lastTransitionTime"),
            generation if isinstance(generation, int) else None,
        )
    return found

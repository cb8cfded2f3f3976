"""Inventories, and removals that wait for a person; the words of prune."""

from dataclasses import dataclass, field

from setpoint.core import canonical, digest


@dataclass(frozen=True, slots=True)
class Held:
    """A removal that nobody may make without a person; journalled as `prune.held`."""

    objects: tuple[str, ...]
    pin_commit: str
    """The commit of the pin that no longer wants them; empty for an application that is no longer in setpoint.yaml."""
    why: str
    set: str
    """Digest over objects and pin commit: a confirmation is for exactly this."""


def set_of(objects: tuple[str, ...], pin_commit: str) -> str:
    """Return the digest that a confirmation names."""
    return digest.sha256(canonical.dumps([sorted(objects), pin_commit]))


@dataclass(frozen=True, slots=True)
class Inventory:
    """What an application has made in an environment; journalled as `inventory.written` before anything is started."""

    app: str
    environment: str
    objects: dict[str, str] = field(default_factory=dict)
    """`Deployment/web` -> commit of the pin that wanted it last"""
    held: Held | None = None
    confirmed: str = ""
    """The set that a person confirmed."""


@dataclass(frozen=True, slots=True)
class Prunable:
    """What can be removed by a person's word; what `setpoint prune` shows."""

    app: str
    environment: str
    orphaned: bool
    """The application is no longer in setpoint.yaml."""
    held: Held

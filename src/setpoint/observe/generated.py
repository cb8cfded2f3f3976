"""Generators and what they made, as data: a part of the answers of `observe.model`."""

from dataclasses import dataclass

from setpoint.core.reasons import Reason
from setpoint.promotion.generators.model import Shrink


@dataclass(frozen=True, slots=True)
class Product:
    """An application or environment that a generator made."""

    name: str
    element: str
    """`apps/web`, `cluster edge-1`"""
    leaving: bool = False
    """It is not made any more, and something of it is still there."""


@dataclass(frozen=True, slots=True)
class PreviewReport:
    """A preview: what it shows, where, since when, and for how long."""

    environment: str
    generator: str
    repository: str
    branch: str
    commit: str
    """The newest commit that somebody trusted pushed."""
    begun_at: str
    pushed_at: str
    expires_at: str
    """When it ends if nobody pushes."""
    url: str
    """Empty when nobody said it."""
    applications: tuple[str, ...]
    ending: str
    """Why it ends; empty while it lives."""


@dataclass(frozen=True, slots=True)
class GeneratorReport:
    """A generator, and how it is."""

    generator: str
    file: str
    makes: str
    """`applications` or `environments`; empty while it never made anything."""
    products: tuple[Product, ...]
    reasons: tuple[Reason, ...]
    """What stands against it or single elements; meanwhile the last good expansion stays."""
    since: str
    """When these reasons began; empty without any."""
    held: Shrink | None
    """What waits for `setpoint generator confirm`."""

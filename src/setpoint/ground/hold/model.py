"""The hold: what a person or a verdict puts between Git and what runs; journalled as `hold.opened` and `hold.closed`."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Hold:
    """A rollback hold moves what is desired off one pin commit; a stop keeps anything new from being pinned."""

    hold: str
    """`hold-<8>`"""
    kind: Literal["rollback", "stop"]
    environment: str
    app: str
    """Empty for a stop of every application in the environment."""
    by: str
    """Actor, as the journal names it."""
    why: str
    since: str
    until: str | None = None
    """Of a stop: when it ends by itself; None: only a release ends it."""
    overridden: str = ""
    """Of a rollback: the pin commit that is not desired any more; the hold ends when another commit changes that pin."""
    bad: str = ""
    """Of a rollback: digest of the candidate that the overridden commit pins; empty when hands wrote that commit."""
    target: str = ""
    """Of a rollback: the pin commit whose state is desired instead."""
    promotion: str = ""
    """Of a rollback: the promotion that commits the target to Git."""
    ended_at: str | None = None
    ended_by: str = ""
    ended_why: str = ""

    @property
    def place(self) -> str:
        """Return where it holds, for people: `hello in production`, `everything in production`."""
        return f"{self.app or 'everything'} in {self.environment}"

    @property
    def release(self) -> str:
        """Return the command that ends a stop."""
        return f"setpoint release {self.app} {self.environment}" if self.app else f"setpoint release --all {self.environment}"

"""The hold: what a person or a verdict puts between Git and what runs; journalled as `hold.opened`, `hold.extended` and `hold.closed`."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

Then = Literal["correct", "adopt", "hold"]
"""What becomes of drift when the lease ends under which it was left alone: it is brought back, written into Git, or left to a person."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A rollback hold moves what is desired off one pin commit; a stop keeps anything new from being pinned.

    A break-glass lease does that too, and lets people change what is live: drift in its scope is recorded and not corrected.
    """

    hold: str
    """`hold-<8>`"""
    kind: Literal["rollback", "stop", "break-glass"]
    environment: str
    app: str
    """Empty for a stop, or a lease, of every application in the environment."""
    by: str
    """Actor, as the journal names it."""
    why: str
    since: str
    until: str | None = None
    """Of a stop: when it ends by itself; None: only a release ends it. A lease always has an end."""
    overridden: str = ""
    """Of a rollback: the pin commit that is not desired any more; the hold ends when another commit changes that pin."""
    bad: str = ""
    """Of a rollback: digest of the candidate that the overridden commit pins; empty when hands wrote that commit."""
    target: str = ""
    """Of a rollback: the pin commit whose state is desired instead."""
    promotion: str = ""
    """Of a rollback: the promotion that commits the target to Git."""
    objects: str = ""
    """Of a lease: the objects that it is about, `Deployment/web` or `ConfigMap/*`; empty: all that can drift."""
    then: Then = "correct"
    """Of a lease: what becomes of drift when it ends."""
    ended_at: str | None = None
    ended_by: str = ""
    ended_why: str = ""

    @property
    def place(self) -> str:
        """Return where it holds, for people: `hello in production`, `everything in production`."""
        return f"{self.app or 'everything'} in {self.environment}"

    @property
    def release(self) -> str:
        """Return the command that ends a stop or a lease."""
        where = f"{self.app} {self.environment}" if self.app else f"--all {self.environment}"
        return f"setpoint break-glass {where} --end" if self.kind == "break-glass" else f"setpoint release {where}"

    def is_about(self, app: str, subject: str) -> bool:
        """Say whether a lease is about something of an application; the application is empty for what an environment has in common."""
        return self.app in ("", app) and fnmatchcase(subject, self.objects or "*")

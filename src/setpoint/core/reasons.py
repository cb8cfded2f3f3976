"""Verdicts with all their reasons: the one explanation that gate, `why`, API, page and journal share.

Called by every `decide.py`; never fetches what it explains.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """What a decision says; ordered from best to worst by `worst`."""

    ALLOW = "allow"
    WAIT = "wait"
    DENY = "deny"


_ORDER = (Outcome.ALLOW, Outcome.WAIT, Outcome.DENY)


@dataclass(frozen=True, slots=True)
class Reason:
    """One line of an explanation: what was looked at, what was found, what was wanted, and how to go on."""

    code: str
    """A stable upper-case word, such as `APPROVAL_MISSING`."""
    outcome: Outcome
    subject: str
    """What was judged: `approvals`, `policy`, `check /health in staging`."""
    found: str
    wanted: str = ""
    fix: str = ""
    """The next command or action, filled in; empty when nothing needs doing."""
    recheck_at: str | None = None
    """RFC 3339 instant at which time alone may change this reason."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision together with every reason for it, good and bad."""

    outcome: Outcome
    reasons: tuple[Reason, ...]

    def blocking(self) -> tuple[Reason, ...]:
        """Return the reasons that stand in the way."""
        return tuple(reason for reason in self.reasons if reason.outcome is not Outcome.ALLOW)


def conclude(reasons: Iterable[Reason]) -> Verdict:
    """Return the verdict of all reasons together: the worst outcome wins; no reason at all denies, for nothing was proved."""
    every = tuple(reasons)
    if not every:
        nothing = Reason("NOTHING_PROVED", Outcome.DENY, "decision", "no reason was given", "at least one")
        return Verdict(Outcome.DENY, (nothing,))
    return Verdict(max((reason.outcome for reason in every), key=_ORDER.index), every)

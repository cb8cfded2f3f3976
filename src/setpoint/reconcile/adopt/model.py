"""The words of adoption: what is written where, in whose name, and what became of it; journalled as `adoption.*`."""

from dataclasses import dataclass
from enum import StrEnum

BRANCHES = "setpoint/adopt/"
"""Where every branch of an adoption begins; nothing else is written by Setpoint beside pins."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One run of letters of one file, replaced."""

    path: str
    before: str
    """Blob id of the file at the parent commit; empty for a file that is new."""
    start: int
    """Characters of the file's text that stay before it."""
    old: str
    new: str

    def applied(self, text: str) -> str:
        """Return the file's text with the edit made.

        Raises:
            ValueError: the text is another one than it was made for.
        """
        end = self.start + len(self.old)
        if self.start < 0 or text[self.start : end] != self.old or (not self.before and text):
            raise ValueError("the file is another one")
        return text[: self.start] + self.new + text[end:]

    @classmethod
    def between(cls, path: str, before: str, old: str, new: str) -> "Edit":
        """Return the shortest edit that makes one text of another; before is the old file's blob id."""
        start = 0
        while start < min(len(old), len(new)) and old[start] == new[start]:
            start += 1
        end = 0
        while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
            end += 1
        return cls(path, before, start, old[start : len(old) - end], new[start : len(new) - end])


@dataclass(frozen=True, slots=True)
class AdoptedField:
    """A field whose live value is to become the desired one."""

    drift: str
    """Id of the case."""
    subject: str
    field: str
    live: str
    """What people read of the value."""


class AdoptionState(StrEnum):
    """Where an adoption stands."""

    INTENDED = "intended"
    """The branch is being made."""
    OPEN = "open"
    """The branch waits to be merged or deleted."""
    MERGED = "merged"
    """The desired state has it; the promotion that brings it is not pinned yet."""
    ADOPTED = "adopted"
    """It was merged, and what is pinned has it."""
    DROPPED = "dropped"
    """The branch was deleted without a merge, or its merge was taken back before it was pinned."""


@dataclass(frozen=True, slots=True)
class Adoption:
    """Live values of one object on their way into Git."""

    adoption: str
    """`a-<8>`"""
    app: str
    environment: str
    fields: tuple[AdoptedField, ...]
    by: str
    """Actor, as the journal names it."""
    why: str
    repository: str
    parent: str
    """The commit of the delivery branch that it is made on."""
    edits: tuple[Edit, ...]
    since: str
    state: AdoptionState = AdoptionState.INTENDED
    commit: str = ""
    ended_at: str = ""
    ended_why: str = ""

    @property
    def branch(self) -> str:
        """The branch that it waits on."""
        return f"{BRANCHES}{self.adoption}"

    def cases(self) -> frozenset[tuple[str, str, str, str]]:
        """Return the cases of drift that it is about, as `Drift.key` names them."""
        return frozenset((self.app, self.environment, one.subject, one.field) for one in self.fields)

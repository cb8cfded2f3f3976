"""Whether every commit between what runs and a candidate is signed by a person: the facts of `gates.commits: signed`.

Called when gate facts are gathered, and for the signers whose approval does not count; it asks for signatures and decides nothing.
The keys are those of `people:` in the accepted setpoint.yaml (law 9). The commits are those that four eyes look at: of the source, all
since the pinned revision; of the delivery repository, those that changed the application's and the environment's folder, merges too. Where
nothing is pinned it is the candidate's own source commit, and the configuration since the accepted baseline. A commit of Setpoint itself
counts as signed when its commit key signed it and it touches nothing but `pins/`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from setpoint.core import digest
from setpoint.core.errors import NotFoundError
from setpoint.ground.identity.model import Directory
from setpoint.promotion.model import CommitFacts, CommitFault, Pin, Promotion
from setpoint.promotion.repository import Delivery
from setpoint.source.model import Revision
from setpoint.source.ports import GitStore

MOST: Final = 20_000
_TITLE: Final = 72
_FAULTS: Final = 100


@dataclass(frozen=True, slots=True)
class Signature:
    """Who signed a commit."""

    state: Literal["person", "setpoint", "none", "bad", "unknown", "unchecked"]
    """`unknown`: a good signature by nobody's key; `unchecked`: what checks it is missing on this machine."""
    who: str = ""
    """The person's name."""
    detail: str = ""
    """Why not, or whose key it is: `the SSH key SHA256:...`."""


class CommitSignatures(Protocol):
    """Checks signatures of commits (adapters.commit_signatures); remembers what it found."""

    def of(self, repository: str, commit: str, directory: Directory) -> Signature:
        """Return who signed a commit, by the keys of a directory; never raises for what a commit holds."""
        ...


class CommitsBetween(Protocol):
    """The commits that a promotion brings (`promotion.people.Exclusions`)."""

    def commits(self, promotion: Promotion, delivery: Delivery, pin: Pin | None) -> Mapping[str, list[Revision]]:
        """Return {repository: commits} between what is pinned and the candidate."""
        ...


class SignedCommits:
    """Gathers who signed the commits of a promotion."""

    def __init__(self, git: GitStore, between: CommitsBetween, signatures: CommitSignatures) -> None:
        self._git = git
        self._between = between
        self._signatures = signatures

    def facts(self, promotion: Promotion, delivery: Delivery, pin: Pin | None) -> CommitFacts:
        """Return who signed, and what of the commits is not as it has to be."""
        try:
            every = self._between.commits(promotion, delivery, pin)
        except NotFoundError as error:
            return CommitFacts(0, error=f"a commit that they are counted from is gone: {error.what}")
        if any(len(revisions) >= MOST for revisions in every.values()):
            return CommitFacts(0, error=f"more than {MOST} commits are between what runs and this")
        directory, signers = delivery.directory, set[str]()
        faults: list[CommitFault] = []
        for repository, revision in ((name, one) for name, revisions in every.items() for one in revisions):
            signature = self._signature(repository, revision, directory)
            if signature.state == "unchecked":
                return CommitFacts(0, error=signature.detail)
            if signature.state == "person":
                signers.add(signature.who)
            elif signature.state != "setpoint":
                title = revision.title[:_TITLE]
                faults.append(CommitFault(repository, revision.commit, title, signature.state, signature.detail))
            if len(faults) >= _FAULTS:
                break
        total = sum(len(revisions) for revisions in every.values())
        return CommitFacts(total, tuple(sorted(signers)), tuple(faults))

    def excluded(self, promotion: Promotion, delivery: Delivery, pin: Pin | None) -> dict[str, str]:
        """Return {person: why} of those whose key signed one of the commits, whoever it says committed it."""
        found: dict[str, str] = {}
        directory = delivery.directory
        if not any(person.keys for person in directory.people):
            return found
        for repository, revision in self._pairs(promotion, delivery, pin):
            signature = self._signatures.of(repository, revision.commit, directory)
            if signature.state == "person":
                found.setdefault(signature.who, f"signed {digest.short(revision.commit)}")
        return found

    def _pairs(self, promotion: Promotion, delivery: Delivery, pin: Pin | None) -> Iterable[tuple[str, Revision]]:
        every = self._between.commits(promotion, delivery, pin)
        return [(name, one) for name, revisions in every.items() for one in revisions]

    def _signature(self, repository: str, revision: Revision, directory: Directory) -> Signature:
        found = self._signatures.of(repository, revision.commit, directory)
        if found.state == "setpoint":
            outside = [path for path in self._git.changed_paths(repository, revision.commit) if not path.startswith("pins/")]
            if outside:
                return Signature("bad", "", f"signed as a commit of Setpoint, and it touches {outside[0]}")
        return found

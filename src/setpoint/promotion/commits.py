"""Whether every commit between what runs and a candidate is signed by a person: the facts of `gates.commits: signed`.

Called when gate facts are gathered, and for the signers whose approval does not count; it asks for signatures and decides nothing.
The keys are those of `people:` in the accepted setpoint.yaml (law 9). The commits are those that four eyes look at: of the source, all
since the pinned revision; of the delivery repository, those that changed the application's and the environment's folder, merges too. Where
nothing is pinned it is the candidate's own source commit, and the configuration since the accepted baseline. A commit of Setpoint itself
counts as signed when its commit key signed it and it touches nothing but `pins/`.
"""

from collections.abc import Iterator, Mapping
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
_SLOW: Final = 100
"""Programs run in one look: a candidate of thousands of OpenPGP signatures goes on at the next one, and holds nobody up."""
_ONGOING: Final = "signatures are still being checked"


@dataclass(frozen=True, slots=True)
class Signature:
    """Who signed a commit."""

    state: Literal["person", "setpoint", "none", "bad", "unknown", "unchecked"]
    """`unknown`: a good signature by nobody's key; `unchecked`: what checks it is missing on this machine."""
    who: str = ""
    """The person's name."""
    detail: str = ""
    """Why not, or whose key it is: `the SSH key SHA256:...`."""
    slow: bool = False
    """Whether a program had to be run for it just now; the next time it is remembered."""


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
        slow = 0
        for repository, revision in _pairs(every):
            signature = self._signature(repository, revision, directory)
            slow += signature.slow
            if signature.state == "unchecked" or slow > _SLOW:
                return CommitFacts(0, error=_ONGOING if slow > _SLOW else signature.detail)
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
        """Return {person: why} of those whose key signed one of the commits, whoever it says committed it.

        While that is not known for all of them it is everybody: whoever could hide behind the rest is not told apart.
        """
        found: dict[str, str] = {}
        directory = delivery.directory
        if not any(person.keys for person in directory.people):
            return found
        slow = 0
        for repository, revision in _pairs(self._between.commits(promotion, delivery, pin)):
            signature = self._signatures.of(repository, revision.commit, directory)
            slow += signature.slow
            if signature.state == "person":
                found.setdefault(signature.who, f"signed {digest.short(revision.commit)}")
            elif signature.state == "unchecked" or slow > _SLOW:
                return {person.name: _ONGOING if slow > _SLOW else signature.detail for person in directory.people}
        return found

    def _signature(self, repository: str, revision: Revision, directory: Directory) -> Signature:
        found = self._signatures.of(repository, revision.commit, directory)
        if found.state == "setpoint":
            outside = [path for path in self._git.changed_paths(repository, revision.commit) if not path.startswith("pins/")]
            if outside:
                return Signature("bad", "", f"signed as a commit of Setpoint, and it touches {outside[0]}")
        return found


def _pairs(every: Mapping[str, list[Revision]]) -> Iterator[tuple[str, Revision]]:
    yield from ((repository, revision) for repository, revisions in every.items() for revision in revisions)

"""Who may operate an environment, and whose approval cannot count: pushers, signers, requesters, authors of all between live and candidate.

Called before a person's deed, and when gate facts are gathered; reads Git and push records, decides about no candidate.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol

from setpoint.core import digest
from setpoint.core.errors import NotAllowedError
from setpoint.core.recent import Recent
from setpoint.ground.identity.model import Principal
from setpoint.promotion.judging import SETPOINT_PATH
from setpoint.promotion.lines import Lines, is_unit
from setpoint.promotion.model import Candidate, Pin, Promotion
from setpoint.promotion.repository import Delivery
from setpoint.source.model import Revision
from setpoint.source.ports import GitStore


def require_responsible(delivery: Delivery, environment: str, principal: Principal) -> None:
    """Refuse who may not roll back, hold, release, quarantine or lift in an environment: only owners, approvers and the operator may.

    Raises:
        NotAllowedError: the principal is none of them (SP514).
    """
    if principal.kind == "operator":
        return
    config = delivery.environment(environment)
    selectors = [*config.owners, *(config.gates.approvals.approvers if config.gates.approvals else ())]
    person = delivery.directory.person(principal.email)
    if person is None or person.name not in delivery.directory.members(tuple(selectors)):
        what = f"{principal.email} is neither owner nor approver of {environment}"
        raise NotAllowedError("SP514", what, where=environment, fix=f"ask one of {', '.join(selectors)}")


def require_owner(delivery: Delivery, principal: Principal) -> None:
    """Refuse who may not decide about the delivery repository as a whole: only owners of setpoint.yaml and the operator may.

    Raises:
        NotAllowedError: the principal is none of them (SP514).
    """
    person = delivery.directory.person(principal.email)
    owners = delivery.setpoint.owners
    if principal.kind != "operator" and (person is None or person.name not in delivery.directory.members(owners)):
        fix = f"ask one of {', '.join(owners) or 'nobody: owners are not named'}"
        raise NotAllowedError("SP514", f"{principal.email} is no owner of setpoint.yaml", where=delivery.repository, fix=fix)


_MOST_COMMITS: Final = 20_000
_KEPT: Final = 2048
_CO_AUTHOR: Final = re.compile(r"^[ \t]*co-authored-by:[^<\n]{0,200}<([^<>\s]{3,254})>", re.IGNORECASE | re.MULTILINE)
"""git-interpret-trailers(1) wants them in the last paragraph; whoever writes one elsewhere is believed too."""


class PushRecords(Protocol):
    """Who pushed what, and since when authors count, as the journal tells it."""

    def first_accepted(self, repository: str) -> str | None:
        """Return the commit of a delivery repository that was accepted before every other: it never moves."""
        ...

    def pushers(self, repository: str, commits: list[str]) -> Mapping[str, str]:
        """Return {pushed head: pusher's email} for those of commits that were pushed as a head."""
        ...


class Exclusions:
    """Computes {person name: why} for the kinds that an environment excludes."""

    def __init__(self, git: GitStore, pushes: PushRecords, lines: Lines | None = None) -> None:
        """Lines are the delivery reader's, where there is one: each commit is compared with its parent once."""
        self._git = git
        self._pushes = pushes
        self._lines = lines if lines is not None else Lines(git)
        self._revisions: Recent[tuple[str, str], Revision] = Recent(_KEPT)
        self._signed: Recent[tuple[str, str], bool] = Recent(_MOST_COMMITS)
        self._ranges: Recent[tuple[str, str, str], list[Revision]] = Recent(_KEPT)
        """(repository, head, base) -> the commits between"""

    def of(self, promotion: Promotion, delivery: Delivery, pin: Pin | None, kinds: Sequence[str]) -> dict[str, str]:
        """Return the people whose approval does not count, each with one reason."""
        directory = delivery.directory
        found: dict[str, str] = {}

        def exclude(email: str, why: str) -> None:
            person = directory.person(email)
            if person is not None:
                found.setdefault(person.name, why)

        for repository, revisions in self._commits(promotion, delivery, pin).items():
            if len(revisions) >= _MOST_COMMITS:
                # Whoever could hide behind the rest of them is not told apart: nobody's approval counts.
                for somebody in directory.people:
                    exclude(somebody.emails[0], f"more than {_MOST_COMMITS} commits of {repository} are between what runs and this")
            for email, why in self._of_commits(repository, revisions, kinds):
                exclude(email, why)
        if "requester" in kinds and promotion.requested_by.startswith("person:"):
            exclude(promotion.requested_by.removeprefix("person:"), "requested this promotion")
        return found

    def commits(self, promotion: Promotion, delivery: Delivery, pin: Pin | None) -> dict[str, list[Revision]]:
        """Return {repository: commits} between what is pinned and the candidate."""
        return self._commits(promotion, delivery, pin)

    def _of_commits(self, repository: str, revisions: Sequence[Revision], kinds: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Yield (email, why) for everybody whom these commits exclude."""
        if "pusher" in kinds:
            for commit, pusher in self._pushes.pushers(repository, [revision.commit for revision in revisions]).items():
                yield pusher, f"pushed {digest.short(commit)}"
        for revision in revisions:
            if "authors" in kinds:
                yield revision.author_email, f"author of {digest.short(revision.commit)}"
                for email in _CO_AUTHOR.findall(revision.message):
                    yield email, f"co-author of {digest.short(revision.commit)}"
            if "commit-signer" in kinds and self._is_signed(repository, revision.commit):
                yield revision.committer_email, f"signed {digest.short(revision.commit)}"

    def _commits(self, promotion: Promotion, delivery: Delivery, pin: Pin | None) -> dict[str, list[Revision]]:
        """Return {repository: commits} between what is pinned and the candidate; where nothing is pinned, the design's baseline."""
        found: dict[str, list[Revision]] = {}
        source, revision = promotion.source_repository, promotion.source_revision
        if revision:
            if pin is not None and pin.source_revision:
                found[source] = list(self._range(source, revision, pin.source_revision))
            else:
                found[source] = [self._revision(source, revision)]
        candidate, before = promotion.candidate, pin.candidate if pin is not None else None
        now, then = _folders(delivery, candidate), _folders(delivery, before) if before is not None else {}
        first = self._first(delivery)
        trees = [(folder, now.get(folder), then.get(folder)) for folder in dict.fromkeys((*now, *then))]
        if candidate.includes.keys() != (before.includes.keys() if before is not None else set()):
            # Who changed what is included has a part in it, too.
            old = self._git.tree_id(delivery.repository, pin.commit, SETPOINT_PATH) if pin is not None and pin.commit else None
            new = self._git.tree_id(delivery.repository, promotion.delivery_commit, SETPOINT_PATH)
            # The same file as at the pin: its line was pushed before, and came into force since.
            trees.append((SETPOINT_PATH, new, old if old != new else None))
        changes: dict[str, Revision] = {}
        for folder, wanted, pinned in trees:
            base = pin.commit if pin is not None and pin.commit and pinned is not None else first
            for commit in self._changes(delivery, promotion.delivery_commit, base, (folder, wanted, pinned)):
                changes[commit.commit] = commit
        if changes:
            found.setdefault(delivery.repository, []).extend(changes.values())
        return found

    def _first(self, delivery: Delivery) -> str | None:
        """Return the first accepted commit; None, so that all history counts, when it is not there any more.

        Not the one that is accepted now: that moves under an open promotion, past commits which nobody pinned.
        """
        found = self._pushes.first_accepted(delivery.repository)
        return self._git.resolve(delivery.repository, found) if found is not None else None

    def _changes(self, delivery: Delivery, head: str, base: str | None, folder: tuple[str, str | None, str | None]) -> list[Revision]:
        """Return the commits that took a folder (path, wanted tree, pinned tree) from the pinned tree to the wanted one.

        A pin may carry an older tree than the commit it was written on (what is promoted from another environment does), so the way back
        is measured by trees; where the pinned tree is nowhere on the branch, it ends at base (None: at the root).
        """
        path, wanted, pinned = folder
        repository = delivery.repository
        if wanted == pinned:
            return []
        line = self._lines.of(repository, delivery.head)
        if is_unit(path) and head in line and line.whole and (found := line.between(head, path, wanted, pinned, base)) is not None:
            return [self._revision(repository, commit) for commit in found]
        return self._walked(repository, head, base, folder)

    def _walked(self, repository: str, head: str, base: str | None, folder: tuple[str, str | None, str | None]) -> list[Revision]:
        """Return the same by walking history: for a commit that the branch's first parents do not lead to, or for what is included."""
        path, wanted, pinned = folder
        line = self._git.first_parents(repository, head)

        def place(tree: str | None, start: int) -> int | None:
            return next((at for at in range(start, len(line)) if self._git.tree_id(repository, line[at], path) == tree), None)

        top = place(wanted, 0) or 0
        end = place(pinned, top) if pinned is not None else None
        revisions = self._git.history(repository, line[top], line[end] if end is not None else base, _MOST_COMMITS)
        if len(revisions) >= _MOST_COMMITS:
            return revisions
        return [r for r in revisions if any(f"{name}/".startswith(f"{path}/") for name in self._git.changed_paths(repository, r.commit))]

    def _is_signed(self, repository: str, commit: str) -> bool:
        return self._signed.of((repository, commit), lambda: self._git.raw_commit(repository, commit) is not None)

    def _revision(self, repository: str, commit: str) -> Revision:
        return self._revisions.of((repository, commit), lambda: self._git.revision(repository, commit))

    def _range(self, repository: str, head: str, base: str) -> list[Revision]:
        kept = self._ranges.get((repository, head, base))
        if kept is not None:
            return kept
        found = self._git.history(repository, head, base, _MOST_COMMITS)
        return self._ranges.put((repository, head, base), found) if len(found) <= _KEPT else found


def _folders(delivery: Delivery, candidate: Candidate) -> dict[str, str | None]:
    """Return {folder: tree} of a candidate as they lie in the repository: an environment that a generator made has its template's."""
    own = f"environments/{candidate.environment}/{candidate.app}"
    overlay = delivery.overlay(candidate.environment, candidate.app)
    return {overlay if path == own else path: tree for path, tree in candidate.folders().items()}

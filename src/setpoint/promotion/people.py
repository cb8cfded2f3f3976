"""Who may operate an environment, and whose approval cannot count: pushers, signers, requesters, authors of all between live and candidate.

Called before a person's deed, and when gate facts are gathered; reads Git and push records, decides about no candidate.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from setpoint.core import digest
from setpoint.core.errors import NotAllowedError
from setpoint.ground.identity.model import Principal
from setpoint.promotion.model import Pin, Promotion
from setpoint.promotion.repository import Delivery
from setpoint.source.model import Revision
from setpoint.source.ports import GitStore


def require_operator(delivery: Delivery, environment: str, principal: Principal) -> None:
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


class PushRecords(Protocol):
    """Who pushed what, as the journal tells it."""

    def pushers(self, repository: str, commits: list[str]) -> Mapping[str, str]:
        """Return {pushed head: pusher's email} for those of commits that were pushed as a head."""
        ...


class Exclusions:
    """Computes {person name: why} for the kinds that an environment excludes."""

    def __init__(self, git: GitStore, pushes: PushRecords) -> None:
        self._git = git
        self._pushes = pushes

    def of(self, promotion: Promotion, delivery: Delivery, pin: Pin | None, kinds: Sequence[str]) -> dict[str, str]:
        """Return the people whose approval does not count, each with one reason."""
        directory = delivery.directory
        found: dict[str, str] = {}

        def exclude(email: str, why: str) -> None:
            person = directory.person(email)
            if person is not None:
                found.setdefault(person.name, why)

        for repository, revisions in self._commits(promotion, delivery, pin).items():
            pushers = self._pushes.pushers(repository, [revision.commit for revision in revisions]) if "pusher" in kinds else {}
            for commit, pusher in pushers.items():
                exclude(pusher, f"pushed {digest.short(commit)}")
            for revision in revisions:
                if "authors" in kinds:
                    exclude(revision.author_email, f"author of {digest.short(revision.commit)}")
                if "commit-signer" in kinds and self._git.raw_commit(repository, revision.commit) is not None:
                    exclude(revision.committer_email, f"signed {digest.short(revision.commit)}")
        if "requester" in kinds and promotion.requested_by.startswith("person:"):
            exclude(promotion.requested_by.removeprefix("person:"), "requested this promotion")
        return found

    def _commits(self, promotion: Promotion, delivery: Delivery, pin: Pin | None) -> dict[str, list[Revision]]:
        """Return {repository: commits} between what is pinned and the candidate; where nothing is pinned, the design's baseline."""
        found: dict[str, list[Revision]] = {}
        source, revision = promotion.source_repository, promotion.source_revision
        if revision:
            if pin is not None and pin.source_revision:
                found[source] = self._git.history(source, revision, pin.source_revision)
            else:
                found[source] = [self._git.revision(source, revision)]
        candidate, before = promotion.candidate, pin.candidate if pin is not None else None
        trees = (
            (f"apps/{candidate.app}", candidate.app_tree, before.app_tree if before else None),
            (
                f"environments/{candidate.environment}/{candidate.app}",
                candidate.environment_tree,
                before.environment_tree if before else None,
            ),
        )
        base = pin.commit if pin is not None and pin.commit else delivery.accepted
        changes: dict[str, Revision] = {}
        for folder, wanted, pinned in trees:
            for commit in self._changes(delivery.repository, promotion.delivery_commit, base, (folder, wanted, pinned)):
                changes[commit.commit] = commit
        if changes:
            found.setdefault(delivery.repository, []).extend(changes.values())
        return found

    def _changes(self, repository: str, head: str, base: str, folder: tuple[str, str | None, str | None]) -> list[Revision]:
        """Return the commits that took a folder (path, wanted tree, pinned tree) from the pinned tree to the wanted one.

        A pin may carry an older tree than the commit it was written on (what is promoted from another environment does), so the way back
        is measured by trees; where the pinned tree is nowhere on the branch, it ends at base.
        """
        path, wanted, pinned = folder
        if wanted == pinned:
            return []
        line = self._git.first_parents(repository, head)
        trees = [self._git.tree_id(repository, commit, path) for commit in line]
        top = trees.index(wanted) if wanted in trees else 0
        end = trees.index(pinned, top) if pinned is not None and pinned in trees[top:] else None
        revisions = self._git.history(repository, line[top], line[end] if end is not None else base)
        return [r for r in revisions if any(name.startswith(f"{path}/") for name in self._git.changed_paths(repository, r.commit))]

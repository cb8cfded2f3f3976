"""What became of a branch: it waits, it was merged, what is pinned has it, it was taken back, or it is gone.

Called by the adoption service in each pass; it writes nothing, and reads from Git, whatever was pushed how.
"""

from setpoint.promotion.repository import Delivery, DeliveryReader
from setpoint.reconcile.adopt.model import Adoption, AdoptionState
from setpoint.source.ports import GitStore

_LOOKED_AT = 2000
"""Commits of the delivery branch among which a squashed merge is looked for."""


class Standing:
    """Looks at branches and the delivery branch."""

    def __init__(self, reader: DeliveryReader, git: GitStore) -> None:
        self._reader = reader
        self._git = git
        self._merged: dict[str, tuple[str, bool]] = {}
        """adoption -> (head that was looked at, whether it has the adoption)"""

    def of(self, adoption: Adoption, delivery: Delivery) -> tuple[AdoptionState, str]:
        """Return where an adoption stands as of a look at the delivery repository, and in words what was seen."""
        if delivery.repository != adoption.repository:
            return adoption.state, ""
        if adoption.state is AdoptionState.MERGED or self._is_merged(adoption, delivery):
            if self._is_pinned(adoption, delivery):
                return AdoptionState.ADOPTED, "it was merged, and what is pinned has it"
            if self._is_taken_back(adoption, delivery):  # no promotion will bring it: nothing would ever end the wait for one
                return AdoptionState.DROPPED, "it was merged and taken back"
            return AdoptionState.MERGED, f"{delivery.branch} has it"
        heads = self._git.heads(adoption.repository)
        if adoption.branch not in heads and heads.get(delivery.branch) == delivery.head:  # else it may be gone for a merge of just now
            return AdoptionState.DROPPED, "its branch was deleted without a merge"
        return AdoptionState.OPEN, ""

    def _is_merged(self, adoption: Adoption, delivery: Delivery) -> bool:
        """Say whether the delivery branch has the commit, the files as it left them, or a commit that names it (a squash)."""
        kept = self._merged.get(adoption.adoption)
        if kept is not None and kept[0] == delivery.head:
            return kept[1]
        git, repository = self._git, adoption.repository
        found = not git.history(repository, adoption.commit, delivery.head, 1)
        if not found:
            left = [git.tree_id(repository, adoption.commit, edit.path) for edit in adoption.edits]
            found = left == [git.tree_id(repository, delivery.head, edit.path) for edit in adoption.edits]
        if not found:
            since = git.history(repository, delivery.head, adoption.parent, _LOOKED_AT)
            found = any(f"Setpoint-Adoption: {adoption.adoption}" in one.message.splitlines() for one in since)
        self._merged[adoption.adoption] = (delivery.head, found)
        return found

    def _is_taken_back(self, adoption: Adoption, delivery: Delivery) -> bool:
        """Say whether every file that was edited is again as it was before."""
        repository = adoption.repository
        return all((self._git.tree_id(repository, delivery.head, edit.path) or "") == edit.before for edit in adoption.edits)

    def _is_pinned(self, adoption: Adoption, delivery: Delivery) -> bool:
        """Say whether the pinned trees have other files than those that the edits were made for."""
        pin = self._reader.pin(delivery, adoption.environment, adoption.app)
        if pin is None:
            return False
        blobs = {
            f"{folder}/{file.path}": file.blob
            for folder, tree in pin.candidate.folders().items()
            if tree is not None
            for file in self._git.files(adoption.repository, tree)
        }
        return all(blobs.get(edit.path, "") != edit.before for edit in adoption.edits)

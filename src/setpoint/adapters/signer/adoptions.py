"""Composes the commit of an adoption, from the journal and the parent commit; called by the signer process.

The journal names the edits; the file is read here, and an edit that does not fit it is refused. Only files of the application are touched.
"""

from dataclasses import dataclass

from setpoint.adapters.signer.runs import Sources
from setpoint.core.errors import UserError
from setpoint.reconcile.adopt import commit
from setpoint.reconcile.adopt.model import Adoption, Edit


@dataclass(frozen=True, slots=True)
class AdoptionCommit:
    """An unsigned commit of an adoption."""

    adoption: str
    payload: bytes
    at: str
    summary: str


class AdoptionCommits:
    """Composes commits of adoptions."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def compose(self, adoption_id: str) -> AdoptionCommit:
        """Return the commit that writes an adoption's values on top of its parent.

        Raises:
            UserError: the journal holds no such adoption, or its delivery repository is none (SP404); it touches a file that is not its
                application's, or does not fit one (SP419).
        """
        known = self._sources.ledger.adoptions.get(adoption_id)
        if known is None or known[0].repository not in self._sources.ledger.deliveries:
            raise UserError("SP404", "the journal holds no such adoption", where=adoption_id, fix="setpoint events --kind adoption")
        adoption, at = known
        commit.check_paths(adoption)
        changes = {edit.path: self._changed(adoption, edit) for edit in adoption.edits}
        tree = self._sources.git.write_tree(adoption.repository, adoption.parent, changes)
        text = commit.message(adoption)
        return AdoptionCommit(adoption_id, commit.payload(adoption, tree, at), at, text.partition("\n")[0])

    def _changed(self, adoption: Adoption, edit: Edit) -> bytes:
        git = self._sources.git
        data = git.read(adoption.repository, adoption.parent, edit.path)
        blob = git.tree_id(adoption.repository, adoption.parent, edit.path) or ""
        what = "the adoption's commit is not signed: the file is not the one that the edit was made for"
        refusal = UserError(commit.REFUSED, what, where=edit.path, fix="setpoint adopt it again")
        if blob != edit.before:
            raise refusal
        try:
            return edit.applied((data or b"").decode()).encode()
        except ValueError as error:  # UnicodeDecodeError is one
            raise refusal from error

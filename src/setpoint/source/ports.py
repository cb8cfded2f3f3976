"""What the stages need from Git; `adapters.git` fills it with pygit2 on bare repositories.

All of it works on object ids without a work tree. A name or path that could leave the repositories' folder, or be read as an option, is
refused with SP101. Objects are read with a bound: more than `limit_bytes` is SP103.
"""

from collections.abc import Collection, Container, Iterable, Mapping
from pathlib import Path
from typing import Protocol

from setpoint.source.line import Step
from setpoint.source.model import Revision, TreeFile


class GitStore(Protocol):
    """The hosted bare repositories of a home; safe to call from several threads."""

    def names(self) -> list[str]:
        """Return the repositories' names, sorted."""
        ...

    def create(self, name: str) -> None:
        """Create an empty bare repository with branch `main` as HEAD; nothing happens when it is there."""
        ...

    def path(self, name: str) -> Path:
        """Return the folder of an existing repository; NotFoundError SP102 otherwise."""
        ...

    def heads(self, name: str) -> dict[str, str]:
        """Return {branch name: commit id}."""
        ...

    def resolve(self, name: str, text: str) -> str | None:
        """Return the full commit id for a branch, a full id or a unique id prefix (>= 7); None when there is none."""
        ...

    def revision(self, name: str, commit: str) -> Revision:
        """Return a commit as a revision; NotFoundError SP104 when it is not there."""
        ...

    def tree_id(self, name: str, commit: str, path: str) -> str | None:
        """Return the object id of path (tree or blob) in a commit, "" being the root tree; None when absent."""
        ...

    def merged(self, name: str, ours: str, theirs: str, paths: Collection[str]) -> dict[str, str | None]:
        """Return the object ids that paths would have once a commit is merged; of one that is merged already, those that it has itself.

        Nothing is committed, and no ref moves; ConflictError SP116 when it does not merge by itself.
        """
        ...

    def read(self, name: str, commit: str, path: str, limit_bytes: int = 1 << 20) -> bytes | None:
        """Return a file's bytes at a commit; None when there is no such file."""
        ...

    def blob(self, name: str, blob_id: str, limit_bytes: int = 1 << 30) -> bytes:
        """Return a blob's bytes by id."""
        ...

    def files(self, name: str, tree: str) -> list[TreeFile]:
        """Return every file below a tree id (or commit id), sorted by path."""
        ...

    def history(self, name: str, head: str, base: str | None = None, limit: int = 1000) -> list[Revision]:
        """Return the commits reachable from head and not from base, newest first (all parents)."""
        ...

    def first_parents(self, name: str, head: str, limit: int = 10_000) -> list[str]:
        """Return commit ids along first parents, head first."""
        ...

    def tags(self, name: str, commit: str) -> list[str]:
        """Return the names of the tags at a commit, annotated ones too, sorted."""
        ...

    def last_change(self, name: str, head: str, path: str) -> str | None:
        """Return the newest commit reachable by first parents from head that changed path; None if path is absent at head."""
        ...

    def raw_commit(self, name: str, commit: str) -> tuple[bytes, bytes] | None:
        """Return (signed payload, signature) of a signed commit; None when it carries no signature."""
        ...

    def write_tree(self, name: str, parent: str | None, changes: Mapping[str, bytes | None]) -> str:
        """Write the parent commit's tree with these files put in place and return the new tree id; a file of None is removed."""
        ...

    def write_signed_commit(self, name: str, payload: bytes, signature: bytes) -> str:
        """Write a commit object of payload with the signature as its gpgsig header; returns its id; moves no ref."""
        ...

    def advance(self, name: str, branch: str, old: str | None, new: str) -> bool:
        """Compare-and-swap a branch from old to new; False when somebody was faster."""
        ...

    def changed_paths(self, name: str, commit: str) -> Iterable[str]:
        """Return the paths that a commit changed against its first parent (all paths, for a root commit)."""
        ...

    def steps(self, name: str, head: str, known: Container[str], depths: Mapping[str, int], limit: int) -> tuple[list[Step], str]:
        """Return the commits of the first-parent line from head back to one that is known, newest first, as steps of a `Line`.

        Beside them the first parent of the last one: the known commit, empty at the root, or where the limit ended it; a last one whose
        parent is not known is told like a root. depths says what the units are (see `source.line`).
        """
        ...

    def entries(self, name: str, commit: str, folder: str) -> dict[str, str]:
        """Return {name: object id} of what lies directly in a folder of a commit; empty where there is no such folder.

        UserError SP106 for a name that is not UTF-8; a submodule is never listed.
        """
        ...

    def folders(self, name: str, commit: str, folder: str) -> list[str]:
        """Return the names of the folders that lie directly in a folder of a commit, sorted; none where there is no such folder.

        UserError SP106 for a name that is not UTF-8.
        """
        ...

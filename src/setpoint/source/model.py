"""Revisions, pushes and tree entries: the words of Git that later stages use."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Revision:
    """A commit of a hosted repository, with its tree id (design: revision)."""

    repository: str
    commit: str
    tree: str
    parents: tuple[str, ...]
    author_name: str
    author_email: str
    committer_email: str
    message: str
    committed_at: str

    @property
    def title(self) -> str:
        """The first line of the message."""
        return self.message.partition("\n")[0]


@dataclass(frozen=True, slots=True)
class TreeFile:
    """A file, executable or symbolic link in a tree (a submodule is never listed)."""

    path: str
    mode: int
    """Git's: 0o100644, 0o100755 or 0o120000."""
    blob: str


@dataclass(frozen=True, slots=True)
class RefUpdate:
    """One ref that a push moved."""

    ref: str
    old: str
    """40 zeros when the ref is new."""
    new: str
    """40 zeros when the ref was deleted."""

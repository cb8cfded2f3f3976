"""What a branch would make of another once it is merged, in memory: no commit is written and no ref moves. Called by the store."""

from collections.abc import Collection

import pygit2

from setpoint.core.errors import ConflictError

_NAMED = 10


def merged_tree(repository: pygit2.Repository, ours: pygit2.Commit, theirs: pygit2.Commit) -> pygit2.Tree:
    """Return the tree of a merge of two commits; what was merged long ago is taken as it is.

    Raises:
        ConflictError: they change the same places, or have no common history (SP116).
    """
    base = repository.merge_base(ours.id, theirs.id)
    if base in (theirs.id, ours.id):
        return theirs.tree
    fix = "rebase the branch, or merge into it, then ask again"
    if base is None:
        raise ConflictError(
            "SP116", "the two have no common history, so nobody can say what a merge would give", where=str(theirs.id), fix=fix
        )
    index = repository.merge_commits(ours, theirs)
    if index.conflicts is not None:
        paths = sorted({entry.path for sides in index.conflicts for entry in sides if entry is not None})
        more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
        what = f"it does not merge by itself: {', '.join(paths[:_NAMED])}{more} changed on both sides"
        raise ConflictError("SP116", what, where=str(theirs.id), fix=fix)
    return repository[index.write_tree(repository)].peel(pygit2.Tree)


def ids_at(tree: pygit2.Tree, paths: Collection[str]) -> dict[str, str | None]:
    """Return the object ids of paths in a tree; None is not there."""
    found: dict[str, str | None] = {}
    for path in paths:
        try:
            found[path] = str(tree[path].id)
        except KeyError:
            found[path] = None
    return found

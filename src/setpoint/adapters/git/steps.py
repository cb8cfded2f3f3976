"""What commits changed, by Git's own comparison of trees: a commit's paths, and the steps of a first-parent line.

Called by `adapters.git.store`, which opens the repository and turns libgit2's faults into ours. It reads trees, and no file.
"""

from collections.abc import Container, Iterator, Mapping
from itertools import islice
from typing import Final

import pygit2
from pygit2.enums import FileMode, SortMode

from setpoint.adapters.git.commits import path_text
from setpoint.source.line import Id, Step, unit_of

_MOST_MERGED: Final = 20_000


def changed_paths(commit: pygit2.Commit) -> set[str]:
    """Return the paths that a commit changed against its first parent; all paths, for a root commit."""
    return _paths(commit.parents[0] if commit.parent_ids else None, commit)


def line_steps(
    repository: pygit2.Repository, head: pygit2.Commit, known: Container[str], depths: Mapping[str, int], limit: int
) -> tuple[list[Step], str]:
    """Return the steps from head back to a known commit (see the port `GitStore.steps`)."""
    found: list[Step] = []
    here = head
    while str(here.id) not in known:
        parent = here.parents[0] if here.parent_ids else None
        at_end = len(found) + 1 >= limit and parent is not None and str(parent.id) not in known
        found.append(_step(repository, here, None if at_end else parent, depths))
        if parent is None:
            return found, ""
        here = parent
        if at_end:
            break
    return found, str(here.id)


def entries_of(tree: pygit2.Object | None, folder: str, *, folders: bool = False) -> Iterator[tuple[str, str]]:
    """Yield (name, id) of the files, links and folders in a folder, or of folders only; its path is for the place of an error.

    Raises:
        UserError: a name is not UTF-8 (SP106).
    """
    for entry in tree if isinstance(tree, pygit2.Tree) else ():
        if entry.filemode != FileMode.COMMIT and (not folders or entry.filemode == FileMode.TREE):
            path = path_text(f"{folder}/".encode() * bool(folder) + (entry.raw_name or b""))
            yield path.rpartition("/")[2], str(entry.id)


def _step(repository: pygit2.Repository, commit: pygit2.Commit, parent: pygit2.Commit | None, depths: Mapping[str, int]) -> Step:
    changed = {unit: _id(commit.tree, unit) for unit in _units(parent, commit, depths)}
    merged = _merged(repository, commit, parent, depths) if parent is not None and len(commit.parent_ids) > 1 else []
    return Step(str(commit.id), changed, tuple(merged or ()), complete=merged is not None)


def _merged(
    repository: pygit2.Repository, commit: pygit2.Commit, parent: pygit2.Commit, depths: Mapping[str, int]
) -> list[tuple[str, frozenset[str]]] | None:
    """Return what a merge brought in from its other side, oldest first; None when it is more than is looked at."""
    walker = repository.walk(commit.id, SortMode.TOPOLOGICAL | SortMode.REVERSE)
    walker.hide(parent.id)
    found = list(islice(walker, _MOST_MERGED + 1))
    if len(found) > _MOST_MERGED:
        return None  # the newest would be missing, and whoever wrote them
    return [(str(one.id), _units(one.parents[0] if one.parent_ids else None, one, depths)) for one in found if one.id != commit.id]


def _units(parent: pygit2.Commit | None, commit: pygit2.Commit, depths: Mapping[str, int]) -> frozenset[str]:
    found = (unit_of(path, depths) for path in _paths(parent, commit))
    return frozenset(unit for unit in found if unit is not None)


def _paths(parent: pygit2.Commit | None, commit: pygit2.Commit) -> set[str]:
    diff = parent.tree.diff_to_tree(commit.tree) if parent is not None else commit.tree.diff_to_tree()
    return {side.raw_path.decode(errors="replace") for delta in diff.deltas for side in (delta.old_file, delta.new_file)}


def _id(tree: pygit2.Tree, unit: str) -> Id:
    here: pygit2.Object = tree
    for part in unit.split("/"):
        if not isinstance(here, pygit2.Tree) or part not in here:
            return None
        here = here[part]
    return str(here.id)

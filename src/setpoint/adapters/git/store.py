"""The hosted bare repositories of a home, by pygit2 without a work tree; fills `source.ports.GitStore`.

Called by every stage that reads or writes Git. Each call opens its own Repository (0.1 ms): libgit2 objects must not be shared between
threads. It never runs the git program, never rewrites history, and writes are fsynced before they return.
"""

import re
import shutil
import tempfile
import time
from collections.abc import Collection, Container, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pygit2
from pygit2.enums import FileMode, ObjectType, Option, RepositoryInitFlag, RepositoryOpenFlag, SortMode

from setpoint.adapters.git.changes import LastChanges
from setpoint.adapters.git.commits import files_of, instant, join_signature, nest, parts_of_path, split_signature, write_nested
from setpoint.adapters.git.glance import heads_picture
from setpoint.adapters.git.merges import ids_at, merged_tree
from setpoint.adapters.git.steps import changed_paths, entries_of, line_steps
from setpoint.core.errors import NotFoundError, UserError, WorldError
from setpoint.source.line import Step
from setpoint.source.model import Revision, TreeFile

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_HEX: Final = re.compile(r"[0-9a-f]{7,40}")
_COMMIT_BYTES: Final = 1 << 20
_LOCK_WAIT_S: Final = 2.0
_REF_LETTERS: Final = 255
"""libgit2 looks longer names up in a buffer that they do not fit into."""
_REGULAR: Final = (FileMode.BLOB, FileMode.BLOB_EXECUTABLE)
_CONFIG: Final = {
    "receive.fsckObjects": "true",
    "receive.denyNonFastForwards": "true",
    "receive.denyDeletes": "false",
    "receive.autogc": "false",
    "uploadpack.allowFilter": "true",
    "transfer.hideRefs": "refs/setpoint",
    "gc.auto": "0",
    "core.fsync": "objects,derived-metadata,reference",
    "core.fsyncMethod": "batch",
}

AnyObject = pygit2.Object | pygit2.Commit
"""pygit2's stubs do not say that a commit is an object."""

# The home belongs to one server, whoever created the folder (root at set-up, a volume's owner): Git's owner check protects work trees that
# a stranger may have planted, and would only lock the server out of its own repositories.
pygit2.option(Option.SET_OWNER_VALIDATION, 0)
pygit2.option(Option.ENABLE_FSYNC_GITDIR, 1)


class GitRepositories:
    """Bare repositories `<root>/<name>.git`; safe to call from several threads and processes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._changes = LastChanges()

    def names(self) -> list[str]:
        """Return the repositories' names, sorted."""
        if not self.root.is_dir():
            return []
        found = (entry.name.removesuffix(".git") for entry in self.root.iterdir() if entry.name.endswith(".git"))
        return sorted(name for name in found if _is_name(name))

    def create(self, name: str) -> None:
        """Create an empty bare repository with branch `main` as HEAD; nothing happens when it is there.

        Raises:
            UserError: no valid name (SP101).
            WorldError: the disk refused (SP107).
        """
        target = self._folder(name)
        if target.is_dir():
            return
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=self.root))
        try:
            flags = RepositoryInitFlag.BARE | RepositoryInitFlag.MKPATH
            repository = pygit2.init_repository(str(fresh), flags=flags, initial_head="main")
            for key, value in _CONFIG.items():
                repository.config[key] = value
            repository.free()
            fresh.rename(target)
        except (OSError, pygit2.GitError) as error:
            if not target.is_dir():
                fix = "make room and check the permissions of the home"
                raise WorldError("SP107", "the repository cannot be created", where=str(target), fix=fix) from error
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def path(self, name: str) -> Path:
        """Return the folder of an existing repository; NotFoundError SP102 otherwise."""
        folder = self._folder(name)
        if not (folder / "HEAD").is_file():
            known = ", ".join(self.names()[:10]) or "none yet"
            raise NotFoundError("SP102", f"there is no repository {name}", where=name, fix=f"repositories here: {known}")
        return folder

    def heads(self, name: str) -> dict[str, str]:
        """Return {branch name: commit id}."""
        prefix = "refs/heads/"
        return {ref.removeprefix(prefix): target for ref, target in self.refs(name).items() if ref.startswith(prefix)}

    def refs(self, name: str) -> dict[str, str]:
        """Return {full ref name: object id} of every direct ref."""
        with self._open(name) as repository:
            every = [(ref.name, ref.target) for ref in repository.references.iterator()]
            return {ref: str(target) for ref, target in every if isinstance(target, pygit2.Oid)}

    def glance(self) -> object:
        """Return a cheap picture of every branch of every repository: equal pictures mean that no branch moved."""
        return [(name, heads_picture(self._folder(name))) for name in self.names()]

    def resolve(self, name: str, text: str) -> str | None:
        """Return the full commit id for a branch, a full id or a unique id prefix (>= 7); None when there is none."""
        with self._open(name) as repository:
            branch = _branch_target(repository, text)
            if branch is not None:
                return branch
            wanted = text.lower()
            if not _HEX.fullmatch(wanted):
                return None
            try:
                found = _lookup(repository, wanted)
            except (KeyError, ValueError):
                return None  # the prefix is ambiguous
            return str(found.id) if isinstance(found, pygit2.Commit) else None

    def revision(self, name: str, commit: str) -> Revision:
        """Return a commit as a revision; NotFoundError SP104 when it is not there."""
        with self._open(name) as repository:
            return _revision(name, _commit(repository, commit))

    def tree_id(self, name: str, commit: str, path: str) -> str | None:
        """Return the object id of path (tree or blob) in a commit, "" being the root tree; None when absent."""
        with self._open(name) as repository:
            found = _at(_commit(repository, commit).tree, parts_of_path(path))
            return str(found.id) if found is not None else None

    def merged(self, name: str, ours: str, theirs: str, paths: Collection[str]) -> dict[str, str | None]:
        """Return the object ids that paths would have (see the port)."""
        with self._open(name) as repository:
            return ids_at(merged_tree(repository, _commit(repository, ours), _commit(repository, theirs)), paths)

    def read(self, name: str, commit: str, path: str, limit_bytes: int = 1 << 20) -> bytes | None:
        """Return a file's bytes at a commit; None when there is no such regular file (a symbolic link is none)."""
        with self._open(name) as repository:
            found = _at(_commit(repository, commit).tree, parts_of_path(path))
            if found is None or found.filemode not in _REGULAR:
                return None
            return _blob(repository, str(found.id), limit_bytes, path)

    def blob(self, name: str, blob_id: str, limit_bytes: int = 1 << 30) -> bytes:
        """Return a blob's bytes by id; NotFoundError SP104 when it is not there."""
        with self._open(name) as repository:
            return _blob(repository, blob_id, limit_bytes, blob_id)

    def files(self, name: str, tree: str) -> list[TreeFile]:
        """Return every file below a tree id (or commit id), sorted by path.

        Raises:
            UserError: a path is not UTF-8 (SP106), or there are more than a million files (SP103).
        """
        with self._open(name) as repository:
            top = _object(repository, tree)
            if isinstance(top, pygit2.Commit):
                top = top.tree
            if not isinstance(top, pygit2.Tree):
                raise NotFoundError("SP104", "this object is not a tree", where=tree)
            return files_of(top)

    def history(self, name: str, head: str, base: str | None = None, limit: int = 1000) -> list[Revision]:
        """Return the commits reachable from head and not from base, newest first (all parents)."""
        with self._open(name) as repository:
            walker = repository.walk(_commit(repository, head).id, SortMode.TOPOLOGICAL | SortMode.TIME)
            if base is not None:
                walker.hide(_commit(repository, base).id)
            return [_revision(name, commit) for commit, _ in zip(walker, range(limit), strict=False)]

    def first_parents(self, name: str, head: str, limit: int = 10_000) -> list[str]:
        """Return commit ids along first parents, head first."""
        with self._open(name) as repository:
            line = zip(_line(repository, _commit(repository, head)), range(limit), strict=False)
            return [str(commit.id) for commit, _ in line]

    def tags(self, name: str, commit: str) -> list[str]:
        """Return the names of the tags at a commit, annotated ones too, sorted."""
        found = []
        with self._open(name) as repository:
            for reference in repository.references.iterator(pygit2.enums.ReferenceFilter.TAGS):
                try:
                    at = str(reference.peel(pygit2.Commit).id)
                except (pygit2.GitError, ValueError, KeyError):  # a tag of a tree or blob, or of what is not here
                    continue
                if at == commit:
                    found.append(reference.shorthand)
        return sorted(found)

    def last_change(self, name: str, head: str, path: str) -> str | None:
        """Return the newest commit reachable by first parents from head that changed path; None if path is absent at head."""
        parts = parts_of_path(path)
        with self._open(name) as repository:
            line = _line(repository, _commit(repository, head))
            return self._changes.of((name, path), line, lambda commit: _id_at(commit.tree, parts))

    def raw_commit(self, name: str, commit: str) -> tuple[bytes, bytes] | None:
        """Return (signed payload, signature) of a signed commit; None when it carries no signature, or several."""
        with self._open(name) as repository:
            found = _commit(repository, commit)
            if _size(repository, found.id) > _COMMIT_BYTES:
                raise UserError("SP103", f"the commit is larger than {_COMMIT_BYTES} bytes", where=commit)
            return split_signature(found.read_raw())

    def write_tree(self, name: str, parent: str | None, changes: Mapping[str, bytes | None]) -> str:
        """Write the parent commit's tree with these files put in place (see the port) and return the new tree id."""
        nested = nest(changes)
        with self._open(name) as repository:
            base = _commit(repository, parent).tree if parent is not None else None
            return str(write_nested(repository, base, nested))

    def write_signed_commit(self, name: str, payload: bytes, signature: bytes) -> str:
        """Write a commit object of payload with the signature as its gpgsig header; returns its id; moves no ref.

        Raises:
            UserError: payload is no unsigned commit (SP105).
            NotFoundError: its tree or a parent is not in the repository (SP104).
        """
        raw = join_signature(payload, signature)
        with self._open(name) as repository:
            for line in payload.partition(b"\n\n")[0].split(b"\n"):
                kind, _, value = line.partition(b" ")
                if kind in {b"tree", b"parent"} and _object(repository, value.decode("ascii", "replace")).type_str != (
                    "tree" if kind == b"tree" else "commit"
                ):
                    raise UserError(
                        "SP105", f"the commit's {kind.decode()} is another kind of object", where=value.decode("ascii", "replace")
                    )
            return str(repository.odb.write(ObjectType.COMMIT, raw))

    def advance(self, name: str, branch: str, old: str | None, new: str) -> bool:
        """Compare-and-swap a branch from old (None: it must not exist) to new; False when somebody was faster.

        The ref's lock file is the one stock git takes, so pushes and this exclude each other.
        """
        ref = f"refs/heads/{branch}"
        if branch.startswith("-") or len(ref) > _REF_LETTERS or not pygit2.reference_is_valid_name(ref):
            raise UserError("SP101", "this is not a branch name", where=branch[:200])
        with self._open(name) as repository:
            target = _commit(repository, new).id
            with repository.transaction() as transaction:
                _lock(transaction, ref)
                if _branch_target(repository, branch) != old:
                    return False
                transaction.set_target(ref, target)
            return True

    def changed_paths(self, name: str, commit: str) -> list[str]:
        """Return the paths that a commit changed against its first parent (all paths, for a root commit), sorted."""
        with self._open(name) as repository:
            return sorted(changed_paths(_commit(repository, commit)))

    def steps(self, name: str, head: str, known: Container[str], depths: Mapping[str, int], limit: int) -> tuple[list[Step], str]:
        """Return the first-parent line from head back to a known commit, newest first, and where it ended (see the port)."""
        with self._open(name) as repository:
            return line_steps(repository, _commit(repository, head), known, depths, limit)

    def entries(self, name: str, commit: str, folder: str) -> dict[str, str]:
        """Return {name: object id} of what lies directly in a folder of a commit (see the port)."""
        with self._open(name) as repository:
            return dict(entries_of(_at(_commit(repository, commit).tree, parts_of_path(folder)), folder))

    def folders(self, name: str, commit: str, folder: str) -> list[str]:
        """Return the names of the folders that lie directly in a folder of a commit (see the port)."""
        with self._open(name) as repository:
            found = _at(_commit(repository, commit).tree, parts_of_path(folder))
            return sorted(name for name, _id in entries_of(found, folder, folders=True))

    def _folder(self, name: str) -> Path:
        if not _is_name(name):
            fix = "use 1 to 64 of a-z 0-9 . _ -, starting with a letter or digit, not ending in .git or .lock"
            raise UserError("SP101", "this is not a repository name", where=name[:200], fix=fix)
        return self.root / f"{name}.git"

    @contextmanager
    def _open(self, name: str) -> Iterator[pygit2.Repository]:
        """Yield the repository for one call of one thread; a fault of libgit2 or the disk becomes a WorldError."""
        folder = self._folder(name)
        try:
            yield pygit2.Repository(str(folder), RepositoryOpenFlag.BARE | RepositoryOpenFlag.NO_SEARCH)
        except (pygit2.GitError, OSError) as error:
            fix = f"check it: git -C {self.path(name)} fsck"  # which raises where there is none
            raise WorldError("SP107", f"the repository cannot be used: {str(error)[:300]}", where=name, fix=fix) from error


def _is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and not name.endswith((".git", ".lock"))


def _lookup(repository: pygit2.Repository, text: str) -> AnyObject | None:
    return repository.get(text)


def _object(repository: pygit2.Repository, text: str) -> AnyObject:
    """Return an object by its full id; NotFoundError SP104 otherwise."""
    found = _lookup(repository, text) if _HEX.fullmatch(text) and len(text) == 40 else None
    if found is None:
        raise NotFoundError("SP104", "there is no such object in the repository", where=text[:200])
    return found


def _commit(repository: pygit2.Repository, text: str) -> pygit2.Commit:
    found = _object(repository, text)
    if not isinstance(found, pygit2.Commit):
        raise NotFoundError("SP104", "this object is not a commit", where=text)
    return found


def _size(repository: pygit2.Repository, oid: pygit2.Oid) -> int:
    """Return an object's size in bytes without reading it."""
    return int(repository.odb.read_header(oid)[1])


def _blob(repository: pygit2.Repository, blob_id: str, limit_bytes: int, where: str) -> bytes:
    """Return a blob's bytes, its size checked before it is loaded."""
    if not _HEX.fullmatch(blob_id) or len(blob_id) != 40 or blob_id not in repository:
        raise NotFoundError("SP104", "there is no such object in the repository", where=blob_id[:200])
    size = _size(repository, pygit2.Oid(hex=blob_id))
    if size > limit_bytes:
        raise UserError("SP103", f"the file has {size} bytes, more than {limit_bytes}", where=where)
    found = repository[blob_id]
    if not isinstance(found, pygit2.Blob):
        raise NotFoundError("SP104", "this object is not a file", where=where)
    return found.data


def _at(tree: pygit2.Tree, parts: list[str]) -> pygit2.Object | None:
    """Return what lies at a path of a tree, without loading blobs."""
    here: pygit2.Object = tree
    for part in parts:
        if not isinstance(here, pygit2.Tree) or part not in here:
            return None
        here = here[part]
    return here


def _id_at(tree: pygit2.Tree, parts: list[str]) -> pygit2.Oid | None:
    found = _at(tree, parts)
    return found.id if found is not None else None


def _line(repository: pygit2.Repository, head: pygit2.Commit) -> Iterator[pygit2.Commit]:
    """Yield head and its first parents."""
    here = head
    yield here
    while here.parent_ids:
        here = _commit(repository, str(here.parent_ids[0]))
        yield here


def _branch_target(repository: pygit2.Repository, branch: str) -> str | None:
    ref = f"refs/heads/{branch}"
    if len(ref) > _REF_LETTERS or not pygit2.reference_is_valid_name(ref):
        return None
    found = repository.references.get(ref)
    return str(found.target) if found is not None and isinstance(found.target, pygit2.Oid) else None


def _lock(transaction: pygit2.transaction.ReferenceTransaction, ref: str) -> None:
    """Take the ref's lock; a push holds it for milliseconds, so wait that out as stock git does (core.filesRefLockTimeout)."""
    deadline = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            transaction.lock_ref(ref)
        except pygit2.GitError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _revision(name: str, commit: pygit2.Commit) -> Revision:
    """Return a commit in the words of the source stage; bytes that are not UTF-8 are replaced, never an error."""
    return Revision(
        repository=name,
        commit=str(commit.id),
        tree=str(commit.tree_id),
        parents=tuple(str(parent) for parent in commit.parent_ids),
        author_name=commit.author.raw_name.decode(errors="replace"),
        author_email=commit.author.raw_email.decode(errors="replace"),
        committer_email=commit.committer.raw_email.decode(errors="replace"),
        message=commit.raw_message.decode(errors="replace"),
        committed_at=instant(commit.commit_time),
    )

"""The Git store on real bare repositories, with stock git as the second opinion."""

import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from setpoint.adapters.git import store as store_module
from setpoint.adapters.git.commits import join_signature, split_signature
from setpoint.adapters.git.store import GitRepositories
from setpoint.core.errors import NotFoundError, UserError, WorldError
from setpoint.source.model import TreeFile

ME = b"Setpoint <setpoint@localhost> 1763877600 +0000"


def git(*arguments: str, at: Path, stdin: bytes | None = None) -> str:
    """Run stock git away from the machine's configuration and return what it prints."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(at),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Ann",
        "GIT_AUTHOR_EMAIL": "ann@example.org",
        "GIT_COMMITTER_NAME": "Cid",
        "GIT_COMMITTER_EMAIL": "cid@example.org",
    }
    done = subprocess.run(["git", *arguments], cwd=at, env=environment, input=stdin, capture_output=True, check=True)
    return done.stdout.decode().strip()


def payload(tree: str, parents: list[str], message: str = "pin") -> bytes:
    """Return the bytes of an unsigned commit."""
    lines = [f"tree {tree}".encode(), *(f"parent {parent}".encode() for parent in parents), b"author " + ME, b"committer " + ME]
    return b"\n".join(lines) + b"\n\n" + message.encode() + b"\n"


def commit(store: GitRepositories, parent: str | None, changes: dict[str, bytes]) -> str:
    """Write a commit with the store's own means; the signature is any text here."""
    tree = store.write_tree("shop", parent, changes)
    return store.write_signed_commit("shop", payload(tree, [parent] if parent else []), b"-----BEGIN X-----\nabc\n-----END X-----\n")


@pytest.fixture
def store(tmp_path: Path) -> GitRepositories:
    """A store with the empty repository `shop`."""
    made = GitRepositories(tmp_path / "repositories")
    made.create("shop")
    return made


@pytest.fixture
def work(tmp_path: Path, store: GitRepositories) -> Path:
    """A work tree of stock git with three commits, a merge, an executable and a link, pushed by path."""
    folder = tmp_path / "work"
    folder.mkdir()
    git("init", "-q", "-b", "main", at=folder)
    (folder / "app").mkdir()
    (folder / "app" / "web.py").write_text("print(1)\n")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("run.sh")
    git("add", ".", at=folder)
    git("commit", "-qm", "first\n\nbody", at=folder)
    git("checkout", "-qb", "side", at=folder)
    (folder / "side.txt").write_text("side\n")
    git("add", ".", at=folder)
    git("commit", "-qm", "side", at=folder)
    git("checkout", "-q", "main", at=folder)
    git("merge", "-q", "--no-ff", "-m", "merge", "side", at=folder)
    (folder / "readme").write_text("x\n")
    git("add", ".", at=folder)
    git("commit", "-qm", "last", at=folder)
    git("push", "-q", str(store.path("shop")), "main", "side", at=folder)
    return folder


def test_create_is_idempotent_private_and_configured(store: GitRepositories) -> None:
    """Creating twice changes nothing; the folder is its owner's only; HEAD is main; pushes are checked and never forced."""
    store.create("shop")
    store.create("infra.live-2")
    folder = store.path("shop")
    assert store.names() == ["infra.live-2", "shop"]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "HEAD").read_text() == "ref: refs/heads/main\n"
    assert git("config", "receive.fsckObjects", at=folder) == "true"
    assert git("config", "receive.denyNonFastForwards", at=folder) == "true"
    assert git("config", "gc.auto", at=folder) == "0"
    assert [entry.name for entry in store.root.iterdir() if entry.name.startswith(".new")] == []
    assert store.heads("shop") == {}


@pytest.mark.parametrize("name", ["", "../shop", "a/b", "-x", ".hidden", "Shop", "shop.git", "x.lock", "a" * 65, "shop\n", "sh op"])
def test_names_that_could_leave_the_folder_are_refused(store: GitRepositories, name: str) -> None:
    """A repository name that could be a path, an option or a lock file is SP101 for every call."""
    for call in (store.create, store.path, store.heads):
        with pytest.raises(UserError) as caught:
            call(name)
        assert caught.value.code == "SP101"


def test_what_is_missing_is_named(store: GitRepositories, work: Path) -> None:
    """An absent repository is SP102, an absent object SP104, an absent path or branch None."""
    head = store.heads("shop")["main"]
    with pytest.raises(NotFoundError, match="SP102"):
        store.heads("nothing")
    for bad in ("f" * 40, "main", "x", head[:12], store.tree_id("shop", head, "") or ""):
        with pytest.raises(NotFoundError, match="SP104"):
            store.revision("shop", bad)
    assert store.read("shop", head, "app/none.py") is None
    assert store.read("shop", head, "app") is None
    assert store.read("shop", head, "link") is None
    assert store.tree_id("shop", head, "run.sh/below") is None
    for path in ("../x", "/etc/passwd", "a//b", "app/.git/x", "a\0b"):
        with pytest.raises(UserError, match="SP101"):
            store.read("shop", head, path)


def test_reads_agree_with_stock_git(store: GitRepositories, work: Path) -> None:
    """Heads, tree ids, files, contents and history are the ones git itself reports."""
    head = git("rev-parse", "main", at=work)
    side = git("rev-parse", "side", at=work)
    assert store.heads("shop") == {"main": head, "side": side}
    assert store.tree_id("shop", head, "") == git("rev-parse", "main^{tree}", at=work)
    assert store.tree_id("shop", head, "app") == git("rev-parse", "main:app", at=work)
    blob = git("rev-parse", "main:app/web.py", at=work)
    assert store.tree_id("shop", head, "app/web.py") == blob
    assert store.read("shop", head, "app/web.py") == store.blob("shop", blob) == b"print(1)\n"
    assert store.files("shop", head) == store.files("shop", git("rev-parse", "main^{tree}", at=work))
    assert [(file.path, file.mode) for file in store.files("shop", head)] == [
        ("app/web.py", 0o100644),
        ("link", 0o120000),
        ("readme", 0o100644),
        ("run.sh", 0o100755),
        ("side.txt", 0o100644),
    ]
    assert store.files("shop", git("rev-parse", "main:app", at=work)) == [TreeFile("web.py", 0o100644, blob)]
    assert [one.commit for one in store.history("shop", head)] == git("rev-list", "--topo-order", "main", at=work).split()
    assert [one.title for one in store.history("shop", head, base=side)] == ["last", "merge"]
    assert len(store.history("shop", head, limit=2)) == 2
    assert store.first_parents("shop", head) == git("rev-list", "--first-parent", "main", at=work).split()
    assert len(store.first_parents("shop", head, limit=1)) == 1
    first = store.revision("shop", git("rev-parse", "main~2", at=work))
    assert (first.author_name, first.author_email, first.committer_email) == ("Ann", "ann@example.org", "cid@example.org")
    assert (first.title, first.message, first.parents) == ("first", "first\n\nbody\n", ())


def test_tags_at_a_commit_are_named_annotated_ones_too(store: GitRepositories, work: Path) -> None:
    """Both kinds of tags are found at their commit only; a tag of a tree or a blob is none of a commit."""
    head = git("rev-parse", "main", at=work)
    git("tag", "v1", "main", at=work)
    git("-c", "user.name=Ann", "-c", "user.email=a@x", "tag", "-a", "-m", "two", "rel/2", "main", at=work)
    git("tag", "older", "main~1", at=work)
    git("tag", "tree", "main^{tree}", at=work)
    git("push", "-q", str(store.path("shop")), "--tags", at=work)
    assert store.tags("shop", head) == ["rel/2", "v1"]
    assert store.tags("shop", git("rev-parse", "side", at=work)) == []


def test_resolve_takes_branches_full_ids_and_unique_prefixes(store: GitRepositories, work: Path) -> None:
    """A branch, a full id or seven digits of one name a commit; refs syntax, short prefixes and trees do not."""
    head = git("rev-parse", "main", at=work)
    assert store.resolve("shop", "main") == store.resolve("shop", head) == store.resolve("shop", head[:7]) == head
    for text in ("", "none", head[:6], "main~1", "refs/heads/main", "..", "-x", "f" * 40, git("rev-parse", "main:app", at=work)):
        assert store.resolve("shop", text) is None, text


def test_last_change_walks_no_history_twice(store: GitRepositories, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked at every head of a growing branch, in any order, it says what a full walk says; each commit is looked at once for a path."""
    for number in range(30):
        (work / "one").write_text(str(number // 10))
        (work / "two").write_text(str(number))
        git("add", "-A", at=work)
        git("commit", "-qm", str(number), at=work)
    git("push", "-q", str(store.path("shop")), "main", at=work)
    line = git("rev-list", "--first-parent", "main", at=work).split()
    wanted = {commit: git("log", "-1", "--first-parent", "--format=%H", commit, "--", "one", at=work) or None for commit in line}
    assert {commit: store.last_change("shop", commit, "one") for commit in (*line[::-1], *line)} == wanted
    looked = 0
    real = store_module._id_at

    def counting(*words: Any) -> Any:
        nonlocal looked
        looked += 1
        return real(*words)

    monkeypatch.setattr(store_module, "_id_at", counting)
    fresh = GitRepositories(store.root)
    for commit in line[:10][::-1]:
        fresh.last_change("shop", commit, "one")
    assert looked <= 11 + 2 * 9


def test_last_change_follows_first_parents(store: GitRepositories, work: Path) -> None:
    """The commit that changed a path is found along first parents: a merge that brought it counts as its change."""
    head = git("rev-parse", "main", at=work)
    assert store.last_change("shop", head, "readme") == head
    assert store.last_change("shop", head, "side.txt") == git("rev-parse", "main~1", at=work)
    assert store.last_change("shop", head, "app") == git("rev-parse", "main~2", at=work)
    assert store.last_change("shop", head, "none") is None


def test_changed_paths_are_those_against_the_first_parent(store: GitRepositories, work: Path) -> None:
    """A root commit changed everything it has; a merge what it brought; a deletion and a mode change count."""
    assert list(store.changed_paths("shop", git("rev-parse", "main~2", at=work))) == ["app/web.py", "link", "run.sh"]
    assert list(store.changed_paths("shop", git("rev-parse", "main~1", at=work))) == ["side.txt"]
    git("rm", "-q", "readme", at=work)
    git("update-index", "--chmod=-x", "run.sh", at=work)
    git("commit", "-qm", "more", at=work)
    git("push", "-q", str(store.path("shop")), "main", at=work)
    assert list(store.changed_paths("shop", git("rev-parse", "main", at=work))) == ["readme", "run.sh"]


def test_reads_are_bounded(store: GitRepositories, work: Path) -> None:
    """A file above the limit is SP103 and is not loaded."""
    head = store.heads("shop")["main"]
    with pytest.raises(UserError, match="SP103"):
        store.read("shop", head, "app/web.py", limit_bytes=8)
    with pytest.raises(UserError, match="SP103"):
        store.blob("shop", store.tree_id("shop", head, "app/web.py") or "", limit_bytes=8)


def test_paths_that_are_not_utf8_are_named(store: GitRepositories, work: Path) -> None:
    """A file name in another encoding is SP106, never a crash; commit texts are replaced."""
    with (work / "latin\udce9").open("w") as file:
        file.write("x")
    git("add", ".", at=work)
    git("-c", "i18n.commitEncoding=latin1", "commit", "-qm", "caf\udce9", at=work)
    git("push", "-q", str(store.path("shop")), "main", at=work)
    head = store.heads("shop")["main"]
    with pytest.raises(UserError, match="SP106"):
        store.files("shop", head)
    assert list(store.changed_paths("shop", head)) == ["latin\ufffd"]
    assert store.revision("shop", head).title == "caf\ufffd"


def test_write_tree_puts_files_in_place(store: GitRepositories, work: Path) -> None:
    """Only the named paths change; folders appear; an executable stays one; the tree passes fsck."""
    head = store.heads("shop")["main"]
    tree = store.write_tree("shop", head, {"pins/prod/web.yaml": b"a: 1\n", "run.sh": b"#!/bin/sh\ntrue\n", "app/web.py": b"print(2)\n"})
    listed = {file.path: file.mode for file in store.files("shop", tree)}
    before = {file.path: file.mode for file in store.files("shop", head)}
    assert listed == {**before, "pins/prod/web.yaml": 0o100644}
    assert store.write_tree("shop", head, {}) == store.tree_id("shop", head, "")
    for changes in ({"a": b"", "a/b": b""}, {"a/b": b"", "a": b""}, {"../x": b""}, {".git/config": b""}, {"": b""}):
        with pytest.raises(UserError, match="SP101"):
            store.write_tree("shop", head, changes)


def test_signed_commit_is_verified_by_stock_git(store: GitRepositories, tmp_path: Path) -> None:
    """A commit signed with SSHSIG over the payload passes `git verify-commit`, and its parts come back byte for byte."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    (tmp_path / "allowed").write_text("setpoint@localhost " + (tmp_path / "key.pub").read_text())
    body = payload(store.write_tree("shop", None, {"pins/a.yaml": b"x\n"}), [], "pin web\n\nSetpoint-Promotion: p-1")
    argv = ["ssh-keygen", "-Y", "sign", "-q", "-n", "git", "-f", str(tmp_path / "key")]
    signature = subprocess.run(argv, input=body, capture_output=True, check=True).stdout
    made = store.write_signed_commit("shop", body, signature)
    assert store.heads("shop") == {}
    assert store.raw_commit("shop", made) == (body, signature)
    folder = store.path("shop")
    git("-c", "gpg.format=ssh", "-c", f"gpg.ssh.allowedSignersFile={tmp_path / 'allowed'}", "verify-commit", made, at=folder)
    git("fsck", "--strict", at=folder)
    assert store.advance("shop", "main", None, made)
    assert git("show", "main:pins/a.yaml", at=folder) == "x"


def test_unsigned_and_doubly_signed_commits_carry_no_signature(store: GitRepositories, work: Path) -> None:
    """No signature is None; two are None as well, for nobody can say which one counts."""
    assert store.raw_commit("shop", store.heads("shop")["main"]) is None
    once = join_signature(payload("a" * 40, []), b"one\n")
    twice = once.replace(b"gpgsig one\n", b"gpgsig one\ngpgsig two\n")
    assert split_signature(once) == (payload("a" * 40, []), b"one\n")
    assert split_signature(twice) is None
    assert split_signature(once.replace(b"gpgsig ", b"gpgsig-sha256 ")) is None
    with pytest.raises(UserError, match="SP105"):
        join_signature(once, b"again\n")


def test_commit_of_absent_or_wrong_objects_is_refused(store: GitRepositories, work: Path) -> None:
    """A commit whose tree or parent is missing or of another kind is never written."""
    head = store.heads("shop")["main"]
    tree = store.tree_id("shop", head, "") or ""
    for bad in (payload("f" * 40, []), payload(tree, ["f" * 40])):
        with pytest.raises(NotFoundError, match="SP104"):
            store.write_signed_commit("shop", bad, b"s\n")
    for bad in (payload(head, []), payload(tree, [tree]), b"hello", b"blob\n\n"):
        with pytest.raises(UserError, match="SP105"):
            store.write_signed_commit("shop", bad, b"s\n")


def test_advance_is_compare_and_swap(store: GitRepositories) -> None:
    """A branch moves only from the expected commit; None means that it must not exist yet."""
    one = commit(store, None, {"a": b"1"})
    two = commit(store, one, {"a": b"2"})
    assert not store.advance("shop", "main", one, two)
    assert store.advance("shop", "main", None, one)
    assert not store.advance("shop", "main", None, two)
    assert store.advance("shop", "main", one, two)
    assert not store.advance("shop", "main", one, two)
    assert store.heads("shop") == {"main": two}
    for branch in ("-x", "a..b", "x.lock", ""):
        with pytest.raises(UserError, match="SP101"):
            store.advance("shop", branch, None, one)


def test_a_stale_lock_is_an_error_that_names_it(store: GitRepositories, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ref lock that nobody gives back is SP107 after the wait, not a silent lost race."""
    monkeypatch.setattr("setpoint.adapters.git.store._LOCK_WAIT_S", 0.05)
    one = commit(store, None, {"a": b"1"})
    (store.path("shop") / "refs" / "heads" / "main.lock").touch()
    with pytest.raises(WorldError, match=r"SP107.*main\.lock"):
        store.advance("shop", "main", None, one)


def test_four_threads_race_and_no_commit_is_lost(store: GitRepositories) -> None:
    """Writers that retry a lost race end with every commit in one straight history."""
    assert store.advance("shop", "main", None, commit(store, None, {"start": b""}))

    def write(number: int) -> None:
        for turn in range(10):
            while True:
                old = store.heads("shop")["main"]
                if store.advance("shop", "main", old, commit(store, old, {f"{number}/{turn}": b"x"})):
                    break

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    head = store.heads("shop")["main"]
    assert len(store.first_parents("shop", head)) == 41
    assert len(store.files("shop", head)) == 41
    git("fsck", "--strict", "--connectivity-only", at=store.path("shop"))


def test_a_packed_branch_is_swapped_too(store: GitRepositories) -> None:
    """After git packed the refs the comparison still sees the branch."""
    one = commit(store, None, {"a": b"1"})
    two = commit(store, one, {"a": b"2"})
    assert store.advance("shop", "main", None, one)
    git("pack-refs", "--all", at=store.path("shop"))
    assert not store.advance("shop", "main", None, two)
    assert store.advance("shop", "main", one, two)


def test_a_repository_of_another_owner_can_be_read(store: GitRepositories, work: Path) -> None:
    """libgit2's owner check does not lock the server out of its own home."""
    if os.geteuid() == 0:
        for folder, folders, files in os.walk(store.path("shop")):
            for name in (".", *folders, *files):
                os.chown(Path(folder) / name, 12345, 12345)
    assert set(store.heads("shop")) == {"main", "side"}


def test_damage_is_reported_with_the_way_to_check_it(store: GitRepositories, work: Path) -> None:
    """A repository whose objects are damaged raises SP107, and says how to look."""
    head = store.heads("shop")["main"]
    raw = store.path("shop") / "objects" / head[:2] / head[2:]
    raw.chmod(0o600)
    raw.write_bytes(b"rubbish")
    with pytest.raises(WorldError) as caught:
        store.revision("shop", head)
    assert caught.value.code == "SP107"
    assert "fsck" in caught.value.fix


def test_a_glance_differs_when_a_branch_moved(store: GitRepositories, work: Path) -> None:
    """By the store, by stock git, new, gone, packed or in a new repository; objects alone and other refs are no news."""
    bare = store.path("shop")
    seen = store.glance()

    def moved(*arguments: str) -> bool:
        nonlocal seen
        if arguments:
            git(*arguments, at=work)
        before, seen = seen, store.glance()
        return before != seen

    assert not moved()
    head = store.heads("shop")["main"]
    following = commit(store, head, {"x": b"1"})
    git("update-ref", "refs/other/x", head, at=bare)
    assert not moved()
    assert store.advance("shop", "main", head, following)
    assert moved()
    assert moved("push", "-q", str(bare), "HEAD~1:refs/heads/a/b")
    assert moved("push", "-q", str(bare), "HEAD:refs/heads/a/b")
    assert moved("push", "-q", str(bare), ":refs/heads/a/b")
    git("pack-refs", "--all", at=bare)
    assert moved()
    store.create("empty")
    assert moved()

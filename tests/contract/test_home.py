"""The folders of a home and the lock of its server: modes, places that are refused, and a way in for the runner's user."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from setpoint.adapters.database.engine import open_database
from setpoint.app import home as homes
from setpoint.app.doctor import of_home
from setpoint.app.home import LONGEST_BYTES, Home, default_home
from setpoint.app.lock import HomeLock
from setpoint.app.teardown import stop_all
from setpoint.core.errors import ConflictError, UserError

HOLD = """
import sys, time
from pathlib import Path
from setpoint.app.lock import HomeLock
lock = HomeLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for homes that the runner's user could not reach otherwise."""
    folder = tmp_path / "var" / "setpoint-run"
    monkeypatch.setattr(homes, "SHARED", folder)
    return folder


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_the_servers_folders_are_private_and_the_runners_can_be_entered(tmp_path: Path, shared: Path) -> None:
    """Keys, journal and database lie in 0700 folders; workspaces and images in 0711 ones beside the home, never inside."""
    home = Home(tmp_path / "home")
    home.prepare()
    private = (home.root, home.journal, home.keys, home.repositories, home.registry, home.content, home.task_cache, home.logs, home.inbox)
    assert {_mode(folder) for folder in private} == {0o700}
    entered = (home.work, home.workspaces, home.images, home.replicas, home.proxies)
    assert {_mode(folder) for folder in entered} == {0o711}
    assert all(not folder.is_relative_to(home.root) for folder in entered)


def test_preparing_again_mends_modes_and_keeps_contents(tmp_path: Path, shared: Path) -> None:
    """A home whose key folder was opened is closed again; nothing in it is lost."""
    home = Home(tmp_path / "home")
    home.prepare()
    (home.keys / "gate").write_text("k")
    home.keys.chmod(0o755)
    home.prepare()
    assert (_mode(home.keys), (home.keys / "gate").read_text()) == (0o700, "k")


@pytest.mark.parametrize("inside", ["home", "a/b/home"])
def test_a_home_inside_a_work_tree_is_refused(tmp_path: Path, shared: Path, inside: str) -> None:
    """Keys must not end in somebody's commit; a link into the work tree does not help."""
    tree = tmp_path / "tree"
    (tree / ".git").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tree)
    for root in (tree / inside, tmp_path / "link" / inside):
        with pytest.raises(UserError, match="SP802"):
            Home(root).prepare()
    assert list(tree.iterdir()) == [tree / ".git"]


def test_a_home_that_cannot_be_made_is_a_users_error(tmp_path: Path, shared: Path) -> None:
    """A file where the folder should be is said, with the way out."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="SP803") as caught:
        Home(tmp_path / "file" / "home").prepare()
    assert caught.value.fix


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: only root runs tasks as another user")
def test_as_root_behind_a_closed_folder_the_runners_folders_lie_where_they_can_be_reached(tmp_path: Path, shared: Path) -> None:
    """Below a 0700 folder `<home>.run` is a link to a folder of its own; two homes never share one; a second start finds it again."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    homes_here = [Home(closed / name) for name in ("one", "two")]
    for home in homes_here:
        home.prepare()
        home.prepare()
    links = [closed / "one.run", closed / "two.run"]
    assert all(link.is_symlink() for link in links)
    targets = [home.work for home in homes_here]
    assert targets == [link.resolve() for link in links]
    assert len(set(targets)) == 2
    assert all(target.parent == shared and _mode(target) == 0o711 for target in targets)
    links[0].unlink()
    links[0].symlink_to(tmp_path / "gone")
    homes_here[0].prepare()
    assert homes_here[0].work == targets[0]


def test_where_everybody_may_pass_there_is_no_link(tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ordinary case: the runner's folders lie right beside the home."""
    monkeypatch.setattr(homes, "_open_to_all", lambda _folder: True)
    home = Home(tmp_path / "home")
    home.prepare()
    assert home.work == tmp_path / "home.run"
    assert not home.work.is_symlink()
    assert not shared.exists()


def test_the_default_home_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """$SETPOINT_HOME, then $XDG_STATE_HOME, then ~/.local/state."""
    monkeypatch.setenv("SETPOINT_HOME", "/one")
    assert default_home() == Path("/one")
    monkeypatch.delenv("SETPOINT_HOME")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert default_home() == Path("/state/setpoint")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_home() == tmp_path / ".local/state/setpoint"


def test_one_server_holds_the_lock_and_its_death_frees_it(tmp_path: Path) -> None:
    """A second server is refused with the first one's process id; a kill leaves no stale lock."""
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"held\n"
        assert HomeLock.holder(path) == server.pid
        with pytest.raises(ConflictError, match=f"pid {server.pid}"):
            HomeLock(path)
        server.send_signal(signal.SIGKILL)
        server.wait()
    assert HomeLock.holder(path) is None
    lock = HomeLock(path)
    assert HomeLock.holder(path) == os.getpid()
    lock.release()
    assert HomeLock.holder(path) is None


def test_nobody_holds_a_lock_that_was_never_made(tmp_path: Path) -> None:
    """Asking makes no file."""
    assert HomeLock.holder(tmp_path / "lock") is None
    assert not (tmp_path / "lock").exists()


@pytest.mark.parametrize(("mine", "word"), [(False, "belongs to somebody else (uid "), (True, "closed to its own user")])
def test_a_home_that_is_closed_to_the_caller_says_whose_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, mine: bool, word: str
) -> None:
    """`up` and `down` answer in words with a way out, and `doctor` shows the same; nothing in the home is touched."""
    home = Home(tmp_path / "home")
    home.root.mkdir()
    monkeypatch.setattr(os, "access", lambda *_: False)
    if not mine:
        monkeypatch.setattr(os, "geteuid", lambda: 4711)
    for call in (home.prepare, lambda: stop_all(home)):
        with pytest.raises(UserError, match="SP803") as caught:
            call()
        assert word in caught.value.what
        assert caught.value.fix
    (found,) = [check for check in of_home(home) if check.name == "home"]
    assert (found.ok, word in found.found) == (False, True)
    assert list(home.root.iterdir()) == []


def test_the_longest_path_of_a_home_works_and_a_longer_one_is_refused(tmp_path: Path) -> None:
    """The database opens at the limit; one byte more is told before anything is made."""
    folder = tmp_path.resolve()
    while LONGEST_BYTES - len(os.fsencode(folder)) > 202:
        folder = folder / ("x" * 100)
    folder = folder / ("y" * (LONGEST_BYTES - len(os.fsencode(folder)) - 1))
    home = Home(folder)
    home.prepare()
    with open_database(home.database).begin() as connection:
        connection.exec_driver_sql("create table t (a)")
    longer = Home(folder.with_name(f"{folder.name}z"))
    with pytest.raises(UserError, match="481 bytes"):
        longer.prepare()
    assert not longer.root.exists()

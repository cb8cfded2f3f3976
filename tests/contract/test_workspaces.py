"""The contract of `pipeline.ports.Workspaces`: only what is declared goes in, only what is inside comes out, and nothing stays."""

import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from setpoint.adapters.runner.client import dedicated_uid
from setpoint.adapters.workspaces import WorkspaceFolder
from setpoint.core.errors import BugError, UserError
from setpoint.pipeline.model import Archive
from setpoint.pipeline.placing import Take
from setpoint.pipeline.ports import Workspaces

FILE, EXECUTABLE, LINK, SUBMODULE = 0o100644, 0o100755, 0o120000, 0o160000


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """Give the folder of workspaces."""
    folder = tmp_path / "workspaces"
    folder.mkdir(mode=0o711)
    yield folder
    subprocess.run(["/bin/rm", "-rf", str(folder)], check=True)


@pytest.fixture
def folders(root: Path) -> Workspaces:
    """Give the workspaces, owned by the runner's user as the server would have it."""
    return WorkspaceFolder(root, dedicated_uid())


def archive(path: Path, *members: tarfile.TarInfo) -> Path:
    """Write a tar of members without content."""
    with tarfile.open(path, "w") as tar:
        for member in members:
            tar.addfile(member)
    return path


def written(path: Path, data: bytes) -> Path:
    """Write bytes and return where."""
    path.write_bytes(data)
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    """Return a tar member."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def test_create_writes_files_modes_and_links(folders: Workspaces) -> None:
    """Files carry their bytes, the executable bit, a constant time and the runner's user; links their text; others cannot look in."""
    entries = [("a/b/c.txt", FILE, b"text"), ("run.sh", EXECUTABLE, b"#!"), ("a/link", LINK, b"../run.sh"), ("vendored", SUBMODULE, b"")]
    folder = folders.create("r-1-test", entries, [])
    assert (folder / "a/b/c.txt").read_bytes() == b"text"
    assert (folder / "a/link").readlink() == Path("../run.sh")
    assert (folder / "vendored").is_dir()
    assert [oct(path.lstat().st_mode & 0o777) for path in (folder, folder / "a/b/c.txt", folder / "run.sh")] == ["0o700", "0o644", "0o755"]
    owner = dedicated_uid() if dedicated_uid() is not None else os.geteuid()
    assert {path.lstat().st_uid for path in [folder, *folder.rglob("*")]} == {owner}
    assert (folder / "run.sh").stat().st_mtime == 315_532_800


def test_create_starts_anew(folders: Workspaces) -> None:
    """What an earlier attempt left in a workspace of the same name is gone."""
    (folders.create("t", [("old", FILE, b"")], []) / "left").touch()
    assert [path.name for path in folders.create("t", [("new", FILE, b"")], []).iterdir()] == ["new"]


@pytest.mark.parametrize("link", ["/etc/passwd", "../x", "a/../../x", "b/..", ""])
def test_create_refuses_input_links_that_leave(folders: Workspaces, root: Path, link: str) -> None:
    """A link out of the workspace, or one that may lead out by way of another link, is SP212, and nothing is left behind."""
    with pytest.raises(UserError, match="SP212"):
        folders.create("t", [("a", LINK, link.encode())], [])
    assert list(root.iterdir()) == []


@pytest.mark.parametrize(
    "entries",
    [
        [("../x", FILE, b"")],
        [("/x", FILE, b"")],
        [("a//b", FILE, b"")],
        [("a", LINK, b"b"), ("a/x", FILE, b"")],
        [("a", FILE, b""), ("a/x", FILE, b"")],
    ],
)
def test_create_refuses_input_paths_that_leave(folders: Workspaces, root: Path, entries: list[tuple[str, int, bytes]]) -> None:
    """A path that is absolute, climbs, or runs over a link or a file is SP211."""
    with pytest.raises(UserError, match="SP211"):
        folders.create("t", entries, [])
    assert list(root.iterdir()) == []


def test_create_refuses_task_ids_that_are_paths(folders: Workspaces) -> None:
    """A task id names one folder below the root."""
    for name in ("..", "a/b", "", ".gone-1"):
        with pytest.raises(BugError, match="SP243"):
            folders.create(name, [], [])


def test_outputs_travel_from_task_to_task(folders: Workspaces, tmp_path: Path) -> None:
    """What one task's workspace is collected into unpacks in the next one's, over its inputs."""
    folder = folders.create("one", [("out/bin/tool", EXECUTABLE, b"#!"), ("out/data", FILE, b"1")], [])
    (folder / "out/empty").mkdir()
    (folder / "out/link").symlink_to("bin/tool")
    assert folders.collect("one", ["out/"], tmp_path / "o.tar") == []
    other = folders.create("two", [("out/data", FILE, b"stale"), ("src", FILE, b"s")], [Archive(tmp_path / "o.tar")])
    assert sorted(str(path.relative_to(other)) for path in other.rglob("*")) == [
        "out",
        "out/bin",
        "out/bin/tool",
        "out/data",
        "out/empty",
        "out/link",
        "src",
    ]
    assert (other / "out/data").read_bytes() == b"1"
    assert (other / "out/bin/tool").stat().st_mode & 0o777 == 0o755
    assert (other / "out/link").readlink() == Path("bin/tool")


def test_what_is_taken_lies_at_its_place_and_nothing_else_does(folders: Workspaces, tmp_path: Path) -> None:
    """A line of `from:` puts what it takes where it says; what lies there already is refused, never covered."""
    folder = folders.create("one", [("vendor/a/x", EXECUTABLE, b"#!"), ("vendor/y", FILE, b"1"), ("tool", FILE, b"t")], [])
    (folder / "vendor/link").symlink_to("a/x")
    assert folders.collect("one", ["vendor/", "tool"], tmp_path / "o.tar") == []
    takes = [Archive(tmp_path / "o.tar", Take("one", "vendor/", "lib/")), Archive(tmp_path / "o.tar", Take("one", "tool", "bin/t"))]
    other = folders.create("two", [("lib/own", FILE, b"o")], takes)
    found = sorted(str(path.relative_to(other)) for path in other.rglob("*") if not path.is_dir())
    assert found == ["bin/t", "lib/a/x", "lib/link", "lib/own", "lib/y"]
    assert (other / "lib/a/x").stat().st_mode & 0o777 == 0o755
    with pytest.raises(UserError, match="SP235") as caught:
        folders.create("three", [("lib/y", FILE, b"mine")], takes)
    assert caught.value.what == "`one:vendor/` would put lib/y where something else lies"
    with pytest.raises(UserError, match="SP235"):
        folders.create("four", [], [*takes, Archive(tmp_path / "o.tar", Take("one", "tool", "lib/y"))])


HOSTILE: dict[str, Callable[[Path], Path]] = {
    "climbs": lambda path: archive(path, member("../x")),
    "absolute": lambda path: archive(path, member("/x")),
    "device": lambda path: archive(path, member("x", tarfile.CHRTYPE)),
    "pipe": lambda path: archive(path, member("x", tarfile.FIFOTYPE)),
    "hard link": lambda path: archive(path, member("x", tarfile.LNKTYPE, "y")),
    "link out": lambda path: archive(path, member("x", tarfile.SYMTYPE, "../../y")),
    "through a link": lambda path: archive(path, member("d", tarfile.SYMTYPE, "."), member("d/x")),
    "no archive": lambda path: written(path, b"text" * 999),
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_create_refuses_hostile_archives(folders: Workspaces, root: Path, tmp_path: Path, name: str) -> None:
    """Nothing of an archive is written outside, over a link, or as anything but file, folder and inner link: SP217."""
    made = HOSTILE[name](tmp_path / "h.tar")
    with pytest.raises(UserError, match="SP217"):
        folders.create("t", [], [Archive(made)])
    assert list(root.iterdir()) == []
    assert not (tmp_path / "x").exists()


def test_collect_is_deterministic(folders: Workspaces, tmp_path: Path) -> None:
    """Times, owners, modes beyond the executable bit, and the order of creation do not reach the bytes."""
    one = folders.create("one", [("o/a", FILE, b"1"), ("o/ä", EXECUTABLE, b"2")], [])
    two = folders.create("two", [("o/ä", EXECUTABLE, b"2"), ("o/a", FILE, b"1")], [])
    (two / "o/a").chmod(0o600)
    os.utime(two / "o/a", (1, 1))
    (two / "o").chmod(0o2775)
    os.chown(one / "o/a", os.getuid(), os.getgid())
    folders.collect("one", ["o"], tmp_path / "1.tar")
    folders.collect("two", ["o"], tmp_path / "2.tar")
    assert (tmp_path / "1.tar").read_bytes() == (tmp_path / "2.tar").read_bytes()
    with tarfile.open(tmp_path / "1.tar") as tar:
        found = [(info.name, info.mode, info.mtime, info.uid, info.uname) for info in tar]
    assert found == [("o", 0o755, 0, 0, ""), ("o/a", 0o644, 0, 0, ""), ("o/ä", 0o755, 0, 0, "")]


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("vendor/", ["vendor", "vendor/a", "vendor/a/m.py", "vendor/t.py"]),
        ("vendor", ["vendor", "vendor/a", "vendor/a/m.py", "vendor/t.py"]),
        ("vendor/**", ["vendor/a", "vendor/a/m.py", "vendor/t.py"]),
        ("dist/*.whl", ["dist/x.whl"]),
        ("**/*.py", ["vendor/a/m.py", "vendor/t.py"]),
        ("vendor/*/", ["vendor/a", "vendor/a/m.py"]),
        ("report.xml", ["report.xml"]),
        ("report.[xy]m?", ["report.xml"]),
        ("./report.xml", ["report.xml"]),
        ("report.xml/", None),
        ("nothing/**", None),
        ("*.py", None),
    ],
)
def test_collect_follows_the_patterns(folders: Workspaces, tmp_path: Path, pattern: str, wanted: list[str] | None) -> None:
    """Globs stay within a path component, `**` spans them, a folder brings its content, and what matches nothing is reported."""
    paths = ["vendor/a/m.py", "vendor/t.py", "dist/x.whl", "dist/x.txt", "report.xml"]
    folders.create("t", [(path, FILE, b"") for path in paths], [])
    assert folders.collect("t", [pattern], tmp_path / "o.tar") == ([] if wanted else [pattern])
    with tarfile.open(tmp_path / "o.tar") as tar:
        assert tar.getnames() == (wanted or [])


@pytest.mark.parametrize("link", ["/etc/passwd", "../../secret", "in/../.."])
def test_collect_refuses_links_that_leave(folders: Workspaces, tmp_path: Path, link: str) -> None:
    """A link out of the workspace is SP213, no half-written archive stays, and a link elsewhere in the workspace disturbs nobody."""
    folder = folders.create("t", [("out/x", FILE, b"")], [])
    (folder / "elsewhere").symlink_to(link)
    assert folders.collect("t", ["out"], tmp_path / "good.tar") == []
    (folder / "out/bad").symlink_to(link)
    with pytest.raises(UserError, match="SP213"):
        folders.collect("t", ["out"], tmp_path / "o.tar")
    assert not (tmp_path / "o.tar").exists()


def test_collect_never_reads_through_a_linked_folder(folders: Workspaces, tmp_path: Path) -> None:
    """A folder that the task replaced by a link to one outside gives nothing of that folder away."""
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/secret").write_text("secret")
    folder = folders.create("t", [], [])
    (folder / "out").symlink_to(tmp_path / "keys")
    assert folders.collect("t", ["out/secret", "out/*"], tmp_path / "o.tar") == ["out/secret", "out/*"]
    with pytest.raises(UserError, match="SP213"):
        folders.read("t", "out/secret", 100)


def test_collect_refuses_what_is_no_file(folders: Workspaces, tmp_path: Path) -> None:
    """A pipe among the outputs is SP216, and does not make the server wait."""
    folder = folders.create("t", [], [])
    os.mkfifo(folder / "pipe")
    with pytest.raises(UserError, match="SP216"):
        folders.collect("t", ["*"], tmp_path / "o.tar")
    assert folders.read("t", "pipe", 100) is None


def test_read_follows_only_inner_links_and_has_a_limit(folders: Workspaces) -> None:
    """A report may be an inner link; one that is missing is None, one that is too large SP215."""
    folder = folders.create("t", [("build/a/report.xml", FILE, b"<x/>")], [])
    (folder / "report.xml").symlink_to("latest/report.xml")
    (folder / "latest").symlink_to("build/./b/../a")
    (folder / "build/b").mkdir()
    (folder / "loop").symlink_to("loop")
    (folder / "up").symlink_to("build/../../x")
    assert folders.read("t", "report.xml", 4) == b"<x/>"
    assert folders.read("t", "missing.xml", 4) is None
    assert folders.read("t", "build", 4) is None
    assert folders.read("nobody", "report.xml", 4) is None
    for path in ("loop", "up"):
        with pytest.raises(UserError, match="SP213"):
            folders.read("t", path, 4)
    with pytest.raises(UserError, match="SP215"):
        folders.read("t", "report.xml", 3)
    with pytest.raises(UserError, match="SP211"):
        folders.read("t", "../t/report.xml", 4)


def test_remove_deletes_whatever_the_task_did(folders: Workspaces, root: Path, tmp_path: Path) -> None:
    """Shut folders, links to elsewhere and depth beyond any recursion are deleted; what links point to stays."""
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep/file").touch()
    folder = folders.create("t", [("a/b/c", FILE, b"")], [])
    (folder / "link").symlink_to(tmp_path / "keep")
    current = os.open(folder, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=current)
        following = os.open("d", os.O_RDONLY, dir_fd=current)
        os.close(current)
        current = following
    os.close(current)
    for name in ("a/b", "a", "."):
        (folder / name).chmod(0)
    folders.remove("t")
    assert list(root.iterdir()) == []
    assert (tmp_path / "keep/file").exists()
    folders.remove("t")


def test_sweep_deletes_what_a_killed_server_left(folders: Workspaces, root: Path) -> None:
    """Every workspace goes, and what an interrupted deletion had set aside."""
    folders.create("one", [("x", FILE, b"")], [])
    folders.create("two", [], [])
    (root / ".gone-1").mkdir()
    assert folders.sweep() == 3
    assert list(root.iterdir()) == []

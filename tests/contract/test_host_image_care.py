"""A file of an unpacked image is edited, added, removed or made writable: found although size and time are kept, and brought back."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from contract.test_host_unpack import Shelf, entry, hard, layer, link, shelf
from setpoint.adapters.host import integrity
from setpoint.adapters.host.image_care import ROUND_S, ImageCare

__all__ = ["shelf"]


class Machine:
    """One unpacked image, somebody who touches it, and a care for it whose clock the test moves."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.now = 0.0
        self.used: set[str] = set()
        lower = layer(entry("app", None), entry("app/main.py", "print(1)\n"), entry("app/data/x", "x"), link("current", "app"))
        self.image = shelf.put(lower, layer(hard("app/same", "app/main.py"), entry("app/data/.wh.x", ""), entry("app/data/y", "y")))
        self.images = shelf.images()
        self.rootfs = self.images.unpack(self.image).rootfs
        self.care = self.restarted()

    def restarted(self) -> ImageCare:
        """The care of a server that has just started."""
        return ImageCare(self.shelf.images(), lambda: self.used, lambda: self.now)

    def look(self, seconds: float = ROUND_S) -> list[tuple[str, str]]:
        """Look after a while: (path, field) of what differs."""
        self.now += seconds
        found = self.care.differences(self.image)
        return [(difference.subject.rpartition(" ")[2], difference.field) for difference in found]


@pytest.fixture
def machine(shelf: Shelf) -> Machine:
    """A machine whose image was looked at once."""
    found = Machine(shelf)
    opened = shelf.blobs.opened
    assert found.look() == []
    assert shelf.blobs.opened == opened, "a look reads no layer"
    return found


def _same_size_and_time(path: Path, text: str) -> None:
    facts = path.stat()
    assert len(text) == facts.st_size
    path.write_text(text)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (facts.st_size, facts.st_mtime_ns)


def _swapped(path: Path) -> None:
    facts = path.stat()
    other = path.with_name("other")
    other.write_text("print(9)\n")
    other.chmod(facts.st_mode & 0o7777)
    os.utime(other, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    other.rename(path)


@pytest.mark.parametrize(
    ("touch", "found"),
    [
        (lambda root: _same_size_and_time(root / "app/main.py", "print(2)\n"), [("/app/main.py", "content"), ("/app/same", "content")]),
        (lambda root: _swapped(root / "app/main.py"), [("/app/main.py", "content")]),
        (lambda root: (root / "app/data/y").unlink(), [("/app/data/y", "entry")]),
        (lambda root: (root / "app/data/new").write_text("evil"), [("/app/data/new", "entry")]),
        (lambda root: (root / "new").mkdir(), [("/new", "entry")]),
        (lambda root: (root / "app/main.py").chmod(0o777), [("/app/main.py", "mode"), ("/app/same", "mode")]),
        (lambda root: (root / "app").chmod(0o777), [("/app", "mode")]),
        (lambda root: os.utime(root / "app/data/y", (1, 1)), [("/app/data/y", "time")]),
        (lambda root: [(root / "current").unlink(), (root / "current").symlink_to("/etc")], [("/current", "target")]),
        (lambda root: subprocess.run(["sh", "-c", "rm current; mkfifo current"], cwd=root, check=True), [("/current", "kind")]),
    ],
)
def test_whatever_is_changed_is_found_within_a_round_and_brought_back(
    machine: Machine, touch: Callable[[Path], object], found: list[tuple[str, str]]
) -> None:
    """Named by its path and what of it differs; a fresh tree takes its place."""
    touch(machine.rootfs)
    assert machine.look() == found
    machine.care.replace(machine.image)
    assert machine.look() == []
    assert (machine.rootfs / "app/main.py").read_text() == "print(1)\n"
    assert sorted(p.name for p in machine.rootfs.rglob("*")) == ["app", "current", "data", "main.py", "same", "y"]


def test_an_edit_while_the_server_was_down_is_found_by_the_first_look(machine: Machine) -> None:
    """The catalogue lies beside the tree; a new server looks at everything at once."""
    _same_size_and_time(machine.rootfs / "app/main.py", "print(2)\n")
    machine.care = machine.restarted()
    assert machine.look(0.0) == [("/app/main.py", "content"), ("/app/same", "content")]


def test_a_look_goes_round_in_parts(machine: Machine) -> None:
    """A second's look takes its share only; together they miss nothing."""
    (machine.rootfs / "app/data/y").chmod(0o640)
    found = [machine.look(1.0) for _ in range(int(ROUND_S))]
    assert found[-1] == [("/app/data/y", "mode")]


def test_what_was_only_touched_is_no_difference_and_costs_one_comparison(machine: Machine) -> None:
    """A change time alone says nothing: the content decides, and the catalogue learns the new stamp; no layer is unpacked for it."""
    opened = machine.shelf.blobs.opened
    before = integrity.read(machine.rootfs.parent)
    (machine.rootfs / "app/main.py").chmod((machine.rootfs / "app/main.py").stat().st_mode & 0o7777)
    assert machine.look() == []
    after = integrity.read(machine.rootfs.parent)
    assert after != before
    assert {path: entry[2:] for path, entry in after.items()} == {path: entry[2:] for path, entry in before.items()}
    assert [machine.look() for _ in range(3)] == [[]] * 3
    assert machine.shelf.blobs.opened == opened


def test_an_undone_edit_is_gone_by_itself(machine: Machine) -> None:
    """What only is reported is compared again when it is touched again."""
    _same_size_and_time(machine.rootfs / "app/main.py", "print(2)\n")
    assert machine.look() != []
    assert machine.look() != []
    _same_size_and_time(machine.rootfs / "app/main.py", "print(1)\n")
    assert machine.look() == []


def test_a_lost_catalogue_means_a_comparison_with_the_layers(machine: Machine) -> None:
    """As for images of a release that kept none: nothing is believed, everything is read."""
    _same_size_and_time(machine.rootfs / "app/main.py", "print(2)\n")
    (machine.rootfs.parent / integrity.CATALOGUE).unlink()
    machine.care = machine.restarted()
    assert machine.look(0.0) == [("/app/main.py", "content"), ("/app/same", "content")]
    machine.care.replace(machine.image)
    (machine.rootfs.parent / integrity.CATALOGUE).write_text("{}")
    machine.care = machine.restarted()
    assert machine.look(0.0) == []
    assert integrity.read(machine.rootfs.parent) == integrity.catalogue(machine.rootfs)


def test_a_replaced_tree_stays_until_nothing_was_started_from_it(machine: Machine) -> None:
    """Running replicas read from it; the last one gone, it is deleted, and no scratch is left."""
    before = machine.care.images.generation(machine.image)
    inode = machine.rootfs.stat().st_ino
    machine.used = {before}
    machine.care.replace(machine.image)
    assert machine.care.images.generation(machine.image) not in ("", before)
    machine.care.sweep({machine.image})
    folder = machine.rootfs.parents[1]
    assert [p.stat().st_ino for p in folder.glob(".old-*/rootfs")] == [inode]
    machine.used = set()
    machine.care.sweep({machine.image})
    assert sorted(folder.iterdir()) == [machine.rootfs.parent]


def test_many_changes_are_shown_as_twenty_and_a_number(machine: Machine) -> None:
    """Who deletes everything does not fill the journal."""
    for number in range(30):
        (machine.rootfs / f"n{number}").write_text("")
    found = machine.look()
    assert len(found) == 21
    assert found[-1][1] == "more entries"


@pytest.mark.parametrize("what", ["rootfs", "."])
def test_a_tree_that_is_deleted_is_brought_back(machine: Machine, what: str) -> None:
    """All of it, or the image's whole folder: what runs from it goes on, and the next start finds a tree."""
    shutil.rmtree(machine.rootfs.parent / what)
    assert machine.look()[0] == ("/", "entry")
    machine.care.replace(machine.image)
    assert machine.look() == []
    assert (machine.rootfs / "app/main.py").read_text() == "print(1)\n"

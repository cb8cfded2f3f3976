"""A home on a full disk: what happened is what is said, and with room again everything goes on by itself; on a small tmpfs of its own."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from live_home import LiveHome, new_home, wait_for
from setpoint.adapters import sandbox
from setpoint.core.errors import SetpointError


@pytest.fixture(scope="module")
def small() -> Iterator[LiveHome]:
    """A live home on a file system of 64 MB."""
    problem = sandbox.probe()
    if problem:
        pytest.skip(f"INCOMPLETE: needs a sandbox: {problem}")
    folder = Path(tempfile.mkdtemp(prefix="setpoint-full-"))
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,mode=0711", "none", folder], check=False).returncode
    )
    if not mounted:
        folder.rmdir()
        pytest.skip("INCOMPLETE: needs root and leave to mount a tmpfs")
    found = None
    try:
        found = new_home(folder)
        yield found
    finally:
        if found is not None:
            found.down()
        subprocess.run(["umount", "-l", folder], check=True)
        shutil.rmtree(folder, ignore_errors=True)


def _fill(live: LiveHome) -> Path:
    """Leave no byte free; removing the file gives the room back."""
    ballast = live.work / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            pass
    return ballast


def test_an_answer_on_a_full_disk_is_what_the_journal_says(small: LiveHome) -> None:
    """Whoever is told that a hold is there finds it in the journal, and whoever is refused does not; the tables follow with room again."""
    ballast = _fill(small)
    told: list[str] = []
    refused: dict[str, str] = {}
    try:
        for number in range(40):
            why = f"full {number} " + "x" * 600
            try:
                small.api("operator").post("/api/v1/holds", {"environment": "staging", "app": "hello", "message": why})
                told.append(why)
            except SetpointError as error:
                refused[why] = error.code
        assert set(refused.values()) <= {"SP002", "SP009"}, "a disk that is full is named"
        assert refused, "the disk was full"
    finally:
        ballast.unlink()
    wait_for("the holds", lambda: {hold["why"] for hold in small.api().get("/api/v1/holds")} == set(told))
    assert [entry["body"]["why"] for entry in small.journal() if entry["kind"] == "hold.opened"] == told
    released = small.api("operator").post("/api/v1/holds/release", {"environment": "staging", "app": "hello"})
    assert len(released) == len(told)


def test_a_push_on_a_full_disk_says_so_and_goes_through_with_room(small: LiveHome) -> None:
    """Git's own words are followed by ours: what happened, the code, and how to go on."""
    small.release("one")
    small.commit("hello", {"big.bin": os.urandom(1 << 19).hex()}, push=False)
    ballast = _fill(small)
    try:
        done = small.git(small.work / "hello", "push", "origin", "main", check=False)
        assert done.returncode
        assert "remote: error[SP1" in done.stderr
        assert "remote:   = help: make room on the disk" in done.stderr
    finally:
        ballast.unlink()
    assert small.git(small.work / "hello", "push", "origin", "main").returncode == 0

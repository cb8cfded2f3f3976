"""Reading a replica's log across files that were turned over."""

from pathlib import Path

from setpoint.adapters.host.replica_log import Follower, previous, tail

AGAIN = "[setpoint] started again after exit status 3 (restart {}, 2026-11-25T00:00:00.000Z)\n"


def test_the_tail_is_the_newest_output_across_files(tmp_path: Path) -> None:
    """The end of the newest file is always there; older files fill what is left, in their order."""
    paths = [tmp_path / name for name in ("log.2", "log.1", "log")]
    for path, text in zip(paths, ("one ", "two ", "three"), strict=True):
        path.write_text(text)
    assert tail(paths, 100) == "one two three"
    assert tail(paths, 5) == "three"
    assert tail(paths, 7) == "o three"
    (tmp_path / "log.1").unlink()
    assert tail(paths, 100) == "one three"


def test_the_previous_process_is_what_stands_before_the_last_restart() -> None:
    """Its output and the line that says how it ended; nothing without a restart."""
    assert previous("a\nb\n") == ""
    first = "a\nb\n" + AGAIN.format(1)
    assert previous(first + "c\n") == first
    assert previous(first + "c\n" + AGAIN.format(2) + "d\n") == "c\n" + AGAIN.format(2)


def test_a_follower_loses_nothing_when_the_log_turns_over(tmp_path: Path) -> None:
    """What was written before the turn and after it comes, each once; it begins at the end of what is there."""
    log = tmp_path / "log"
    log.write_text("old")
    follower = Follower(tmp_path)
    assert follower.read() == ""
    with log.open("a") as file:
        file.write("one ")
    assert follower.read() == "one "
    with log.open("a") as file:
        file.write("two ")
    log.rename(tmp_path / "log.1")
    log.write_text("three")
    assert [follower.read(), follower.read(), follower.read()] == ["two ", "three", ""]
    log.rename(tmp_path / "log.2")
    log.write_text("four")
    assert follower.read() == "four"


def test_a_follower_of_what_is_gone_says_nothing(tmp_path: Path) -> None:
    """A folder that is removed meanwhile is no error; a log that begins later is read from its start."""
    follower = Follower(tmp_path)
    assert follower.read() == ""
    (tmp_path / "log").write_text("first")
    assert follower.read() == "first"
    (tmp_path / "log").unlink()
    assert follower.read() == ""

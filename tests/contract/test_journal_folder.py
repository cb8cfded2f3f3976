"""The journal and its folder: a chain that holds, tails that a crash left, tampering that is found, a format that never changes."""

import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from setpoint.adapters import journal_folder
from setpoint.adapters.journal_folder import JournalFolder
from setpoint.core import canonical
from setpoint.core.errors import BugError, UserError, WorldError
from setpoint.ground.journal.model import GENESIS, Entry, leaf_hash, parse
from setpoint.ground.journal.service import Journal, check_chain

GOLDEN = Entry(
    index=7,
    at="2026-11-23T06:00:00.000Z",
    kind="approval.given",
    subject="p-abcdefgh",
    actor="person:zoë@example.com",
    body={"z": [1, True, None, "\u2028 é 🦊"], "a": {"b": '\x07"\\'}},
    prev="ab" * 32,
)


class Steps:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.instant = datetime(2026, 11, 23, 6, tzinfo=UTC)

    def now(self) -> datetime:
        """Return the instant it was set to."""
        return self.instant


def _open(root: Path, clock: Steps | None = None) -> Journal:
    return Journal(JournalFolder(root, writable=True), clock or Steps())


def _filled(root: Path, count: int = 5) -> Journal:
    journal = _open(root)
    for number in range(count):
        journal.append("run.created", f"r-{number}", "setpoint", {"n": number})
    return journal


def test_the_leaf_format_is_frozen() -> None:
    """These bytes and this hash are for ever: a change breaks every journal that was ever written."""
    assert GOLDEN.leaf().hex() == (
        "7b226163746f72223a22706572736f6e3a7a6fc3ab406578616d706c652e636f6d222c226174223a22323032362d31312d32335430363a30303a3030"
        "2e3030305a222c22626f6479223a7b2261223a7b2262223a225c75303030375c225c5c227d2c227a223a5b312c747275652c6e756c6c2c22e280a820"
        "c3a920f09fa68a225d7d2c22696e646578223a372c226b696e64223a22617070726f76616c2e676976656e222c2270726576223a2261626162616261"
        "626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162222c22"
        "7375626a656374223a22702d6162636465666768222c2276223a317d"
    )
    assert leaf_hash(GOLDEN.leaf()) == "7f661a45d2ec5513bdaa758c3ec6db0fc93df0287c3e83b4f238df1e4e85a3b4"
    assert parse(GOLDEN.leaf()) == GOLDEN


def test_entries_form_a_chain_from_genesis(tmp_path: Path) -> None:
    """Each entry names the hash of the one before, and a reopened journal goes on where it was."""
    first = _filled(tmp_path, 2)
    journal = _open(tmp_path)
    assert (len(journal), journal.head) == (2, first.head)
    third = journal.append("run.finished", "r-1", "setpoint", {})
    entries = list(journal.entries())
    assert [entry.index for entry in entries] == [0, 1, 2]
    assert [entry.prev for entry in entries] == [GENESIS, leaf_hash(entries[0].leaf()), leaf_hash(entries[1].leaf())]
    assert entries[2] == third
    check = journal.check()
    assert (check.entries, check.head, check.fault) == (3, journal.head, "")


def test_reading_starts_anywhere(tmp_path: Path) -> None:
    """`entries(n)` begins with entry n, past the end it is empty."""
    journal = _filled(tmp_path)
    assert [entry.index for entry in journal.entries(3)] == [3, 4]
    assert list(journal.entries(5)) == []


def test_an_entry_that_lacks_only_its_line_end_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever was told that it is written finds it: the newline is written anew, and the log says so; one byte less is a torn line."""
    head = _filled(tmp_path).head
    (segment,) = tmp_path.glob("*.log")
    data = segment.read_bytes()
    segment.write_bytes(data[:-1])
    journal = _open(tmp_path)
    assert (segment.read_bytes(), len(journal), journal.head, list(tmp_path.glob("*.torn"))) == (data, 5, head, [])
    assert "it is completed" in caplog.text
    segment.write_bytes(data[:-2])
    assert len(_open(tmp_path)) == 4
    assert "set aside" in caplog.text


def test_a_torn_tail_is_set_aside_and_the_chain_goes_on(tmp_path: Path) -> None:
    """Half a line was never acknowledged: it is kept in a file of its own, and the next entry takes its place."""
    _filled(tmp_path, 3)
    (segment,) = tmp_path.glob("*.log")
    whole = segment.read_bytes()
    segment.write_bytes(whole + b'{"actor":"setp')
    reader = Journal(JournalFolder(tmp_path, writable=False), Steps())
    assert len(reader) == 3
    assert segment.read_bytes() != whole, "a reader mends nothing"
    journal = _open(tmp_path)
    assert [path.read_bytes() for path in tmp_path.glob("*.torn")] == [b'{"actor":"setp']
    assert journal.append("run.created", "r-3", "setpoint", {}).index == 3
    assert journal.check().fault == ""


def test_a_segment_that_holds_nothing_but_a_torn_line_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash in the first append of a new segment loses nothing."""
    monkeypatch.setattr(journal_folder, "SEGMENT_BYTES", 1)
    _filled(tmp_path, 2)
    (tmp_path / "000000000002.log").write_bytes(b"{torn")
    journal = _open(tmp_path)
    journal.append("run.created", "r-2", "setpoint", {})
    assert [entry.index for entry in _open(tmp_path).entries()] == [0, 1, 2]
    assert sorted(path.name for path in tmp_path.glob("*.log")) == ["000000000000.log", "000000000001.log", "000000000002.log"]


def test_segments_roll_and_are_read_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full segment is left as it is; the next is named by its first entry."""
    monkeypatch.setattr(journal_folder, "SEGMENT_BYTES", 500)
    _filled(tmp_path, 12)
    segments = sorted(tmp_path.glob("*.log"))
    assert len(segments) > 2
    assert all(parse(segment.read_bytes().splitlines()[0]).index == int(segment.stem) for segment in segments)
    for start in range(13):
        assert [parse(line).index for line in JournalFolder(tmp_path, writable=False).read(start)] == list(range(start, 12))
    assert _open(tmp_path).check().entries == 12


@pytest.mark.parametrize("victim", [0, 2, 3])
def test_a_changed_entry_breaks_the_chain_after_it(tmp_path: Path, victim: int) -> None:
    """`check` names the entry that no longer continues what stands before it, and its place; nothing is written behind it."""
    _filled(tmp_path)
    (segment,) = tmp_path.glob("*.log")
    lines = segment.read_bytes().splitlines()
    lines[victim] = lines[victim].replace(b'"n":', b'"n":1')
    segment.write_bytes(b"\n".join(lines) + b"\n")
    found = check_chain(JournalFolder(tmp_path, writable=False))
    assert (found.fault, found.where) == (f"entry {victim + 1} does not continue the chain", f"{segment}:{victim + 2}")
    with pytest.raises(UserError, match="SP005") as refused:
        _open(tmp_path)
    assert (refused.value.where, "restore journal/" in refused.value.fix) == (found.where, True)


def test_a_removed_and_an_unreadable_entry_are_found(tmp_path: Path) -> None:
    """Taking an entry out, or writing nonsense, is found at its place; reading nonsense is an error with its index."""
    _filled(tmp_path)
    (segment,) = tmp_path.glob("*.log")
    lines = segment.read_bytes().splitlines()
    journal = _open(tmp_path)
    segment.write_bytes(b"\n".join([lines[0], *lines[2:]]) + b"\n")
    assert journal.check().fault == "entry 1 does not continue the chain"
    segment.write_bytes(b"\n".join([lines[0], b"[]", *lines[2:]]) + b"\n")
    assert journal.check().fault == "entry 1 is not readable"
    with pytest.raises(BugError, match="entry 1"):
        list(journal.entries())


def test_a_clock_that_goes_back_is_held_at_the_last_entry(tmp_path: Path) -> None:
    """Time in the journal never runs backwards, also across a restart, and runs on when the clock has caught up."""
    clock = Steps()
    journal = _open(tmp_path, clock)
    journal.append("a.b", "1", "setpoint", {})
    clock.instant -= timedelta(hours=1)
    held = journal.append("a.b", "2", "setpoint", {})
    again = _open(tmp_path, clock).append("a.b", "3", "setpoint", {})
    assert (held.at, again.at) == ("2026-11-23T06:00:00.000Z", "2026-11-23T06:00:00.000Z")
    clock.instant += timedelta(hours=2)
    assert _open(tmp_path, clock).append("a.b", "4", "setpoint", {}).at == "2026-11-23T07:00:00.000Z"


def test_a_full_disk_writes_nothing_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused append is a world error, leaves no half line, and the next one takes the same index."""
    journal = _filled(tmp_path, 2)
    (segment,) = tmp_path.glob("*.log")
    before = segment.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(WorldError, match="SP002"):
            journal.append("run.created", "r-2", "setpoint", {})
    assert segment.read_bytes() == before
    assert journal.append("run.created", "r-2", "setpoint", {}).index == 2
    assert journal.check().entries == 3


def test_an_append_is_on_disk_before_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The segment is synced with every append; the folder too whenever the segment was empty, also after a first append that failed."""
    synced: list[str] = []
    real = os.fsync

    def spy(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        if len(synced) == 1:
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    journal = _open(tmp_path / "journal")
    monkeypatch.setattr(os, "fsync", spy)
    with pytest.raises(WorldError):
        journal.append("a.b", "1", "setpoint", {})
    journal.append("a.b", "1", "setpoint", {})
    journal.append("a.b", "2", "setpoint", {})
    segment = "000000000000.log"
    assert synced == [segment, segment, "journal", segment]


def test_lines_hold_no_raw_newline(tmp_path: Path) -> None:
    """Text with newlines and separators stays one line."""
    journal = _open(tmp_path)
    journal.append("a.b", "x\ny", "setpoint", {"text": "one\ntwo\r\u2028\x85"})
    (entry,) = _open(tmp_path).entries()
    assert entry.body == {"text": "one\ntwo\r\u2028\x85"}
    assert canonical.dumps(entry.body).count(b"\n") == 0


def test_who_reads_on_does_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that was at the end goes on there, over segments too; one that starts earlier still gets everything."""
    monkeypatch.setattr(journal_folder, "SEGMENT_BYTES", 600)
    writer = _filled(tmp_path, 5)
    reader = JournalFolder(tmp_path, writable=False)
    assert len(list(reader.read())) == 5
    _, segment, offset = reader._after
    assert segment is not None
    assert offset == segment.stat().st_size
    writer.append("run.created", "r-5", "setpoint", {})
    assert [parse(line).index for line in reader.read(5)] == [5]
    assert [parse(line).index for line in reader.read(2)] == [2, 3, 4, 5]
    assert list(reader.read(6)) == []
    for number in range(6, 20):
        writer.append("run.created", f"r-{number}", "setpoint", {})
    assert [parse(line).index for line in reader.read(6)] == list(range(6, 20))
    assert [parse(line).index for line in reader.read(19)] == [19]

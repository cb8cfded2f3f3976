"""The contract of `pipeline.ports.TaskLogs`."""

import json
from pathlib import Path

import pytest

from setpoint.adapters import task_logs
from setpoint.adapters.task_logs import TaskLogFolder
from setpoint.pipeline.model import LogRecord
from setpoint.pipeline.ports import TaskLogs


def record(seq: int, text: str = "x\n") -> LogRecord:
    """Return a record."""
    return LogRecord(seq, "2026-11-23T06:00:00.000Z", "out", text)


@pytest.fixture
def logs(tmp_path: Path) -> TaskLogs:
    """Give an empty log folder."""
    return TaskLogFolder(tmp_path)


def test_records_come_back_in_order_and_from_any_number(logs: TaskLogs) -> None:
    """A reader gets what follows the number it names, at most as many as it asks for; an unknown log is empty."""
    written = [record(seq, f"line {seq} ü\u2028\0\n") for seq in range(5)]
    for one in written:
        logs.append("r-1", "test", [one])
    assert logs.read("r-1", "test") == written
    assert logs.read("r-1", "test", after_seq=2) == written[3:]
    assert logs.read("r-1", "test", after_seq=0, limit=2) == written[1:3]
    assert logs.read("r-1", "test", after_seq=4) == []
    assert logs.read("r-1", "other") == []


def test_every_number_is_found_in_a_long_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bisection finds each place exactly, with gaps in the numbers, lines of every length, and a line longer than its stretch."""
    monkeypatch.setattr(task_logs, "_NEAR_BYTES", 100)
    logs = TaskLogFolder(tmp_path)
    sizes = [1, 700, 3, 50, 20_000, 2, 9, 400]
    written = [record(3 * number, "y" * sizes[number % len(sizes)]) for number in range(400)]
    for one in written:
        logs.append("r", "t", [one])
    for seq in range(-1, 1200):
        found = logs.read("r", "t", after_seq=seq, limit=1)
        assert [one.seq for one in found] == [one.seq for one in written if one.seq > seq][:1]


def test_reading_far_into_a_log_reads_little_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place of a number in a million lines is found by parsing some hundreds of them."""
    (tmp_path / "r").mkdir()
    lines = [json.dumps({"seq": seq, "at": "t", "stream": "out", "text": "z"}) for seq in range(200_000)]
    (tmp_path / "r" / "t.jsonl").write_text("\n".join(lines) + "\n")
    parsed = 0
    parse = task_logs._parse

    def counting(line: bytes) -> LogRecord | None:
        nonlocal parsed
        parsed += 1
        return parse(line)

    monkeypatch.setattr(task_logs, "_parse", counting)
    assert [one.seq for one in TaskLogFolder(tmp_path).read("r", "t", after_seq=123_456, limit=3)] == [123_457, 123_458, 123_459]
    assert parsed < 2_000


def test_numbers_always_ascend(tmp_path: Path) -> None:
    """A note that repeats a number gets the next one, also when the log was opened by another process before."""
    logs = TaskLogFolder(tmp_path)
    for seq in (0, 1, 0):
        logs.append("r", "t", [record(seq)])
    logs.close()
    again = TaskLogFolder(tmp_path)
    again.append("r", "t", [record(0, "note")])
    assert [one.seq for one in again.read("r", "t")] == [0, 1, 2, 3]


def test_a_torn_line_is_skipped_and_ended(tmp_path: Path) -> None:
    """What a crash left half-written is no record, and the next record begins its own line."""
    logs = TaskLogFolder(tmp_path)
    logs.append("r", "t", [record(0)])
    logs.close()
    (file,) = tmp_path.rglob("*.jsonl")
    with file.open("ab") as torn:
        torn.write(b'{"seq":1,"at"')
    assert [one.seq for one in logs.read("r", "t")] == [0]
    logs.append("r", "t", [record(1)])
    assert [one.seq for one in logs.read("r", "t")] == [0, 1]


def test_truncate_starts_anew(logs: TaskLogs) -> None:
    """After a truncation only new records are there, in a log that was open and in one that was not."""
    logs.append("r", "t", [record(0, "old")])
    logs.truncate("r", "t")
    logs.truncate("r", "never")
    logs.append("r", "t", [record(0, "new")])
    assert [one.text for one in logs.read("r", "t")] == ["new"]


def test_names_never_leave_the_folder(tmp_path: Path) -> None:
    """Runs and tasks with slashes, dots or blanks are file names below the root, each its own."""
    logs = TaskLogFolder(tmp_path / "logs")
    names = [("..", ".."), ("a/../../b", "t/u"), ("r", ".hidden"), ("r", "with blank"), ("r", "with%20blank")]
    for number, (run, task) in enumerate(names):
        logs.append(run, task, [record(0, str(number))])
    assert [logs.read(run, task)[0].text for run, task in names] == ["0", "1", "2", "3", "4"]
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]


def test_more_logs_than_open_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs beyond the bound of open files are closed and opened again without losing a record."""
    monkeypatch.setattr(task_logs, "_OPEN_FILES", 2)
    logs = TaskLogFolder(tmp_path)
    for seq in range(3):
        for task in "abcd":
            logs.append("r", task, [record(seq)])
    assert all([one.seq for one in logs.read("r", task)] == [0, 1, 2] for task in "abcd")
    assert len(logs._writers) == 2


def test_a_read_of_long_lines_ends_early_and_goes_on(tmp_path: Path) -> None:
    """Lines of megabytes come in several reads, each of bounded size, and none is lost."""
    logs = TaskLogFolder(tmp_path)
    for seq in range(5):
        logs.append("r", "t", [LogRecord(seq, "2026-01-01T00:00:00.000Z", "out", "x" * (3 << 20))])
    seen: list[int] = []
    while found := logs.read("r", "t", seen[-1] if seen else -1):
        assert len(found) <= 3
        seen += [one.seq for one in found]
    assert seen == [0, 1, 2, 3, 4]


def test_every_append_says_that_the_log_grew(tmp_path: Path) -> None:
    """Followers are woken once the record can be read."""
    seen: list[int] = []
    reader = TaskLogFolder(tmp_path)
    writer = TaskLogFolder(tmp_path, lambda: seen.append(len(reader.read("r", "t"))))
    writer.append("r", "t", [record(0)])
    writer.append("r", "t", [record(1)])
    assert seen == [1, 2]
    writer.close()

"""The contract of `pipeline.ports.Executor`: stories that every executor must play the same way, whatever it runs tasks in.

Played by tests/contract/test_runner.py in sandboxes and by tests/kubernetes/test_executor_contract.py in pods. What one of them cannot do
is not in here: it stays with the other, and `KEPT_APART` says why.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest

from setpoint.adapters.runner.output import LINE_COST
from setpoint.core.errors import WorldError
from setpoint.pipeline.model import LogRecord, TaskExit

KEPT_APART = {
    "gives_only_the_declared_environment": "an image's own ENV stays: it is part of the image, whose digest is in the key",
    "shows_nothing_but_workspace_and_toolchain": "the system is an image that the owners chose, not a selection of the machine's files",
    "keeps_the_network_away_unless_declared": "a pod has the network: such a task has to declare it (SP277)",
    "cancelled_twice_kills_at_once": "it needs a grace of minutes, and that of pods is fixed; the second cancellation deletes the pod",
    "runner_*": "they are about the runner process, which a cluster does not have",
}
"""Tests of the sandboxed executor that are no part of the contract for pods, and why."""


class Bench(Protocol):
    """An executor with workspaces, and the logs of what it ran."""

    grace_s: float

    async def run(self, script: str, task: str = "t", **options: Any) -> TaskExit:
        """Run a shell script in a fresh workspace, with a log callback `on_log` if one is given; all that it leaves is kept."""
        ...

    def seen(self, task: str = "t") -> list[LogRecord]:
        """Return a task's log without what says where it runs."""
        ...

    def left(self, path: str, task: str = "t") -> bytes | None:
        """Return a file that a task left."""
        ...

    def touch(self, name: str, task: str = "t") -> None:
        """Make an empty file in the workspace of a task that runs."""
        ...


Story = Callable[[Bench], Awaitable[None]]


def text(bench: Bench, task: str = "t", stream: str = "out") -> str:
    """Return a task's output."""
    return "".join(record.text for record in bench.seen(task) if record.stream == stream)


async def until(condition: Callable[[], bool], timeout_s: float = 90.0) -> None:
    """Wait for a condition with a deadline."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while not condition():
        assert loop.time() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.02)


async def shown(bench: Bench, part: str, task: str = "t") -> None:
    """Wait until a task has printed part."""
    await until(lambda: part in text(bench, task))


def processes_with(marker: str) -> list[int]:
    """Return the processes of this machine, those in its containers too, whose command line holds marker; zombies left out."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if marker.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]


async def runs_in_the_workspace_and_reports_the_exit_status(bench: Bench) -> None:
    """A task works on its inputs, leaves files behind, and its exit status and output come back, each stream for itself."""
    script = b"#!/bin/sh\necho ran; echo bad >&2\nexit 7\n"
    files = [("src/in.txt", 0o100644, b"hello\n"), ("go.sh", 0o100755, script), ("link", 0o120000, b"src/in.txt")]
    ended = await bench.run("pwd; cat src/in.txt link; echo made > out.txt; exec ./go.sh", files=files)
    assert ended == TaskExit("exited", 7)
    assert text(bench) == "/work\nhello\nhello\nran\n"
    assert text(bench, stream="err") == "bad\n"
    assert bench.left("out.txt") == b"made\n"
    assert await bench.run("kill -9 $$", "killed") == TaskExit("exited", 137)


async def gives_the_declared_environment_and_masks_secrets(bench: Bench) -> None:
    """What is declared is there as it is; a secret is there too, and `***` in all that is printed."""
    declared = {"DECLARED": "yes -- $(no) 'quoted'\nsecond line"}
    script = 'printf "%s|" "$DECLARED" "$HOME" "$CI"; echo $TOKEN; echo "$TOKEN" | od -c >&2'
    await bench.run(script, "env", environment=declared, secrets={"TOKEN": "hunter2-hunter2"})
    assert text(bench, "env") == f"{declared['DECLARED']}|/tmp|true|***\n"
    assert "h   u   n   t" in text(bench, "env", "err")


async def cancelled_ends_the_whole_tree(bench: Bench) -> None:
    """Cancelling sends TERM to the command, KILL to what is left after the grace, a double-forked daemon too, and returns after."""
    daemon = "(setsid sh -c 'trap \"\" TERM; echo daemon-$$; sleep 98761' &)"
    script = f"{daemon}; trap 'echo asked; sleep 98762' TERM; echo up; while :; do sleep 0.01 || :; done"
    running = asyncio.create_task(bench.run(script, "c"))
    await shown(bench, "up\n", "c")
    await shown(bench, "daemon-", "c")
    await until(lambda: bool(processes_with("98761")))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not processes_with("98761")
    assert not processes_with("98762")
    assert "asked" in text(bench, "c")
    assert "cancelled: asked to end (TERM)\nstill running: killed\n" in text(bench, "c", "note")


async def ends_daemons_with_the_command(bench: Bench) -> None:
    """What a task leaves in the background is gone when its end is reported."""
    assert await bench.run("(setsid sleep 98763 &); echo done", "d") == TaskExit("exited", 0)
    assert not processes_with("98763")


async def times_out(bench: Bench) -> None:
    """A task that overstays is asked to end, and says so; one that does not listen is killed after the grace."""
    loop = "while :; do sleep 0.01 || :; done"
    polite, deaf = await asyncio.gather(
        bench.run(f"trap 'echo bye; exit 3' TERM; {loop}", "polite", timeout_s=0.6),
        bench.run(f"trap '' TERM; {loop}", "deaf", timeout_s=0.6),
    )
    assert polite == TaskExit("timed-out", 3, "timed out after 0.6 s")
    assert text(bench, "polite") == "bye\n"
    assert deaf == TaskExit("timed-out", 137, f"timed out after 0.6 s, killed after {bench.grace_s:g} s of grace")


async def log_is_ordered_numbered_and_live(bench: Bench) -> None:
    """Records are numbered in order, a line ends its record, and an unfinished line is shown while the task still waits."""
    script = "for i in 1 2 3; do echo line $i; done; printf '50%%'; while [ ! -e go ]; do sleep 0.01; done; printf '\\303\\050\\n'"
    running = asyncio.create_task(bench.run(script, "live"))
    await shown(bench, "50%", "live")
    bench.touch("go", "live")
    await running
    records = bench.seen("live")
    assert [record.seq for record in records] == list(range(records[0].seq, records[0].seq + len(records)))
    assert [record.text for record in records] == ["line 1\n", "line 2\n", "line 3\n", "50%", "�(\n"]
    assert records == sorted(records, key=lambda record: record.at)


async def log_has_a_quota(bench: Bench) -> None:
    """Beginning and end are kept, and what is missing between them is said."""
    ended = await bench.run("seq 1000000 1299999; echo end >&2; exit 5", "full", log_quota_bytes=1_000_000)
    assert ended == TaskExit("exited", 5)
    records = bench.seen("full")
    lines = [record.text for record in records]
    full, gap = (number for number, record in enumerate(records) if record.stream == "note")
    assert lines[full] == "the log is full: of what follows the last 250000 bytes are kept and shown at the end\n"
    assert "".join(lines[:full]) == "".join(f"{number}\n" for number in range(1_000_000, 1_300_000))[: len("".join(lines[:full]))]
    assert full * LINE_COST < 2_000_000, "a line costs more than its text"
    missing = int(lines[gap].partition(" ")[0])
    kept = sum(len(record.text) for record in records if record.stream != "note")
    assert kept + missing == 300_000 * 8 + len("end\n")
    assert lines[gap].partition("bytes")[2] == " of output are missing here; this is how it ended:\n"
    assert sorted(lines[-2:]) == ["1299999\n", "end\n"]


async def log_cuts_long_lines(bench: Bench) -> None:
    """A line over 1 MiB comes in records of at most 1 MiB."""
    await bench.run("head -c 3000000 /dev/zero | tr '\\0' x; echo; echo next", "long")
    sizes = [len(record.text) for record in bench.seen("long")]
    assert sum(sizes) == 3_000_000 + 1 + 5
    assert max(sizes) <= 1 << 20
    assert bench.seen("long")[-1].text == "next\n"


async def runs_several_at_once(bench: Bench) -> None:
    """Tasks overlap: each of two waits for a file that only the other's start makes the test write; one cancelled spares the others."""
    wait = "echo up; while [ ! -e go ]; do sleep 0.01; done; echo $1"
    tasks = {name: asyncio.create_task(bench.run(f"set -- {name}; {wait}", name)) for name in ("s1", "s2", "s3")}
    for name in tasks:
        await shown(bench, "up", name)
    tasks["s3"].cancel()
    await asyncio.wait({tasks["s3"]}, timeout=60)
    for name in ("s1", "s2"):
        bench.touch("go", name)
    assert [(await tasks[name]).exit_code for name in ("s1", "s2")] == [0, 0]
    assert (text(bench, "s1"), text(bench, "s2")) == ("up\ns1\n", "up\ns2\n")


async def stops_the_task_when_the_log_cannot_be_kept(bench: Bench) -> None:
    """A log callback that fails ends the task and its error reaches the caller."""

    def refuse(records: Sequence[LogRecord]) -> None:
        if any(record.stream == "out" for record in records):
            raise WorldError("SP000", "the disk is full")

    with pytest.raises(WorldError, match="disk is full"):
        await bench.run("echo x; exec sleep 98764", "refused", timeout_s=60, on_log=refuse)
    assert not processes_with("98764")


STORIES: Mapping[str, Story] = {
    story.__name__: story
    for story in (
        runs_in_the_workspace_and_reports_the_exit_status,
        gives_the_declared_environment_and_masks_secrets,
        cancelled_ends_the_whole_tree,
        ends_daemons_with_the_command,
        times_out,
        log_is_ordered_numbered_and_live,
        log_has_a_quota,
        log_cuts_long_lines,
        runs_several_at_once,
        stops_the_task_when_the_log_cannot_be_kept,
    )
}
"""Name -> story; each uses names of tasks that no other uses, so that all may be played at once."""

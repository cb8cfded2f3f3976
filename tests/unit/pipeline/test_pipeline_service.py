"""Runs with an executor in memory: order, skipping, reuse, cancelling, and being taken up again after a kill."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from setpoint.adapters.task_logs import TaskLogFolder
from setpoint.core.errors import WorldError
from setpoint.ground.journal.model import Entry, Fact
from setpoint.pipeline.model import RunState, TaskExit, TaskState
from setpoint.pipeline.service import as_pending
from setpoint.pipeline.task import ATTEMPTS, TaskRunner
from unit.builders_home import KilledError, World
from unit.builders_pipeline import PIPELINE, Machine
from unit.builders_pipeline import begin as _begin
from unit.builders_pipeline import ended as _ended
from unit.builders_pipeline import make_service as _service
from unit.builders_pipeline import run_story as _run
from unit.builders_pipeline import states as _states
from unit.builders_pipeline import stuck as _stuck


@pytest.fixture
def machine() -> Machine:
    """A machine that does everything right."""
    return Machine()


def test_tasks_run_in_order_and_the_run_passes(world: World, machine: Machine, tmp_path: Path) -> None:
    """Needed tasks end first, outputs are handed on, workspaces are gone afterwards, the products are asked for once."""

    async def story() -> None:
        service = _service(world, machine, tmp_path)
        run = _begin(world, service)
        assert run is not None
        ended = await _ended(world, service, run)
        assert (ended.state, ended.error, ended.finished_at) == (RunState.PASSED, "", "2026-11-23T06:00:00.000Z")
        assert sorted(machine.ran) == ["deps", "lint", "pack", "ship", "test"]
        assert [task for task in machine.ran if task != "lint"] == ["deps", "test", "pack", "ship"]
        results = {result.task: result for result in world.records.results(run.run)}
        assert list(results["test"].reports) == ["tests"]
        assert (machine.left, len(machine.produced)) == (set(), 1)

    _run(story())


def test_what_stands_behind_a_failure_is_skipped_to_the_last_task(world: World, machine: Machine, tmp_path: Path) -> None:
    """Every task of the pipeline ends with a result; what is independent still runs; the run fails."""

    async def story() -> None:
        machine.exits = {"test": TaskExit("exited", 3)}
        service = _service(world, machine, tmp_path)
        run = _begin(world, service)
        assert run is not None
        assert (await _ended(world, service, run)).state is RunState.FAILED
        expected = {"deps": "passed", "test": "failed", "lint": "passed", "pack": "skipped", "ship": "skipped"}
        assert _states(world, run) == expected
        reasons = {result.task: result.reason for result in world.records.results(run.run)}
        assert (reasons["test"], reasons["ship"]) == ("exit status 3", "needs pack, which is skipped")
        assert {name: state.value for name, state in machine.produced[0].items()} == expected

    _run(story())


def test_an_unchanged_task_is_reused_and_a_changed_one_runs(world: World, machine: Machine, tmp_path: Path) -> None:
    """The second run executes only what its change touches, and names the run that proved the rest."""

    async def story() -> None:
        service = _service(world, machine, tmp_path)
        first = _begin(world, service)
        assert first is not None
        await _ended(world, service, first)
        machine.ran.clear()
        second = _begin(world, service, {"lock": b"2"})
        assert second is not None
        assert (await _ended(world, service, second)).state is RunState.PASSED
        assert machine.ran == ["deps"]
        results = {result.task: result for result in world.records.results(second.run)}
        assert {name: result.origin_run for name, result in results.items()} == {
            **dict.fromkeys(("test", "lint", "pack", "ship"), first.run),
            "deps": None,
        }

    _run(story())


def test_a_reused_result_whose_content_is_gone_is_made_again(world: World, machine: Machine, tmp_path: Path) -> None:
    """A claim without its bytes is worth nothing."""

    async def story() -> None:
        service = _service(world, machine, tmp_path)
        first = _begin(world, service)
        assert first is not None
        await _ended(world, service, first)
        machine.ran.clear()
        for file in (tmp_path / "content").rglob("*"):
            if file.is_file():
                file.unlink()
        second = _begin(world, service, {"README": b"x"})
        assert second is not None
        await _ended(world, service, second)
        assert sorted(machine.ran) == ["deps", "test"]

    _run(story())


@pytest.mark.parametrize(
    ("exited", "reports", "outputs", "state", "reason"),
    [
        (TaskExit("timed-out", None, "longer than 30m"), True, b"x", "timed-out", "longer than 30m"),
        (TaskExit("lost", None), True, b"x", "failed", "the task was lost"),
        (TaskExit("exited", 0), False, b"x", "failed", "declared but not made: report.xml"),
    ],
)
def test_how_a_task_can_fail(
    world: World,
    machine: Machine,
    tmp_path: Path,
    exited: TaskExit,
    reports: bool,  # noqa: FBT001 - a table
    outputs: bytes,
    state: str,
    reason: str,
) -> None:
    """A timeout, a lost process and a missing report are failures with a sentence, and are never reused."""

    async def story() -> None:
        machine.exits, machine.reports, machine.outputs = {"test": exited}, reports, outputs
        service = _service(world, machine, tmp_path)
        run = _begin(world, service)
        assert run is not None
        assert (await _ended(world, service, run)).state is RunState.FAILED
        (result,) = [result for result in world.records.results(run.run) if result.task == "test"]
        assert (result.state.value, result.reason) == (state, reason)
        again = _begin(world, service, {"README": b"x"})
        assert again is not None
        await _ended(world, service, again)
        assert machine.ran.count("test") == 2 * (ATTEMPTS if exited.how == "lost" else 1)

    _run(story())


def test_a_pattern_without_a_file_fails_the_run_with_its_reason(world: World, machine: Machine, tmp_path: Path) -> None:
    """What cannot be prepared fails the run; nothing hangs."""

    async def story() -> None:
        service = _service(world, machine, tmp_path)
        run = _begin(world, service, {".setpoint/pipeline.yaml": PIPELINE.replace(b"inputs: [lock]", b"inputs: [missing]")})
        assert run is not None
        ended = await _ended(world, service, run)
        assert ended.state is RunState.FAILED
        assert any("SP230" in result.reason for result in world.records.results(run.run))

    _run(story())


def test_a_fault_of_the_products_fails_a_green_run(world: World, machine: Machine, tmp_path: Path) -> None:
    """A run whose artifact cannot be assembled has not passed."""

    async def story() -> None:
        machine.faults = ["web: nothing to copy"]
        service = _service(world, machine, tmp_path)
        run = _begin(world, service)
        assert run is not None
        ended = await _ended(world, service, run)
        assert (ended.state, ended.error) == (RunState.FAILED, "web: nothing to copy")

    _run(story())


def test_slots_bound_what_executes_at_the_same_time(world: World, machine: Machine, tmp_path: Path) -> None:
    """One slot: one task at a time, whatever the graph allows."""

    async def story() -> None:
        service = _service(world, machine, tmp_path, slots=1)
        run = _begin(world, service)
        assert run is not None
        await _ended(world, service, run)
        assert machine.most_at_once == 1

    _run(story())


def test_a_cancelled_run_ends_and_is_not_taken_up_again(world: World, machine: Machine, tmp_path: Path) -> None:
    """Cancelling stops the task, journals the end once, and leaves no workspace."""

    async def story() -> None:
        run, service = await _stuck(world, machine, tmp_path, "test")
        assert await service.cancel(run.run, "person:dana@example.com", "wrong branch")
        found = world.records.run(run.run)
        assert found is not None
        assert (found.state, machine.left) == (RunState.CANCELLED, set())
        assert found.error == "cancelled by dana@example.com: wrong branch"
        stopped = {result.task: (result.state.value, result.reason) for result in world.records.results(run.run)}
        assert stopped["test"] == ("cancelled", "cancelled by dana@example.com: wrong branch")
        service.resume()
        assert not await service.cancel(run.run, "person:dana@example.com", "wrong branch")
        assert world.kinds().count("run.finished") == 1

    _run(story())


def test_a_cancel_that_is_journalled_is_no_failure(world: World, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the end of a cancelled run cannot be written (a full disk), its cancelling is told as under way, and the loop ends it later."""

    async def story() -> None:
        run, service = await _stuck(world, machine, tmp_path, "test")
        with monkeypatch.context() as full:
            full.setattr(TaskRunner, "close", _full)
            assert await service.cancel(run.run, "operator") is RunState.RUNNING
        assert "run.cancelling" in world.kinds()
        service.resume()
        assert await service.cancel(run.run, "operator") is RunState.CANCELLED

    _run(story())


def _full(*_: object) -> None:
    raise WorldError("SP009", "the database has no room on the disk")


def test_cancelling_what_has_just_ended_does_not_change_how_it_ended(world: World, machine: Machine, tmp_path: Path) -> None:
    """A run that passed stays passed, also in the instant before its asyncio task is forgotten."""

    async def story() -> None:
        service = _service(world, machine, tmp_path)
        run = _begin(world, service)
        assert run is not None
        ended = await _ended(world, service, run)
        done: asyncio.Task[None] = asyncio.create_task(asyncio.sleep(0), name="done")
        await done
        service._active[run.run] = done
        assert not await service.cancel(run.run, "person:dana@example.com", "wrong branch")
        assert ended.state is RunState.PASSED
        assert world.kinds().count("run.finished") == 1

    _run(story())


def test_a_stopped_server_leaves_the_run_open_and_the_next_one_does_not_repeat_what_ended(
    world: World, machine: Machine, tmp_path: Path
) -> None:
    """After a restart only unfinished tasks run; their log begins anew."""

    async def story() -> None:
        run, service = await _stuck(world, machine, tmp_path, "test")
        async with asyncio.timeout(5):
            while "lint" not in _states(world, run):  # noqa: ASYNC110 - the journal has no event to wait for
                await asyncio.sleep(0.002)
        await service.stop()
        assert [r.run for r in world.records.open_runs()] == [run.run]
        assert list(world.records.started(run.run)) == ["test"]
        machine.blocked, machine.ran = "", []
        again = _service(world, machine, tmp_path)
        assert (await _ended(world, again, run)).state is RunState.PASSED
        assert machine.ran == ["test", "pack", "ship"]
        assert [record.text for record in TaskLogFolder(tmp_path / "logs").read(run.run, "test")] == ["this is test"]

    _run(story())


def test_killed_before_any_entry_and_started_again_the_run_passes(world: World, machine: Machine, tmp_path: Path) -> None:
    """Law 5: wherever the server dies, the next one brings the run to its end, and every result is journalled once."""

    async def story() -> None:
        service = _service(world, machine, tmp_path)
        run = _begin(world, service)
        assert run is not None
        for lives in range(1, 30):
            world.recorder.lives = lives
            service = _service(world, machine, tmp_path)
            task = asyncio.create_task(service._advance(run))
            try:
                await task
            except KilledError:
                continue
            finally:
                world.recorder.lives = None
            break
        found = world.records.run(run.run)
        assert found is not None
        assert found.state is RunState.PASSED
        finished = [entry.body["task"] for entry in world.journal.entries() if entry.kind == "task.finished"]
        assert sorted(finished) == ["deps", "lint", "pack", "ship", "test"]

    _run(story())


def test_a_faulty_pipeline_file_gives_a_failed_run_with_every_finding(world: World, machine: Machine, tmp_path: Path) -> None:
    """A push never vanishes: the findings are the run's error."""
    service = _service(world, machine, tmp_path)
    run = _begin(
        world,
        service,
        {".setpoint/pipeline.yaml": PIPELINE.replace(b"needs: [deps]", b"needs: [dep]").replace(b"run: lint", b"runs: lint")},
    )
    assert run is not None
    found = world.records.run(run.run)
    assert found is not None
    assert found.state is RunState.FAILED
    assert ".setpoint/pipeline.yaml:" in found.error


def test_no_pipeline_another_branch_or_a_second_look_starts_nothing(world: World, machine: Machine, tmp_path: Path) -> None:
    """A revision is run once, on the branches its pipeline names, and only when it has one."""
    service = _service(world, machine, tmp_path)
    run = _begin(world, service)
    assert run is not None
    assert service.begin("main", world.git.revision("hello", run.revision), "") is None
    assert _begin(world, service, {"README": b"x"}, branch="topic") is None
    world.commit("empty", {"README": b"x"})
    assert service.begin("main", world.git.revision("empty", world.git.heads("empty")["main"]), "") is None
    assert (run.pusher, run.author, run.title) == ("ada@example.com", "ada@example.com", "change")


def test_people_see_every_task_also_what_has_not_begun(world: World, machine: Machine, tmp_path: Path) -> None:
    """One row a task, in order: journalled results, what runs, what waits."""
    service = _service(world, machine, tmp_path)
    run = _begin(world, service)
    assert run is not None
    rows = as_pending(run, service.document("hello", run.revision), [], {"deps": "2026-11-23T06:00:00.000Z"}, {"lint": 3})
    assert [(row.task, row.state) for row in rows][:2] == [("deps", TaskState.RUNNING), ("test", TaskState.PENDING)]
    assert len(rows) == 5
    assert {row.task: row.reason for row in rows if row.reason} == {"lint": "waits for a slot, 3 ahead"}


def test_a_task_that_the_machine_refuses_fails_with_the_machines_words(
    world: World, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A world error of workspace or executor is a failed task, never a run that hangs."""

    def refuse(*_: object) -> Path:
        raise WorldError("SP209", "no room")

    async def story() -> None:
        monkeypatch.setattr(machine, "create", refuse)
        service = _service(world, machine, tmp_path)
        run = _begin(world, service)
        assert run is not None
        assert (await _ended(world, service, run)).state is RunState.FAILED
        assert world.records.results(run.run)[0].reason == "SP209: no room"

    _run(story())


class Counting:
    """A recorder that notes how many entries each write had."""

    def __init__(self, world: World) -> None:
        self.recorder = world.recorder
        self.writes: list[list[str]] = []

    def record(self, kind: str, subject: str, actor: str, body: dict[str, Any]) -> Entry:
        """Append one."""
        return self.record_all([Fact(kind, subject, actor, body)])[0]

    def record_all(self, facts: Sequence[Fact]) -> list[Entry]:
        """Append several."""
        self.writes.append([fact.kind for fact in facts])
        return self.recorder.record_all(facts)


def test_a_wave_of_tasks_is_one_write(world: World, machine: Machine, tmp_path: Path) -> None:
    """However many tasks are reused or skipped together, the journal is synced once for them."""

    async def story() -> None:
        counting = Counting(world)
        service = _service(world, machine, tmp_path, recorder=counting)
        many = b"apiVersion: setpoint.dev/v1alpha1\nkind: Pipeline\ntasks:\n" + b"".join(
            f"  t{n}: {{run: 'true {n}', inputs: [lock]}}\n  u{n}: {{run: 'u {n}', inputs: [lock], needs: [bad]}}\n".encode()
            for n in range(20)
        )
        machine.exits["bad"] = TaskExit("exited", 1)
        files = {".setpoint/pipeline.yaml": many + b"  bad: {run: bad, inputs: [lock]}\n"}
        run = _begin(world, service, files)
        assert run is not None
        await _ended(world, service, run)
        assert ["task.finished"] * 20 in counting.writes
        counting.writes.clear()
        machine.ran.clear()
        run = _begin(world, service, {**files, "other": b"1"})
        assert run is not None
        await _ended(world, service, run)
        assert machine.ran == ["bad"]
        assert counting.writes.count(["task.finished"] * 20) == 2
        assert len(counting.writes) == 6, "created, reused, started, failed, skipped, finished"

    _run(story())

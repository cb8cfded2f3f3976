"""Whose turn it is, what people see of the queue, and how runs and tasks are stopped."""

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from setpoint.ground.journal.model import Entry, Fact
from setpoint.pipeline.model import RunState
from setpoint.pipeline.slots import Slots
from unit.builders_home import World
from unit.builders_pipeline import Machine, begin, ended, make_service, run_story, states, stuck


def test_slots_go_to_the_earlier_run_and_in_it_to_whoever_was_ready_first() -> None:
    """First come, first served over runs; a late task of an early run stands before the tasks of later runs."""

    async def story() -> None:
        slots = Slots(1)
        done: list[str] = []

        gate = asyncio.Event()

        async def work(begun: str, task: str) -> None:
            async with slots.one(begun, f"r-{begun}", task):
                done.append(task)
                await gate.wait()

        first = asyncio.create_task(work("1", "a"))
        await asyncio.sleep(0)
        rest = [asyncio.create_task(work(begun, task)) for begun, task in (("2", "d"), ("2", "e"), ("1", "b"), ("1", "c"))]
        await asyncio.sleep(0)
        assert slots.ahead("r-1") == {"b": 0, "c": 1}
        assert slots.ahead("r-2") == {"d": 2, "e": 3}
        rest[1].cancel()
        gate.set()
        await asyncio.gather(first, *rest, return_exceptions=True)
        assert done == ["a", "b", "c", "d"]
        assert slots.ahead("r-2") == {}
        await work("3", "f")
        assert done[-1] == "f"

    run_story(story())


def test_a_slot_that_is_granted_to_somebody_who_just_left_goes_to_the_next() -> None:
    """Cancelling in the moment of the grant loses no slot."""

    async def story() -> None:
        slots = Slots(1)

        async def hold(task: str, gate: asyncio.Event) -> None:
            async with slots.one("1", "r", task):
                await gate.wait()

        gate, never = asyncio.Event(), asyncio.Event()
        first = asyncio.create_task(hold("a", gate))
        second = asyncio.create_task(hold("b", never))
        await asyncio.sleep(0)
        gate.set()
        await first
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        async with asyncio.timeout(5), slots.one("1", "r", "c"):
            pass

    run_story(story())


def test_one_task_is_stopped_and_the_rest_goes_on(world: World, tmp_path: Path) -> None:
    """What needs it is skipped, the others end, the run is cancelled, and the reason says by whom; what does not run is refused."""

    async def story() -> None:
        machine = Machine()
        run, service = await stuck(world, machine, tmp_path, "test")
        assert not await service.cancel_task(run.run, "pack", "operator")
        assert await service.cancel_task(run.run, "test", "operator", "hangs")
        found = await ended(world, service, run)
        assert found.state is RunState.CANCELLED
        wanted = {"deps": "passed", "test": "cancelled", "lint": "passed", "pack": "skipped", "ship": "skipped"}
        assert states(world, run) == wanted
        reasons = {result.task: result.reason for result in world.records.results(run.run)}
        assert (reasons["test"], reasons["pack"]) == ("cancelled by operator: hangs", "needs test, which is cancelled")

    run_story(story())


def test_a_wish_to_cancel_outlives_the_server(world: World, tmp_path: Path) -> None:
    """The wish is journalled before anything is stopped: a server that dies in between ends the run at its next start."""

    async def story() -> None:
        machine = Machine()
        run, service = await stuck(world, machine, tmp_path, "test")
        world.recorder.record("run.cancelling", run.run, "person:dana@example.com", {"why": "wrong"})
        await service.stop()
        again = make_service(world, machine, tmp_path)
        machine.ran.clear()
        found = await ended(world, again, run)
        assert (found.state, found.error) == (RunState.CANCELLED, "cancelled by dana@example.com: wrong")
        assert machine.ran == []

    run_story(story())


def test_a_newer_push_supersedes_only_what_has_not_begun_and_only_when_it_is_declared(world: World, tmp_path: Path) -> None:
    """The run whose task executes goes on; the one that waits for a slot ends and names its successor; undeclared, all of them run."""

    async def story(declared: bool) -> list[str]:  # noqa: FBT001 - one story, told twice
        machine = Machine()
        machine.blocked = "deps"
        service = make_service(world, machine, tmp_path / str(declared), slots=1)
        words = b"on: {push: {supersede: true}}\ntasks:" if declared else b"tasks:"
        pipeline = b"apiVersion: setpoint.dev/v1alpha1\nkind: Pipeline\n" + words + b"\n  deps: {run: deps}\n"
        runs = []
        for number in range(3):
            world.clock.move(1)
            run = begin(world, service, {".setpoint/pipeline.yaml": pipeline, "n": f"{declared}{number}".encode()})
            assert run is not None
            runs.append(run)
            service.resume()
            async with asyncio.timeout(5):
                await machine.waiting.wait()
        for _ in range(20):
            service.resume()
            await asyncio.sleep(0.005)
        found = [world.records.run(run.run) for run in runs]
        await service.stop()
        if declared:
            assert found[1] is not None
            assert found[1].error == f"superseded by run {runs[2].run}"
        for run in runs:
            world.recorder.record("run.finished", run.run, "setpoint", {"state": "failed", "error": ""})
        return [run.state.value for run in found if run is not None]

    async def both() -> None:
        assert await story(declared=True) == ["running", "cancelled", "running"]
        assert await story(declared=False) == ["running", "running", "running"]

    run_story(both())


@pytest.mark.parametrize(("kind", "ends"), [("task.started", "cancelled"), ("task.finished", "passed")])
def test_a_task_cancelled_while_an_entry_is_written_ends_once_and_after_it(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, ends: str
) -> None:
    """Whoever cancels waits for the entry: a start is never told after the end, and an end that was journalled stands."""
    writing, go = threading.Event(), threading.Event()
    write = world.recorder.record_all

    def slow(facts: Sequence[Fact]) -> list[Entry]:
        if any(fact.kind == kind and fact.body["task"] == "deps" for fact in facts):
            writing.set()
            assert go.wait(10)
        return write(facts)

    async def story() -> None:
        monkeypatch.setattr(world.recorder, "record_all", slow)
        monkeypatch.setattr(world.recorder, "record", lambda kind, subject, actor, body: slow([Fact(kind, subject, actor, body)])[0])
        service = make_service(world, Machine(), tmp_path)
        run = begin(world, service)
        assert run is not None
        service.resume()
        assert await asyncio.to_thread(writing.wait, 10)
        cancelling = asyncio.create_task(service.cancel_task(run.run, "deps", "person:dana@example.com"))
        await asyncio.sleep(0)
        go.set()
        assert await cancelling is (ends == "cancelled")
        assert states(world, run)["deps"] == ends
        told = [entry.kind for entry in world.journal.entries() if entry.body.get("task") == "deps"]
        assert told == ["task.started", "task.finished"]
        await service.stop()

    run_story(story())

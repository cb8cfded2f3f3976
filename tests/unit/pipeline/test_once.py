"""What must not run twice: begun once, lost when it is interrupted, and moved only by a probe or a person (law 5)."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from setpoint.core.errors import ConfigError, ConflictError, WorldError
from setpoint.pipeline.config import parse_pipeline
from setpoint.pipeline.model import NotStartedError, Outcome, Run, RunState, TaskExit
from setpoint.pipeline.service import PipelineService
from unit.builders_home import World
from unit.builders_pipeline import Machine, begin, ended, make_service, run_story, states, stuck

PIPELINE = b"""apiVersion: setpoint.dev/v1alpha1
kind: Pipeline
tasks:
  test: {run: test, inputs: ["src/**"]}
  publish: {run: publish, needs: [test], inputs: ["src/**"], once: true%s}
  tell: {run: tell, needs: [publish], inputs: ["src/**"]}
"""
WHO = ("person:dana@example.com", "version 3 is in the index")


def files(probe: bytes = b"") -> dict[str, bytes]:
    """Return a source with a task that must not run twice."""
    return {".setpoint/pipeline.yaml": PIPELINE % probe}


async def until(what: Callable[[], bool]) -> None:
    """Wait until something holds, at most five seconds."""
    async with asyncio.timeout(5):
        while not what():  # noqa: ASYNC110 - the journal has no event to wait for
            await asyncio.sleep(0.002)


async def interrupted(world: World, machine: Machine, root: Path, probe: bytes = b"") -> tuple[Run, PipelineService]:
    """Begin a run, end the server in the middle of `publish`, and return the run and the next server."""
    run, service = await stuck(world, machine, root, "publish", files(probe))
    await service.stop()
    machine.blocked = ""
    return run, make_service(world, machine, root)


async def parked(world: World, service: PipelineService, run: Run) -> None:
    """Let a server look again and again until it leaves the run to a person."""
    service.resume()
    await until(lambda: run.run in service._parked and run.run not in service._active)
    for _ in range(3):
        service.resume()
        await asyncio.sleep(0)
    assert run.run not in service._active


def story(test: Callable[[World, Machine, Path], Awaitable[None]], world: World, root: Path) -> None:
    """Run one story."""

    async def told() -> None:
        await test(world, Machine(), root)

    run_story(told())


def test_a_server_that_dies_in_the_middle_leaves_it_lost_and_never_begins_it_again(world: World, tmp_path: Path) -> None:
    """The next server says that nobody knows, skips nothing, ends nothing, and waits; so does the one after it."""

    async def test(world: World, machine: Machine, root: Path) -> None:
        run, service = await interrupted(world, machine, root)
        await parked(world, service, run)
        assert states(world, run) == {"test": "passed", "publish": "lost"}
        found = world.records.run(run.run)
        assert found is not None
        assert (found.state, found.lost) == (RunState.RUNNING, ("publish",))
        (lost,) = [result for result in world.records.results(run.run) if result.task == "publish"]
        assert lost.reason == "the server ended while it ran: whether it happened is not known"
        await parked(world, make_service(world, machine, root), run)
        assert machine.ran.count("publish") == 1
        assert world.kinds().count("task.lost") == 1

    story(test, world, tmp_path)


@pytest.mark.parametrize(
    ("outcome", "wanted", "times"),
    [
        (Outcome.PASSED, {"test": "passed", "publish": "passed", "tell": "passed"}, 1),
        (Outcome.FAILED, {"test": "passed", "publish": "failed", "tell": "skipped"}, 1),
        (Outcome.AGAIN, {"test": "passed", "publish": "passed", "tell": "passed"}, 2),
    ],
)
def test_a_person_says_what_became_of_it(world: World, tmp_path: Path, outcome: Outcome, wanted: dict[str, str], times: int) -> None:
    """The run goes on as the person said, the journal names who and how they know, and it is begun again only when they said so."""

    async def test(world: World, machine: Machine, root: Path) -> None:
        run, service = await interrupted(world, machine, root)
        await parked(world, service, run)
        await service.resolve(run.run, "publish", outcome, WHO)
        with pytest.raises(ConflictError, match="SP239"):
            await service.resolve(run.run, "publish", outcome, WHO)
        found = await ended(world, service, run)
        assert (found.state, found.lost) == (RunState.FAILED if outcome is Outcome.FAILED else RunState.PASSED, ())
        assert states(world, run) == wanted
        assert machine.ran.count("publish") == times
        (said,) = [entry for entry in world.journal.entries() if entry.kind == "task.resolved"]
        assert (said.actor, said.body) == (WHO[0], {"task": "publish", "outcome": outcome.value, "why": WHO[1]})

    story(test, world, tmp_path)


@pytest.mark.parametrize(
    ("status", "wanted", "times"),
    [(0, {"publish": "passed", "tell": "passed"}, 1), (1, {"publish": "passed", "tell": "passed"}, 2), (2, {"publish": "lost"}, 1)],
)
def test_a_declared_probe_says_whether_it_happened(world: World, tmp_path: Path, status: int, wanted: dict[str, str], times: int) -> None:
    """0: it happened; 1: it did not, and is run again; anything else: a person has to say, and the probe is not asked for ever."""

    async def test(world: World, machine: Machine, root: Path) -> None:
        machine.exits = {"ask": TaskExit("exited", status)}
        run, service = await interrupted(world, machine, root, b", probe: ask")
        if status == 2:
            await parked(world, service, run)
            await parked(world, make_service(world, machine, root), run)
            assert "the probe does not know (status 2)" in world.records.results(run.run)[-1].reason
        else:
            assert (await ended(world, service, run)).state is RunState.PASSED
        assert states(world, run) == {"test": "passed", **wanted}
        assert (machine.ran.count("ask"), machine.ran.count("publish")) == (1, times)
        assert machine.left == set()

    story(test, world, tmp_path)


def test_a_runner_that_dies_under_it_is_no_reason_to_begin_again(world: World, tmp_path: Path) -> None:
    """Other tasks are tried again; this one is lost at once, and other tasks of the run go on."""

    async def test(world: World, machine: Machine, root: Path) -> None:
        machine.exits = {"publish": TaskExit("lost", None, "the runner process ended")}
        service = make_service(world, machine, root)
        run = begin(world, service, files())
        assert run is not None
        await parked(world, service, run)
        assert states(world, run) == {"test": "passed", "publish": "lost"}
        assert machine.ran.count("publish") == 1

    story(test, world, tmp_path)


@pytest.mark.parametrize(
    ("error", "state"), [(NotStartedError("SP241", "no sandbox"), "failed"), (WorldError("SP219", "the disk is full"), "lost")]
)
def test_only_an_executor_that_is_sure_says_that_nothing_happened(world: World, tmp_path: Path, error: WorldError, state: str) -> None:
    """A sandbox that cannot be made is a failure; anything else that goes wrong around the execution leaves it unknown."""

    async def test(world: World, machine: Machine, root: Path) -> None:
        execute = machine.execute

        async def refuse(command, on_log):  # type: ignore[no-untyped-def]
            if command.argv[-1] == "publish":
                raise error
            return await execute(command, on_log)

        machine.execute = refuse  # type: ignore[method-assign]
        service = make_service(world, machine, root)
        run = begin(world, service, files())
        assert run is not None
        service.resume()
        await until(lambda: states(world, run).get("publish") == state)
        await service.stop()

    story(test, world, tmp_path)


def test_it_is_never_reused_although_its_key_is_green(world: World, tmp_path: Path) -> None:
    """The next run with the same inputs runs it again: the key is journalled and proves nothing for it."""

    async def test(world: World, machine: Machine, root: Path) -> None:
        service = make_service(world, machine, root)
        first = begin(world, service, files())
        assert first is not None
        await ended(world, service, first)
        second = begin(world, service, {**files(), "README": b"2"})
        assert second is not None
        await ended(world, service, second)
        assert states(world, second) == {"test": "reused", "publish": "passed", "tell": "reused"}
        keys = {result.key for run in (first, second) for result in world.records.results(run.run) if result.task == "publish"}
        assert len(keys) == 1

    story(test, world, tmp_path)


def test_cancelling_says_that_nobody_knows(world: World, tmp_path: Path) -> None:
    """A run that is cancelled in the middle of it, or while it is lost, ends; what is written says what is not known."""

    async def test(world: World, machine: Machine, root: Path) -> None:
        run, service = await interrupted(world, machine, root)
        await parked(world, service, run)
        assert await service.cancel(run.run, "operator", "enough")
        found = world.records.run(run.run)
        assert found is not None
        assert (found.state, found.lost, found.error) == (RunState.CANCELLED, (), "cancelled by operator: enough")
        (publish,) = [result for result in world.records.results(run.run) if result.task == "publish"]
        assert publish.state.value == "cancelled"
        assert "whether it happened is not known" in publish.reason

    story(test, world, tmp_path)


@pytest.mark.parametrize(
    ("task", "word"),
    [
        ("{run: x, probe: y}", "`probe` is for tasks with `once: true`"),
        ("{run: x, once: true, outputs: [o]}", "`outputs` does not go with"),
        ("{run: x, once: true, evidence: {tests: r.xml}}", "`evidence` does not go with"),
        ("{run: x, once: true, network: true, valid: 1d}", "`valid` does not go with"),
    ],
)
def test_what_contradicts_once_is_found(task: str, word: str) -> None:
    """An outcome that somebody tells leaves no files; nothing of it is reused."""
    text = f"apiVersion: setpoint.dev/v1alpha1\nkind: Pipeline\ntasks:\n  a: {task}\n"
    with pytest.raises(ConfigError) as caught:
        parse_pipeline(text.encode(), "p")
    (found,) = caught.value.findings
    assert (found.code, found.line) == ("SP236", 4)
    assert word in found.what

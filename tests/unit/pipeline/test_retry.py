"""A run that ended without green goes on: same revision, green stays, the rest is done anew, and nothing of `once` happens twice."""

from pathlib import Path

import pytest

from setpoint.adapters.database.engine import open_database
from setpoint.adapters.database.projection import Projection
from setpoint.adapters.database.records import Records
from setpoint.core.errors import ConflictError, WorldError
from setpoint.pipeline.model import Outcome, RunState, TaskExit
from unit.builders_home import World
from unit.builders_pipeline import Machine, begin, ended, make_service, run_story, states, stuck

DANA = "person:dana@example.com"
NETWORKED = b"""apiVersion: setpoint.dev/v1alpha1
kind: Pipeline
tasks:
  fetch: {run: fetch, inputs: ["src/**"], network: true}
  publish: {run: publish, needs: [fetch], inputs: ["src/**"], once: true}
  tell: {run: tell, needs: [publish], inputs: ["src/**"]}
"""


def test_only_what_is_not_green_is_executed_again(world: World, tmp_path: Path) -> None:
    """A task that failed from outside passes the second time; what was green is not touched, and the journal names who asked."""

    async def story() -> None:
        machine = Machine()
        machine.exits = {"test": TaskExit("exited", 7)}
        service = make_service(world, machine, tmp_path)
        run = begin(world, service)
        assert run is not None
        assert (await ended(world, service, run)).state is RunState.FAILED
        machine.exits, before = {}, list(machine.ran)
        assert await service.retry(run.run, DANA, "the network was down") == ["test", "pack", "ship"]
        (entry,) = [entry for entry in world.journal.entries() if entry.kind == "run.retried"]
        assert (entry.subject, entry.actor, entry.body) == (run.run, DANA, {"why": "the network was down"})
        done = await ended(world, service, run)
        assert (done.state, done.error, done.revision) == (RunState.PASSED, "", run.revision)
        assert machine.ran[len(before) :] == ["test", "pack", "ship"]
        assert set(states(world, run).values()) == {"passed"}
        with pytest.raises(ConflictError, match="SP258"):
            await service.retry(run.run, DANA)
        records = Records(open_database(tmp_path / "again.db"))
        Projection(open_database(tmp_path / "again.db")).apply(world.journal.entries())
        assert records.run(run.run) == done
        assert records.results(run.run) == world.records.results(run.run)

    run_story(story())


def test_a_task_whose_inputs_were_collected_fails_and_never_runs_without_them(world: World, tmp_path: Path) -> None:
    """The outputs that green tasks left are gone when the run goes on: what needs them says so, and is not executed."""

    async def story() -> None:
        machine = Machine()
        machine.exits = {"test": TaskExit("exited", 7)}
        service = make_service(world, machine, tmp_path)
        run = begin(world, service)
        assert run is not None
        assert (await ended(world, service, run)).state is RunState.FAILED
        for file in (tmp_path / "content").rglob("*"):
            if file.is_file():
                file.unlink()
        machine.exits, before = {}, len(machine.ran)
        await service.retry(run.run, DANA)
        assert (await ended(world, service, run)).state is RunState.FAILED
        assert "test" not in machine.ran[before:]
        (reason,) = [result.reason for result in world.records.results(run.run) if result.task == "test"]
        assert reason.startswith("SP214: the outputs of `")

    run_story(story())


def test_a_run_that_goes_on_is_not_retried(world: World, tmp_path: Path) -> None:
    """Whoever asks too early is told what it does."""

    async def story() -> None:
        run, service = await stuck(world, Machine(), tmp_path, "test")
        with pytest.raises(ConflictError, match="the run is running"):
            await service.retry(run.run, DANA)
        await service.stop()

    run_story(story())


def test_a_cancelled_run_goes_on_also_in_the_next_server(world: World, tmp_path: Path) -> None:
    """What was stopped begins anew; a server that dies right after the entry changes nothing."""

    async def story() -> None:
        machine = Machine()
        run, service = await stuck(world, machine, tmp_path, "test")
        assert await service.cancel(run.run, DANA)
        machine.blocked = ""
        await service.retry(run.run, DANA)
        found = world.records.run(run.run)
        assert found is not None
        assert (found.state, found.cancelling, found.finished_at) == (RunState.RUNNING, "", None)
        await service.stop()
        assert (await ended(world, make_service(world, machine, tmp_path), run)).state is RunState.PASSED
        assert machine.ran.count("deps") == 1

    run_story(story())


def test_nothing_that_must_not_run_twice_is_begun_again_by_a_retry(world: World, tmp_path: Path) -> None:
    """Green stays green although its key reuses nothing; what was stopped in its middle is lost until a person has spoken."""

    async def story() -> None:
        machine = Machine()
        run, service = await stuck(world, machine, tmp_path, "publish", {".setpoint/pipeline.yaml": NETWORKED})
        assert await service.cancel(run.run, DANA)
        machine.blocked = ""
        await service.retry(run.run, DANA)
        assert states(world, run) == {"fetch": "passed", "publish": "lost"}
        found = world.records.run(run.run)
        assert found is not None
        assert found.lost == ("publish",)
        await service.resolve(run.run, "publish", Outcome.PASSED, (DANA, "it is in the index"))
        machine.exits = {"tell": TaskExit("exited", 1)}
        assert (await ended(world, service, run)).state is RunState.FAILED
        machine.exits = {}
        await service.retry(run.run, DANA)
        assert (await ended(world, service, run)).state is RunState.PASSED
        assert [machine.ran.count(task) for task in ("fetch", "publish", "tell")] == [1, 1, 2]

    run_story(story())


@pytest.mark.parametrize(
    ("exit_", "word"),
    [
        (TaskExit("timed-out", None, "it took longer than 10m"), "it ran out of time"),
        (TaskExit("cancelled", None), "it was stopped in its middle"),
        (TaskExit("exited", 3), "it failed (exit status 3)"),
    ],
    ids=lambda value: value.how if isinstance(value, TaskExit) else "",
)
def test_however_it_ended_without_green_somebody_says_first_that_it_did_not_happen(
    world: World, tmp_path: Path, exit_: TaskExit, word: str
) -> None:
    """To ask for a retry is not to say that a task of `once` did not happen: it is lost until somebody does, and only then begun again."""

    async def story() -> None:
        machine = Machine()
        machine.exits = {"publish": exit_}
        service = make_service(world, machine, tmp_path)
        run = begin(world, service, {".setpoint/pipeline.yaml": NETWORKED})
        assert run is not None
        assert (await ended(world, service, run)).state in (RunState.FAILED, RunState.CANCELLED)
        machine.exits = {}
        await service.retry(run.run, DANA, "again")
        (lost,) = [result for result in world.records.results(run.run) if result.task == "publish"]
        assert (lost.state, lost.exit_code, lost.reason) == ("lost", None, f"{word}: whether it happened is not known")
        await service.resolve(run.run, "publish", Outcome.AGAIN, (DANA, "nothing is there"))
        assert (await ended(world, service, run)).state is RunState.PASSED
        assert machine.ran.count("publish") == 2

    run_story(story())


def test_a_task_of_once_that_never_began_is_begun_by_a_retry(world: World, tmp_path: Path) -> None:
    """What was skipped has not happened: nobody is asked."""

    async def story() -> None:
        machine = Machine()
        machine.exits = {"fetch": TaskExit("exited", 1)}
        service = make_service(world, machine, tmp_path)
        run = begin(world, service, {".setpoint/pipeline.yaml": NETWORKED})
        assert run is not None
        assert (await ended(world, service, run)).state is RunState.FAILED
        machine.exits = {}
        await service.retry(run.run, DANA)
        assert (await ended(world, service, run)).state is RunState.PASSED
        assert machine.ran.count("publish") == 1

    run_story(story())


def test_a_repository_that_cannot_be_read_just_now_refuses_the_retry(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows then what must not run twice: nothing is journalled, and a cancelled run waits with its end."""

    async def story() -> None:
        machine = Machine()
        run, service = await stuck(world, machine, tmp_path, "publish", {".setpoint/pipeline.yaml": NETWORKED})

        def unreadable(*_: object, **__: object) -> bytes:
            raise WorldError("SP107", "the repository cannot be used")

        with monkeypatch.context() as patched:
            patched.setattr(world.git, "read", unreadable)
            assert await service.cancel(run.run, DANA) is RunState.RUNNING
        machine.blocked = ""
        assert await service.cancel(run.run, DANA) is RunState.CANCELLED
        (publish,) = [result for result in world.records.results(run.run) if result.task == "publish"]
        assert "whether it happened is not known" in publish.reason
        before = world.kinds()
        with monkeypatch.context() as patched:
            patched.setattr(world.git, "read", unreadable)
            with pytest.raises(WorldError, match="SP107"):
                await service.retry(run.run, DANA)
        assert world.kinds() == before
        await service.retry(run.run, DANA)
        assert states(world, run)["publish"] == "lost"
        await service.stop()

    run_story(story())

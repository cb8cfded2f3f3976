"""Tasks that name an executor: what the file may say, what the key holds, and who goes on when the server ends."""
# ruff: noqa: ARG002 - fakes keep the signatures of their ports

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from setpoint.core.errors import ConfigError, UserError
from setpoint.pipeline import quantities
from setpoint.pipeline.config import parse_pipeline
from setpoint.pipeline.model import LogRecord, Run, RunState, TaskCommand, TaskExit, TaskResult, TaskState
from setpoint.pipeline.offers import Offer, Resources
from setpoint.pipeline.service import PipelineService
from setpoint.pipeline.slots import Places
from unit.builders_home import World
from unit.builders_pipeline import Machine, begin, ended, make_service, run_story, states

OFFER = Offer("cluster", "ci", "builds", "r/i@sha256:" + "1" * 64, "r/h@sha256:" + "2" * 64, "arm64", Resources("1", "1Gi"), slots=1)
PIPELINE = b"""apiVersion: setpoint.dev/v1alpha1
kind: Pipeline
tasks:
  far: {run: far, executor: cluster, network: true, inputs: ["src/**"], outputs: [out/]%s}
  near: {run: near, inputs: ["src/**"]}
"""


class Cluster:
    """A remote executor in memory, and the offer of it."""

    def __init__(self) -> None:
        self.commands: list[TaskCommand] = []
        self.released: list[str] = []
        self.exits: list[TaskExit] = []
        self.begun = asyncio.Event()
        self.blocked = False
        self.left = False
        self.offered = OFFER.name

    async def execute(self, command: TaskCommand, on_log: Callable[[Sequence[LogRecord]], None]) -> TaskExit:
        """Run a task; blocked, until it is cancelled."""
        self.commands.append(command)
        if not command.resumed:
            on_log([LogRecord(0, "2026-11-23T06:00:00.000Z", "out", "one\n"), LogRecord(1, "2026-11-23T06:00:00.000Z", "note", "n\n")])
        self.begun.set()
        if self.blocked:
            await asyncio.Event().wait()
        return self.exits.pop(0) if self.exits else TaskExit("exited", 0)

    def release(self, command: TaskCommand) -> None:
        """Note what is let go of; nothing once the server ends."""
        self.released += [] if self.left else [command.task_id]

    def glance(self, task_id: str) -> str:
        """Say where it is."""
        return f"{task_id} is far away"

    def leave(self) -> None:
        """Note that the server ends."""
        self.left = True

    async def close(self) -> None:
        """Do nothing."""

    def offer(self, run: Run, name: str) -> Offer:
        """Offer one executor."""
        if name != self.offered:
            raise UserError("SP270", f"there is no executor `{name}`")
        return OFFER


def with_cluster(world: World, machine: Machine, root: Path, cluster: Cluster) -> PipelineService:
    """Return a service whose tasks may run on the cluster."""
    service = make_service(world, machine, root)
    tasks = service._parts.tasks
    tasks._parts = replace(tasks._parts, remote=cluster, offers=cluster)
    return service


def files(more: bytes = b"") -> dict[str, bytes]:
    """Return a source with a task on a cluster and one here."""
    return {".setpoint/pipeline.yaml": PIPELINE % more}


@pytest.mark.parametrize(
    ("task", "code", "words"),
    [
        ("{run: t, executor: c}", "SP277", "a pod has the network"),
        ("{run: t, executor: c, network: true, sandbox: none}", "SP277", "`sandbox: none` is for this machine"),
        ("{run: t, resources: {cpu: '1'}}", "SP277", "for tasks with an `executor`"),
        ("{run: t, executor: c, network: true, resources: {memory: 64MB}}", "SP281", "`64MB` is no amount"),
        ("{run: t, executor: c, network: true, resources: {cpu: '0'}}", "SP281", "`0` is no amount"),
    ],
)
def test_what_does_not_go_with_an_executor_has_a_place(task: str, code: str, words: str) -> None:
    """Every contradiction is found before anything runs."""
    with pytest.raises(ConfigError) as caught:
        parse_pipeline(f"apiVersion: setpoint.dev/v1alpha1\nkind: Pipeline\ntasks: {{t: {task}}}\n".encode(), "p.yaml")
    found = [finding for finding in caught.value.findings if finding.code == code]
    assert any(words in finding.what for finding in found), caught.value.findings


def test_amounts_are_compared_as_kubernetes_reads_them() -> None:
    """Units of both kinds, fractions, and nothing else."""
    assert quantities.amount("500m") < quantities.amount("1") == quantities.amount("1000m")
    assert quantities.amount("1Gi") == quantities.amount("1024Mi") > quantities.amount("1G")
    assert [quantities.is_positive(text) for text in ("0.5", "1e3", "-1", "", "1 Gi", "0m")] == [True, False, False, False, False, False]


def test_the_key_holds_the_executors_image_and_the_outcome_is_released(world: World, tmp_path: Path) -> None:
    """What runs on a cluster has another key than here; its Job is let go of only after the outcome is journalled."""

    async def story() -> None:
        machine, cluster = Machine(), Cluster()
        service = with_cluster(world, machine, tmp_path, cluster)
        run = begin(world, service, files())
        assert run is not None
        await ended(world, service, run)
        assert states(world, run) == {"far": "passed", "near": "passed"}
        results = {result.task: result for result in world.records.results(run.run)}
        manifest = results["far"].manifest
        assert (manifest.toolchain, manifest.platform, manifest.sandbox) == ("sha256:" + "1" * 64, "linux/arm64", "kubernetes")
        assert results["near"].manifest.sandbox == "bubblewrap"
        assert machine.ran == ["near"]
        (command,) = cluster.commands
        assert (command.keeps, command.attempt, command.resumed, command.offer) == (("out/",), 1, False, OFFER)
        assert cluster.released == [f"{run.run}-far"]

    run_story(story())


def test_a_pod_that_is_taken_away_is_another_attempt(world: World, tmp_path: Path) -> None:
    """Lost is no failure of the task: the next attempt has the next number, and so another Job."""

    async def story() -> None:
        machine, cluster = Machine(), Cluster()
        cluster.exits = [TaskExit("lost", None, "it was evicted"), TaskExit("exited", 0)]
        service = with_cluster(world, machine, tmp_path, cluster)
        run = begin(world, service, files())
        assert run is not None
        await ended(world, service, run)
        assert states(world, run)["far"] == "passed"
        assert [command.attempt for command in cluster.commands] == [1, 2]

    run_story(story())


@pytest.mark.parametrize("once", [b"", b", once: true"])
def test_a_task_elsewhere_outlives_the_server_and_is_taken_over(world: World, tmp_path: Path, once: bytes) -> None:
    """The ending server lets it go on; the next one is told that it was begun and what the log has, also for one of `once`."""

    async def story() -> None:
        machine, cluster = Machine(), Cluster()
        cluster.blocked = True
        service = with_cluster(world, machine, tmp_path, cluster)
        source = files(once) if not once else {".setpoint/pipeline.yaml": (PIPELINE % once).replace(b", outputs: [out/]", b"")}
        run = begin(world, service, source)
        assert run is not None
        service.resume()
        async with asyncio.timeout(5):
            await cluster.begun.wait()
        assert service.glance(run.run, "far") == f"{run.run}-far is far away"
        await service.stop()
        assert (cluster.left, cluster.released) == (True, [])
        after = Cluster()
        following = with_cluster(world, machine, tmp_path, after)
        final = await ended(world, following, run)
        assert final.state is RunState.PASSED
        (command,) = after.commands
        assert (command.resumed, command.logged, command.attempt) == (True, 1, 1)
        assert [entry for entry in world.journal.entries() if entry.kind == "task.lost"] == []

    run_story(story())


def test_an_executor_has_slots_of_its_own() -> None:
    """A cluster that is full holds up nobody here, and whoever waits there is told how many stand before them."""

    async def story() -> None:
        places = Places(1)
        async with places.of(OFFER).one("1", "r-1", "a"):
            waiting = asyncio.create_task(places.of(OFFER)._take("2", "r-2", "b"))
            await asyncio.sleep(0)
            async with places.of(None).one("3", "r-3", "c"):
                assert places.ahead("r-2") == {"b": 0}
            assert not waiting.done()
        await waiting

    run_story(story())


async def begun(world: World, root: Path, more: bytes = b"") -> Run:
    """Begin a run whose task on a cluster goes on when its server ends, and return it."""
    cluster = Cluster()
    cluster.blocked = True
    service = with_cluster(world, Machine(), root, cluster)
    run = begin(world, service, {".setpoint/pipeline.yaml": (PIPELINE % more).replace(b", outputs: [out/]", b"")})
    assert run is not None
    service.resume()
    async with asyncio.timeout(30):
        await cluster.begun.wait()
    await service.stop()
    return run


def result_of(world: World, run: Run, task: str) -> TaskResult:
    """Return the last result of a task."""
    return [result for result in world.records.results(run.run) if result.task == task][-1]


def test_a_run_that_was_cancelled_before_the_server_ended_leaves_no_job(world: World, tmp_path: Path) -> None:
    """The next server lets go of what the run began on a cluster before it says that the run has ended."""

    async def story() -> None:
        run = await begun(world, tmp_path)
        world.recorder.record("run.cancelling", run.run, "operator", {"why": ""})
        after = Cluster()
        final = await ended(world, with_cluster(world, Machine(), tmp_path, after), run)
        assert final.state is RunState.CANCELLED
        assert (after.released, after.commands) == ([f"{run.run}-far"], [])

    run_story(story())


def test_a_job_whose_task_is_cancelled_while_it_waits_to_be_taken_over_is_deleted(world: World, tmp_path: Path) -> None:
    """It has no slot here and runs there all the same; for one of `once` nobody knows whether it happened."""

    async def story() -> None:
        run = await begun(world, tmp_path, b", once: true")
        after = Cluster()
        service = with_cluster(world, Machine(), tmp_path, after)
        async with service._slots.of(OFFER).one("0", "r-other", "t"):
            service.resume()
            async with asyncio.timeout(30):
                while "far" not in service.queued(run.run):  # noqa: ASYNC110 - the queue has no event to wait for
                    await asyncio.sleep(0.002)
            assert await service.cancel_task(run.run, "far", "operator")
        found = result_of(world, run, "far")
        assert (after.released, after.commands) == ([f"{run.run}-far"], [])
        assert found.started_at is not None
        assert found.reason.endswith("whether it happened is not known")
        await service.stop()

    run_story(story())


def test_a_cancelled_run_ends_although_its_executor_is_gone(world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be reached any more is logged, and keeps nothing from its end."""

    async def story() -> None:
        run = await begun(world, tmp_path)
        world.recorder.record("run.cancelling", run.run, "operator", {"why": ""})
        after = Cluster()
        after.offered = "another"
        final = await ended(world, with_cluster(world, Machine(), tmp_path, after), run)
        assert (final.state, after.released) == (RunState.CANCELLED, [])
        assert f"what is left of {run.run}-far" in caplog.text

    run_story(story())


@pytest.mark.parametrize(("once", "probe"), [(b"", b""), (b", once: true", b""), (b", once: true", b", probe: ask")])
def test_a_begun_task_whose_executor_is_gone_is_lost_if_it_must_not_run_twice(
    world: World, tmp_path: Path, once: bytes, probe: bytes
) -> None:
    """Of `once` a person has to say what became of it, and the run waits; any other failed, and says when it was begun."""

    async def story() -> None:
        run = await begun(world, tmp_path, once + probe)
        after = Cluster()
        after.offered = "another"
        service = with_cluster(world, Machine(), tmp_path, after)
        service.resume()
        async with asyncio.timeout(30):
            while "far" not in states(world, run) or run.run in service._active:  # noqa: ASYNC110 - the journal has no event to wait for
                await asyncio.sleep(0.002)
        found = result_of(world, run, "far")
        assert found.started_at is not None
        assert found.reason.startswith("SP270: there is no executor")
        now = world.records.run(run.run)
        assert now is not None
        assert (found.state, now.state) == ((TaskState.LOST, RunState.RUNNING) if once else (TaskState.FAILED, RunState.FAILED))
        assert world.kinds().count("task.lost") == (1 if once else 0)

    run_story(story())


def test_a_begun_task_that_cannot_be_prepared_leaves_no_job(world: World, tmp_path: Path) -> None:
    """A secret that is gone settles it; its executor is there, and is told to let go."""

    async def story() -> None:
        cluster, machine = Cluster(), Machine()
        cluster.blocked = True
        machine.secrets = {"TOKEN": ("1", "value")}
        service = with_cluster(world, machine, tmp_path, cluster)
        run = begin(world, service, files(b", secrets: [TOKEN]"))
        assert run is not None
        service.resume()
        async with asyncio.timeout(30):
            await cluster.begun.wait()
        await service.stop()
        after = Cluster()
        await ended(world, with_cluster(world, Machine(), tmp_path, after), run)
        assert result_of(world, run, "far").reason.startswith("SP252")
        assert after.released == [f"{run.run}-far"]

    run_story(story())

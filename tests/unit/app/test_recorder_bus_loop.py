"""Recorder, bus and control loop: what is written is read at once, a failed fold leaves no hole, one fault stops nobody else."""
# ruff: noqa: ARG002 - fakes keep the signatures of their ports

import asyncio
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

import pytest

from setpoint.adapters.database.engine import open_database
from setpoint.adapters.database.projection import Projection
from setpoint.adapters.database.records import Records
from setpoint.adapters.git.spool import PushSpool
from setpoint.app.bus import Bus
from setpoint.app.loop import ControlLoop, LoopParts
from setpoint.app.pushes import Pushes
from setpoint.app.recorder import JournalRecorder
from setpoint.app.registration import Registration
from setpoint.core.errors import ConflictError, NotFoundError, SetpointError, UserError, WorldError
from setpoint.ground.identity.model import Principal
from setpoint.ground.journal.model import Entry
from setpoint.source.model import Revision
from setpoint.source.service import SourceService
from unit.builders_home import World


class _Flaky(Projection):
    """A projection whose database is locked for a while."""

    locked = False

    def apply(self, entries: Iterable[Entry]) -> int:
        """Refuse while locked."""
        if self.locked:
            raise WorldError("SP003", "database is locked")
        return super().apply(entries)


def _names(root: Path) -> list[str]:
    with open_database(root / "b.db").connect() as connection:
        from setpoint.adapters.database.tables import repositories

        return sorted(row.repository for row in connection.execute(repositories.select()))


def test_a_fold_that_failed_is_made_up_for_at_the_next_entry(world: World, tmp_path: Path) -> None:
    """What is journalled but not in the tables is folded at the next entry, which is refused: it was decided on without it."""
    projection = _Flaky(open_database(tmp_path / "b.db"))
    recorder = JournalRecorder(world.journal, projection, Bus())
    recorder.record("repository.created", "one", "operator", {})
    projection.locked = True
    assert recorder.record("repository.created", "two", "operator", {}).index == len(world.journal) - 1, "journalled is done"
    with pytest.raises(WorldError, match="locked"):
        recorder.record("repository.created", "three", "operator", {})
    projection.locked = False
    with pytest.raises(WorldError, match="fallen behind"):
        recorder.record("repository.created", "two", "operator", {})
    assert _names(tmp_path) == ["one", "two"]
    recorder.record("repository.created", "three", "operator", {})
    assert _names(tmp_path) == ["one", "three", "two"]
    assert projection.applied() == 3


def test_the_tables_catch_up_by_themselves(world: World, tmp_path: Path) -> None:
    """Once the database takes entries again a glance folds what is missing and wakes everybody; whoever decided before is refused once."""
    projection, bus, control = _Flaky(open_database(tmp_path / "b.db")), Bus(), Bus()
    recorder = JournalRecorder(world.journal, projection, bus, control)
    assert not recorder.mend(), "nothing was left out"
    projection.locked = True
    recorder.record("repository.created", "one", "operator", {})
    assert recorder.mend()
    projection.locked = False
    seen = (bus.version, control.version)
    assert not recorder.mend()
    assert (bus.version, control.version) == (seen[0] + 1, seen[1] + 1)
    assert _names(tmp_path) == ["one"]
    assert not recorder.mend()
    assert bus.version == seen[0] + 1, "once"
    with pytest.raises(WorldError, match="SP003"):
        recorder.record("repository.created", "two", "operator", {})
    recorder.record("repository.created", "two", "operator", {})
    assert _names(tmp_path) == ["one", "two"]


def test_nothing_to_record_wakes_nobody(world: World, tmp_path: Path) -> None:
    """An empty list is no entry, and no reason to look."""
    bus = Bus()
    assert JournalRecorder(world.journal, Projection(open_database(tmp_path / "b.db")), bus).record_all([]) == []
    assert bus.version == 0


def test_a_deleted_database_is_folded_from_the_journal(world: World, tmp_path: Path) -> None:
    """Law 4: catching up with an empty database gives back what the journal holds."""
    world.register()
    recorder = JournalRecorder(world.journal, Projection(open_database(tmp_path / "b.db")), Bus())
    assert recorder.catch_up() == len(world.journal)
    assert recorder.catch_up() == 0
    assert Records(open_database(tmp_path / "b.db")).accepted("delivery") == world.records.accepted("delivery")


def test_threads_write_one_unbroken_chain(world: World) -> None:
    """Entries from several threads at once keep order and chain, and all are read."""
    threads = [
        threading.Thread(target=lambda n=n: [world.recorder.record("repository.created", f"{n}-{m}", "operator", {}) for m in range(10)])
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (world.journal.check().fault, len(world.journal)) == ("", 40)
    assert [entry.index for entry in world.journal.entries()] == list(range(40))


def test_a_wait_ends_with_the_change_also_from_another_thread() -> None:
    """A change that came before the wait is seen at once; one from a thread wakes it; without one the time limit does."""

    async def story() -> None:
        bus = Bus()
        bus.attach(asyncio.get_running_loop())
        seen = bus.version
        bus.notify()
        assert await bus.wait(seen, 60) == seen + 1
        thread = threading.Thread(target=bus.notify)
        waiting = asyncio.create_task(bus.wait(seen + 1, 60))
        await asyncio.sleep(0)
        thread.start()
        assert await asyncio.wait_for(waiting, 5) == seen + 2
        thread.join()
        assert await bus.wait(bus.version, 0.001) == seen + 2
        assert bus._waiters == set()

    asyncio.run(story())


class _Pipeline:
    """A pipeline service that refuses some revisions."""

    def __init__(self, refuse: dict[str, Exception]) -> None:
        self.refuse = refuse
        self.begun: list[str] = []
        self.fault: Exception | None = None

    def begin(self, branch: str, revision: Revision, pusher: str) -> None:
        """Begin, or refuse."""
        if revision.repository in self.refuse:
            raise self.refuse[revision.repository]
        self.begun.append(f"{revision.repository} {pusher}")

    def resume(self) -> None:
        """Take up runs, or fail."""
        if self.fault:
            raise self.fault


class _Ada(Pushes):
    """Pushes that were all ada's."""

    def pusher_of(self, repository: str, commit: str) -> str:
        """Return ada."""
        return "ada"


def _pushes(world: World) -> Pushes:
    return _Ada(PushSpool(world.git.root / ".pushes"), world.git, world.records, world.recorder)


def _loop(world: World, pipeline: _Pipeline) -> ControlLoop:
    unused = cast("Any", None)
    return ControlLoop(
        LoopParts(
            Bus(), SourceService(world.git), cast("Any", pipeline), unused, unused, unused, world.reader, unused, _pushes(world), unused
        )
    )


class _NoChecks:
    """Commands of gates, of which there are none."""

    def look(self) -> None:
        """Find nothing."""

    def begin(self) -> None:
        """Begin nothing."""

    async def stop(self) -> None:
        """Stop nothing."""


class _Controller:
    """A controller that counts its passes and says when it wants the next."""

    def __init__(self, again_s: float | None = None) -> None:
        self.passes = 0
        self.again_s = again_s

    def advance(self, *_environment: str) -> float | None:
        """Pass."""
        self.passes += 1
        return self.again_s


def _quiet_loop(world: World, promotions: _Controller, glances: tuple[Callable[[], object], ...] = ()) -> tuple[ControlLoop, Bus]:
    bus, unused = Bus(), cast("Any", None)
    parts = LoopParts(
        bus,
        SourceService(world.git),
        cast("Any", _Pipeline({})),
        cast("Any", promotions),
        unused,
        cast("Any", _Controller()),
        world.reader,
        cast("Any", _Controller()),
        _pushes(world),
        cast("Any", _NoChecks()),
        glances,
    )
    return ControlLoop(parts), bus


async def _passes(controller: _Controller, count: int) -> None:
    """Wait until a controller has passed so often."""
    async with asyncio.timeout(60):
        while controller.passes < count:  # noqa: ASYNC110 - the controller is called from a thread
            await asyncio.sleep(0.002)


def test_a_controller_looks_at_every_wake_and_when_it_asked_to(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """In between it is left in peace; the longest pause is the loop's, whatever a controller asks."""

    async def story() -> None:
        asked = _Controller(0.02)
        loop, bus = _quiet_loop(world, asked)
        monkeypatch.setattr("setpoint.app.loop._PAUSE_S", 0.001)
        task = asyncio.create_task(loop.run())
        await _passes(asked, 3)
        asked.again_s = None
        await _passes(asked, asked.passes + 1)
        before = asked.passes
        await asyncio.sleep(0.05)
        assert asked.passes == before, "nothing happened and nobody asked"
        bus.notify()
        await _passes(asked, before + 1)
        monkeypatch.setattr("setpoint.app.loop._LOOK_S", 0.01)
        asked.again_s = 3600
        bus.notify()
        await _passes(asked, before + 5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    monkeypatch.setattr(_Pipeline, "stop", lambda _self: asyncio.sleep(0), raising=False)
    asyncio.run(story())


def test_what_no_entry_tells_wakes_the_controllers(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A glance that differs from the one before, or fails, is a reason to look; an equal one is none."""

    async def story() -> None:
        world.commit("a", {"x": b"1"})
        picture: list[object] = [1]

        def look() -> object:
            if picture[0] is None:
                raise OSError("gone")
            return picture[0]

        controller = _Controller()
        loop, _ = _quiet_loop(world, controller, (look, world.git.glance))
        task = asyncio.create_task(loop.run())
        await _passes(controller, 1)
        await asyncio.sleep(0.05)
        assert controller.passes == 1
        picture[0] = 2
        await _passes(controller, 2)
        world.commit("a", {"x": b"2"})
        await _passes(controller, 3)
        picture[0] = None
        await _passes(controller, 5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    monkeypatch.setattr("setpoint.app.loop._GLANCE_S", 0.005)
    monkeypatch.setattr(_Pipeline, "stop", lambda _self: asyncio.sleep(0), raising=False)
    asyncio.run(story())


def test_single_tasks_leave_the_controllers_in_peace(world: World, tmp_path: Path) -> None:
    """A task that starts or ends is news for who follows the run only; everything else wakes the control loop too."""
    bus, control = Bus(), Bus()
    recorder = JournalRecorder(world.journal, Projection(open_database(tmp_path / "b.db")), bus, control)
    recorder.record("task.started", "r-1", "setpoint", {"task": "a", "key": "k"})
    assert (bus.version, control.version) == (1, 0)
    recorder.record("repository.created", "a", "operator", {})
    assert (bus.version, control.version) == (2, 1)


def test_a_head_that_cannot_be_begun_keeps_none_of_the_others_waiting(world: World) -> None:
    """Law 5: the other heads are begun in the same pass, and what may work later is tried again."""
    for name in ("a", "b", "c"):
        world.commit(name, {"x": b"1"})
    pipeline = _Pipeline({"a": WorldError("SP105", "disk"), "b": UserError("SP103", "too large")})
    loop = _loop(world, pipeline)
    with pytest.raises(SetpointError, match="SP105"):
        loop._sources()
    assert pipeline.begun == ["c ada"]
    pipeline.refuse = {}
    loop._sources()
    assert pipeline.begun == ["c ada", "a ada"]


def test_a_fault_while_runs_are_taken_up_does_not_end_the_loop(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the next pass tries again."""
    pipeline = _Pipeline({})
    pipeline.fault = RuntimeError("database is locked")
    _loop(world, pipeline)._resume()
    assert "cannot be taken up" in caplog.text


def test_a_delivery_repository_is_registered_once_and_accepted_by_commit_id(world: World) -> None:
    """The operator names repository and commit; the same words again change nothing; a second repository is a conflict."""
    from unit.builders_home import DELIVERY

    commit = world.commit("delivery", DELIVERY)
    world.commit("other", {"x": b"1"})
    registration = Registration(world.git, world.records, world.recorder, world.reader)
    operator = Principal("operator")
    assert registration.register("delivery", "main", "", operator)["commit"] == commit
    entries = len(world.journal)
    registration.register("delivery", "main", commit[:12], operator)
    assert len(world.journal) == entries
    with pytest.raises(ConflictError, match="SP503"):
        registration.register("other", "main", "", operator)
    for repository, wanted in (("nowhere", ""), ("delivery", "f" * 40)):
        with pytest.raises(SetpointError) as caught:
            registration.register(repository, "main", wanted, operator)
        assert isinstance(caught.value, ConflictError | NotFoundError)


def test_what_init_left_in_the_inbox_is_done_once_and_a_fault_is_kept(world: World, tmp_path: Path) -> None:
    """A request that was done is removed; one that cannot be done stays and is logged."""
    from unit.builders_home import DELIVERY

    world.commit("delivery", DELIVERY)
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "1.json").write_text('{"repositories": ["shop"], "delivery": "delivery"}')
    (inbox / "2.json").write_text('{"delivery": "nowhere"}')
    (inbox / "3.json").write_text("{")
    Registration(world.git, world.records, world.recorder, world.reader).drain(inbox)
    assert [path.name for path in sorted(inbox.iterdir())] == ["2.json", "3.json"]
    assert "shop" in world.git.names()
    assert world.records.deliveries() == {"delivery": "main"}


def test_a_cancellation_that_comes_with_a_wake_is_not_lost() -> None:
    """A server that is told to stop while something happens stops all the same."""

    async def story() -> None:
        bus = Bus()
        bus.attach(asyncio.get_running_loop())

        async def follow() -> None:
            while True:
                await bus.wait(bus.version, 60)

        task = asyncio.create_task(follow())
        await asyncio.sleep(0)
        bus._wake()
        task.cancel()
        assert await asyncio.wait({task}, timeout=5) == ({task}, set())
        assert task.cancelled()
        assert bus._waiters == set()

    asyncio.run(story())


def test_what_a_bus_is_told_goes_onward() -> None:
    """Who follows a log is woken by the journal too, for a task's end is written there; and not the other way round."""

    async def story() -> None:
        logs = Bus()
        bus = Bus(logs)
        bus.attach(asyncio.get_running_loop())
        waiting = asyncio.create_task(logs.wait(logs.version, 60))
        await asyncio.to_thread(bus.notify)
        assert await asyncio.wait_for(waiting, 10) == 1
        logs.notify()
        assert (bus.version, logs.version) == (1, 2)

    asyncio.run(story())

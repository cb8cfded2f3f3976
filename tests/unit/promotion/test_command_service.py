"""The service that asks the commands of gates: slots, order, errors by type, people, and what a death leaves."""
# ruff: noqa: ARG002 - fakes keep the signatures of their ports

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from setpoint.core.errors import ConflictError, NotAllowedError, NotFoundError, UserError
from setpoint.pipeline.model import Archive, LogRecord, NotStartedError, TaskCommand, TaskExit
from setpoint.promotion.checks.model import CommandRun, CommandState
from setpoint.promotion.checks.service import AT_ONCE, CheckParts, CommandChecks
from setpoint.promotion.service import PromotionService
from setpoint.reconcile.upstream import Upstreams
from unit.builders_home import ADA, DELIVERY, OPERATOR, PAT, STAGING, World

GATED = b"""apiVersion: setpoint.dev/v1alpha1
kind: Environment
target: {host: {listen: "127.0.0.1:7502"}}
after: [staging]
owners: ["team:sre"]
gates:
  checks:
    - command: {run: one}
    - command: {run: two, network: true, env: {A: b}}
    - command: {run: three, timeout: 5s}
"""


class Sandbox:
    """Executor, workspaces and logs in memory; what a command ends with is put into `ends` by its text."""

    def __init__(self) -> None:
        self.ends: dict[str, TaskExit | Exception] = {}
        self.running: dict[str, asyncio.Event] = {}
        self.commands: list[TaskCommand] = []
        self.most = 0
        self.files: dict[str, list[str]] = {}
        self.stopped: list[str] = []

    async def execute(self, command: TaskCommand, on_log: Callable[[Sequence[LogRecord]], None]) -> TaskExit:
        """Wait until the test lets it end."""
        text = command.argv[-1]
        self.commands.append(command)
        self.running[text] = asyncio.Event()
        self.most = max(self.most, len(self.running))
        on_log([LogRecord(0, "", "out", f"{text} says\n")])
        try:
            await self.running[text].wait()
        except asyncio.CancelledError:
            self.stopped.append(text)
            raise
        finally:
            del self.running[text]
        ended = self.ends.get(text, TaskExit("exited", 0))
        if isinstance(ended, Exception):
            raise ended
        return ended

    def create(self, task_id: str, files: Iterable[tuple[str, int, bytes]], archives: Iterable[Archive]) -> Path:
        """Remember what lies in a workspace."""
        self.files[task_id] = [path for path, _, _ in files]
        return Path()

    def remove(self, task_id: str) -> None:
        """Forget a workspace."""
        self.files.pop(task_id, None)

    def append(self, run: str, task: str, records: Sequence[LogRecord]) -> None:
        """Keep no log."""

    def truncate(self, run: str, task: str) -> None:
        """Keep no log."""


def _service(world: World, sandbox: Sandbox) -> CommandChecks:
    unfilled: Any = sandbox
    upstreams = Upstreams(world.reader, world.records)
    parts = CheckParts(world.reader, world.records, upstreams, world.git, unfilled, unfilled, unfilled, world.recorder, world.clock)
    return CommandChecks(parts)


def _waiting(world: World) -> PromotionService:
    """Bring a build through staging, so that production asks its three commands."""
    files = {**DELIVERY, "environments/prod/environment.yaml": GATED, "environments/prod/checks/a/b.txt": b"x"}
    world.register(files)
    world.build("1")
    service = world.service()
    service.advance()
    world.healthy("staging")
    service.advance()
    return service


def _runs(world: World) -> dict[str, CommandRun]:
    return {run.command: run for run in world.records.command_runs(world.promotions("prod")[-1].promotion)}


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is waited for is written in threads
            await asyncio.sleep(0.002)


async def _begun(checks: CommandChecks, sandbox: Sandbox, *texts: str) -> None:
    await asyncio.to_thread(checks.look)
    checks.begin()
    await _until(lambda: set(texts) <= set(sandbox.running))


async def _end(checks: CommandChecks, world: World, sandbox: Sandbox, text: str) -> None:
    sandbox.running[text].set()
    await _until(lambda: text in _runs(world) and bool(_runs(world)[text].finished_at))


def test_few_run_at_a_time_and_the_gate_waits_for_all(world: World) -> None:
    """The third begins when one has ended; each has its words, limits and files; all passes let the candidate in."""
    service = _waiting(world)
    sandbox = Sandbox()
    checks = _service(world, sandbox)

    async def story() -> None:
        await _begun(checks, sandbox)
        await _until(lambda: len(sandbox.running) == AT_ONCE)
        assert all(names == ["a/b.txt", ".setpoint/candidate.json"] for names in sandbox.files.values())
        for _ in range(3):
            await _until(lambda: bool(sandbox.running))
            service.advance()
            assert world.version("prod") == ""
            await _end(checks, world, sandbox, next(iter(sandbox.running)))

    asyncio.run(story())
    assert (sandbox.most, sandbox.files) == (AT_ONCE, {})
    two = next(command for command in sandbox.commands if command.argv[-1] == "two")
    assert (two.network, two.environment["A"], two.processes, two.secrets) == (True, "b", 256, {})
    assert two.environment["SETPOINT_URL"] == "http://127.0.0.1:7501"
    three = next(command for command in sandbox.commands if command.argv[-1] == "three")
    assert (three.network, three.timeout_s) == (False, 5)
    service.advance()
    assert world.version("prod") == "1"


@pytest.mark.parametrize(
    ("ended", "state", "found", "lasting"),
    [
        (TaskExit("exited", 3), CommandState.FAILED, "exit status 3: one says", False),
        (TaskExit("exited", None), CommandState.ERROR, "exited; its last words: one says", False),
        (TaskExit("timed-out", 143, "timed out after 60 s"), CommandState.ERROR, "timed out after 60 s; its last words: one says", False),
        (
            TaskExit("lost", None, "the runner process ended"),
            CommandState.ERROR,
            "the runner process ended; its last words: one says",
            False,
        ),
        (NotStartedError("SP241", "no sandbox"), CommandState.ERROR, "SP241: no sandbox", False),
        (UserError("SP211", "no such name"), CommandState.ERROR, "SP211: no such name", True),
    ],
)
def test_whatever_is_no_pass_is_none(world: World, ended: TaskExit | Exception, state: CommandState, found: str, lasting: bool) -> None:  # noqa: FBT001
    """Only another exit status is a failure; the rest is an error, and asked again unless asking gives the same."""
    service = _waiting(world)
    sandbox = Sandbox()
    sandbox.ends["one"] = ended
    checks = _service(world, sandbox)

    async def story() -> None:
        await _begun(checks, sandbox)
        for text in ("one", "two", "three"):
            await _until(lambda text=text: text in sandbox.running)  # type: ignore[misc]
            await _end(checks, world, sandbox, text)

    asyncio.run(story())
    one = _runs(world)["one"]
    assert (one.state, one.found, one.lasting, one.failures) == (state, found, lasting, 1)
    service.advance()
    assert world.version("prod") == ""
    assert checks.look() == (3600 if lasting else 10)


def test_who_never_answered_comes_before_who_fails(world: World) -> None:
    """Commands that fail over and over keep nobody waiting."""
    _waiting(world)
    sandbox = Sandbox()
    sandbox.ends = {"one": TaskExit("exited", 1), "two": TaskExit("exited", 1)}
    checks = _service(world, sandbox)

    async def story() -> None:
        await _begun(checks, sandbox)
        first = set()
        while "three" not in first:
            await _until(lambda: bool(sandbox.running))
            text = next(iter(sandbox.running))
            first.add(text)
            world.clock.move(700)
            await _end(checks, world, sandbox, text)
            await asyncio.to_thread(checks.look)
            checks.begin()
        assert len(sandbox.commands) <= 4
        await checks.stop()

    asyncio.run(story())


def test_what_a_dead_server_left_is_asked_again_and_what_nobody_wants_is_stopped(world: World) -> None:
    """A death leaves the beginning; a newer candidate ends the question, and the journal says so."""
    service = _waiting(world)
    sandbox = Sandbox()

    async def die() -> None:
        checks = _service(world, sandbox)
        await _begun(checks, sandbox)
        await _until(lambda: len(sandbox.running) == AT_ONCE)
        await checks.stop()

    asyncio.run(die())
    left = [run for run in _runs(world).values() if run.state is CommandState.RUNNING]
    assert len(left) == AT_ONCE

    async def story() -> None:
        checks = _service(world, sandbox)
        await _begun(checks, sandbox)
        await _until(lambda: len(sandbox.running) == AT_ONCE)
        old = world.promotions("prod")[-1].promotion
        world.build("2")
        service.advance()
        world.healthy("staging")
        service.advance()
        await asyncio.to_thread(checks.look)
        checks.begin()
        checks.begin()
        await _until(lambda: any(run.state is CommandState.CANCELLED for run in world.records.command_runs(old)))
        await checks.stop()

    asyncio.run(story())


def test_who_may_have_a_command_asked_again(world: World) -> None:
    """Owners and the operator, while somebody waits for the answer and nobody is asking; then it is due at once."""
    service = _waiting(world)
    sandbox = Sandbox()
    sandbox.ends["one"] = TaskExit("exited", 1)
    checks = _service(world, sandbox)

    async def story() -> None:
        await _begun(checks, sandbox)
        await _until(lambda: len(sandbox.running) == AT_ONCE)
        with pytest.raises(ConflictError, match="already"):
            checks.again(_runs(world)[next(iter(sandbox.running))].check, OPERATOR, "")
        for text in ("one", "two", "three"):
            await _until(lambda text=text: text in sandbox.running)  # type: ignore[misc]
            await _end(checks, world, sandbox, text)

    asyncio.run(story())
    one = _runs(world)["one"].check
    with pytest.raises(NotAllowedError, match="neither owner"):
        checks.again(one, ADA, "")
    with pytest.raises(NotFoundError, match="no check"):
        checks.again("c-none", OPERATOR, "")
    assert checks.look() == 10
    world.clock.move(1)
    assert checks.again(one, PAT, "mended").asked_by == "person:pat@example.com"
    assert checks.look() == 3599
    assert checks._due == [one]
    world.build("2")
    service.advance()
    world.healthy("staging")
    service.advance()
    with pytest.raises(ConflictError, match="nobody waits"):
        checks.again(one, PAT, "")


def test_other_scripts_are_another_gate(world: World) -> None:
    """A changed script makes a new promotion, so that approvals and answers for the old gate count for nothing; another folder does not."""
    service = _waiting(world)
    (old,) = world.promotions("prod")
    assert old.scripts
    world.commit("delivery", {"environments/staging/environment.yaml": STAGING, "README": b"x"}, pusher="sam@example.com")
    service.advance()
    assert world.states("prod") == ["open"]
    world.commit("delivery", {"environments/prod/checks/a/b.txt": b"y"}, pusher="ada@example.com")
    service.advance()
    assert world.states("prod") == ["open"], "not accepted"
    world.commit("delivery", {"environments/prod/checks/a/b.txt": b"z"}, pusher="pat@example.com")
    service.advance()
    assert world.states("prod") == ["open"], "a stranger's change came before it"
    world.recorder.record("baseline.accepted", "delivery", "operator", {"commit": world.git.heads("delivery")["main"], "why": "looked at"})
    service.advance()
    assert world.states("prod") == ["superseded", "open"]
    assert world.promotions("prod")[-1].scripts != old.scripts


def test_what_a_look_left_out_between_its_two_results_is_not_begun(world: World) -> None:
    """A look in its thread replaces what is wanted before what is due: the loop may see one without the other, and goes on."""
    _waiting(world)
    sandbox = Sandbox()
    checks = _service(world, sandbox)

    async def story() -> None:
        await asyncio.to_thread(checks.look)
        checks._wanted = {}
        checks.begin()
        assert not checks._active

    asyncio.run(story())
    assert sandbox.running == {}

"""Asks the commands of gates: looks which are wanted and due, runs each in a sandbox, and journals how it ended.

Driven by the control loop (`look` in a thread, `begin` in the loop's own); `again` is called by the API. The gate reads the journalled end
and nothing else. A command is asked at least once: what a dead server left running is asked anew, so a command must change nothing.
"""

import asyncio
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from setpoint.core import clock, records
from setpoint.core.errors import ConflictError, NotFoundError, SetpointError, UserError
from setpoint.ground.identity.model import Principal
from setpoint.ground.journal.ports import Recorder
from setpoint.pipeline import threads
from setpoint.pipeline.decide import shell
from setpoint.pipeline.model import LogRecord, TaskCommand, TaskExit
from setpoint.pipeline.ports import Executor, TaskLogs, Workspaces
from setpoint.promotion.checks import decide
from setpoint.promotion.checks.model import CommandRun, CommandState, Question
from setpoint.promotion.model import Promotion, PromotionState
from setpoint.promotion.people import require_responsible
from setpoint.promotion.ports import PromotionRecords, UpstreamView
from setpoint.promotion.repository import Delivery, DeliveryReader
from setpoint.source.ports import GitStore

log = logging.getLogger(__name__)

AT_ONCE: Final = 2
"""Commands at a time, beside the slots of tasks: neither keeps the other waiting."""
LOG: Final = "command"
"""What the log of a check is kept under, below the check's id."""
PLACE: Final = ".setpoint/candidate.json"
_LOG_BYTES: Final = 4 << 20
_PROCESSES: Final = 256
_TAIL: Final = 4000


@dataclass(frozen=True, slots=True)
class CheckParts:
    """What the service works with."""

    delivery: DeliveryReader
    records: PromotionRecords
    upstreams: UpstreamView
    git: GitStore
    executor: Executor
    workspaces: Workspaces
    logs: TaskLogs
    recorder: Recorder
    clock: clock.Clock


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A question with what its command is given."""

    question: Question
    promotion: Promotion
    delivery: Delivery


class CommandChecks:
    """Commands of the gates of one home."""

    def __init__(self, parts: CheckParts) -> None:
        self._parts = parts
        self._wanted: dict[str, _Wanted] = {}
        self._due: list[str] = []
        self._active: dict[str, asyncio.Task[None]] = {}
        self._unwanted: set[str] = set()
        """Of the active ones those that are being stopped: asked a second time, they would be killed without grace."""
        self._stopped = False

    # The loop

    def look(self) -> float | None:
        """Find out which commands are wanted and due; returns the seconds until time alone makes the next one due."""
        delivery = self._parts.delivery.load()
        wanted = {one.question.check: one for one in self._questions(delivery)} if delivery is not None else {}
        now = self._parts.clock.now()
        due: list[tuple[str, str]] = []
        later: list[float] = []
        for check in wanted:
            last = self._parts.records.command_run(check)
            at = decide.due(last, now, active=check in self._active)
            if at is not None and at <= now:
                due.append((last.finished_at if last is not None else "", check))
            elif at is not None:
                later.append((at - now).total_seconds())
        # Who never had an answer comes first, then whose answer is oldest: one that always fails keeps nobody waiting.
        self._wanted, self._due = wanted, [check for _, check in sorted(due)]
        return min(later, default=None)

    def _questions(self, delivery: Delivery) -> Iterator[_Wanted]:
        for promotion in self._parts.records.unfinished():
            candidate = promotion.candidate
            if (
                promotion.kind != "advance"
                or promotion.state is not PromotionState.OPEN
                or candidate.environment not in delivery.environments
            ):
                continue
            environment = delivery.environment(candidate.environment)
            if not any(check.command is not None for check in environment.gates.checks):
                continue
            upstreams = [self._parts.upstreams.upstream(candidate.app, name) for name in environment.after]
            scripts = self._parts.delivery.scripts_id(delivery, candidate.environment)
            for question in decide.questions(promotion, environment.gates.checks, upstreams, scripts):
                yield _Wanted(question, promotion, delivery)

    def begin(self) -> None:
        """Stop what is not wanted any more, and start what is due while there is room; called in the event loop."""
        for check, task in self._active.items():
            if check not in self._wanted and check not in self._unwanted:
                self._unwanted.add(check)
                task.cancel()
        while self._due and len(self._active) < AT_ONCE and not self._stopped:
            check = self._due.pop(0)
            wanted = self._wanted.get(check)  # a look in its thread may have left it out just now
            if wanted is not None and check not in self._active:
                task = asyncio.create_task(self._ask(wanted), name=check)
                self._active[check] = task
                task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._active.pop(task.get_name(), None)
        self._unwanted.discard(task.get_name())
        if not task.cancelled() and task.exception() is not None:
            log.error("a check ended by a fault", exc_info=task.exception())
        self.begin()

    async def stop(self) -> None:
        """End what runs and say nothing about it: the next start asks anew."""
        self._stopped = True
        active = [task for check, task in self._active.items() if check not in self._unwanted]
        for task in active:
            task.cancel()
        await asyncio.gather(*self._active.values(), return_exceptions=True)

    # One command

    async def _ask(self, wanted: _Wanted) -> None:
        """Journal that a command begins, run it to its end, journal that."""
        asked = wanted.question
        begun, cancelled = await threads.to_the_end(self._begin, asked)
        if begun is None:
            return
        tail: list[str] = []
        ended: TaskExit | SetpointError | None = None
        try:
            if not cancelled:
                ended = await self._execute(wanted, begun, tail)
        except SetpointError as error:
            ended = error
        except asyncio.CancelledError:
            ended = None
        await threads.to_the_end(self._parts.workspaces.remove, _task_id(begun))
        if ended is not None:
            await threads.to_the_end(self._finish, _concluded(begun, ended, "".join(tail)))
        elif asked.check in self._unwanted:
            said = replace(begun, state=CommandState.CANCELLED, found="its answer is not wanted any more")
            await threads.to_the_end(self._finish, said)

    def _begin(self, asked: Question) -> CommandRun | None:
        """Journal that a command begins; None when it was answered since it was found due."""
        last = self._parts.records.command_run(asked.check)
        now = self._parts.clock.now()
        at = decide.due(last, now, active=False)
        if at is None or at > now:
            return None
        run = CommandRun(
            check=asked.check,
            promotion=asked.promotion,
            app=asked.app,
            environment=asked.environment,
            upstream=asked.upstream,
            command=decide.label(asked.command),
            scripts=asked.scripts,
            attempt=last.attempt + 1 if last is not None else 1,
            state=CommandState.RUNNING,
            started_at=clock.to_text(now),
            found=last.found if last is not None and last.state is not CommandState.CANCELLED else "",
            failures=last.failures if last is not None else 0,
            asked_at=last.asked_at if last is not None else "",
            asked_by=last.asked_by if last is not None else "",
        )
        self._parts.recorder.record("check.started", asked.check, "setpoint", records.encode(run))
        self._parts.logs.truncate(asked.check, LOG)
        return run

    def _finish(self, run: CommandRun) -> None:
        ended = replace(run, finished_at=clock.to_text(self._parts.clock.now()))
        self._note(run, f"{run.state}: {run.found}")
        self._parts.recorder.record("check.finished", run.check, "setpoint", records.encode(ended))

    def _note(self, run: CommandRun, text: str) -> None:
        self._parts.logs.append(run.check, LOG, [LogRecord(0, clock.to_text(self._parts.clock.now()), "note", text + "\n")])

    async def _execute(self, wanted: _Wanted, run: CommandRun, tail: list[str]) -> TaskExit:
        """Run the command in a fresh workspace with the accepted scripts; tail is filled with the end of what it prints."""
        asked, task_id = wanted.question, _task_id(run)
        await asyncio.to_thread(self._workspace, wanted, task_id)
        url = wanted.delivery.environment(asked.upstream).target.url
        environment = {
            **asked.command.env,
            "SETPOINT_APP": asked.app,
            "SETPOINT_ENVIRONMENT": asked.environment,
            "SETPOINT_UPSTREAM": asked.upstream,
            "SETPOINT_URL": url,
            "SETPOINT_REVISION": wanted.promotion.source_revision,
            "SETPOINT_CANDIDATE": f"/work/{PLACE}",
        }
        command = TaskCommand(
            task_id,
            shell(asked.command.run),
            environment,
            asked.command.network,
            asked.command.timeout,
            log_quota_bytes=_LOG_BYTES,
            processes=_PROCESSES,
        )

        def heard(lines: Sequence[LogRecord]) -> None:
            self._parts.logs.append(asked.check, LOG, lines)
            tail.append("".join(line.text for line in lines if line.stream != "note")[-_TAIL:])
            tail[:] = ["".join(tail)[-_TAIL:]]

        return await self._parts.executor.execute(command, heard)

    def _workspace(self, wanted: _Wanted, task_id: str) -> None:
        parts, asked = self._parts, wanted.question
        repository = wanted.delivery.repository
        scripts = parts.git.files(repository, asked.scripts) if asked.scripts else []
        files = [(file.path, file.mode, parts.git.blob(repository, file.blob)) for file in scripts]
        parts.workspaces.create(task_id, [*files, (PLACE, 0o100644, json.dumps(candidate_file(wanted), indent=2).encode())], ())

    # People

    def find(self, check: str) -> CommandRun:
        """Return what became of a command.

        Raises:
            NotFoundError: it was never asked (SP572).
        """
        found = self._parts.records.command_run(check)
        if found is None:
            raise NotFoundError("SP572", f"there is no check `{check[:80]}`", fix="setpoint why APP ENV names the checks of a candidate")
        return found

    def again(self, check: str, principal: Principal, message: str) -> CommandRun:
        """Have a command asked again now, and not after its pause.

        Raises:
            NotAllowedError: only owners, approvers and the operator (SP514).
            ConflictError: it runs already, or nobody waits for its answer any more (SP573).
        """
        found = self.find(check)
        delivery = self._parts.delivery.require(found.app, found.environment)
        require_responsible(delivery, found.environment, principal)
        fix = f"setpoint why {found.app} {found.environment}"
        if found.state is CommandState.RUNNING:
            raise ConflictError("SP573", "it is being asked already", where=check, fix=f"setpoint log {check} --follow")
        if all(one.question.check != check for one in self._questions(delivery)):
            raise ConflictError("SP573", "nobody waits for its answer any more", where=check, fix=fix)
        body = {"app": found.app, "environment": found.environment, "message": message}
        self._parts.recorder.record("check.requested", check, principal.actor, body)
        return self.find(check)


def candidate_file(wanted: _Wanted) -> dict[str, Any]:
    """Return what a command can read about what it judges; it holds no secret."""
    asked, promotion = wanted.question, wanted.promotion
    return {
        "app": asked.app,
        "environment": asked.environment,
        "promotion": promotion.promotion,
        "version": promotion.version,
        "source": {"repository": promotion.source_repository, "revision": promotion.source_revision},
        "candidate": promotion.candidate.content(),
        "digest": promotion.candidate.digest,
        "upstream": {"environment": asked.upstream, "url": wanted.delivery.environment(asked.upstream).target.url},
    }


def _task_id(run: CommandRun) -> str:
    return f"{run.check}-{run.attempt}"


def _concluded(run: CommandRun, ended: TaskExit | SetpointError, said: str) -> CommandRun:
    """Return a command's end: only an exit status of 0 passes, and only another status is a failure; the rest is an error."""
    if isinstance(ended, SetpointError):
        found = f"{ended.code}: {ended.what}"
        return replace(run, state=CommandState.ERROR, found=found, failures=run.failures + 1, lasting=isinstance(ended, UserError))
    if ended.how != "exited" or ended.exit_code is None:
        words = decide.last_words(said)
        found = (ended.detail or ended.how) + (f"; its last words: {words}" if words else "")
        return replace(run, state=CommandState.ERROR, found=found, failures=run.failures + 1)
    found = decide.told(ended.exit_code, said)
    if ended.exit_code == 0:
        return replace(run, state=CommandState.PASSED, exit_code=0, found=found, failures=0)
    return replace(run, state=CommandState.FAILED, exit_code=ended.exit_code, found=found, failures=run.failures + 1)

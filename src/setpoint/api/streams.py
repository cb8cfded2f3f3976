"""Server-sent events: logs, runs and the journal, followed from where the caller stopped (Last-Event-ID), never lost in between.

Called by the routes; each stream looks again at every wake and at least every two seconds, so a missed wake only delays.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Any

from fastapi import Request
from fastapi.responses import StreamingResponse

from setpoint.app.application import Application
from setpoint.core import records
from setpoint.ground.journal.model import Entry
from setpoint.observe.model import RunReport
from setpoint.promotion.checks.model import CommandState
from setpoint.promotion.checks.service import LOG

_LOOK_S = 2.0
_LOG_LOOK_S = 0.1
_REPLICA_LOOK_S = 0.5
_QUIET_S = 15.0
_KEEPALIVE = ": still here\n\n"


def respond(stream: AsyncIterator[str]) -> StreamingResponse:
    """Return a stream as an event-stream response that no proxy buffers."""
    return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})


def last_event_id(request: Request, fallback: int) -> int:
    """Return where a reconnecting browser stopped."""
    text = request.headers.get("last-event-id", "")
    return int(text) if text.isdigit() else fallback


def _event(name: str, data: Any, event_id: int | None = None) -> str:
    head = f"id: {event_id}\n" if event_id is not None else ""
    return f"{head}event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"


async def log(app: Application, run: str, task: str, after: int) -> AsyncIterator[str]:
    """Yield a task's log records until the task has ended and everything was sent."""
    run_id = app.runs.find(run).run
    while True:
        seen = app.store.log_bus.version
        row = next((row for row in (await asyncio.to_thread(app.runs.report, run_id)).tasks if row.task == task), None)
        found = await asyncio.to_thread(app.store.logs.read, run_id, task, after, 5000)
        for record in found:
            after = record.seq
            yield _event("log", records.encode(record), record.seq)
        if not found and (row is None or row.finished_at is not None or row.state not in ("pending", "running")):
            yield _event("end", asdict(row) if row is not None else {})
            return
        if not found:
            await app.store.log_bus.wait(seen, _LOOK_S)
            await asyncio.sleep(_LOG_LOOK_S)


async def check_log(app: Application, check: str, after: int) -> AsyncIterator[str]:
    """Yield the log records of a gate's command until it has ended and everything was sent."""
    while True:
        seen = app.store.log_bus.version
        run = await asyncio.to_thread(app.checks.find, check)
        found = await asyncio.to_thread(app.store.logs.read, check, LOG, after, 5000)
        for record in found:
            after = record.seq
            yield _event("log", records.encode(record), record.seq)
        if not found and run.state is not CommandState.RUNNING:
            yield _event("end", records.encode(run))
            return
        if not found:
            await app.store.log_bus.wait(seen, _LOOK_S)
            await asyncio.sleep(_LOG_LOOK_S)


async def replica(app: Application, name: str) -> AsyncIterator[str]:
    """Yield what a replica writes from now on, until its shim is gone."""
    follower = await asyncio.to_thread(app.runtime.follow, name)
    quiet_s = 0.0
    while True:
        found = next((one for one in await asyncio.to_thread(app.runtime.replicas) if one.spec.replica == name), None)
        text = await asyncio.to_thread(follower.read)
        if text:
            quiet_s = 0.0
            yield _event("log", {"text": text})
        elif found is None or not found.shim_alive:
            yield _event("end", {"last_exit": found.last_exit if found is not None else ""})
            return
        else:
            await asyncio.sleep(_REPLICA_LOOK_S)
            quiet_s += _REPLICA_LOOK_S
            if quiet_s >= _QUIET_S:
                quiet_s = 0.0
                yield _KEEPALIVE


async def run(app: Application, text: str) -> AsyncIterator[str]:
    """Yield a run's report whenever it changed, until the run has ended."""
    run_id = app.runs.find(text).run
    last = ""
    while True:
        seen = app.store.bus.version
        report: RunReport = await asyncio.to_thread(app.runs.report, run_id)
        shown = _event("run", records.encode(report))
        yield shown if shown != last else _KEEPALIVE
        last = shown
        if report.run.state != "running":
            yield _event("end", {"run": run_id, "state": report.run.state})
            return
        await app.store.bus.wait(seen, _LOOK_S)


def as_event(entry: Entry) -> dict[str, Any]:
    """Return a journal entry as the API shows it."""
    return {
        "index": entry.index,
        "at": entry.at,
        "kind": entry.kind,
        "subject": entry.subject,
        "actor": entry.actor,
        "body": entry.body,
    }


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which journal entries somebody asks for; what is left out does not matter."""

    subject: str | None = None
    """Exactly this run, promotion, repository, hold, token, or application/environment."""
    kind: str | None = None
    """A kind, or the noun before its dot: `hold.opened`, `hold`."""
    actor: str | None = None
    """`operator`, `setpoint` or `person:EMAIL`."""
    since: str | None = None
    """RFC 3339: not older."""

    def fits(self, entry: Entry) -> bool:
        """Say whether an entry is asked for."""
        return (
            self.subject in (None, entry.subject)
            and self.kind in (None, entry.kind, entry.kind.partition(".")[0])
            and self.actor in (None, entry.actor)
            and (self.since is None or entry.at >= self.since)
        )


def entries(app: Application, after: int, limit: int, wanted: Wanted) -> list[dict[str, Any]]:
    """Return journal entries (see the route)."""
    newest = after < 0 and wanted.since is None
    start = max(0, len(app.store.journal) - limit) if newest and wanted == Wanted() else after + 1
    chosen: deque[Entry] = deque(maxlen=limit if newest else None)
    for entry in app.store.journal.entries(start):
        if wanted.fits(entry):
            chosen.append(entry)
            if not newest and len(chosen) == limit:
                break
    return [as_event(entry) for entry in chosen]


async def events(app: Application, after: int) -> AsyncIterator[str]:
    """Yield every journal entry past `after`; -1 starts with what comes next."""
    position = after + 1 if after >= 0 else len(app.store.journal)
    while True:
        seen = app.store.bus.version
        found = await asyncio.to_thread(lambda start: list(app.store.journal.entries(start)), position)
        for entry in found:
            position = entry.index + 1
            yield _event("entry", as_event(entry), entry.index)
        if not found:
            yield _KEEPALIVE
        await app.store.bus.wait(seen, _LOOK_S)

"""Garbage collection: load facts, decide, journal, delete; called by the API, and by the loop once a day.

It deletes only what `decide.plan` names, in an order that a crash cannot hurt: cached results before the content they need, links before
bytes. Whatever was used since the look is spared. A source that cannot be read ends it before anything is deleted (law 7). One at a time.
The journal never shrinks.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from setpoint.core import clock, ids, records
from setpoint.core.errors import ConflictError, SetpointError
from setpoint.core.sizes import spoken
from setpoint.ground.journal.ports import Recorder
from setpoint.retention import decide
from setpoint.retention.claims import claims
from setpoint.retention.model import Collection, Disk, Facts, Going, Kind, Plan, Report, Rules, Sum
from setpoint.retention.ports import GitUpkeep, RegistryShelf, RetentionRecords, Shelf

log = logging.getLogger(__name__)
EVERY: Final = timedelta(days=1)
SELF: Final = "setpoint"
_CLOSE_S: Final = 5.0
_STALE: Final = timedelta(minutes=10)
_GIT: Final = "git"
_LEFTOVERS: Final = "leftovers"


@dataclass(frozen=True, slots=True)
class RetentionParts:
    """What is looked at, and who writes it down."""

    records: RetentionRecords
    recorder: Recorder
    clock: clock.Clock
    registry: RegistryShelf
    shelves: Mapping[Kind, Shelf]
    git: GitUpkeep
    pinned: Callable[[], dict[str, str]]
    """digest -> where it is pinned at HEAD; raises when that is not known"""
    running: Callable[[], dict[str, str]]
    """digest -> the replica that has it"""
    leftovers: Callable[[], int]
    """Deletes unfinished uploads that are older than their age; returns how many."""
    disk: Callable[[], Disk]
    rules: Rules = field(default_factory=Rules)
    automatic: bool = True


class GarbageCollection:
    """The one collector of a home."""

    def __init__(self, parts: RetentionParts) -> None:
        self._parts = parts
        self._guard = threading.Lock()
        self._active: Collection | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._done = self._total = 0
        self._freeable: tuple[datetime, str] | None = None
        self._born = clock.to_text(parts.clock.now())

    def plan(self) -> Plan:
        """Return what a collection would do now, and why the rest stays.

        Raises:
            SetpointError: something cannot be read, so nothing may be deleted.
        """
        return self._decide()[0]

    def report(self) -> Report:
        """Return where it stands."""
        last = self._last()
        disk = self._parts.disk()
        due = self._due_at(last) if self._parts.automatic else ""
        return Report(self._active, self._done, self._total, last, self._parts.rules, self._parts.automatic, due, disk, disk.nearly_full)

    def pressing(self) -> str:
        """Return what a person should know when the disk is nearly full, with what a collection would free; else empty.

        What would be freed is found out anew every ten minutes at most: this is asked with every status.
        """
        disk, now = self._parts.disk(), self._parts.clock.now()
        if not disk.nearly_full:
            return ""
        if self._freeable is None or now - self._freeable[0] > _STALE:
            try:
                self._freeable = (now, f"a collection would free {spoken(self.plan().size_bytes)}")
            except SetpointError as error:
                self._freeable = (now, f"nothing can be collected: {error.what}")
        return f"the disk is nearly full: {spoken(disk.free_bytes)} of {spoken(disk.size_bytes)} are free; {self._freeable[1]}"

    def begin(self, actor: str) -> Collection:
        """Start a collection and return it at once; `report` tells how it goes.

        Raises:
            ConflictError: one is going on (SP720).
        """
        begun = self._take(actor)
        self._thread = threading.Thread(target=self._run, args=(begun,), name="gc", daemon=True)
        self._thread.start()
        return begun

    def collect(self, actor: str) -> Collection:
        """Do a whole collection and return how it ended.

        Raises:
            ConflictError: one is going on (SP720).
        """
        return self._run(self._take(actor))

    def stop(self) -> Collection:
        """Ask the active collection to end after the thing that it is at.

        Raises:
            ConflictError: none is going on (SP721).
        """
        active = self._active
        if active is None:
            raise ConflictError("SP721", "no collection is going on", fix="setpoint gc starts one")
        self._stop.set()
        return active

    def close(self) -> None:
        """End the active collection, if any, and wait for it a little; what it leaves is for the next one."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_CLOSE_S)

    def advance(self) -> None:
        """Begin the collection of the day, when it is due and switched on; called again and again."""
        if not self._parts.automatic or self._active is not None:
            return
        if clock.to_text(self._parts.clock.now()) < self._due_at(self._last()):
            return
        try:
            self.begin(SELF)
        except ConflictError:
            return  # a person was faster

    def _due_at(self, last: Collection | None) -> str:
        """Return when the next one is due: a day after the last began, and in a home without any, an hour after the server did."""
        if last is None:
            return clock.to_text(clock.from_text(self._born) + timedelta(hours=1))
        return clock.to_text(clock.from_text(last.began_at) + EVERY)

    def _last(self) -> Collection | None:
        """Return the newest collection that is not active; one that a dead server began has stopped."""
        found = self._parts.records.collections(2)
        active = self._active.gc if self._active is not None else ""
        last = next((item for item in found if item.gc != active), None)
        return replace(last, state="stopped", why="the server ended") if last is not None and last.state == "running" else last

    def _take(self, actor: str) -> Collection:
        began = clock.to_text(self._parts.clock.now())
        with self._guard:
            if self._active is not None:
                what = f"{self._active.gc} is going on, begun at {clock.spoken(self._active.began_at)}"
                raise ConflictError("SP720", what, fix="setpoint gc --status follows it; setpoint gc --stop ends it")
            self._active = Collection(ids.identifier("gc", began, actor), "running", began, actor)
            self._stop.clear()
            self._done = self._total = 0
            return self._active

    def _run(self, begun: Collection) -> Collection:
        ended = replace(begun, state="failed", why="it was not written down")
        try:
            ended = self._collect(begun)
            self._parts.recorder.record("gc.done", begun.gc, begun.by, records.encode(ended))
        except SetpointError as error:
            log.warning("garbage collection: %s", error.render())
            ended = replace(ended, state="failed", why=error.what)
        except Exception as error:
            log.exception("garbage collection failed")
            ended = replace(ended, state="failed", why=str(error))
        finally:
            self._freeable = None
            self._active = None
        return ended

    def _collect(self, begun: Collection) -> Collection:
        """Return how it ended; what failed in between is part of that."""
        tally = _Tally()
        planned: dict[str, Sum] = {}
        state, why = "done", ""
        try:
            plan, cut = self._decide()
            planned = plan.sums()
            self._total = len(plan.going)
            self._parts.recorder.record("gc.started", begun.gc, begun.by, records.encode(replace(begun, planned=planned)))
            for _ in self._steps(plan, cut, tally):
                if self._stop.is_set():
                    state = "stopped"
                    break
        except (SetpointError, OSError) as error:
            state, why = "failed", error.what if isinstance(error, SetpointError) else str(error)
            log.warning("garbage collection: %s", why)
        ended_at = clock.to_text(self._parts.clock.now())
        return replace(begun, state=state, ended_at=ended_at, planned=planned, gone=tally.gone, spared=tally.spared, why=why)

    def _steps(self, plan: Plan, cut: float, tally: "_Tally") -> Iterator[None]:
        """Do everything, thing by thing; whoever iterates may stop between any two."""
        parts = self._parts
        parts.git.keep(parts.records.commits())
        yield
        for kind in (Kind.CACHE, Kind.CONTENT, Kind.LOG, Kind.RENDER, Kind.IMAGE):
            for item in plan.of(kind):
                yield from self._drop(item, parts.shelves[kind].drop(item.name, cut), tally)
        yield from self._registry(plan, cut, tally)
        swept = parts.leftovers()
        if swept:
            tally.add(_LEFTOVERS, 0, count=swept)
        for name in parts.git.waiting():
            yield
            parts.git.keep({name: parts.records.commits().get(name, ())})  # named since the first; a branch may go while git packs
            tally.add(_GIT, parts.git.repack(name))

    def _registry(self, plan: Plan, cut: float, tally: "_Tally") -> Iterator[None]:
        """Take manifests and links away, make that durable, and only then delete bytes."""
        registry = self._parts.registry
        for item in plan.of(Kind.MANIFEST):
            yield from self._drop(item, 0 if registry.drop_manifest(item.repository, item.name, cut) else None, tally)
        for link in plan.unlinked:
            registry.unlink([link], cut)
            yield
        registry.settle()
        for item in plan.of(Kind.BLOB):
            yield from self._drop(item, registry.drop_blob(item.name, cut), tally)

    def _drop(self, item: Going, size_bytes: int | None, tally: "_Tally") -> Iterator[None]:
        self._done += 1
        if size_bytes is None:
            tally.spared += 1
        else:
            tally.add(item.kind.value, size_bytes)
        yield

    def _decide(self) -> tuple[Plan, float]:
        """Return the plan and the instant (seconds since 1970) after whose use nothing is touched."""
        parts, now = self._parts, self._parts.clock.now()
        registry = parts.registry.look()
        things = {kind: tuple(shelf.things()) for kind, shelf in parts.shelves.items()}
        facts: Facts = replace(parts.records.past(), pinned=parts.pinned(), running=parts.running())
        claimed = claims(facts, parts.rules, now)
        return decide.plan(registry, things, claimed, facts, (parts.rules, now)), now.timestamp() - parts.rules.grace_s


@dataclass(slots=True)
class _Tally:
    """What went so far."""

    gone: dict[str, Sum] = field(default_factory=dict)
    spared: int = 0

    def add(self, kind: str, size_bytes: int, *, count: int = 1) -> None:
        before = self.gone.get(kind, Sum())
        self.gone[kind] = Sum(before.count + count, before.size_bytes + size_bytes)

"""What to record and what to correct: pure functions of the open records, what a look found, the mode and the time (law 6).

Called by the drift service for every look. A subject that drifts again is corrected later each time (2 s, then three times longer, at
most 300 s; forgotten after ten quiet minutes), so that two writers never fight at full speed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from setpoint.core import clock, ids
from setpoint.core.reasons import Outcome, Reason
from setpoint.reconcile.drift.model import Deviation, Drift, DriftState, Holding, Mode
from setpoint.reconcile.model import Difference

WINDOW_S: Final = 600.0
"""A case that comes back within this time after its end counts on."""
QUIET_S: Final = 30.0
"""How long a subject that drifted three times in a row must be quiet before its record ends."""
_OFTEN: Final = 3
_FIRST_S: Final = 2.0
_LAST_S: Final = 300.0

Key = tuple[str, str, str, str]
NOTHING_HELD: Final[Mapping[Key, Holding]] = {}


@dataclass(frozen=True, slots=True)
class Known:
    """A case that is open, with what the last looks at it told."""

    drift: Drift
    event: str = ""
    seen_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What follows from a look."""

    found: tuple[Drift, ...] = ()
    """To journal as `drift.found`: new cases, and open ones that changed."""
    ended: tuple[Drift, ...] = ()
    """To journal as `drift.ended`."""
    known: Mapping[Key, Known] = field(default_factory=dict)
    """The cases that stay open."""
    correct: frozenset[Difference] = frozenset()
    """What is to be corrected now."""


def backoff_s(count: int) -> float:
    """Return how long the correction of the count-th drift in a row waits."""
    return 0.0 if count <= 1 else min(_LAST_S, _FIRST_S * 3.0 ** (count - 2))


def step(
    known: Mapping[Key, Known],
    earlier: Mapping[Key, Drift],
    found: Sequence[Deviation],
    mode: Mode,
    now: datetime,
    held: Mapping[Key, Holding] = NOTHING_HELD,
) -> Step:
    """Return what to record and correct after a look; earlier holds the last ended case of a key, held what holds which case."""
    opened: list[Drift] = []
    ended: list[Drift] = []
    still: dict[Key, Known] = {}
    correct: set[Difference] = set()
    for deviation in found:
        key = deviation.key
        before = known.get(key)
        case = _again(before, deviation, now) if before else Known(_new(deviation, earlier.get(key), now), deviation.event, now)
        case = replace(case, drift=_placed(case.drift, mode, held.get(key)))
        if before is None or _is_news(before.drift, case.drift):
            opened.append(case.drift)
        if deviation.over and case.drift.count < _OFTEN:
            ended.append(_end(case.drift, now, deviation.done, held.get(key)))
            continue
        still[key] = case
        if case.drift.state is DriftState.OPEN and now >= clock.from_text(case.drift.heal_at):
            correct.add(deviation.difference)
    for key, case in known.items():
        if key in {deviation.key for deviation in found}:
            continue
        quiet_s = (now - case.seen_at).total_seconds() if case.seen_at else 0.0
        if case.drift.count >= _OFTEN and quiet_s < QUIET_S:
            still[key] = replace(case, seen_at=case.seen_at or now)
        else:
            ended.append(_end(case.drift, now, "", held.get(key)))
    return Step(tuple(opened), tuple(ended), still, frozenset(correct))


def _new(deviation: Deviation, earlier: Drift | None, now: datetime) -> Drift:
    count = 1
    if earlier is not None and (now - clock.from_text(earlier.ended_at)).total_seconds() <= WINDOW_S:
        count = earlier.count + 1
    since, difference = clock.to_text(now), deviation.difference
    return Drift(
        drift=ids.identifier("d", *deviation.key, since, count),
        app=deviation.app,
        environment=deviation.environment,
        kind=deviation.kind,
        subject=difference.subject,
        field=difference.field,
        desired=difference.desired,
        live=difference.live,
        writer=deviation.writer,
        since=since,
        state=DriftState.OPEN,
        count=count,
        heal_at=clock.to_text(now + timedelta(seconds=0.0 if _is_dead(deviation.kind, difference.field) else backoff_s(count))),
        done=deviation.done,
    )


def _placed(drift: Drift, mode: Mode, holding: Holding | None) -> Drift:
    """Return a case in the state that follows from a person's order, what holds it, and the environment's mode, in this order.

    What does not run is brought back at once in every mode, under a lease too: only what still serves is left alone.
    """
    if drift.ordered_by or _is_dead(drift.kind, drift.field):
        return replace(drift, state=DriftState.OPEN)
    if holding is not None and holding.over != "correct":
        return replace(
            drift, state=DriftState.HELD, held_by=holding.by, held_why=holding.why, held_fix=holding.fix, then=holding.over or "correct"
        )
    return replace(
        drift, state=DriftState.OPEN if mode == "correct" else DriftState.REPORTED, held_by="", held_why="", held_fix="", then="correct"
    )


def _is_dead(kind: str, field: str) -> bool:
    return kind == "replica" or field == "process"


def _again(before: Known, deviation: Deviation, now: datetime) -> Known:
    """Return an open case after another look."""
    drift = before.drift
    again = deviation.event != before.event and before.event
    # What people do under a lease is told as it is now, and again when they change it.
    moved = drift.state is DriftState.HELD and deviation.difference.live != drift.live
    if again or moved:
        writer = deviation.writer if moved else drift.writer
        drift = replace(drift, count=drift.count + bool(again), live=deviation.difference.live, writer=writer)
    return Known(drift, deviation.event, now)


def _is_news(before: Drift, after: Drift) -> bool:
    """Say whether an open case changed so that people should know: another state, value or holder, or twice as often as was told."""
    doubled = after.count != before.count and after.count & (after.count - 1) == 0
    held = (before.held_by, before.then, before.held_fix) != (after.held_by, after.then, after.held_fix)
    return before.state is not after.state or doubled or held or (after.state is DriftState.HELD and before.live != after.live)


def _end(drift: Drift, now: datetime, done: str, holding: Holding | None) -> Drift:
    """A case that was waiting for its correction and is as desired before that ended by itself, unless its value was adopted."""
    if holding is not None and holding.adopted:
        return replace(
            drift, state=DriftState.ADOPTED, done=f"its value is the desired one now ({holding.by})", ended_at=clock.to_text(now)
        )
    corrected = drift.state is DriftState.OPEN and now >= clock.from_text(drift.heal_at)
    state = DriftState.HEALED if corrected else DriftState.GONE
    text = done or drift.done or (_DONE[drift.kind] if corrected else "it is as desired again, without a correction by Setpoint")
    return replace(drift, state=state, done=text, ended_at=clock.to_text(now))


def withdrawn(drift: Drift, now: datetime, why: str) -> Drift:
    """Return a case as it ends when its subject no longer matters."""
    return replace(drift, state=DriftState.GONE, done=why, ended_at=clock.to_text(now))


_DONE: Final = {
    "object": "it was applied again as rendered",
    "replica": "the workload has its replicas again",
    "proxy": "set back by run-time commands",
    "image": "the image was unpacked anew, and its replicas were replaced one by one",
}


def reasons(open_cases: Sequence[Drift], app: str) -> Iterator[Reason]:
    """Yield what `why` and `status` say to an application about open cases: what differs, since when, and what happens next."""
    for drift in open_cases:
        often = f", {drift.count} times in a row" if drift.count > 1 else ""
        found = f"{drift.field} is {drift.live}, not {drift.desired}, since {clock.spoken(drift.since)}{often} (writer {drift.writer})"
        if drift.state is DriftState.HELD:
            yield Reason("DRIFT_HELD", Outcome.WAIT, drift.subject, found, f"as desired; {drift.held_why}", drift.held_fix)
        elif drift.state is DriftState.REPORTED:
            fix = f"setpoint heal {drift.app or app} {drift.environment}"
            yield Reason("DRIFT_REPORTED", Outcome.WAIT, drift.subject, found, "as desired; the mode is report", fix)
        else:
            again = drift.heal_at if drift.count > 1 and drift.kind != "replica" else None
            yield Reason("DRIFT_FOUND", Outcome.WAIT, drift.subject, found, "as desired; Setpoint corrects it", "", again)

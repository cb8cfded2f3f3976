"""Which commands a promotion has to be asked, when each is asked again, and what its answer says: pure functions of facts and the time.

Called by the gatherer of facts (the gate's answer) and by the service that runs them, so that both mean the same question.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, Literal

from setpoint.core import canonical, clock, digest, ids
from setpoint.core.words import counted
from setpoint.promotion.checks.model import CommandRun, CommandState, Question
from setpoint.promotion.checks.written import Check, CommandCheck
from setpoint.promotion.model import CheckResult, Promotion, UpstreamFacts

STANDS_S: Final = 3600
"""How long a pass counts: what it looked at may have broken since."""
_ESCAPE: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
"""Colours and cursor movements (ECMA-48, CSI)."""
_FIRST_S: Final = 10
_LONGEST_S: Final = 600
_LABEL: Final = 60
_SAID: Final = 400
NOT_THERE: Final = "not asked: it does not run there yet"


def runs_there(upstream: UpstreamFacts, promotion: Promotion) -> bool:
    """Say whether an environment of `after:` runs what the promotion brings, healthily: a check elsewhere would prove nothing."""
    return upstream.pinned is not None and upstream.pinned.same_content(promotion.candidate) and upstream.healthy


def label(command: CommandCheck) -> str:
    """Return what a command is called: its first line, shortened."""
    lines = ("".join(letter for letter in line if letter.isprintable()).strip() for line in command.run.splitlines())
    line = next((line for line in lines if line), "")
    return line if len(line) <= _LABEL else f"{line[: _LABEL - 1]}\N{HORIZONTAL ELLIPSIS}"


def question(promotion: Promotion, upstream: UpstreamFacts, command: CommandCheck, scripts: str) -> Question:
    """Return a question; its id covers promotion, command, scripts, and what runs where it is asked."""
    serving = upstream.pinned.digest if upstream.pinned is not None else ""
    asked = canonical.dumps(command.model_dump(mode="json"))
    name = ids.identifier("c", promotion.promotion, upstream.environment, serving, digest.sha256(asked), scripts)
    candidate = promotion.candidate
    return Question(name, promotion.promotion, candidate.app, candidate.environment, upstream.environment, command, scripts)


def questions(promotion: Promotion, checks: Iterable[Check], upstreams: Iterable[UpstreamFacts], scripts: str) -> list[Question]:
    """Return every command that can be asked now: those of the upstreams that run the candidate."""
    commands = [check.command for check in checks if check.command is not None]
    ready = [upstream for upstream in upstreams if runs_there(upstream, promotion)]
    return [question(promotion, upstream, command, scripts) for upstream in ready for command in commands]


def due(last: CommandRun | None, now: datetime, *, active: bool) -> datetime | None:
    """Return when a question is asked (again); None: not by itself. `active` says whether this server runs it.

    A failure is asked again after 10 s, then 20 s, up to 10 minutes; a pass after an hour; what a dead server left running at once. A
    clock that was set back delays nothing.
    """
    if active:
        return None
    if last is None or last.state in (CommandState.RUNNING, CommandState.CANCELLED) or last.asked_at > last.finished_at:
        return now
    ended = clock.from_text(last.finished_at)
    if now < ended:
        return now
    if last.state is CommandState.PASSED:
        return ended + timedelta(seconds=STANDS_S)
    return None if last.lasting else ended + timedelta(seconds=pause_s(last.failures))


def pause_s(failures: int) -> int:
    """Return the pause after so many failures in a row."""
    return int(min(_LONGEST_S, _FIRST_S * 2 ** min(max(0, failures - 1), 16)))


def answer(asked: Question, last: CommandRun | None, now: datetime) -> CheckResult:
    """Return what the gate sees of a question: only a pass that is not too old passes."""
    tree = f" (checks/ at {digest.short(asked.scripts)})" if asked.scripts else ""
    result = CheckResult(
        environment=asked.upstream,
        what=label(asked.command),
        wanted=f"exit status 0{tree}",
        state="running",
        found="it is about to be asked",
        at=clock.to_text(now),
        fix=f"setpoint log {asked.check}",
    )
    if last is None or last.state is CommandState.CANCELLED:
        return replace(result, fix="")
    if last.state is CommandState.RUNNING:
        before = f"; the last one: {last.found}" if last.found else ""
        return replace(result, found=f"attempt {last.attempt} runs since {clock.spoken(last.started_at)}{before}")
    again = due(last, now, active=False)
    if again is not None and again <= now and last.state is CommandState.PASSED:
        return replace(result, found=f"passed at {clock.spoken(last.finished_at)}, which is too long ago: it is asked again")
    recheck_at = clock.to_text(again) if again is not None else ""
    if last.state is CommandState.PASSED:
        return replace(result, state="passed", found=last.found, at=last.finished_at, recheck_at=recheck_at)
    times = f" ({counted(last.failures, 'attempt')})" if last.failures > 1 else ""
    fix = f"setpoint log {asked.check}; once it is mended: setpoint retry {asked.check}"
    state: Literal["failed", "error"] = "failed" if last.state is CommandState.FAILED else "error"
    return replace(result, state=state, found=last.found + times, at=last.finished_at, recheck_at=recheck_at, fix=fix)


def last_words(text: str) -> str:
    """Return the last three lines of an output that say something, as one line of at most 400 letters."""
    plain = ("".join(letter for letter in _ESCAPE.sub("", line) if letter.isprintable() or letter == "\t") for line in text.splitlines())
    lines = [" ".join(line.split()) for line in plain]
    said = "; ".join([line for line in lines if line][-3:])
    return said if len(said) <= _SAID else f"\N{HORIZONTAL ELLIPSIS}{said[1 - _SAID :]}"


def told(exit_code: int, text: str) -> str:
    """Return how a command ended, with its last words."""
    said = last_words(text)
    return f"exit status {exit_code}: {said}" if said else f"exit status {exit_code}, and it said nothing"

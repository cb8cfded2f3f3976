"""Commands of gates as pure functions: which questions there are, when each is asked again, and what its answer lets in."""

from dataclasses import replace
from datetime import timedelta

import pytest

from setpoint.core import clock
from setpoint.promotion.checks import decide
from setpoint.promotion.checks.model import CommandRun, CommandState
from setpoint.promotion.checks.written import Check, CommandCheck, HttpCheck, program_of
from unit.promotion.test_gate_decision import AT, NOW, PROMOTION, UPSTREAM

COMMAND = CommandCheck(run="./smoke.sh")
QUESTION = decide.question(PROMOTION, UPSTREAM, COMMAND, "5" * 40)
RUN = CommandRun(QUESTION.check, "p-1", "web", "prod", "staging", "./smoke.sh", "5" * 40, 1, CommandState.PASSED, AT, AT, 0, "fine")
FAILED = replace(RUN, state=CommandState.FAILED, exit_code=1, found="exit status 1: no", failures=1)


def _due_s(last: CommandRun | None, *, active: bool = False, now_s: float = 0) -> float | None:
    """Return in how many seconds from now a question is asked."""
    now = NOW + timedelta(seconds=now_s)
    at = decide.due(last, now, active=active)
    return None if at is None else (at - now).total_seconds()


def test_an_answer_is_for_one_question_only() -> None:
    """Another promotion, command, script, environment or candidate there has another id."""
    other = [
        decide.question(replace(PROMOTION, promotion="p-2"), UPSTREAM, COMMAND, "5" * 40),
        decide.question(PROMOTION, replace(UPSTREAM, environment="other"), COMMAND, "5" * 40),
        decide.question(PROMOTION, replace(UPSTREAM, pinned=replace(PROMOTION.candidate, app_tree="9" * 40)), COMMAND, "5" * 40),
        decide.question(PROMOTION, UPSTREAM, CommandCheck(run="./smoke.sh", timeout="61s"), "5" * 40),  # type: ignore[arg-type]
        decide.question(PROMOTION, UPSTREAM, CommandCheck(run="./smoke.sh", network=True), "5" * 40),
        decide.question(PROMOTION, UPSTREAM, COMMAND, "6" * 40),
    ]
    assert len({QUESTION.check, *(one.check for one in other)}) == 7


def test_only_where_the_candidate_runs_healthily_is_asked() -> None:
    """An answer from elsewhere would prove nothing; requests are no commands."""
    checks = [Check(http=HttpCheck(path="/")), Check(command=COMMAND)]
    sick = replace(UPSTREAM, environment="sick", healthy=False)
    older = replace(UPSTREAM, environment="older", pinned=replace(PROMOTION.candidate, artifacts={}))
    found = decide.questions(PROMOTION, checks, [UPSTREAM, sick, older, replace(UPSTREAM, environment="empty", pinned=None)], "5" * 40)
    assert [one.check for one in found] == [QUESTION.check]


@pytest.mark.parametrize(
    ("last", "seconds"),
    [
        (None, 0),
        (replace(RUN, state=CommandState.RUNNING, finished_at=""), 0),
        (replace(RUN, state=CommandState.CANCELLED), 0),
        (RUN, 3600),
        (FAILED, 10),
        (replace(FAILED, failures=2), 20),
        (replace(FAILED, failures=7), 600),
        (replace(FAILED, failures=5000), 600),
        (replace(FAILED, state=CommandState.ERROR), 10),
        (replace(FAILED, state=CommandState.ERROR, lasting=True), None),
        (replace(FAILED, lasting=True, asked_at=clock.to_text(NOW + timedelta(seconds=1))), 0),
        (replace(FAILED, finished_at=clock.to_text(NOW + timedelta(hours=1))), 0),
        (replace(RUN, finished_at=clock.to_text(NOW + timedelta(days=1))), 0),
    ],
)
def test_when_a_question_is_asked_again(last: CommandRun | None, seconds: float | None) -> None:
    """Doubling pauses, an hour for a pass, at once after a death or a person's word; a clock that was set back delays nothing."""
    assert _due_s(last) == seconds
    assert _due_s(last, active=True) is None


@pytest.mark.parametrize(
    ("last", "state"),
    [
        (None, "running"),
        (replace(RUN, state=CommandState.RUNNING), "running"),
        (replace(RUN, state=CommandState.CANCELLED), "running"),
        (RUN, "passed"),
        (replace(RUN, finished_at=clock.to_text(NOW - timedelta(seconds=3600))), "running"),
        (replace(RUN, finished_at=clock.to_text(NOW + timedelta(seconds=60))), "running"),
        (replace(RUN, asked_at=clock.to_text(NOW + timedelta(seconds=1))), "running"),
        (FAILED, "failed"),
        (replace(FAILED, state=CommandState.ERROR), "error"),
    ],
)
def test_only_a_fresh_pass_passes(last: CommandRun | None, state: str) -> None:
    """Whatever else is known keeps the gate waiting."""
    found = decide.answer(QUESTION, last, NOW)
    assert found.state == state
    assert found.found


def test_an_answer_says_what_to_do() -> None:
    """The attempts, what ran from which scripts, the log, and how to ask again; while it runs, what the last one said."""
    failed = decide.answer(QUESTION, replace(FAILED, failures=3), NOW)
    assert failed.found == "exit status 1: no (3 attempts)"
    assert failed.wanted == "exit status 0 (checks/ at 555555555555)"
    assert failed.fix == f"setpoint log {QUESTION.check}; once it is mended: setpoint retry {QUESTION.check}"
    running = decide.answer(QUESTION, replace(FAILED, state=CommandState.RUNNING, attempt=2), NOW)
    assert running.found.endswith("; the last one: exit status 1: no")


def test_last_words_are_short_and_plain() -> None:
    """Three lines at most, without colours and control characters, however long."""
    assert decide.told(1, "a\nb\n\n\x1b[31mc\x07\td\x1b[0m \n\u202ee\n") == "exit status 1: b; c d; e"
    assert decide.told(3, " \n") == "exit status 3, and it said nothing"
    assert len(decide.told(1, "x" * 100_000)) < 450
    assert decide.label(CommandCheck(run="\n  ./a \x1b b\nc")) == "./a  b"
    assert len(decide.label(CommandCheck(run="x" * 1000))) == 60


@pytest.mark.parametrize(
    ("run", "program"),
    [("./a.sh --x", "a.sh"), ("./d/a", "d/a"), ("sh ./a.sh", ""), ("./$X", ""), ("./a;b", ""), ("  ./a", "a"), (" ", "")],
)
def test_the_program_of_a_command(run: str, program: str) -> None:
    """Only a first word that is certainly a file is looked for."""
    assert program_of(CommandCheck(run=run)) == program

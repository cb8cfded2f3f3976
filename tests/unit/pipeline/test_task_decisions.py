"""Task keys and the graph of a run as pure functions: what a result depends on, what may start, what never can."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from setpoint.core import clock
from setpoint.pipeline import decide
from setpoint.pipeline.model import RunState, StoredFile, Taken, TaskResult, TaskState, ToolchainFacts
from setpoint.pipeline.written import TaskConfig
from setpoint.source.model import TreeFile
from unit.builders_home import START

TASK = TaskConfig(run="make", outputs=("out/",), env={"A": "1"}, evidence={"tests": "report.xml"})
FILES = [TreeFile("a.py", 0o100644, "1" * 40), TreeFile("b.py", 0o100755, "2" * 40)]
TOOLS = ToolchainFacts("sha256:" + "e" * 64, "3.11.2", "linux/amd64", 3)
NEED = TaskResult("r-1", "deps", TaskState.PASSED, "k", decide.empty_manifest(), outputs=StoredFile("sha256:1", 1))
GREEN, BAD = TaskState.PASSED, TaskState.FAILED


def _key(task: TaskConfig = TASK, files: Any = FILES, needs: Any = None, tools: ToolchainFacts = TOOLS, trust: str = "trusted") -> str:
    return decide.key_of(decide.key_manifest(task, decide.input_root(files), needs or {"deps": NEED}, tools, trust))


@pytest.mark.parametrize(
    "changed",
    [
        {"task": TASK.model_copy(update={"run": "make all"})},
        {"task": TASK.model_copy(update={"env": {"A": "2"}})},
        {"task": TASK.model_copy(update={"outputs": ("out/", "more/")})},
        {"task": TASK.model_copy(update={"evidence": {"tests": "other.xml"}})},
        {"task": TASK.model_copy(update={"network": True})},
        {"files": [replace(FILES[0], blob="3" * 40), FILES[1]]},
        {"files": [replace(FILES[0], mode=0o100755), FILES[1]]},
        {"files": [replace(FILES[0], path="c.py"), FILES[1]]},
        {"files": FILES[:1]},
        {"needs": {"deps": replace(NEED, outputs=StoredFile("sha256:2", 1))}},
        {"needs": {"deps": NEED, "more": NEED}},
        {"tools": replace(TOOLS, fingerprint="sha256:other")},
        {"tools": replace(TOOLS, platform="linux/arm64")},
        {"trust": "untrusted"},
    ],
)
def test_the_key_changes_with_everything_the_result_depends_on(changed: dict[str, Any]) -> None:
    """Command, environment, outputs, inputs, what is needed, tools, network, trust: another one is another key."""
    assert _key(**changed) != _key()


@pytest.mark.parametrize(
    "changed",
    [
        {"files": list(reversed(FILES))},
        {"task": TASK.model_copy(update={"timeout": 5})},
        {"needs": {"deps": replace(NEED, run="r-2", key="other", state=TaskState.REUSED, started_at="x", origin_run="r-0")}},
        {"tools": replace(TOOLS, packages=99)},
    ],
)
def test_the_key_changes_with_nothing_else(changed: dict[str, Any]) -> None:
    """Order of files, time limits, and how a needed task came to the same output make no difference: this is the early cut-off."""
    assert _key(**changed) == _key()


def test_the_key_covers_what_is_taken_and_where_it_goes() -> None:
    """`from:` counts by what it takes and where it puts it."""
    taken = Taken("deps", "vendor/", "lib/", "sha256:1")
    keys = {
        decide.key_of(decide.key_manifest(TASK, "sha256:1", {}, TOOLS, "trusted", [one]))
        for one in (taken, replace(taken, place="other/"), replace(taken, digest="sha256:2"), replace(taken, path="vendor/x"))
    }
    assert len(keys) == 4


def test_the_key_is_the_same_on_every_machine() -> None:
    """A frozen key: a change of its making throws every cache away and must be meant."""
    assert _key() == "sha256:df0565cb3ecacce0361d92dadb775196e30c3e1f97b38d988ef7440b1ff71608"


@pytest.mark.parametrize(
    ("network", "valid", "age_s", "expected"),
    [(False, None, 10**9, True), (True, None, 0, False), (True, 60, 59, True), (True, 60, 60, False)],
)
def test_networked_results_are_reused_only_while_valid(network: bool, valid: int | None, age_s: float, expected: bool) -> None:  # noqa: FBT001
    """Without network a green result holds for ever; with network only within `valid:`, and left out means never again."""
    task = TASK.model_copy(update={"network": network, "valid": valid})
    found = replace(NEED, finished_at=clock.to_text(START))
    assert decide.reusable(task, found, START + timedelta(seconds=age_s)) is expected


def test_only_green_results_are_reused() -> None:
    """No record, and a record of a failure, settle nothing."""
    assert not decide.reusable(TASK, None, START)
    assert not decide.reusable(TASK, replace(NEED, state=BAD), START)
    networked = TASK.model_copy(update={"network": True, "valid": 60})
    assert not decide.reusable(networked, replace(NEED, finished_at=None), START)


DIAMOND: dict[str, list[str]] = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}


def test_tasks_start_when_all_they_need_is_green() -> None:
    """A diamond opens from the top; reused counts as green; what runs or ended is not started again."""
    assert decide.startable(DIAMOND, {}) == ["a"]
    assert decide.startable(DIAMOND, {"a": TaskState.RUNNING}) == []
    assert decide.startable(DIAMOND, {"a": TaskState.REUSED}) == ["b", "c"]
    assert decide.startable(DIAMOND, {"a": GREEN, "b": GREEN, "c": TaskState.RUNNING}) == []
    assert decide.startable(DIAMOND, {"a": GREEN, "b": GREEN, "c": GREEN}) == ["d"]


def test_what_can_never_start_is_skipped_at_once_down_the_whole_chain() -> None:
    """A failure settles everything behind it in one look, each with the nearest reason; siblings go on."""
    chain = {"a": [], "b": ["a"], "c": ["b"], "other": []}
    assert decide.skipped(chain, {"a": BAD}) == {"b": "needs a, which is failed", "c": "needs b, which is skipped"}
    assert decide.skipped(DIAMOND, {"a": GREEN, "b": TaskState.TIMED_OUT}) == {"d": "needs b, which is timed-out"}
    assert decide.skipped(DIAMOND, {"a": TaskState.RUNNING}) == {}


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], RunState.PASSED),
        ([GREEN, TaskState.REUSED], RunState.PASSED),
        ([GREEN, BAD, TaskState.SKIPPED], RunState.FAILED),
        ([GREEN, TaskState.TIMED_OUT], RunState.FAILED),
        ([BAD, TaskState.CANCELLED], RunState.CANCELLED),
        ([GREEN, TaskState.RUNNING], None),
        ([GREEN, TaskState.PENDING], None),
    ],
)
def test_a_run_ends_when_all_its_tasks_have(states: list[TaskState], expected: RunState | None) -> None:
    """All green passes, one failure fails, a cancelled one cancels, anything unfinished leaves it open."""
    assert decide.conclusion(states) is expected

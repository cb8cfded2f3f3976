"""The policy engine: only the value `true` passes, whatever an expression or the library does."""

import threading
from typing import Any

import pytest

from setpoint.adapters.policy import CelPolicy
from setpoint.promotion.ports import PolicyEngine

FACTS: dict[str, Any] = {
    "evidence": {
        "tests": {"passed": 68, "failed": 2, "skipped": 0, "total": 70},
        "provenance": {"builder": "b", "count": 1},
        "odd": "true",
    },
    "artifacts": [{"name": "web", "digest": "sha256:a"}],
    "candidate": {"app": "hello", "names": ("a", "b")},
    "environment": "production",
    "render": {"objects": ["Deployment/web", "Service/web"]},
}


@pytest.fixture(scope="module")
def engine() -> PolicyEngine:
    """The engine under test, seen through its port."""
    return CelPolicy()


@pytest.mark.parametrize(
    "expression",
    [
        "true",
        "evidence.tests.failed == 2 && evidence.tests.total > 0",
        "evidence.tests.passed >= evidence.tests.total - 2",
        "artifacts.all(a, a.digest.startsWith('sha256:'))",
        "'Deployment/web' in render.objects && !render.objects.exists(o, o.startsWith('Secret/'))",
        "environment == 'production' && candidate.names.size() == 2",
        "!has(evidence.scan) || evidence.scan.critical == 0",
    ],
)
def test_true_passes(engine: PolicyEngine, expression: str) -> None:
    """What is true of the facts passes."""
    assert engine.compile_error(expression) == ""
    assert engine.evaluate(expression, FACTS).passed is True


@pytest.mark.parametrize(
    ("expression", "word"),
    [
        ("false", "false"),
        ("evidence.tests.failed == 0", "evidence.tests.failed = 2"),
        ("evidence.nope", "nope"),
        ("evidence.nope == 0", "nope"),
        ("evidence.tests.nope > 0 && true", "nope"),
        ("evidence.odd", "'true'"),
        ("evidence.tests.failed", "2"),
        ("evidence.tests", "not true or false"),
        ("artifacts", "not true or false"),
        ("artifacts[7].name == 'web'", "index"),
        ("1 / (evidence.tests.failed - 2) == 0", "zero"),
        ("evidence.tests.failed == 0 ? true : evidence.odd", "true"),
        ("evidence.tests < 3", ""),
        ("!evidence.odd", ""),
        ("evidence.odd && true", ""),
        ("[1, 2, 3].map(x, x / 0).size() == 3", "zero"),
        ("null", "not true or false"),
        ("'true'", "not true or false"),
        ("1", "not true or false"),
        ("nope == 1", "undeclared"),
        ("1 +", "Syntax error"),
        ("", "compile"),
        ("(" * 60 + "true" + ")" * 60, "compile"),
        ("true" + " " * 20_000, "longer"),
    ],
)
def test_anything_else_does_not_pass_and_says_why(engine: PolicyEngine, expression: str, word: str) -> None:
    """False, errors as values, other types, compile errors and limits all deny: nothing is truthy here."""
    result = engine.evaluate(expression, FACTS)
    assert result.passed is False
    assert result.expression == expression
    assert word.lower() in result.detail.lower()
    assert result.detail


def test_an_endless_loop_runs_out_of_budget_and_denies(engine: PolicyEngine) -> None:
    """A policy cannot hold the server: the iteration budget ends it, and that is no pass."""
    facts = {**FACTS, "artifacts": list(range(300))}
    result = engine.evaluate("artifacts.all(a, artifacts.all(b, artifacts.all(c, a + b + c >= 0)))", facts)
    assert result.passed is False
    assert "budget" in result.detail.lower() or "iteration" in result.detail.lower()


def test_facts_that_are_missing_or_no_json_deny(engine: PolicyEngine) -> None:
    """Without facts nothing is proved, and what CEL has no form for is an error, not a guess."""
    assert engine.evaluate("evidence.tests.failed == 0", {}).passed is False
    assert engine.evaluate("environment == 'x'", {**FACTS, "environment": object()}).passed is False
    assert engine.evaluate("evidence.x > 0", {"evidence": {"x": float("nan")}}).passed is False


def test_the_detail_tells_the_values_that_were_named(engine: PolicyEngine) -> None:
    """People see what the expression looked at, but not words inside its strings."""
    detail = engine.evaluate("evidence.tests.failed == 0 && evidence.tests.total > 0 && environment != 'evidence.odd'", FACTS).detail
    assert detail == 'evidence.tests.failed = 2, evidence.tests.total = 70, environment = "production"'
    assert engine.evaluate("candidate.app.startsWith('h')", FACTS).detail == 'candidate.app = "hello"'


def test_compile_errors_have_a_place(engine: PolicyEngine) -> None:
    """`setpoint check` can put a caret under the fault, and a policy that cannot be true or false is one."""
    assert engine.compile_error("true && nope").startswith("1:9: undeclared reference to 'nope'")
    assert engine.compile_error("1 + 1").startswith("1:1: ")


def test_several_threads_may_evaluate(engine: PolicyEngine) -> None:
    """Verdicts do not mix between threads."""
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(50):
            facts = {"evidence": {"tests": {"failed": number}}}
            if engine.evaluate("evidence.tests.failed == 0", facts).passed is not (number == 0):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []

"""Law 4 in full: whatever a home is in the middle of, without its database it gives the same answers, and the old tokens still work."""

import http.client
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from live_home import ENVIRONMENT, LiveHome, wait_for

# Its first look is the only one before a step's end: what answers say of the traffic is then the same, however long a restart takes.
CANARY = """rollout:
  canary:
    weights: [25, 60]
    hold: 15s
    look: 1m
    errors: {requests: 5}
"""


def everything(live: LiveHome, who: str = "operator") -> dict[str, Any]:
    """Return all that a person can ask, as JSON: matrix, why, trace, evidence, promotions with their approvals, holds, plans, tokens."""
    api = live.api(who)
    found: dict[str, Any] = {path: api.get(f"/api/v1/{path}") for path in ("status", "runs", "promotions", "repositories", "whoami")}
    found["holds"] = api.get("/api/v1/holds", {"ended": "true"})
    found |= {run["run"]: api.get(f"/api/v1/runs/{run['run']}") for run in found["runs"]}
    found |= {f"change {run['revision']}": api.get(f"/api/v1/changes/{run['revision']}") for run in found["runs"]}
    found |= {one["promotion"]: api.get(f"/api/v1/promotions/{one['promotion']}") for one in found["promotions"]}
    for cell in found["status"]["cells"]:
        environment = cell["environment"]
        for verb in ("why", "plan", "diff"):
            found[f"{verb} {environment}"] = api.get(f"/api/v1/{verb}/hello/{environment}")
        if cell["url"]:
            rollout = found[f"rollout {environment}"] = api.get(f"/api/v1/rollouts/hello/{environment}")
            # Half-way the address is answered by one version or the other, so that two requests have two traces.
            whole = rollout["phase"] in {"finished", "returned"}
            found[f"trace {environment}"] = api.get("/api/v1/trace", {"thing": cell["url"] if whole else cell["promotion"]})
            found[f"verify {environment}"] = api.get("/api/v1/verify", {"thing": "hello", "environment": environment})
        for digest in cell["artifacts"].values():
            found[f"evidence {digest}"] = api.get("/api/v1/evidence", {"thing": digest})
    if who == "operator":
        found["tokens"] = api.get("/api/v1/tokens")
    return found


def forget(live: LiveHome) -> None:
    """Stop the server, delete its database, and start it again."""
    live.stop()
    for file in live.home.glob("setpoint.db*"):
        file.unlink()
    live.start()


def without(name: str, value: Any) -> Any:
    """Return a value without all fields of a name."""
    if isinstance(value, dict):
        return {key: without(name, inner) for key, inner in value.items() if key != name}
    return [without(name, inner) for inner in value] if isinstance(value, list) else value


def same_after_forgetting(live: LiveHome, settled: Any, but: str = "-") -> None:
    """Every answer is what it was, for the operator and for a person whose token is as old as the home; but for a field of this name."""
    wait_for("a settled home", settled)
    before = [without(but, everything(live, who)) for who in ("operator", "sam")]
    token = live.api("sam").connection.token
    forget(live)
    assert live.api("sam").connection.token == token
    wait_for("a settled home again", settled)
    for who, kept in zip(("operator", "sam"), before, strict=True):
        now = without(but, everything(live, who))
        assert {name: differing(now.get(name), kept[name]) for name in kept if now.get(name) != kept[name]} == {}, who
        assert now == kept


def differing(now: Any, then: Any, place: str = "") -> list[str]:
    """Return the places where two answers differ, with both values, so that a failure can be read."""
    if isinstance(now, dict) and isinstance(then, dict):
        return [text for key in now | then for text in differing(now.get(key), then.get(key), f"{place}/{key}")]
    if isinstance(now, list) and isinstance(then, list) and len(now) == len(then):
        return [text for number, pair in enumerate(zip(now, then, strict=True)) for text in differing(*pair, f"{place}/{number}")]
    return [] if now == then else [f"{place}: {str(now)[:300]} instead of {str(then)[:300]}"]


def healthy(live: LiveHome, *environments: str) -> bool:
    """Say whether all environments are healthy."""
    return all(live.cell(environment)["health"] == "healthy" for environment in environments)


@pytest.fixture(scope="module")
def home(live: LiveHome) -> LiveHome:
    """A home with one release in both environments."""
    live.api("sam")
    live.release("one")
    live.serves("staging", "one")
    live.approve()
    live.serves("production", "one")
    return live


def test_at_rest(home: LiveHome) -> None:
    """Nothing waits: the same matrix, reasons, traces and evidence, bit for bit."""
    same_after_forgetting(home, lambda: healthy(home, "staging", "production"))


def test_while_an_approval_is_awaited_and_a_person_holds(home: LiveHome) -> None:
    """A candidate that waits for a person, and a hold that somebody opened with words, are both still there."""
    home.release("two")
    home.serves("staging", "two")
    wait_for("the candidate", home.only_approval_missing)
    home.api("sam").post("/api/v1/holds", {"app": "hello", "environment": "production", "message": "until Monday"})
    same_after_forgetting(home, lambda: "APPROVAL_MISSING" in home.codes("production") and healthy(home, "staging", "production"))
    assert "until Monday" in str(home.api().get("/api/v1/holds"))
    home.api("sam").post("/api/v1/holds/release", {"app": "hello", "environment": "production", "message": "Monday"})


def test_after_an_approval_and_a_rollback(home: LiveHome) -> None:
    """Approvals, a quarantine with its words, and a rollback's hold that has ended are told as before."""
    home.approve()
    home.serves("production", "two")
    home.api("sam").post("/api/v1/rollbacks", {"app": "hello", "environment": "production", "message": "two is worse"})
    home.serves("production", "one")
    wait_for("the pin", lambda: not home.api().get("/api/v1/holds"))
    same_after_forgetting(home, lambda: healthy(home, "staging", "production") and "QUARANTINED" in home.codes("production"))
    assert "two is worse" in str(home.why("production"))


@contextmanager
def asking(live: LiveHome) -> Iterator[list[tuple[str, str]]]:
    """Ask staging all the time, and keep who answered (the version), or what went wrong."""
    heard: list[tuple[str, str]] = []
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.02):
            try:
                text, headers = live.answer(live.staging)
                heard.append((text, headers.get("setpoint-revision", "")))
            except http.client.HTTPException as error:
                heard.append(("", repr(error)))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield heard
    finally:
        over.set()
        thread.join()


def test_in_the_middle_of_a_canary(home: LiveHome) -> None:
    """A canary that holds at a weight is told as before, goes on from there to its end, and its weight is at no time smaller."""
    home.release("steady")
    home.serves("staging", "steady")
    home.commit("delivery", {"environments/staging/environment.yaml": ENVIRONMENT % home.staging + CANARY}, "canary", who="sam")
    home.release("coming")

    def at_weight() -> bool:
        rollout = home.api().get("/api/v1/rollouts/hello/staging")
        looked = [e for e in home.journal() if e["kind"] == "rollout.judged" and e["body"]["rollout"] == rollout["rollout"]]
        seen = any("25 % of the traffic for" in reason["found"] for reason in home.cell("staging")["reasons"])
        return (rollout["phase"], rollout["weight"]) == ("holding", 25) and bool(looked) and seen

    # When a waiting gate looks again is a time of day that each look moves on.
    same_after_forgetting(home, at_weight, but="recheck_at")
    assert home.cell("staging")["rollout"]
    at = home.journal()[-1]["index"]
    with asking(home) as heard:
        wait_for("both versions", lambda: {text for text, _ in heard} >= {"steady", "coming"})
        forget(home)
        wait_for("the end", lambda: home.api().get("/api/v1/rollouts/hello/staging")["phase"] == "finished", 90)
    assert Counter(text for text, _ in heard).keys() == {"steady", "coming"}
    home.serves("staging", "coming")
    told = [entry for entry in home.journal() if entry["kind"].startswith("rollout.") and entry["subject"] == "hello/staging"]
    weights = [entry["body"]["weight"] for entry in told if entry["index"] > at]
    assert weights == sorted(weights)
    assert weights[-1] == 100
    rollout = told[-1]["body"]["rollout"]
    assert [entry["kind"] for entry in told if entry["body"]["rollout"] == rollout].count("rollout.begun") == 1

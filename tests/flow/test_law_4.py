"""Law 4 in full: whatever a home is in the middle of, without its database it gives the same answers, and the old tokens still work."""

from typing import Any

import pytest

from live_home import LiveHome, wait_for


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
            found[f"trace {environment}"] = api.get("/api/v1/trace", {"thing": cell["url"]})
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


def same_after_forgetting(live: LiveHome, settled: Any) -> None:
    """Every answer is what it was, for the operator and for a person whose token is as old as the home."""
    wait_for("a settled home", settled)
    before = [everything(live, who) for who in ("operator", "sam")]
    token = live.api("sam").connection.token
    forget(live)
    assert live.api("sam").connection.token == token
    wait_for("a settled home again", settled)
    for who, kept in zip(("operator", "sam"), before, strict=True):
        now = everything(live, who)
        assert {name for name in kept if now.get(name) != kept[name]} == set(), who
        assert now == kept


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
    wait_for("the candidate", home._only_approval_missing)
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

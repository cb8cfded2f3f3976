"""Law 7 on a live home: removals within a budget, by a person's word, never by accident; and an address belongs to one application."""

from typing import Any

import pytest

from live_home import MANIFESTS, SETPOINT_FILE, LiveHome, wait_for
from setpoint.core.errors import ConflictError, NotAllowedError

WORKER = """
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %s}
spec:
  replicas: 1
  selector: {matchLabels: {app: %s}}
  template:
    metadata: {labels: {app: %s}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
        - name: c
          image: web
          ports: [{containerPort: 8080}]
"""
THREE = MANIFESTS + "".join(WORKER % (name, name, name) for name in ("one", "two"))


def _workloads(live: LiveHome, app: str = "hello") -> set[str]:
    replicas = live.api().get("/api/v1/replicas")
    here = [r["spec"] for r in replicas if r["shim_alive"] and r["spec"]["identity"]["environment"] == "staging"]
    return {spec["workload"] for spec in here if spec["identity"]["app"] == app}


def _prunable(live: LiveHome, app: str = "hello") -> dict[str, Any]:
    found: dict[str, Any] = live.api().get(f"/api/v1/prunes/{app}/staging")
    return found


def test_what_leaves_within_the_budget_is_removed_last(live: LiveHome) -> None:
    """One of four objects: its replicas drain and stop, and the journal says what the inventory lost."""
    live.release("one")
    live.commit("delivery", {"apps/hello/hello.yaml": THREE}, "three workloads")
    wait_for("three workloads", lambda: _workloads(live) == {"hello", "one", "two"})
    live.serves("staging", "one")
    live.commit("delivery", {"apps/hello/hello.yaml": MANIFESTS + WORKER % ("one", "one", "one")}, "two workloads")
    wait_for("its end", lambda: _workloads(live) == {"hello", "one"})
    done = wait_for("the entry", lambda: [e for e in live.journal() if e["kind"] == "prune.done"])
    assert done[-1]["body"]["objects"] == ["Deployment/two"]
    written = [e for e in live.journal() if e["kind"] == "inventory.written"]
    first = next(e for e in live.journal() if e["kind"] == "deployment.observed" and e["subject"] == "hello/staging")
    assert written[0]["index"] < first["index"], "inventory before apply"


def test_over_the_budget_everything_stays_until_a_person_confirms_exactly_that(live: LiveHome) -> None:
    """A route and a worker of three objects: still served, named by why and status, gone after a word that is for this set only."""
    routes = MANIFESTS.partition("---\napiVersion: gateway")[0].rstrip("-\n ")
    live.commit("delivery", {"apps/hello/hello.yaml": routes}, "no route, no worker")
    wait_for("the reason", lambda: "PRUNE_OVER_BUDGET" in live.codes("staging"))
    assert live.answer(live.staging)[0] == "one"
    assert _workloads(live) == {"hello", "one"}
    needs = [need["command"] for need in live.api().get("/api/v1/status")["needs"]]
    assert "setpoint prune hello staging" in needs
    found = _prunable(live)
    assert found["held"]["objects"] == ["Deployment/one", "HTTPRoute/hello"]
    body = {"app": "hello", "environment": "staging"}
    with pytest.raises(ConflictError, match="SP662"):
        live.api("sam").post("/api/v1/prunes", {**body, "set": "sha256:0"})
    with pytest.raises(NotAllowedError, match="SP514"):
        live.api("dana").post("/api/v1/prunes", {**body, "set": found["held"]["set"]})
    live.stop()
    (live.home / "setpoint.db").unlink()
    live.start()
    assert _prunable(live) == found
    live.api("sam").post("/api/v1/prunes", {**body, "set": found["held"]["set"], "message": "not needed"})
    wait_for("the worker's end", lambda: _workloads(live) == {"hello"})
    wait_for("the route's end", lambda: live.answer(live.staging)[0].startswith("404"))
    wait_for("no reason", lambda: "PRUNE_OVER_BUDGET" not in live.codes("staging"))


def test_an_application_that_left_runs_on_and_keeps_its_route_over_a_restart_until_it_is_taken_down(live: LiveHome) -> None:
    """Orphaned: listed with the command; another application cannot take its address; the word of a person ends it."""
    live.commit("delivery", {"apps/hello/hello.yaml": MANIFESTS}, "the route again")
    live.serves("staging", "one")
    apps = SETPOINT_FILE.replace("  hello: {source: hello}", "  shop: {source: hello}")
    shop = {"setpoint.yaml": apps, "apps/hello/hello.yaml": None, "apps/shop/hello.yaml": MANIFESTS}
    live.commit("delivery", shop, "hello becomes shop", who="sam")
    wait_for("shop", lambda: _workloads(live, "shop") == {"hello"})
    assert _workloads(live) == {"hello"}
    orphan = live.api().get("/api/v1/status")["orphans"][0]
    assert (orphan["app"], orphan["environment"], orphan["orphaned"]) == ("hello", "staging", True)
    live.stop()
    live.start()
    wait_for("the server", lambda: live.answer(live.staging)[0] == "one")
    assert live.answer(live.staging)[1]["setpoint-app"] == "hello"
    needs = [need["command"] for need in live.api().get("/api/v1/status")["needs"]]
    assert "setpoint prune hello staging" in needs
    found = _prunable(live)
    live.api("sam").post("/api/v1/prunes", {"app": "hello", "environment": "staging", "set": found["held"]["set"]})
    wait_for("its end", lambda: not _workloads(live))
    wait_for("shop's turn", lambda: live.answer(live.staging)[1].get("setpoint-app") == "shop")
    wait_for("nothing left", lambda: live.api().get("/api/v1/status")["orphans"] == [])


def test_two_applications_that_claim_one_address_are_told_and_nothing_breaks(live: LiveHome) -> None:
    """The one that serves it keeps it; the other runs without the route and says whose it is."""
    apps = SETPOINT_FILE.replace("  hello: {source: hello}", "  aaa: {source: hello}\n  shop: {source: hello}")
    live.commit("delivery", {"setpoint.yaml": apps, "apps/aaa/hello.yaml": MANIFESTS}, "a second one", who="sam")

    def told() -> dict[str, Any] | None:
        reasons = live.api().get("/api/v1/why/aaa/staging")["reasons"]
        return next((reason for reason in reasons if reason["code"] == "ROUTE_TAKEN"), None)

    reason = wait_for("the problem", told)
    assert "claimed by aaa and by shop; shop keeps it" in reason["found"]
    assert live.answer(live.staging)[1]["setpoint-app"] == "shop"
    cells = live.api().get("/api/v1/status")["cells"]
    assert [cell["health"] for cell in cells if (cell["app"], cell["environment"]) == ("shop", "staging")] == ["healthy"]

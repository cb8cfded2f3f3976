"""Adopting a live value on a real cluster: one changed line on a signed branch, held until it is merged or deleted, and no drift after."""

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from kubernetes_shop import MANIFESTS, Shop, running_shop
from kubernetes_world import Machine
from live_home import LiveHome
from setpoint.core.errors import ConflictError, NotAllowedError, SetpointError, UserError

PLACE = {"app": "shop", "environment": "cloud"}
SIZE = "spec.template.spec.containers[shop].resources.limits.memory"


@pytest.fixture(scope="module")
def shop(live: LiveHome, node: Machine) -> Iterator[Shop]:
    """Give a shop whose people have the live values in their hands."""
    with running_shop(live, node) as found:
        found.live.api("sam").post("/api/v1/break-glass", PLACE | {"for_s": 3600, "message": "sizing", "then": "correct"})
        yield found


def _case(shop: Shop, field: str, live: str) -> dict[str, Any]:
    found: dict[str, Any] = shop.until(f"{field} to be held", lambda: next(iter(shop.drifts(field=field, live=live, state="held")), None))
    return found


def _adopt(shop: Shop, *drifts: str, who: str = "sam", why: str = "the new size is right") -> dict[str, Any]:
    found: dict[str, Any] = shop.live.api(who).post("/api/v1/drift/adopt", {"drifts": list(drifts), "message": why})
    return found


def _git(shop: Shop, *argv: str) -> str:
    folder = shop.live.home / "repositories" / "delivery.git"
    return subprocess.run(["git", "-C", str(folder), *argv], capture_output=True, text=True, check=True).stdout


def _end(shop: Shop) -> None:
    shop.live.api("sam").post("/api/v1/break-glass/end", PLACE)


def test_a_live_value_becomes_one_changed_line_on_a_branch_and_then_the_desired_state(shop: Shop) -> None:
    """Whoever is responsible adopts; the commit is theirs, signed by Setpoint; nothing is corrected until the merge is promoted."""
    container = {"name": "shop", "resources": {"limits": {"memory": "96Mi"}}}
    shop.patch("deployment/shop", {"spec": {"template": {"spec": {"containers": [container]}}}})
    case = _case(shop, SIZE, "96Mi")
    with pytest.raises(NotAllowedError):
        _adopt(shop, case["drift"], who="dana")
    adoption = _adopt(shop, case["drift"])
    branch = f"setpoint/adopt/{adoption['adoption']}"
    patch = _git(shop, "show", "--format=", branch)
    changed = [line for line in patch.splitlines() if line[:1] in "+-" and not line.startswith(("+++", "---"))]
    assert changed == ["-          resources: {limits: {memory: 64Mi}}", "+          resources: {limits: {memory: 96Mi}}"]
    assert _git(shop, "show", "-s", "--format=%ae %cn", branch).strip() == "sam@example.com Setpoint"
    message = _git(shop, "show", "-s", "--format=%B", branch)
    assert f"Setpoint-Drift: {case['drift']}" in message
    assert "the new size is right" in message
    with pytest.raises(ConflictError):
        _adopt(shop, case["drift"])
    _end(shop)
    held = shop.until("the branch to hold it", lambda: shop.drifts(field=SIZE, held_by=adoption["adoption"]))
    assert (held[0]["state"], held[0]["held_fix"]) == ("held", f"merge {branch}, or delete it")
    assert branch in shop.reason("DRIFT_HELD", branch)["fix"]
    assert any(branch in need["command"] for need in shop.live.api().get("/api/v1/status")["needs"])
    folder = shop.live.work / "delivery"
    shop.live.git(folder, "fetch", "-q", "origin", who="sam")
    shop.live.git(folder, "pull", "-q", "--rebase", "origin", "main", who="sam")
    shop.live.git(folder, "merge", "-q", "--no-edit", f"origin/{branch}", who="sam")
    shop.live.git(folder, "push", "-q", "origin", "main", who="sam")
    shop.settled(shop.live.git(folder, "rev-parse", "HEAD", who="sam").stdout.strip())
    ended = shop.until("the end", lambda: shop.drifts(field=SIZE, state="adopted"))
    assert adoption["adoption"] in ended[0]["done"]
    live = shop.get("deployment/shop")["spec"]["template"]["spec"]["containers"][0]
    assert live["resources"]["limits"]["memory"] == "96Mi"
    told = shop.until("the adoption's end", lambda: [a for a in _adoptions(shop) if a["state"] == "adopted"])
    assert told[0]["adoption"] == adoption["adoption"]
    assert shop.live.api().get("/api/v1/diff/shop/cloud")["differences"] == []


def _adoptions(shop: Shop) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = shop.live.api().get("/api/v1/adoptions", {"ended": "true", "environment": "cloud"})
    return found


def test_a_deleted_branch_lets_the_correction_go_on(shop: Shop) -> None:
    """Several fields of one object go together; without a merge the rendered values come back, and the journal says why."""
    shop.live.api("sam").post("/api/v1/break-glass", PLACE | {"for_s": 3600, "message": "colors"})
    shop.patch("configmap/shop", {"data": {"greeting": "welcome", "color": "red # not a comment"}})
    cases = [_case(shop, "data.greeting", "welcome"), _case(shop, "data.color", "red # not a comment")]
    adoption = _adopt(shop, *(case["drift"] for case in cases))
    branch = f"setpoint/adopt/{adoption['adoption']}"
    text = _git(shop, "show", f"{branch}:apps/shop/shop.yaml")
    wanted = MANIFESTS.replace("64Mi", "96Mi").replace("hello   #", "welcome   #").replace('"blue"', '"red # not a comment"')
    assert text == wanted
    _end(shop)
    shop.until("the branch to hold both", lambda: len(shop.drifts(held_by=adoption["adoption"], state="held")) == 2)
    assert shop.get("configmap/shop")["data"]["color"] == "red # not a comment"
    folder = shop.live.work / "delivery"
    shop.live.git(folder, "push", "-q", "origin", "--delete", branch, who="sam")
    shop.until("the correction", lambda: shop.get("configmap/shop")["data"] == {"greeting": "hello", "color": "blue"})
    assert next(a for a in _adoptions(shop) if a["adoption"] == adoption["adoption"])["state"] == "dropped"


def test_what_cannot_be_in_a_file_is_refused_with_the_way_out(shop: Shop) -> None:
    """A deleted object, a field somebody took away, and an id that nobody has; each says what to do, and no branch is made."""
    branches = _git(shop, "branch", "--list", "setpoint/*")
    shop.live.api("sam").post("/api/v1/break-glass", PLACE | {"for_s": 3600, "message": "tidying"})
    shop.kubectl("patch", "configmap/shop", "--type=json", "-p", '[{"op":"remove","path":"/data/color"}]')
    taken = shop.until("the removal", lambda: next(iter(shop.drifts(field="data.color", state="held")), None))
    with pytest.raises(UserError, match="took away"):
        _adopt(shop, taken["drift"])
    shop.kubectl("delete", "configmap/shop")
    gone = shop.until("the deletion", lambda: next(iter(shop.drifts(field="object", state="held")), None))
    with pytest.raises(UserError, match="deleted"):
        _adopt(shop, gone["drift"])
    with pytest.raises(SetpointError, match="no open case"):
        _adopt(shop, "d-none")
    _end(shop)
    shop.until("the ConfigMap", lambda: shop.kubectl("get", "configmap/shop", "--ignore-not-found"))
    assert _git(shop, "branch", "--list", "setpoint/*") == branches


def test_a_lease_may_end_in_adoption(shop: Shop) -> None:
    """What was changed under it is on a branch when it is over, in the name of who broke the glass."""
    shop.live.api("sam").post("/api/v1/break-glass", PLACE | {"for_s": 3600, "message": "the queue is stuck", "then": "adopt"})
    shop.patch("configmap/shop", {"data": {"greeting": "good day"}})
    case = _case(shop, "data.greeting", "good day")
    _end(shop)
    found = shop.until("the adoption", lambda: [a for a in _adoptions(shop) if a["state"] == "open"])
    assert (found[0]["by"], found[0]["why"]) == ("person:sam@example.com", "the queue is stuck")
    assert [field["drift"] for field in found[0]["fields"]] == [case["drift"]]
    assert shop.get("configmap/shop")["data"]["greeting"] == "good day"
    folder = shop.live.work / "delivery"
    shop.live.git(folder, "push", "-q", "origin", "--delete", f"setpoint/adopt/{found[0]['adoption']}", who="sam")
    shop.until("the correction", lambda: shop.get("configmap/shop")["data"]["greeting"] == "hello")

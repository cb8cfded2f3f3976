"""Generators on a live home: a folder becomes an application that serves; less, or a broken file, takes nothing away (law 7)."""

from typing import Any

import pytest

from live_home import MANIFESTS, SETPOINT_FILE, LiveHome, wait_for
from setpoint.core.errors import NotAllowedError

GENERATOR = """
apiVersion: setpoint.dev/v1alpha1
kind: Generator
applications:
  folders: ["apps/*"]
  exclude: ["apps/hello"]
  each: {source: hello, environments: [staging]}
"""
ROUTE = "rules:\n    - matches: [{path: {type: PathPrefix, value: /%s}}]\n      backendRefs"


def _manifests(name: str) -> str:
    return MANIFESTS.replace("hello", name).replace("rules:\n    - backendRefs", ROUTE % name)


def _generator(live: LiveHome) -> dict[str, Any]:
    found: list[dict[str, Any]] = live.api().get("/api/v1/generators")
    return found[0] if found else {"products": [], "reasons": [], "held": None}


def _made(live: LiveHome) -> list[str]:
    return [one["name"] for one in _generator(live)["products"]]


def _health(live: LiveHome, app: str) -> str:
    cells = live.api().get("/api/v1/status")["cells"]
    return next((str(cell["health"]) for cell in cells if (cell["app"], cell["environment"]) == (app, "staging")), "")


def _alive(live: LiveHome, app: str) -> bool:
    identities = [one["spec"]["identity"] for one in live.api().get("/api/v1/replicas") if one["shim_alive"]]
    return any(identity["app"] == app for identity in identities)


def test_a_folder_becomes_an_application_that_serves(live: LiveHome) -> None:
    """A generator by the owners, then a folder by anybody: promoted by the gates, served, and told by `why` where it comes from."""
    live.release("one")
    live.serves("staging", "one")
    live.commit("delivery", {"generators/services.yaml": GENERATOR}, "a generator", who="sam")
    live.commit("delivery", {"apps/shop/app.yaml": _manifests("shop"), "apps/mail/app.yaml": _manifests("mail")}, "two folders", who="dana")
    wait_for("both", lambda: _made(live) == ["mail", "shop"])
    wait_for("both serve", lambda: {_health(live, "shop"), _health(live, "mail")} == {"healthy"})
    reasons = live.api().get("/api/v1/why/shop/staging")["reasons"]
    made = next(reason for reason in reasons if reason["code"] == "GENERATED")
    assert made["found"].startswith("made by generators/services.yaml:")
    assert made["found"].endswith("of apps/shop")
    cells = live.api().get("/api/v1/status")["cells"]
    assert {cell["environment"] for cell in cells if cell["app"] == "shop"} == {"staging"}


def test_a_broken_file_and_missing_folders_take_nothing_away(live: LiveHome) -> None:
    """The file cannot be read, then both folders are gone: replicas run on and are healed; status says since when, also after a restart."""
    live.commit("delivery", {"generators/services.yaml": "applications: ["}, "broken", who="sam")
    wait_for("the notice", lambda: any(one["code"] == "FAULTY" for one in live.api().get("/api/v1/status")["notices"]))
    assert _made(live) == ["mail", "shop"]
    gone = {"generators/services.yaml": GENERATOR, "apps/shop/app.yaml": None, "apps/mail/app.yaml": None}
    live.commit("delivery", gone, "no folders", who="sam")
    held = wait_for("the hold", lambda: _generator(live)["held"])
    assert held["elements"] == ["mail", "shop"]
    found = _generator(live)
    assert [reason["code"] for reason in found["reasons"]] == ["GENERATOR_SHRINKS"]
    live.stop()
    (live.home / "setpoint.db").unlink()
    live.start()
    assert _generator(live) == found
    assert _alive(live, "shop")
    assert _alive(live, "mail")
    needs = live.api().get("/api/v1/status")["needs"]
    assert any(need["command"] == "setpoint generator confirm services" for need in needs)
    with pytest.raises(NotAllowedError, match="SP514"):
        live.api("dana").post("/api/v1/generators/services/confirm", {"set": held["set"]})


def test_after_a_word_they_leave_and_run_on_until_they_are_pruned(live: LiveHome) -> None:
    """One folder is back, so the word is for another set; confirmed, the other is an orphan, and `prune` ends it."""
    live.commit("delivery", {"apps/shop/app.yaml": _manifests("shop")}, "shop is back")
    held = wait_for("the smaller set", lambda: (one := _generator(live)["held"]) and one["elements"] == ["mail"] and one)
    live.api("sam").post("/api/v1/generators/services/confirm", {"set": held["set"], "message": "mail moved"})
    wait_for("its end", lambda: _made(live) == ["shop"])
    orphans = wait_for("the orphan", lambda: live.api().get("/api/v1/status")["orphans"])
    assert [(one["app"], one["environment"]) for one in orphans] == [("mail", "staging")]
    assert _alive(live, "mail")
    live.api("sam").post("/api/v1/prunes", {"app": "mail", "environment": "staging", "set": orphans[0]["held"]["set"]})
    wait_for("nothing of mail", lambda: not _alive(live, "mail"))
    assert _alive(live, "shop")


def test_what_a_branch_would_make_is_shown_before_it_is_merged(live: LiveHome) -> None:
    """A branch of the delivery repository with another pattern: told as what comes and what goes, and nothing of it happens."""
    folder = live.work / "delivery"
    live.git(folder, "pull", "-q", "--rebase", "origin", "main", who="sam")
    live.git(folder, "checkout", "-q", "-b", "wider", who="sam")
    live.commit("delivery", {"apps/news/app.yaml": _manifests("news")}, "news", who="sam", push=False)
    live.git(folder, "push", "-q", "origin", "wider", who="sam")
    live.git(folder, "checkout", "-q", "main", who="sam")
    (found,) = live.api().get("/api/v1/generators/expansions", {"at": "wider"})
    assert (found["elements"], found["new"], found["gone"]) == (["news", "shop"], ["news"], [])
    assert _made(live) == ["shop"]
    page = live.api().get("/api/v1/generators/expansions", {"at": "main"})
    assert page[0]["new"] == []


def test_applications_that_say_where_they_run_leave_a_place_like_a_removed_one(live: LiveHome) -> None:
    """`environments:` of setpoint.yaml: what is not named any more is an orphan there, and stays."""
    apps = SETPOINT_FILE.replace("{source: hello}", "{source: hello, environments: [prod*]}")
    live.commit("delivery", {"setpoint.yaml": apps}, "production only", who="sam")
    orphans = wait_for("the orphan", lambda: live.api().get("/api/v1/status")["orphans"])
    assert (orphans[0]["app"], orphans[0]["environment"]) == ("hello", "staging")
    assert orphans[0]["held"]["why"] == "hello does not run in staging any more"
    assert live.answer(live.staging)[0] == "one"

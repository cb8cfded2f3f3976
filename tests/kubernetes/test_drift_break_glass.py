"""Break-glass on a real cluster: what people change is recorded and stays, nothing is pinned or removed, and the end brings it back."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from kubernetes_shop import MANIFESTS, Shop, running_shop
from kubernetes_world import Machine
from live_home import LiveHome, wait_for
from setpoint.core.errors import NotAllowedError

PLACE = {"app": "shop", "environment": "cloud"}
EXTRA = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\ndata: {a: b}\n"


@pytest.fixture(scope="module")
def shop(live: LiveHome, node: Machine) -> Iterator[Shop]:
    """Give a shop with one object more, which a later version does not have."""
    with running_shop(live, node, {"apps/shop/shop.yaml": MANIFESTS + EXTRA}) as found:
        yield found


def _break(shop: Shop, **terms: Any) -> str:
    answer = shop.live.api("sam").post("/api/v1/break-glass", PLACE | {"for_s": 3600, "message": "the queue is stuck"} | terms)
    return str(answer["hold"])


def _state(shop: Shop, field: str, state: str) -> dict[str, Any]:
    """Wait until the newest case of a field is in a state."""

    def look() -> dict[str, Any] | None:
        return next((one for one in shop.drifts(field=field)[:1] if one["state"] == state), None)

    found: dict[str, Any] = shop.until(f"{field} to be {state}", look)
    return found


def test_what_people_change_stays_until_the_end_and_is_brought_back_then(shop: Shop) -> None:
    """Only who is responsible breaks the glass; drift is held under it, shown everywhere, and healed when it is over."""
    with pytest.raises(NotAllowedError):
        shop.live.api("dana").post("/api/v1/break-glass", PLACE | {"for_s": 60, "message": "let me"})
    lease = _break(shop)
    shop.patch("configmap/shop", {"data": {"greeting": "sorry"}})
    case = _state(shop, "data.greeting", "held")
    assert (case["held_by"], case["live"], case["writer"]) == (lease, "sorry", "kubectl-patch")
    shop.patch("configmap/shop", {"data": {"greeting": "so sorry"}})
    shop.until("the new value", lambda: shop.drifts(field="data.greeting", live="so sorry", state="held"))
    shop.kubectl("delete", "configmap/extra")
    _state(shop, "object", "held")
    assert shop.get("configmap/shop")["data"]["greeting"] == "so sorry"
    assert shop.reason("BREAK_GLASS")["fix"] == "setpoint break-glass shop cloud --end"
    assert "so sorry" in shop.reason("DRIFT_HELD", "data.greeting")["found"]
    status = shop.live.api().get("/api/v1/status")
    assert any("sam@example.com broke the glass" in need["what"] for need in status["needs"])
    assert shop.cell()["holds"][0]["kind"] == "break-glass"
    assert 'setpoint_break_glass_total{app="shop",environment="cloud"} 1' in shop.metrics()
    shop.live.api("sam").post("/api/v1/break-glass/end", PLACE | {"message": "done"})
    _state(shop, "data.greeting", "healed")
    _state(shop, "object", "healed")
    assert shop.get("configmap/shop")["data"]["greeting"] == "hello"
    assert shop.get("configmap/extra")["data"] == {"a": "b"}


def test_nothing_new_is_pinned_and_nothing_removed_meanwhile(shop: Shop) -> None:
    """A push waits with the reason, also for a lease of another object; it gets in when the lease is over, and only then removes."""
    _break(shop, objects="Deployment/*")
    commit = shop.live.commit("delivery", {"apps/shop/shop.yaml": MANIFESTS.replace("hello   #", "welcome   #")}, who="sam")
    shop.until("the push to wait", lambda: shop.cell()["waiting"])
    assert [reason["code"] for reason in shop.cell()["waiting"]["reasons"]] == ["BREAK_GLASS"]
    shop.patch("configmap/shop", {"data": {"greeting": "bye"}})
    _state(shop, "data.greeting", "healed")
    assert shop.get("configmap/extra")["data"] == {"a": "b"}
    shop.live.api("sam").post("/api/v1/break-glass/end", PLACE)
    shop.settled(commit)
    assert shop.get("configmap/shop")["data"]["greeting"] == "welcome"
    shop.until("the removal", lambda: not shop.kubectl("get", "configmap/extra", "--ignore-not-found"))


def test_a_person_decides_after_it(shop: Shop) -> None:
    """With `hold` what was changed is left when the lease is over, until somebody heals it."""
    _break(shop, then="hold")
    shop.patch(
        "deployment/shop", {"spec": {"revisionHistoryLimit": 3, "template": {"metadata": {"labels": {"app": "shop", "by": "hand"}}}}}
    )
    shop.patch("configmap/shop", {"data": {"color": "red"}})
    _state(shop, "data.color", "held")
    shop.live.api("sam").post("/api/v1/break-glass/end", PLACE)
    shop.until("the decision", lambda: [one for one in shop.drifts(field="data.color", state="held") if one["then"] == "hold"])
    assert shop.get("configmap/shop")["data"]["color"] == "red"
    assert shop.reason("DRIFT_HELD", "data.color")["fix"] == "setpoint heal shop cloud"
    shop.live.api("sam").post("/api/v1/drift/heal", PLACE)
    _state(shop, "data.color", "healed")


def test_an_end_that_comes_while_the_server_is_down_is_found_at_its_start(shop: Shop) -> None:
    """Nobody has to be there at the end of a lease."""
    lease, over = _break(shop, for_s=20), time.monotonic() + 20
    shop.patch("configmap/shop", {"data": {"color": "green"}})
    _state(shop, "data.color", "held")
    shop.live.stop()
    wait_for("the end of its time", lambda: time.monotonic() > over)
    shop.live.start()
    _state(shop, "data.color", "healed")
    assert shop.get("configmap/shop")["data"]["color"] == "blue"
    ended = shop.until(
        "the journal's word", lambda: [e for e in shop.live.journal() if (e["kind"], e["subject"]) == ("hold.closed", lease)]
    )
    assert ended[0]["body"]["why"] == "its time has passed"

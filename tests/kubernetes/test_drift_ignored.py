"""Fields that are left to somebody else, on a real cluster: neither corrected nor overwritten, told by `why`, and never an image."""

import json
from collections.abc import Iterator

import pytest

from kubernetes_shop import ENVIRONMENT, IMAGE, MANIFESTS, Shop, running_shop
from kubernetes_world import Machine
from live_home import LiveHome

RULES = """drift:
  ignore:
    - {kind: ConfigMap, paths: [.data.color], why: marketing paints it}
    - {managers: [platform-*], why: the platform sizes containers}
    - {kind: StatefulSet, paths: [.spec.replicas], why: from an earlier time}
"""


@pytest.fixture(scope="module")
def shop(live: LiveHome, node: Machine) -> Iterator[Shop]:
    """Give a shop whose color and sizes are somebody else's."""
    with running_shop(live, node) as found:
        path = "environments/cloud/environment.yaml"
        live.commit("delivery", {path: ENVIRONMENT.format(namespace=found.namespace) + RULES}, who="sam")
        found.reason("IGNORE_MEANS_NOTHING", "from an earlier time")
        yield found


def test_an_ignored_path_keeps_what_somebody_else_wrote(shop: Shop) -> None:
    """The color stays while the greeting beside it is brought back, and a release of the ConfigMap keeps it; it is not ours then."""
    shop.patch("configmap/shop", {"data": {"color": "red", "greeting": "bye"}}, "marketing")
    shop.until("the greeting", lambda: shop.get("configmap/shop")["data"]["greeting"] == "hello")
    assert shop.get("configmap/shop")["data"]["color"] == "red"
    assert shop.reason("FIELD_IGNORED", "data.color")["found"] == (
        "data.color is marketing's, not blue as rendered, and is left alone: marketing paints it"
    )
    shop.push({"apps/shop/shop.yaml": MANIFESTS.replace("hello   #", "welcome   #")})
    live = shop.get("configmap/shop")
    assert live["data"] == {"color": "red", "greeting": "welcome"}
    ours = next(row for row in live["metadata"]["managedFields"] if row["manager"] == "setpoint")
    assert "f:color" not in json.dumps(ours)
    assert {one["field"] for one in shop.drifts()} == {"data.greeting"}


def test_a_manager_keeps_its_fields_and_gets_no_image_in(shop: Shop) -> None:
    """What the platform sized stays; the image that it set in the same write is corrected (law 2)."""
    container = {"name": "shop", "image": IMAGE.replace("1" * 64, "2" * 64), "resources": {"limits": {"memory": "128Mi"}}}
    shop.patch("deployment/shop", {"spec": {"template": {"spec": {"containers": [container]}}}}, "platform-sizer")
    found = shop.until("the end", lambda: shop.drifts(field="spec.template.spec.containers[shop].image", state="healed"))
    assert found[0]["writer"] == "platform-sizer"
    after = shop.get("deployment/shop")["spec"]["template"]["spec"]["containers"][0]
    assert (after["image"].partition("@")[2], after["resources"]["limits"]["memory"]) == (IMAGE.partition("@")[2], "128Mi")
    assert "is platform-sizer's, not 64Mi as rendered" in shop.reason("FIELD_IGNORED", "resources")["found"]


def test_what_is_not_there_is_created_as_rendered(shop: Shop) -> None:
    """A deleted object comes back with the rendered value of an ignored field, and from then on that field is left alone again."""
    shop.kubectl("delete", "configmap/shop")
    shop.until("the ConfigMap", lambda: shop.kubectl("get", "configmap/shop", "--ignore-not-found"))
    assert shop.get("configmap/shop")["data"]["color"] == "blue"
    shop.patch("configmap/shop", {"data": {"color": "green"}}, "marketing")
    shop.reason("FIELD_IGNORED", "data.color is marketing's")
    assert shop.get("configmap/shop")["data"]["color"] == "green"
    assert shop.drifts(field="data.color") == []


def test_a_rule_about_an_image_is_not_accepted(shop: Shop) -> None:
    """The file that would leave the image to somebody else is faulty, so the version before it stays in force."""
    rule = "    - {kind: Deployment, paths: ['.spec.template.spec.containers[name=shop].image'], why: x}\n"
    path = "environments/cloud/environment.yaml"
    shop.live.commit("delivery", {path: ENVIRONMENT.format(namespace=shop.namespace) + RULES + rule}, who="sam")
    shop.reason("FAULTY", "judged before anything gets in")
    shop.reason("FIELD_IGNORED", "marketing paints it")
    shop.live.commit("delivery", {path: ENVIRONMENT.format(namespace=shop.namespace) + RULES}, who="sam")

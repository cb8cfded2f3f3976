"""When a pull secret is written anew, which tokens go, and which pods name it: pure decisions, in which no value is told."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from setpoint.core import clock
from setpoint.reconcile.pulls import decide
from setpoint.reconcile.pulls.model import FIELD, Credential, PullPlace, PullToken, secret_name

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
PLACE = PullPlace("prod", "shop", "registry.example.com:5000", own=True)
HOME = "h-0123456789"
SHOWN = Credential("setpoint", "sp_text")
SECRET = decide.manifest(PLACE, HOME, SHOWN)


def _token(age: timedelta, name: str = "t-1") -> PullToken:
    return PullToken(name, clock.to_text(NOW - age))


def _changed(**auths: Any) -> dict[str, Any]:
    data = base64.b64encode(json.dumps({"auths": auths}).encode()).decode()
    return {**SECRET, "data": {FIELD: data}}


def test_what_was_made_is_read_again() -> None:
    """The manifest is what kubectl's docker-registry secrets are, and says whose it is."""
    assert decide.credential_of(SECRET, PLACE) == SHOWN
    assert decide.foreign(SECRET, HOME) == ""
    assert "sp_text" not in repr(SHOWN)
    assert secret_name(HOME) == "setpoint-pull-01234567"


@pytest.mark.parametrize(
    "live",
    [
        {**SECRET, "data": {}},
        {**SECRET, "data": {FIELD: "no base64!"}},
        {**SECRET, "data": {FIELD: base64.b64encode(b"[]").decode()}},
        {**SECRET, "data": {**SECRET["data"], "more": "YQ=="}},
        _changed(),
        _changed(**{"registry.example.com:5000": {"username": "setpoint", "password": "sp_text", "auth": "YTpi"}}),
        _changed(**{"elsewhere.example.com": {"username": "setpoint", "password": "sp_text", "auth": "YTpi"}}),
    ],
)
def test_anything_else_counts_as_changed(live: dict[str, Any]) -> None:
    """A secret that is not exactly what was written is written anew, whatever it holds."""
    assert decide.credential_of(live, PLACE) is None
    assert decide.why_anew(live, None, None, NOW) == "its content was changed"


def test_a_token_is_exchanged_in_time_and_not_before() -> None:
    """A missing secret, a token that is not let in and one of a day are reasons; a younger one is none."""
    assert decide.why_anew(None, None, None, NOW) == "it was not there"
    assert decide.why_anew(SECRET, SHOWN, None, NOW) == "its token is not one that is let in"
    assert decide.why_anew(SECRET, SHOWN, _token(timedelta(hours=23, minutes=59)), NOW) == ""
    assert decide.why_anew(SECRET, SHOWN, _token(timedelta(hours=24)), NOW) == "its token is a day old"


def test_the_token_before_is_let_in_until_every_node_has_read_the_new_one() -> None:
    """Nothing is revoked within the hour; after it everything but the current one goes, also what a crash left."""
    old, left = _token(timedelta(hours=25), "t-0"), _token(timedelta(hours=2), "t-x")
    fresh, current = _token(timedelta(minutes=59)), _token(timedelta(minutes=60))
    assert decide.outlived([old, left, fresh], fresh, NOW) == []
    assert decide.outlived([old, left, current], current, NOW) == [old, left]


def test_another_registry_has_the_login() -> None:
    """A new login is a reason; the same is none."""
    assert decide.why_otherwise(SECRET, SHOWN, SHOWN) == ""
    assert decide.why_otherwise(SECRET, SHOWN, replace(SHOWN, password="another")) == "the login is another one"
    assert decide.why_otherwise(None, None, SHOWN) == "it was not there"


def test_what_is_not_ours_is_left_alone() -> None:
    """Another home's secret, nobody's, and one of another type are named as what they are."""
    assert "h-2" in decide.foreign({**SECRET, "metadata": {"annotations": {"setpoint.dev/home": "h-2"}}}, HOME)
    assert "nobody of ours" in decide.foreign({**SECRET, "metadata": {}}, HOME)
    assert "Opaque" in decide.foreign({**SECRET, "type": "Opaque"}, HOME)


def test_pods_name_the_secret_where_they_pull_from_the_registry() -> None:
    """Beside what the manifest names, once, in every sort of pod; a pod of other images is as it was."""
    ours, theirs = "registry.example.com:5000/web@sha256:1", "docker.io/library/redis@sha256:2"

    def pod(image: str, **more: Any) -> dict[str, Any]:
        return {"containers": [{"name": "a", "image": theirs}], "initContainers": [{"name": "b", "image": image}], **more}

    def named(spec: dict[str, Any]) -> Any:
        value = {"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": {"spec": spec}}}}}
        found = decide.referring(value, PLACE.host, "setpoint-pull-x")
        return found["spec"]["jobTemplate"]["spec"]["template"]["spec"].get("imagePullSecrets")

    assert named(pod(ours)) == [{"name": "setpoint-pull-x"}]
    assert named(pod(ours, imagePullSecrets=[{"name": "mine"}])) == [{"name": "mine"}, {"name": "setpoint-pull-x"}]
    assert named(pod(ours, imagePullSecrets=[{"name": "setpoint-pull-x"}])) == [{"name": "setpoint-pull-x"}]
    assert named(pod(theirs)) is None
    volume = {"containers": [{"name": "a", "image": theirs}], "volumes": [{"name": "m", "image": {"reference": ours}}]}
    assert named(volume) == [{"name": "setpoint-pull-x"}]
    assert named({"containers": [{"name": "a", "image": "registry.example.com:50001/web"}]}) is None

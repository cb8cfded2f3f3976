"""A preview's host name stands in every HTTPRoute of its render, and nowhere else."""

from typing import Any

from setpoint.reconcile.host_names import readdressed
from setpoint.reconcile.model import Rendered
from setpoint.reconcile.render import digest_of

ROUTE: dict[str, Any] = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "HTTPRoute",
    "metadata": {"name": "web"},
    "spec": {"hostnames": ["shop.example.com"], "rules": [{"backendRefs": [{"name": "web", "port": 80}]}]},
}
OTHER: dict[str, Any] = {"apiVersion": "example.com/v1", "kind": "HTTPRoute", "metadata": {"name": "x"}, "spec": {"hostnames": ["a"]}}


def _rendered() -> Rendered:
    return Rendered((ROUTE, OTHER), digest_of((ROUTE, OTHER)), {"HTTPRoute/web": "apps/web/app.yaml"})


def test_every_route_has_the_name_and_the_digest_says_so() -> None:
    """Rules stay; a kind of somebody else that is called alike is left alone; what was rendered is not changed in place."""
    before = _rendered()
    after = readdressed(before, "feature-x.preview.example.com")
    assert after.objects[0]["spec"] == {**ROUTE["spec"], "hostnames": ["feature-x.preview.example.com"]}
    assert after.objects[1] == OTHER
    assert ROUTE["spec"]["hostnames"] == ["shop.example.com"]
    assert after.digest == digest_of(after.objects) != before.digest
    assert after.sources == before.sources


def test_without_a_name_nothing_is_changed() -> None:
    """What is rendered for everybody else keeps its digest."""
    before = _rendered()
    assert readdressed(before, "") is before

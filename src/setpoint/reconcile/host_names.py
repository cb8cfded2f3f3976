"""The host name of a preview's routes, in place of those in the manifests: two previews must not claim one address.

Called by rendering, after the manifests were rendered and before anything reads them; pure.
"""

from dataclasses import replace
from typing import Any

from setpoint.reconcile.model import Rendered
from setpoint.reconcile.render import digest_of


def readdressed(rendered: Rendered, host: str) -> Rendered:
    """Return a render whose HTTPRoutes have this host name and no other; as it is when there is none to give."""
    if not host:
        return rendered
    objects = tuple(_route(value, host) if _is_route(value) else value for value in rendered.objects)
    return replace(rendered, objects=objects, digest=digest_of(objects))


def _is_route(value: dict[str, Any]) -> bool:
    return value.get("kind") == "HTTPRoute" and str(value.get("apiVersion", "")).startswith("gateway.networking.k8s.io/")


def _route(value: dict[str, Any], host: str) -> dict[str, Any]:
    return {**value, "spec": {**(value.get("spec") or {}), "hostnames": [host]}}

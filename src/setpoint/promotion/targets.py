"""Where an environment's applications run, as `target:` of `environment.yaml` says it: this machine, or a namespace of a cluster.

Part of the environment's file (`promotion.config`), so the judged cannot move themselves elsewhere (law 9). A cluster is named, never
described: the operator of the home registers clusters, and a name in Git points to no file and no address.
"""

import ipaddress
import re
from typing import Annotated, Final

from pydantic import AfterValidator, model_validator

from setpoint.core.documents import FileModel, InvalidError

_CLUSTER: Final = re.compile(r"[a-z][a-z0-9-]{0,39}")
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_REGISTRY: Final = re.compile(r"[a-z0-9.-]+(?::[0-9]{1,5})?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*")
_SERVICE: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?/[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?:[1-9][0-9]{0,4}")
_PAGE: Final = re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~-]+)+")
_PATH: Final = re.compile(r"(?:/(?!\.\.?(?:/|$))[A-Za-z0-9._~-]+)+")
_URL: Final = re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]{1,5})?")


def _listen(text: str) -> str:
    address, colon, port = text.rpartition(":")
    fix = 'write "127.0.0.1:7501"; in quotes'
    try:
        known = ipaddress.IPv4Address(address)
    except ValueError:
        raise InvalidError(f"`{text}` is no address to listen on: it needs an IPv4 address and a port", fix, "SP523") from None
    if not colon or not re.fullmatch(r"[1-9][0-9]{0,4}", port) or int(port) > 65_535:
        raise InvalidError(f"`{text}` has no port from 1 to 65535", fix, "SP523")
    if known.is_multicast or known == ipaddress.IPv4Address("255.255.255.255"):
        raise InvalidError(f"nothing can listen on `{address}`", fix, "SP523")
    return text


def _cluster(text: str) -> str:
    if not _CLUSTER.fullmatch(text):
        fix = "lower-case letters, digits and dashes, a letter first: a name that `setpoint cluster list` shows"
        raise InvalidError(f"`{text}` is no name of a cluster", fix, "SP552")
    return text


def _namespace(text: str) -> str:
    if not _LABEL.fullmatch(text):
        raise InvalidError(f"`{text}` is no namespace", "lower-case letters, digits and dashes, at most 63 (RFC 1123)", "SP552")
    return text


def _registry(text: str) -> str:
    if not _REGISTRY.fullmatch(text) or len(text) > 200:
        raise InvalidError(f"`{text}` is no registry", "write host[:port][/prefix]: registry.example.com:5000/prod", "SP552")
    return text


def _url(text: str) -> str:
    if not _URL.fullmatch(text):
        raise InvalidError(f"`{text}` is no address of a web server", "write scheme and host, no path: https://shop.example.com", "SP552")
    return text


ClusterName = Annotated[str, AfterValidator(_cluster)]
Namespace = Annotated[str, AfterValidator(_namespace)]


class HostTarget(FileModel):
    """The machine that Setpoint runs on."""

    listen: Annotated[str, AfterValidator(_listen)]
    """IPv4 address and port where HTTPRoutes without parentRefs bind."""


def _service(text: str) -> str:
    if not _SERVICE.fullmatch(text):
        raise InvalidError(f"`{text}` is no port of a Service", "write NAMESPACE/NAME:PORT: ingress/haproxy-metrics:8404", "SP552")
    return text


def _page(text: str) -> str:
    if not _PAGE.fullmatch(text):
        raise InvalidError(f"`{text}` is no address of a page", "write scheme, host and path: http://10.0.0.7:8404/metrics", "SP552")
    return text


def _path(text: str) -> str:
    if not _PATH.fullmatch(text):
        raise InvalidError(f"`{text}` is no path of a page", "begin with a slash, write no spaces, `?` or `..`: /metrics", "SP552")
    return text


class Metrics(FileModel):
    """Where the data plane behind the target's routes tells what it counted, as Prometheus text: exactly one of `service` and `url`."""

    service: Annotated[str, AfterValidator(_service)] | None = None
    """`NAMESPACE/NAME:PORT`; every pod behind it is asked, through the API server."""
    path: Annotated[str, AfterValidator(_path)] = "/metrics"
    """Of the page that a pod of `service` has."""
    url: Annotated[str, AfterValidator(_page)] | None = None
    """A page that this machine can read."""

    @model_validator(mode="after")
    def _one(self) -> "Metrics":
        if (self.service is None) == (self.url is None):
            raise InvalidError(
                "metrics are read at exactly one place", "write `service: NAMESPACE/NAME:PORT`, or `url: http://...`", "SP553"
            )
        return self


class KubernetesTarget(FileModel):
    """A namespace of a cluster."""

    cluster: ClusterName
    """As the operator registered it: `setpoint cluster add NAME`."""
    namespace: Namespace
    registry: Annotated[str, AfterValidator(_registry)]
    """Where its nodes pull from: `host[:port][/prefix]`. Artifacts are copied there by digest, with their evidence."""
    pullSecret: bool | None = None  # noqa: N815 - the key as it is written
    """Whether Setpoint keeps a pull secret for that registry in the namespace, which pods name: left out, where it is this home's own
    registry; true, with the home's login to another one (`setpoint registry login`)."""
    enforceImages: bool = False  # noqa: N815 - the key as it is written
    """Whether the cluster itself refuses pods in the namespace whose images no pin names (a ValidatingAdmissionPolicy)."""
    url: Annotated[str, AfterValidator(_url)] | None = None
    """Where its applications are reached from here; `checks` of later environments need it."""
    metrics: Metrics | None = None
    """What the judge of a canary reads; without it no canary is judged here."""


class Target(FileModel):
    """Where an environment lives: exactly one of these."""

    host: HostTarget | None = None
    kubernetes: KubernetesTarget | None = None

    @model_validator(mode="after")
    def _one(self) -> "Target":
        if (self.host is None) == (self.kubernetes is None):
            fix = 'target: {host: {listen: "127.0.0.1:7501"}}, or target: {kubernetes: {cluster: ..., namespace: ..., registry: ...}}'
            raise InvalidError("an environment has exactly one target", fix, "SP553")
        return self

    @property
    def url(self) -> str:
        """Where its applications are reached from here; empty when nobody said it."""
        if self.host is not None:
            return f"http://{self.host.listen}"
        return (self.kubernetes.url if self.kubernetes is not None else None) or ""

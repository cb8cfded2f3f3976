"""The probes of a container on the host: HTTP GET or TCP connect, on the containerPort; called by the workload reader."""

import re
from dataclasses import dataclass
from typing import Any, Final

from setpoint.reconcile.host.fields import BAD_VALUE, MISSING, UNSUPPORTED, Fields
from setpoint.reconcile.model import Probe

_URL_PATH: Final = re.compile(r"/[!-~]{0,1023}")
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")
_HEADER_VALUE: Final = re.compile(r"[ -~\t]{0,2000}")
_OF_THE_CONNECTION: Final = frozenset({"connection", "content-length", "transfer-encoding"})


@dataclass(frozen=True, slots=True)
class Port:
    """A container's one port."""

    number: int
    name: str

    def is_meant_by(self, reference: Any) -> bool:
        """Say whether a number or name refers to this port."""
        return (reference == self.number and not isinstance(reference, bool)) or (
            isinstance(reference, str) and bool(reference) and reference == self.name
        )


def probe(fields: Fields, name: str, port: Port) -> Probe | None:
    """Read one of a container's probes; None when it is left out."""
    if not fields.has(name):
        fields.raw(name)
        return None
    written = fields.mapping(name)
    path, headers = _action(written, port)
    grace = written.number("terminationGracePeriodSeconds", 0, 1, 3600) if written.has("terminationGracePeriodSeconds") else None
    if name == "readinessProbe" and grace is not None:
        written.bad("terminationGracePeriodSeconds", "is only for probes that end a replica", "remove it from the readiness probe")
    threshold = written.number("successThreshold", 1, 1, 1000 if name == "readinessProbe" else 1)
    result = Probe(
        path=path,
        period_s=float(written.number("periodSeconds", 10, 1, 3600)),
        timeout_s=float(written.number("timeoutSeconds", 1, 1, 3600)),
        failure_threshold=written.number("failureThreshold", 3, 1, 1000),
        initial_delay_s=float(written.number("initialDelaySeconds", 0, 0, 3600)),
        success_threshold=threshold,
        headers=headers,
        grace_s=None if grace is None else float(grace),
    )
    written.raw("terminationGracePeriodSeconds")
    written.close()
    return result


def _action(written: Fields, port: Port) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return the path (empty for TCP) and the headers of what a probe does."""
    kinds = [kind for kind in ("httpGet", "tcpSocket") if written.has(kind)]
    http, tcp = written.mapping("httpGet"), written.mapping("tcpSocket")
    if len(kinds) > 1:
        written.bad("tcpSocket", "and httpGet cannot both be there", "keep one of them")
    if kinds and kinds[0] == "tcpSocket":
        refer(tcp, port)
        tcp.close()
        return "", ()
    if not kinds:
        if not any(written.has(kind) for kind in ("exec", "grpc")):
            written.bad("httpGet", "is missing", "add `httpGet: {path: /health, port: http}`, or `tcpSocket: {port: http}`", MISSING)
        return "/", ()
    return http_get(http, port)


def http_get(http: Fields, port: Port) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Read an `httpGet` action: (path, headers), on the containerPort and by HTTP."""
    path = http.text("path", "/")
    http.without_effect("scheme", "HTTP")
    refer(http, port)
    headers = []
    for entry in http.entries("httpHeaders"):
        name, value = entry.text("name"), entry.text("value", "")
        if name and (not _HEADER.fullmatch(name) or name.lower() in _OF_THE_CONNECTION):
            entry.bad("name", f"`{name[:60]}` is no header that a probe can send")
        if not _HEADER_VALUE.fullmatch(value):
            entry.bad("value", "holds what no header can hold", "printable characters of ASCII, on one line")
        headers.append((name, value))
        entry.close()
    http.close()
    if not _URL_PATH.fullmatch(path):
        http.bad("path", "must begin with a slash and hold no spaces", "write it like /health")
    return path, tuple(headers)


def refer(action: Fields, port: Port) -> None:
    """Check that an action's `port` is the containerPort, by number or name."""
    reference = action.raw("port")
    if not action.has("port"):
        action.bad("port", "is missing", f"write the containerPort, {port.number}", MISSING)
    elif not port.is_meant_by(reference):
        action.bad("port", "is not the containerPort", f"write {port.number}" + (f" or `{port.name}`" if port.name else ""), BAD_VALUE)
    if action.has("host"):
        action.raw("host")
        action.bad("host", "is not supported on the host", "remove it: probes ask the replica itself", UNSUPPORTED)

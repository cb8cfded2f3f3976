"""One look at whether a replica serves; called by the runtime's `ready`, never repeats or waits longer than the probe's timeout.

Kubernetes counts 200-399 as ready for an HTTP probe, and an accepted connection when there is none.
"""

import http.client
import socket

from setpoint.reconcile.model import Probe

_CONNECT_S = 1.0
_ADDRESS = "127.0.0.1"


def tcp(port: int, timeout_s: float = _CONNECT_S) -> tuple[bool, str]:
    """Say whether something accepts connections on a loopback port."""
    try:
        with socket.create_connection((_ADDRESS, port), timeout=timeout_s):
            return True, f"port {port} accepts connections"
    except OSError as error:
        return False, f"port {port}: {error.strerror or error}"


def http_get(port: int, probe: Probe) -> tuple[bool, str]:
    """Say whether GET on a loopback port answers 200-399 in time; the body is not read."""
    connection = http.client.HTTPConnection(_ADDRESS, port, timeout=probe.timeout_s)
    try:
        connection.request("GET", probe.path, headers={"User-Agent": "setpoint-probe", **dict(probe.headers), "Connection": "close"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException, ValueError) as error:
        text = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
        return False, f"GET {probe.path}: {text}"
    finally:
        connection.close()
    return 200 <= status < 400, f"GET {probe.path}: {status}"

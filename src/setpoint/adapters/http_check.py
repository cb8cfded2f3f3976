"""One bounded HTTP request to a loopback address: gates' checks, and `trace` asking a URL who answers.

Called by promotion and observe through their ports; follows no redirect, reads no body, takes no longer than _TIMEOUT_S however slowly an
answer drips, and never leaves the given address.
"""

import contextlib
import http.client
import socket
import threading
from urllib.parse import urlsplit

from setpoint.core.errors import WorldError

_TIMEOUT_S = 5.0


class HttpProbe:
    """Fills promotion's `HttpChecks`."""

    def check(self, base_url: str, path: str, status: int) -> tuple[bool, str]:
        """Return (passed, what was found) of one GET."""
        try:
            found, _ = _get(base_url.rstrip("/") + path)
        except OSError as error:
            return False, f"no answer: {error}"
        except http.client.HTTPException as error:
            return False, f"no HTTP: {error!r}"
        return found == status, f"status {found}"


def setpoint_headers(url: str) -> dict[str, str]:
    """Return the Setpoint-* response headers of a URL.

    Raises:
        WorldError: nothing answers there (SP704).
    """
    try:
        _, headers = _get(url)
    except (OSError, http.client.HTTPException) as error:
        raise WorldError("SP704", f"no answer: {error}", where=url, fix="setpoint status says what should serve there") from error
    return {name: value for name, value in headers.items() if name.startswith("Setpoint-")}


def _get(url: str) -> tuple[int, dict[str, str]]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=_TIMEOUT_S)
    over = threading.Event()
    limit = threading.Timer(_TIMEOUT_S, _cut, (connection, over))
    limit.daemon = True
    limit.start()
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target, headers={"User-Agent": "setpoint-check", "Connection": "close"})
        response = connection.getresponse()
        if over.is_set():
            raise TimeoutError("timed out")  # what was cut off reads like the end of the headers
        return response.status, {name.title(): value for name, value in response.getheaders()}
    except (OSError, http.client.HTTPException) as error:
        raise TimeoutError("timed out") if over.is_set() else error from None
    finally:
        limit.cancel()
        connection.close()


def _cut(connection: http.client.HTTPConnection, over: threading.Event) -> None:
    """End a connection under whoever reads it: a socket's own timeout begins anew with every byte."""
    over.set()
    sock = connection.sock
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

"""One bounded HTTP request to a loopback address: gates' checks, and `trace` asking a URL who answers.

Called by promotion and observe through their ports; follows no redirect, reads at most a little, never leaves the given address.
"""

import http.client
from urllib.parse import urlsplit

from setpoint.core.errors import WorldError

_TIMEOUT_S = 5.0
_READ_BYTES = 64 << 10


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
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target, headers={"User-Agent": "setpoint-check", "Connection": "close"})
        response = connection.getresponse()
        response.read(_READ_BYTES)
        return response.status, {name.title(): value for name, value in response.getheaders()}
    finally:
        connection.close()

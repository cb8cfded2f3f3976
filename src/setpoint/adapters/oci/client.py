"""A small client of other people's registries: GET with redirects, an anonymous Bearer token when asked, bounded and timed.

Used by `RegistryPull`; plain HTTP to loopback hosts only. It sends no credentials of ours, and a token of theirs only to its own host.
"""

import http.client
import ipaddress
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode, urljoin, urlsplit

from setpoint.core.errors import NotFoundError, WorldError

_TIMEOUT_S: Final = 30
_REDIRECTS: Final = 5
_TOKEN_LIMIT_BYTES: Final = 1 << 20
_CHALLENGE: Final = re.compile(r'(\w+)="([^"]*)"')


def is_loopback(host: str) -> bool:
    """Say whether a host (without port) is this machine, by name or address; nothing is resolved."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@dataclass(slots=True)
class RegistryClient:
    """GETs from one registry host (`name` or `name:port`)."""

    host: str
    timeout_s: float = _TIMEOUT_S
    _token: str = field(default="", repr=False)

    @property
    def base(self) -> str:
        """`http://` for this machine, else `https://`, and the host."""
        scheme = "http" if is_loopback(urlsplit(f"//{self.host}").hostname or "") else "https"
        return f"{scheme}://{self.host}"

    @contextmanager
    def get(self, path: str, accept: str) -> Iterator[http.client.HTTPResponse]:
        """Yield the successful answer to GET path, following redirects and one challenge for an anonymous token.

        Raises:
            NotFoundError: the registry does not have it, or not for everybody (SP306).
            WorldError: no answer, an odd one, or a redirect that may not be followed (SP307).
        """
        url = self.base + path
        challenged = False
        for _ in range(_REDIRECTS + 2):
            with self._request(url, {"Accept": accept}) as response:
                if response.status == 200:
                    yield response
                    return
                if response.status == 401 and not challenged and self._own(url):
                    challenged = True
                    self._token = self._anonymous(url, response.headers.get("WWW-Authenticate", ""))
                elif response.status in (301, 302, 303, 307, 308):
                    url = self._redirected(url, response.headers.get("Location", ""))
                else:
                    raise self._refused(url, response.status)
        raise self._trouble(url, "it redirects in circles")

    def _own(self, url: str) -> bool:
        return url.startswith(self.base + "/")

    def _trouble(self, url: str, why: str) -> WorldError:
        place = url.partition("?")[0]
        return WorldError("SP307", f"the registry {self.host} gives no usable answer: {why}", where=place, fix="try again later")

    def _refused(self, url: str, status: int) -> NotFoundError | WorldError:
        if status in (401, 403, 404):
            fix = "check name and digest; only images that anybody may pull can be a base"
            return NotFoundError("SP306", f"the registry {self.host} does not give it ({status})", where=url.partition("?")[0], fix=fix)
        return self._trouble(url, f"status {status}")

    @contextmanager
    def _request(self, url: str, headers: Mapping[str, str]) -> Iterator[http.client.HTTPResponse]:
        parts = urlsplit(url)
        kind = http.client.HTTPConnection if parts.scheme == "http" else http.client.HTTPSConnection
        connection = kind(parts.netloc, timeout=self.timeout_s)
        extra = {"Authorization": f"Bearer {self._token}"} if self._token and self._own(url) else {}
        try:
            connection.request("GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), headers={**headers, **extra})
            yield connection.getresponse()
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._trouble(url, str(error) or type(error).__name__) from error
        finally:
            connection.close()

    def _redirected(self, url: str, location: str) -> str:
        """Return where a redirect leads; never down from HTTPS, and to this machine only from it."""
        target = urljoin(url, location)
        scheme, host = urlsplit(target).scheme, urlsplit(target).hostname or ""
        local = self.base.startswith("http://")
        if not location or scheme not in ("http", "https") or (not local and (scheme == "http" or is_loopback(host))):
            raise self._trouble(url, f"it redirects to {target.partition('?')[0]}")
        return target

    def _anonymous(self, url: str, challenge: str) -> str:
        """Return a token for url from the service that a Bearer challenge names (distribution token authentication)."""
        scheme, _, rest = challenge.partition(" ")
        fields = dict(_CHALLENGE.findall(rest))
        if scheme.lower() != "bearer" or "realm" not in fields:
            raise self._refused(url, 401)
        query = urlencode({name: fields[name] for name in ("service", "scope") if name in fields})
        realm = self._redirected(self.base, fields["realm"])
        joined = f"{realm}{'&' if '?' in realm else '?'}{query}"
        with self._request(joined, {"Accept": "application/json"}) as response:
            if response.status != 200:
                raise self._refused(realm, response.status)
            try:
                value = json.loads(response.read(_TOKEN_LIMIT_BYTES))
                token = value.get("token") or value.get("access_token")
            except (ValueError, AttributeError) as error:
                raise self._trouble(realm, "its token is not JSON") from error
        if not isinstance(token, str) or not token.isprintable():
            raise self._trouble(realm, "it gives no token")
        return token

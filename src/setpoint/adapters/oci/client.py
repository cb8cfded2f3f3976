"""A small client of other people's registries: requests with redirects and logins, bounded and timed.

Used by `RegistryPull` and `RegistryCopy`, and to try a login. Plain HTTP goes to loopback hosts and where the operator said so. It logs in
only where it is asked to (401), sends a password or token only to the registry's own host and to the token service that it names
over TLS, and never to where a redirect leads. Source: OCI distribution-spec 1.1; the distribution project's token authentication.
"""

import base64
import http.client
import ipaddress
import json
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO, Final
from urllib.parse import urlencode, urljoin, urlsplit

from setpoint.core.errors import NotFoundError, SetpointError, UserError, WorldError
from setpoint.ground.registries.model import RegistryAccess

_TIMEOUT_S: Final = 30
_REDIRECTS: Final = 5
_MOVED: Final = (301, 302, 303, 307, 308)
_TOKEN_LIMIT_BYTES: Final = 1 << 20
_CHALLENGE: Final = re.compile(r'(\w+)="([^"]*)"')

Body = bytes | BinaryIO | None


def is_loopback(host: str) -> bool:
    """Say whether a host (without port) is this machine, by name or address; nothing is resolved.

    An address counts in every form that a connection takes: short and numeric ones (inet_aton(3)), IPv4 in IPv6, and the unspecified one.
    """
    name = host.lower().strip("[]").rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        try:
            address = ipaddress.IPv4Address(socket.inet_aton(name))
        except (OSError, ValueError):
            return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    address = mapped or address
    return address.is_loopback or address.is_unspecified


@dataclass(slots=True)
class RegistryClient:
    """Speaks to one registry (`name` or `name:port`)."""

    access: RegistryAccess
    timeout_s: float = _TIMEOUT_S
    _authorization: str = field(default="", repr=False)

    @property
    def host(self) -> str:
        """The registry's host, with its port when it has one."""
        return self.access.host

    @property
    def base(self) -> str:
        """`http://` for this machine or where the operator said so, else `https://`, and the host."""
        plain = self.access.plain_http or (not self.access.authorities and is_loopback(urlsplit(f"//{self.host}").hostname or ""))
        return f"{'http' if plain else 'https'}://{self.host}"

    def greet(self) -> None:
        """Return when the registry knows the login.

        Raises:
            UserError: it does not (SP331).
            WorldError: no usable answer (SP307).
        """
        with self.send("GET", f"{self.base}/v2/") as response:
            if response.status in (401, 403):
                raise self._unknown()
            if response.status != 200:
                raise self.trouble(f"{self.base}/v2/", f"status {response.status} where a registry answers 200")

    @contextmanager
    def get(self, path: str, accept: str) -> Iterator[http.client.HTTPResponse]:
        """Yield the successful answer to GET path, following redirects.

        Raises:
            NotFoundError: the registry does not have it, or not for us (SP306).
            WorldError: no answer, an odd one, or a redirect that may not be followed (SP307).
        """
        url = self.base + path
        for _ in range(_REDIRECTS + 1):
            with self.send("GET", url, {"Accept": accept}) as response:
                if response.status == 200:
                    yield response
                    return
                if response.status not in _MOVED:
                    raise self._refused(url, response.status)
                url = self.redirected(url, response.headers.get("Location", ""))
        raise self.trouble(url, "it redirects in circles")

    @contextmanager
    def send(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, body: Body = None
    ) -> Iterator[http.client.HTTPResponse]:
        """Yield the answer to one request, whatever its status; logs in when the registry asks for it, and then asks again.

        A file as body is sent from its beginning, and needs a Content-Length among the headers.

        Raises:
            WorldError: no answer (SP307).
            UserError: the token service does not know the login (SP331).
        """
        with self._request(method, url, headers or {}, body) as response:
            challenge = response.headers.get("WWW-Authenticate", "") if response.status == 401 and self._own(url) else ""
            if not challenge or not self._log_in(url, challenge):
                yield response
                return
        with self._request(method, url, headers or {}, body) as response:
            yield response

    def _own(self, url: str) -> bool:
        return url.startswith(self.base + "/")

    def trouble(self, url: str, why: str) -> WorldError:
        """Return the error for a registry that gives no usable answer."""
        place = url.partition("?")[0]
        return WorldError("SP307", f"the registry {self.host} gives no usable answer: {why}", where=place, fix="try again later")

    def _unknown(self) -> UserError:
        user = self.access.user
        who = f"does not let the user {user} in: no such user, or another password" if user else "lets nobody in without a login"
        fix = f"setpoint registry login {self.host} --user USER"
        return UserError("SP331", f"the registry {self.host} {who}", where=self.host, fix=fix)

    def _refused(self, url: str, status: int) -> SetpointError:
        if status in (401, 403, 404):
            who = f" to {self.access.user}" if self.access.user else ""
            fix = f"check name and digest; an account there is given by: setpoint registry login {self.host} --user USER"
            return NotFoundError(
                "SP306", f"the registry {self.host} does not give it{who} ({status})", where=url.partition("?")[0], fix=fix
            )
        return self.trouble(url, f"status {status}")

    @contextmanager
    def _request(self, method: str, url: str, headers: Mapping[str, str], body: Body) -> Iterator[http.client.HTTPResponse]:
        parts = urlsplit(url)
        if body is not None and not isinstance(body, bytes):
            body.seek(0)
        extra = {"Authorization": self._authorization} if self._authorization and self._own(url) else {}
        connection: http.client.HTTPConnection | None = None
        try:
            connection = self._connection(parts.scheme, parts.netloc)
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request(method, target, body=body, headers={**headers, **extra})
            yield connection.getresponse()
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self.trouble(url, str(error) or type(error).__name__) from error
        finally:
            if connection is not None:
                connection.close()

    def _connection(self, scheme: str, netloc: str) -> http.client.HTTPConnection:
        if scheme == "http":
            return http.client.HTTPConnection(netloc, timeout=self.timeout_s)
        ours = self.access.authorities if netloc == self.host else ""
        context = ssl.create_default_context(cadata=ours or None)
        return http.client.HTTPSConnection(netloc, timeout=self.timeout_s, context=context)

    def redirected(self, url: str, location: str) -> str:
        """Return where a redirect leads; never down from HTTPS, and to this machine only from a registry that is on it.

        Raises:
            WorldError: it leads where it may not (SP307).
        """
        target = urljoin(url, location)
        scheme, host = urlsplit(target).scheme, urlsplit(target).hostname or ""
        down = scheme == "http" and not self.base.startswith("http://")
        home = is_loopback(host) and not is_loopback(urlsplit(self.base).hostname or "")
        if not location or scheme not in ("http", "https") or down or home:
            raise self.trouble(url, f"it redirects to {target.partition('?')[0]}")
        return target

    def _log_in(self, url: str, challenge: str) -> bool:
        """Prepare what a challenge asks for; False when there is nothing (more) to send."""
        scheme, _, rest = challenge.partition(" ")
        before = self._authorization
        if scheme.lower() == "bearer":
            self._authorization = f"Bearer {self._token(url, dict(_CHALLENGE.findall(rest)))}"
        elif scheme.lower() == "basic" and self.access.user:
            self._authorization = self._basic()
        return self._authorization != before

    def _basic(self) -> str:
        return "Basic " + base64.b64encode(f"{self.access.user}:{self.access.password}".encode()).decode()

    def _token(self, url: str, fields: Mapping[str, str]) -> str:
        """Return a token for url from the service that a Bearer challenge names, for our user or for anybody."""
        if "realm" not in fields:
            raise self._refused(url, 401)
        query = urlencode({name: fields[name] for name in ("service", "scope") if name in fields})
        realm = self.redirected(self.base, fields["realm"])
        joined = f"{realm}{'&' if '?' in realm else '?'}{query}"
        headers = {"Accept": "application/json"}
        if self.access.user:
            if self.base.startswith("https://") and not realm.startswith("https://"):
                raise self.trouble(realm, "it wants a password without TLS")
            headers["Authorization"] = self._basic()
        self._authorization = ""  # the token that was refused has no business at the token service
        with self._request("GET", joined, headers, None) as response:
            if response.status != 200:
                raise self._unknown() if response.status in (401, 403) and self.access.user else self._refused(realm, response.status)
            try:
                value = json.loads(response.read(_TOKEN_LIMIT_BYTES))
                token = value.get("token") or value.get("access_token")
            except (ValueError, AttributeError) as error:
                raise self.trouble(realm, "its token is not JSON") from error
        if not isinstance(token, str) or not token.isprintable():
            raise self.trouble(realm, "it gives no token")
        return token

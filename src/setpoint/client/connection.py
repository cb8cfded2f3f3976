"""Which server the command line talks to, and with which token.

Called by every verb that needs a server; it reads flags, environment and the home's server file, and never opens a connection. It imports
nothing heavy, for it is on the way of every verb.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from setpoint.app.home import Home, default_home
from setpoint.core.errors import NotAllowedError, UserError, WorldError

_START = "start it: setpoint up -d"


@dataclass(frozen=True, slots=True)
class Connection:
    """A server's addresses and the caller's token; never printed."""

    url: str
    """Without a slash at its end."""
    token: str
    registry: str = ""
    """host:port; empty when only url and token were given."""
    git: str = ""
    """Base URL of the Git repositories."""
    pid: int = 0

    def __repr__(self) -> str:
        """Show where, never the token: tracebacks and logs print arguments."""
        return f"Connection({self.url})"


def find(server: str | None = None, token: str | None = None, home: Path | None = None) -> Connection:
    """Return the connection of --server and --token, else SETPOINT_URL and SETPOINT_TOKEN, else the home's running server.

    A token that is missing is taken from the environment, or from the home when its server is the one asked for.

    Raises:
        UserError: the address is no http(s) URL (SP849).
        NotAllowedError: there is an address, but no token for it (SP848).
        WorldError: no server runs in the home (SP845), or its file cannot be read (SP844).
    """
    url = server or ("" if home is not None else os.environ.get("SETPOINT_URL", ""))
    secret = token or os.environ.get("SETPOINT_TOKEN", "")
    if not url:
        here = of_home(home or default_home())
        return Connection(here.url, secret or here.token, here.registry, here.git, here.pid)
    url = _checked(url)
    local = _local(home or default_home())
    if local is not None and local.url == url:
        return Connection(url, secret or local.token, local.registry, local.git, local.pid)
    if not secret:
        fix = "give --token or set SETPOINT_TOKEN; the operator makes one: setpoint token create --person EMAIL"
        raise NotAllowedError("SP848", "there is no token for this server", where=url, fix=fix)
    return Connection(url, secret, urlsplit(url).netloc, f"{url}/git")


def of_home(home: Path) -> Connection:
    """Return the connection to the server that runs in a home.

    Raises:
        WorldError: none runs (SP845), or its file cannot be read (SP844).
    """
    path = Home(home).server_file
    try:
        with path.open("rb") as file:
            value = json.loads(file.read(1 << 16))
        url, token, registry, git = (str(value[key]) for key in ("url", "token", "registry", "git"))
        return Connection(_checked(url), token, registry, git, int(value.get("pid", 0)))
    except FileNotFoundError as error:
        raise WorldError("SP845", "no server runs in this home", where=str(home), fix=_START) from error
    except PermissionError as error:
        fix = "call as the home's owner, or set SETPOINT_URL and SETPOINT_TOKEN"
        raise NotAllowedError("SP848", "the home belongs to somebody else", where=str(path), fix=fix) from error
    except (OSError, ValueError, TypeError, KeyError, UserError) as error:
        fix = "restart the server, which writes it anew: setpoint down; setpoint up -d"
        raise WorldError("SP844", "the server's file cannot be read", where=str(path), fix=fix) from error


def _local(home: Path) -> Connection | None:
    try:
        return of_home(home)
    except (WorldError, NotAllowedError):
        return None


def _checked(url: str) -> str:
    """Return the address without its last slash."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0 and not parts.query and not parts.username
    except ValueError:
        good = False
    if not good:
        raise UserError("SP849", "this is not a server's address", where=url[:200], fix="write it like http://127.0.0.1:7420")
    return url.rstrip("/")

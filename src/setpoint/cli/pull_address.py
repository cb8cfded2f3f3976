"""Serves the registry to other machines, over TLS and for pulls only, beside the server's own address; called by `cli.serve`.

The certificate is read again when its file changes, so a renewal needs no restart.
"""

import asyncio
import ipaddress
import logging
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import uvicorn

from setpoint.api.asgi import Server
from setpoint.app.settings import PullAddress
from setpoint.core.errors import UserError

log = logging.getLogger(__name__)

_LOOK_S: Final = 60.0


class _Beside(uvicorn.Server):
    """A server that leaves the signals of the process to the one it stands beside."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take none."""
        yield


@dataclass(slots=True)
class PullServer:
    """One listener that is bound; its certificate is known to be usable."""

    address: PullAddress
    listening: socket.socket

    async def serve(self, server: Server) -> None:
        """Answer pulls until cancelled."""
        config = uvicorn.Config(
            server.pulls,
            interface="asgi3",
            http="httptools",
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=3,
            ssl_certfile=self.address.certificate,
            ssl_keyfile=self.address.key,
        )
        config.load()
        serving = _Beside(config)
        work = asyncio.create_task(serving.serve([self.listening]))
        try:
            await self._renew(config.ssl)
        finally:
            serving.should_exit = True
            await asyncio.gather(work, return_exceptions=True)

    async def _renew(self, context: ssl.SSLContext | None) -> None:
        """Load the certificate into the context that serves whenever its files change; what cannot be loaded is told and not used."""
        seen = self._stamp()
        while context is not None:
            await asyncio.sleep(_LOOK_S)
            now = self._stamp()
            if now == seen:
                continue
            seen = now
            try:
                usable(self.address)
                context.load_cert_chain(self.address.certificate, self.address.key)
            except (UserError, OSError) as error:
                log.warning("the new certificate for pulls is not used: %s", error)

    def _stamp(self) -> tuple[int, ...]:
        try:
            return tuple(path.stat().st_mtime_ns for path in (self.address.certificate, self.address.key))
        except OSError:
            return ()


def usable(address: PullAddress) -> None:
    """Return when certificate and key belong together and can be read.

    Raises:
        UserError: they do not (SP870).
    """
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(address.certificate, address.key, password=_no_password)
    except OSError as error:
        what = f"the certificate for pulls cannot be used: {error.strerror or error}"
        fix = "give a PEM chain and its key, without a password, readable by the server's user"
        raise UserError("SP870", what, where=str(address.certificate), fix=fix) from error


def named(listen: str, name: str | None) -> str:
    """Return how references name what listens at an address: by name when there is one, else by that address.

    Raises:
        UserError: it listens everywhere and nobody said by which name others reach it (SP871).
    """
    found = name or listen
    host = found.rpartition(":")[0] if re.search(r":\d*$", found) and found != "::" else found
    if _everywhere(host):
        fix = f"say how others reach it: --pull-name registry.example.com:{listen.rpartition(':')[2]}"
        raise UserError("SP871", f"{found} is every address of this machine, and no name to pull from", fix=fix)
    return found


def _everywhere(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        return not host


def _no_password() -> str:
    """Answer instead of a prompt on the terminal: no key here has a password."""
    return ""

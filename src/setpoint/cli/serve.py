"""Runs a server in the foreground: lock, processes, application, sockets, ready file, control loop; called by `setpoint up`.

SIGTERM and Ctrl-C stop the server only: replicas and proxies live on and are adopted again at the next start.
"""

import asyncio
import gc
import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from setpoint.api.asgi import Server
from setpoint.app.application import Application
from setpoint.app.home import Home
from setpoint.app.lock import HomeLock
from setpoint.app.settings import Settings
from setpoint.app.tokens import issue
from setpoint.app.wiring import build, open_store, start_processes
from setpoint.cli.pull_address import PullServer
from setpoint.core.errors import UserError
from setpoint.ground.identity.model import Principal
from setpoint.web.pages import router as pages

_THREADS = 64


@dataclass(frozen=True, slots=True)
class Ready:
    """What scripts need to use the server; written to the ready file as JSON."""

    url: str
    token: str
    registry: str
    git: str
    pid: int
    login: str
    """A one-time link for a browser."""

    def write(self, path: Path) -> None:
        """Write {url, token, registry, git, pid} atomically, readable by the owner only."""
        fields = {"url": self.url, "token": self.token, "registry": self.registry, "git": self.git, "pid": self.pid}
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(fields, file)
        temporary.replace(path)


def bind(listen: str) -> socket.socket:
    """Return a listening socket for `host:port` (port 0: any free one).

    Raises:
        UserError: the address is malformed (SP809) or in use (SP806).
    """
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit():
        raise UserError("SP809", f"`{listen}` is no host:port", fix="for example --listen 127.0.0.1:7420")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio sets TCP_NODELAY only when the protocol is named
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host.strip("[]"), int(port)))
        found.listen(512)
    except OSError as error:
        found.close()
        fix = "stop what listens there, or choose another address with --listen"
        raise UserError("SP806", f"cannot listen on {listen}: {error.strerror}", where=listen, fix=fix) from error
    return found


def settle_memory() -> None:
    """Take what a started server keeps for ever out of the garbage collector's sight: a full collection then looks at what came since.

    Without it each one walks every module's objects, a tenth of a second in which no thread runs.
    """
    gc.collect()
    gc.freeze()


def operator_token(application: Application) -> str:
    """Return the operator's token: the one of the last start while it is valid, else a new one."""
    store = application.store
    with suppress(OSError, ValueError, KeyError, TypeError):
        token = str(json.loads(store.home.server_file.read_text())["token"])
        if store.tokens.authenticate(f"Bearer {token}") is not None:
            return token
    return issue(store.tokens, store.recorder, "setpoint", ("operator", "", "server start"))[1]


async def serve(
    application: Application, listening: socket.socket, ready_files: list[Path], pulls: PullServer | None = None, *, as_json: bool = False
) -> None:
    """Serve until a signal says stop."""
    application.store.bus.attach(asyncio.get_running_loop())
    # Threads are made as they are needed. The usual handful would let a few clusters that do not answer keep everybody else waiting.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS, "setpoint"))
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    token = operator_token(application)
    link = application.links.login_code(Principal("operator", "", "login-link"))
    found = Ready(f"http://{shown}", token, shown, f"http://{shown}/git", os.getpid(), f"http://{shown}/?login={link}")
    asgi = Server(application, pages)
    config = uvicorn.Config(
        asgi,
        http="httptools",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=3,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn tells by this attribute only
        await asyncio.sleep(0.01)
    settle_memory()
    beside = [asyncio.create_task(application.loop.run()), *([asyncio.create_task(pulls.serve(asgi))] if pulls is not None else [])]
    for path in ready_files:
        found.write(path)
    told = {"url": found.url, "login": found.login, "registry": found.registry, "git": found.git, "pid": found.pid}
    pulled = f"\nimages are pulled from https://{pulls.address.name}" if pulls is not None else ""
    text = json.dumps(told) if as_json else f"setpoint serves {found.url}\nlog in once: {found.login}{pulled}"
    print(text, flush=True)  # noqa: T201 - the one thing `up` prints
    try:
        await serving
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        application.close()


def run_server(home: Home, listen: str, ready_file: Path | None, settings: Settings | None = None, *, as_json: bool = False) -> None:
    """Do all of `setpoint up` in the foreground."""
    os.umask(0o077)
    home.prepare()
    lock = HomeLock(home.lock)
    listening = bind(listen)
    address = settings.pull if settings is not None else None
    pulls = PullServer(address, bind(address.listen)) if address is not None else None
    processes = start_processes(home)
    try:
        application = build(open_store(home), processes, settings)
        application.registration.drain(home.inbox)
        ready_files = [home.server_file, *([ready_file] if ready_file is not None else [])]
        asyncio.run(serve(application, listening, ready_files, pulls, as_json=as_json))
    except BaseException:
        processes.close()
        raise
    finally:
        lock.release()

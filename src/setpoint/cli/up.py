"""The verb `up`: looks whether the machine can do it, then serves a home, in the foreground or as a process of its own.

The server itself is `cli.serve`; this module decides nothing about it.
"""

import functools
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from setpoint.cli.options import Command, home_option, json_option
from setpoint.cli.output import note, print_json
from setpoint.cli.retention import Retention, retention_options
from setpoint.core.errors import ConflictError, UserError, WorldError

if TYPE_CHECKING:
    from setpoint.app.home import Home
    from setpoint.app.settings import PullAddress
    from setpoint.client.connection import Connection

_START_S = 60.0
_POLL_S = 0.05
_TAIL_BYTES = 4000
_LISTEN = "127.0.0.1:7420"
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def _pull(listen: str | None, pair: tuple[Path | None, Path | None], name: str | None) -> "PullAddress | None":
    """Return where images are pulled from by others; None when nobody asked for it.

    Raises:
        UserError: the certificate cannot be used (SP870), or not all of it is given, or no name that others know (SP871).
    """
    certificate, key = pair
    if listen is None and certificate is None and key is None and name is None:
        return None
    if listen is None or certificate is None or key is None:
        fix = "for example: --pull-listen 10.0.0.5:7443 --pull-cert tls.pem --pull-key tls.key"
        raise UserError("SP871", "--pull-listen, --pull-cert and --pull-key go together", fix=fix)
    from setpoint.app.settings import PullAddress
    from setpoint.cli.pull_address import named, usable

    found = PullAddress(listen, certificate.absolute(), key.absolute(), named(listen, name))
    usable(found)
    return found


def _pull_address(command: Command) -> Command:
    """Add the options for pulls by other machines, and call the command with `pull: app.settings.PullAddress | None` in their place."""

    @functools.wraps(command)
    def called(
        *args: Any, pull_listen: str | None, pull_cert: Path | None, pull_key: Path | None, pull_name: str | None, **rest: Any
    ) -> Any:
        return command(*args, pull=_pull(pull_listen, (pull_cert, pull_key), pull_name), **rest)

    added = click.option(
        "--pull-name",
        metavar="HOST[:PORT]",
        help="How references name it. [default: the address of --pull-listen, unless that is every one]",
    )(called)
    added = click.option("--pull-key", type=_FILE, help="The certificate's key (PEM).")(added)
    added = click.option("--pull-cert", type=_FILE, help="Its certificate with the chain (PEM); read again when it changes.")(added)
    text = "Let other machines pull images here, over TLS and with a token; needs the next two."
    return click.option("--pull-listen", metavar="HOST:PORT", help=text)(added)


@click.command()
@home_option
@click.option("--listen", metavar="HOST:PORT", default=_LISTEN, show_default=True, help="Where to listen; port 0 takes any free one.")
@click.option("--ready-file", type=click.Path(dir_okay=False, path_type=Path), help="Write {url, token, registry, git} there.")
@click.option(
    "--task-slots", type=click.IntRange(1, 1000), help="How many tasks run at the same time. [default: the processors, at least 2]"
)
@click.option(
    "--allow-unsandboxed", is_flag=True, help="Obey `sandbox: none` of tasks; whoever may push can then read this home, keys too."
)
@_pull_address
@retention_options
@click.option("--detach", "-d", is_flag=True, help="Start it as a process of its own and return when it serves.")
@json_option
def command(  # noqa: PLR0913 - an option each
    home: Path | None,
    listen: str,
    ready_file: Path | None,
    task_slots: int | None,
    *,
    pull: "PullAddress | None",
    retention: Retention,
    allow_unsandboxed: bool,
    detach: bool,
    as_json: bool,
) -> None:
    """Start the server of a home; prints its address and a one-time login link.

    Example: setpoint up -d
    """
    from setpoint.app.home import Home, default_home

    place = Home((home or default_home()).absolute())
    ready = ready_file.absolute() if ready_file is not None else None
    _require()
    if detach:
        options = [*(["--task-slots", str(task_slots)] if task_slots is not None else []), *(["--allow-unsandboxed"] * allow_unsandboxed)]
        options += [*_pull_options(pull), *retention.options()]
        connection, log = _detached(place, listen, ready, options)
        _tell(connection, log, as_json=as_json)
        return
    from setpoint.app.settings import Settings
    from setpoint.cli.serve import run_server

    settings = retention.applied(Settings(allow_unsandboxed=allow_unsandboxed, pull=pull))
    settings = replace(settings, task_slots=task_slots) if task_slots is not None else settings
    run_server(place, listen, ready, settings, as_json=as_json)


def _pull_options(pull: "PullAddress | None") -> list[str]:
    if pull is None:
        return []
    return ["--pull-listen", pull.listen, "--pull-cert", str(pull.certificate), "--pull-key", str(pull.key), "--pull-name", pull.name]


def _require() -> None:
    """Refuse to start without what every application needs.

    Raises:
        UserError: something is missing (SP814); the text names the package.
    """
    from setpoint.app.doctor import essentials

    missing = [check for check in essentials() if not check.ok]
    if missing:
        what = "; ".join(f"{check.name}: {check.found}" for check in missing)
        raise UserError("SP814", f"this machine lacks something: {what}", fix="; ".join(check.fix for check in missing))


def _detached(home: "Home", listen: str, ready_file: Path | None, options: list[str]) -> tuple["Connection", Path]:
    """Start a child in a session of its own and wait until it serves; a running one is taken as it is. Returns connection and log.

    Raises:
        ConflictError: it runs already, and a ready file was asked for, which only a start writes (SP807).
    """
    from setpoint.app.lock import HomeLock
    from setpoint.client.connection import of_home

    holder = HomeLock.holder(home.lock) if home.root.exists() else None
    if holder is not None and ready_file is not None:
        fix = "use it (setpoint status), or stop it: setpoint down"
        raise ConflictError("SP807", f"a server (pid {holder}) already serves this home", where=str(home.root), fix=fix)
    if holder is not None:
        note(f"a server (pid {holder}) serves this home already")
        return of_home(home.root), home.root / "server.log"
    home.prepare()
    log = home.root / "server.log"
    argv = [sys.executable, "-P", "-m", "setpoint.cli.main", "up", "--home", str(home.root), "--listen", listen]
    argv += [*(["--ready-file", str(ready_file)] if ready_file is not None else []), *options]
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    start = os.fstat(descriptor).st_size
    try:
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=descriptor, stderr=descriptor, start_new_session=True, close_fds=True
        )
    finally:
        os.close(descriptor)
    return _wait_for(child, home, (log, start)), log


def _tell(connection: "Connection", log: Path, *, as_json: bool) -> None:
    """Print how to reach a server, with a fresh login link; never the token."""
    from setpoint.client.http import Api

    link = Api(connection).post("login-links")["path"]
    if as_json:
        print_json(
            {
                "url": connection.url,
                "login": f"{connection.url}{link}",
                "registry": connection.registry,
                "git": connection.git,
                "pid": connection.pid,
            }
        )
        return
    click.echo(f"setpoint serves {connection.url}\nlog in once: {connection.url}{link}")
    note(f"next: setpoint watch   (log: {log}; stop everything: setpoint down)")


def _wait_for(child: "subprocess.Popen[bytes]", home: "Home", log: tuple[Path, int]) -> "Connection":
    """Return the connection when the child serves.

    Raises:
        WorldError: it ended (SP815) or does not serve in time (SP816).
        UserError: it refused the way it was called (SP815).
    """
    from setpoint.client.connection import of_home
    from setpoint.core.errors import SetpointError

    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        code = child.poll()
        if code is not None:
            family = UserError if code in (1, 2) else WorldError
            raise family("SP815", f"the server ended with exit code {code}", where=str(log[0]), fix=f"its last words:\n{_tail(*log)}")
        try:
            connection = of_home(home.root)
        except SetpointError:
            connection = None
        if connection is not None and connection.pid == child.pid:
            return connection
        time.sleep(_POLL_S)
    what = f"the server does not serve after {int(_START_S)} s (pid {child.pid} goes on)"
    raise WorldError("SP816", what, where=str(log[0]), fix=f"setpoint down stops it; its last words:\n{_tail(*log)}")


def _tail(log: Path, start: int) -> str:
    """Return the end of what this start wrote."""
    data = log.read_bytes()[start:]
    return data[-_TAIL_BYTES:].decode(errors="replace").strip()

"""The verb `down`: stops everything of a home, whether or not its server runs; what is stored stays."""

from pathlib import Path

import click

from setpoint.cli.options import home_option, json_option
from setpoint.cli.output import print_json, print_text
from setpoint.core.words import counted


@click.command()
@home_option
@json_option
def command(home: Path | None, *, as_json: bool) -> None:
    """Stop the server of a home, its replicas and its proxies; nothing that is stored is lost.

    Example: setpoint down
    """
    from setpoint.app.home import Home, default_home
    from setpoint.app.teardown import stop_all

    place = Home((home or default_home()).absolute())
    stopped = stop_all(place)
    if as_json:
        print_json({"home": str(place.root), "server": stopped.server, "replicas": stopped.replicas, "proxies": stopped.proxies})
    elif stopped.server or stopped.replicas or stopped.proxies:
        server = "the server, " if stopped.server else ""
        print_text(
            f"stopped {server}{counted(stopped.replicas, 'replica')} and {counted(stopped.proxies, 'proxy', 'proxies')} of {place.root}"
        )
    else:
        print_text(f"nothing runs in {place.root}")

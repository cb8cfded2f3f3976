"""The verb `trace`: from a URL, process, pod, digest, run or commit through its whole journey; prints what /api/v1/trace says."""

from typing import TYPE_CHECKING, Any

import click

from setpoint.cli.options import json_option, server_options
from setpoint.cli.output import bold, dim, print_json, print_text, table
from setpoint.core import digest

if TYPE_CHECKING:
    from setpoint.client.http import Api


@click.command()
@click.argument("thing")
@click.option("--cluster", default="", metavar="NAME", help="The cluster that a pod is in, as `setpoint cluster list` names it.")
@click.option("--namespace", "-n", default="", metavar="NAME", help="The namespace that a pod is in.")
@json_option
@server_options
def command(api: "Api", thing: str, cluster: str, namespace: str, *, as_json: bool) -> None:
    """Follow a URL, process id, replica, pod, digest, promotion, run or commit through its whole journey.

    A pod is named pod/NAME, by its address or by its uid; a digest as it is, or as a pod reports it.

    Example: setpoint trace http://127.0.0.1:7502/

    Example: setpoint trace pod/web-5d8f7-x2x9 --namespace shop --cluster prod
    """
    where = {name: value for name, value in (("cluster", cluster), ("namespace", namespace)) if value}
    answer = api.get("trace", {"thing": thing, **where})
    if as_json:
        print_json(answer)
        return
    print_text(table([_row(step) for step in answer["steps"]]) if answer["steps"] else f"{thing}: nothing is known about it")


def _row(step: dict[str, Any]) -> list[str]:
    name = step["id"]
    if digest.is_digest(name) or (len(name) in (40, 64) and set(name) <= set("0123456789abcdef")):
        name = digest.short(name)
    at = step["at"][:19].replace("T", " ") if step["at"] else ""
    where = step["where"] if step["where"] and step["where"] not in step["text"] else ""
    return [bold(step["kind"]), name, step["text"], where, dim(at) if at else ""]

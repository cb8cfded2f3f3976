"""The verb `cluster`: register, list and remove clusters; speaks to /api/v1/clusters.

Environments in Git name a cluster; where it is and who we are there is the operator's, and stays in the home.
"""

import base64
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from setpoint.cli.options import json_option, server_options
from setpoint.cli.output import ago, items_of, note, print_json, print_text, table
from setpoint.core import names

if TYPE_CHECKING:
    from setpoint.client.http import Api

_FILES = ("certificate-authority", "client-certificate", "client-key")


@click.group()
def command() -> None:
    """Register the Kubernetes clusters that environments may name; only the operator may."""


@command.command()
@click.argument("name")
@click.option(
    "--kubeconfig",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="[default: $KUBECONFIG, else ~/.kube/config]",
)
@click.option("--context", default="", metavar="CONTEXT", help="[default: the kubeconfig's current one]")
@click.option("--allow-exec", is_flag=True, help="The server may run the program that the kubeconfig names for its credentials.")
@json_option
@server_options
def add(api: "Api", name: str, kubeconfig: Path | None, context: str, *, allow_exec: bool, as_json: bool) -> None:
    """Register a cluster as NAME, or give it another kubeconfig.

    Example: setpoint cluster add prod --kubeconfig prod.yaml
    """
    body = {"kubeconfig": _content(kubeconfig), "context": context, "may_run": allow_exec}
    answer = api.put(_path(name), body)
    if as_json:
        print_json(answer)
        return
    print_text(f"{answer['name']} is the cluster at {answer['server']}")
    note(f"an environment is there with: target: {{kubernetes: {{cluster: {answer['name']}, namespace: ..., registry: ...}}}}")


@command.command("list")
@json_option
@server_options
def list_clusters(api: "Api", *, as_json: bool) -> None:
    """List clusters: name, address, who registered it and when."""
    answer = api.get("clusters")
    if as_json:
        print_json(answer)
        return
    rows = [
        [item["name"], item["server"], item["runs"] or "-", ago(item["set_at"]), names.actor(item["set_by"])] for item in items_of(answer)
    ]
    print_text(
        table(rows, ("CLUSTER", "SERVER", "RUNS", "SET", "BY")) if rows else "no clusters: setpoint cluster add NAME --kubeconfig FILE"
    )


@command.command()
@click.argument("name")
@json_option
@server_options
def remove(api: "Api", name: str, *, as_json: bool) -> None:
    """Forget NAME and its kubeconfig; what runs there goes on."""
    answer = api.delete(_path(name))
    if as_json:
        print_json(answer)
    else:
        print_text(f"{answer['name']} ({answer['server']}) is no cluster of this home any more; what runs there goes on")


def _path(name: str) -> str:
    from setpoint.client.http import segment

    return f"clusters/{segment(name)}"


def _content(kubeconfig: Path | None) -> str:
    """Return a kubeconfig in one piece: certificates that lie beside it go into it, for the server may be elsewhere."""
    import yaml

    from setpoint.core.errors import UserError

    path = kubeconfig or Path(os.environ.get("KUBECONFIG", "").partition(os.pathsep)[0] or Path.home() / ".kube" / "config")
    try:
        value = yaml.safe_load(path.read_bytes())
        for group in ("clusters", "users"):
            for entry in value.get(group) or ():
                _inline(entry.get(group[:-1]) or {}, path.parent)
        return yaml.safe_dump(value)
    except (OSError, yaml.YAMLError, AttributeError, TypeError) as error:
        what = f"the kubeconfig cannot be read: {getattr(error, 'strerror', None) or 'it is none'}"
        raise UserError("SP697", what, where=str(path), fix="kubectl config view --minify --flatten prints one") from error


def _inline(part: dict[str, Any], folder: Path) -> None:
    for name in _FILES:
        if part.get(name):
            data = (folder / Path(str(part.pop(name))).expanduser()).read_bytes()
            part[f"{name}-data"] = base64.b64encode(data).decode()
    if part.get("tokenFile"):
        part["tokenFile"] = str((folder / Path(str(part["tokenFile"])).expanduser()).absolute())

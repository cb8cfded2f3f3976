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
    from setpoint.core.errors import UserError

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
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="What generators choose it by. [default: those that it has]")
@click.option("--allow-exec", is_flag=True, help="The server may run the program, or read the token file, that the kubeconfig names.")
@json_option
@server_options
def add(  # noqa: PLR0913 - an option each
    api: "Api", name: str, kubeconfig: Path | None, context: str, labels: tuple[str, ...], *, allow_exec: bool, as_json: bool
) -> None:
    """Register a cluster as NAME, or give it another kubeconfig.

    Example: setpoint cluster add prod --kubeconfig prod.yaml --label region=eu
    """
    body: dict[str, Any] = {"kubeconfig": _content(kubeconfig, context), "context": context, "may_run": allow_exec}
    if labels:
        body["labels"] = _changed({}, labels)
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
    """List clusters: name, address, whether it answers and since when, who registered it."""
    answer = api.get("clusters")
    if as_json:
        print_json(answer)
        return
    rows = [
        [
            item["name"],
            item["server"],
            _contact(item["contact"]),
            item["runs"] or "-",
            _spoken(item["labels"]),
            ago(item["set_at"]),
            names.actor(item["set_by"]),
        ]
        for item in items_of(answer)
    ]
    head = ("CLUSTER", "SERVER", "STATE", "RUNS", "LABELS", "SET", "BY")
    print_text(table(rows, head) if rows else "no clusters: setpoint cluster add NAME --kubeconfig FILE")
    for item in items_of(answer):
        if item["contact"]["why"]:
            note(f"{item['name']}: {item['contact']['why']}")


def _contact(contact: dict[str, str]) -> str:
    """Return how we stand with a cluster: `answers`, or `unreachable since 3m ago`."""
    if contact["state"] in ("answers", "not asked"):
        return contact["state"]
    return f"{contact['state']}, since {ago(contact['since'])}"


@command.command()
@click.argument("name")
@click.argument("changes", nargs=-1, required=True, metavar="KEY=VALUE|KEY- ...")
@json_option
@server_options
def label(api: "Api", name: str, changes: tuple[str, ...], *, as_json: bool) -> None:
    """Give a cluster labels, or take them (`KEY-`); generators make environments by them.

    Example: setpoint cluster label prod region=eu tier-
    """
    known = {item["name"]: item["labels"] for item in items_of(api.get("clusters"))}
    answer = api.put(f"{_path(name)}/labels", {"labels": _changed(known.get(name, {}), changes)})
    if as_json:
        print_json(answer)
    else:
        print_text(f"{answer['name']}: {_spoken(answer['labels'])}")


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


def _changed(labels: dict[str, str], changes: tuple[str, ...]) -> dict[str, str]:
    """Return labels with `KEY=VALUE` put in and `KEY-` taken out."""
    found = dict(labels)
    for change in changes:
        key, is_set, value = change.partition("=")
        if is_set:
            found[key] = value
        elif change.endswith("-"):
            found.pop(change[:-1], None)
        else:
            raise click.UsageError(f"`{change}` is neither KEY=VALUE nor KEY-")
    return found


def _spoken(labels: dict[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in sorted(labels.items())) or "-"


def _content(kubeconfig: Path | None, context: str) -> str:
    """Return what one context of a kubeconfig needs, in one piece: other clusters' credentials stay here, and files go into it.

    Raises:
        UserError: the kubeconfig, or a file that it names, cannot be read, or it has no such context (SP697).
    """
    import yaml

    path = kubeconfig or Path(os.environ.get("KUBECONFIG", "").partition(os.pathsep)[0] or Path.home() / ".kube" / "config")
    try:
        return yaml.safe_dump(_minified(yaml.safe_load(_read(path)), context, path))
    except (yaml.YAMLError, AttributeError, TypeError) as error:
        raise _unreadable("the kubeconfig cannot be read: it is none", path) from error


def _minified(value: dict[str, Any], context: str, path: Path) -> dict[str, Any]:
    """Return the kubeconfig of one context, empty: the current one, with the files in it that its cluster and user name."""
    chosen = context or str(value.get("current-context") or "")
    if not chosen:
        raise _unreadable("the kubeconfig has no current context", path, "name one: --context CONTEXT")
    entry = _named(value, "contexts", chosen, path)
    parts = entry.get("context") or {}
    found: dict[str, Any] = {"apiVersion": "v1", "kind": "Config", "current-context": chosen, "contexts": [entry]}
    for group in ("clusters", "users"):
        kind = group[:-1]
        one = _named(value, group, str(parts.get(kind) or ""), path)
        _inline(one.get(kind) or {}, path.parent)
        found[group] = [one]
    return found


def _named(value: dict[str, Any], group: str, name: str, path: Path) -> dict[str, Any]:
    entries: dict[str, dict[str, Any]] = {str(entry.get("name")): entry for entry in value.get(group) or ()}
    if name not in entries:
        from setpoint.core import suggest

        raise _unreadable(f"the kubeconfig has no {group[:-1]} `{name}`", path, suggest.help_text(name, entries, group))
    return entries[name]


def _inline(part: dict[str, Any], folder: Path) -> None:
    for name in _FILES:
        file = part.pop(name, None)
        if file and not part.get(f"{name}-data"):
            data = _read(folder / Path(str(file)).expanduser(), f"`{name}` of ")
            part[f"{name}-data"] = base64.b64encode(data).decode()
    if part.get("tokenFile"):
        part["tokenFile"] = str((folder / Path(str(part["tokenFile"])).expanduser()).absolute())


def _read(path: Path, what: str = "") -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(f"{what}the kubeconfig cannot be read: {error.strerror}", path) from error


def _unreadable(what: str, path: Path, fix: str = "kubectl config view --minify --flatten prints one") -> "UserError":
    from setpoint.core.errors import UserError

    return UserError("SP697", what, where=str(path), fix=fix)

"""The verb `plan`: what the next promotion would change; prints what /api/v1/plan says and decides nothing."""

import json
import re
from typing import TYPE_CHECKING, Any

import click

from setpoint.cli.completing import apps, environments
from setpoint.cli.options import json_option, server_options
from setpoint.cli.output import AnswerNo, bold, cut, dim, print_json, print_text, table
from setpoint.cli.why import reasons
from setpoint.core import digest

if TYPE_CHECKING:
    from setpoint.client.http import Api

_VALUE_COLUMNS = 60
_DIGEST = re.compile(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}")
_SIGN = {"create": ("+", "green"), "change": ("~", "yellow"), "remove": ("-", "red")}


@click.command()
@click.argument("app", shell_complete=apps)
@click.argument("environment", shell_complete=environments)
@json_option
@server_options
def command(api: "Api", app: str, environment: str, *, as_json: bool) -> None:
    """Show what promoting the current candidate would change: images, commits, objects field by field, replicas, and what is lost by it.

    Nothing is changed. `+` is created, `~` changed, `-` removed, `!` lost; what looks secret is shown as ***.
    The exit code is 1 when the candidate cannot be rendered, else 0. Example: setpoint plan hello production
    """
    from setpoint.client.http import segment

    answer: dict[str, Any] = api.get(f"plan/{segment(app)}/{segment(environment)}")
    if as_json:
        print_json(answer)
    else:
        print_text(render(answer))
    if answer["error"]:
        raise AnswerNo


def render(answer: dict[str, Any]) -> str:
    """Return the plan as text."""
    about = f"  ({answer['promotion']})" if answer["promotion"] else ""
    lines = [bold(answer["sentence"]) + dim(about)]
    if not answer["after"]:
        return "\n".join([*lines, *reasons(answer["reasons"])])
    if answer["error"]:
        return "\n".join([*lines, answer["error"]])
    lines += [f"image {one['artifact']}: {_short(one['before'])} -> {_short(one['after'])}" for one in answer["images"]]
    lines += [f"folder {one['folder']}/: {_short(one['before'])} -> {_short(one['after'])}" for one in answer["folders"]]
    lines += _commits("commits", answer["commits"]) + _commits("commits that go away again", answer["dropped"])
    for change in answer["objects"]:
        lines += _object(change)
    lines += [_replicas(change) for change in answer["workloads"]]
    lines += [f"canary {step['weight']} % for {step['hold_s']} s: {step['note']}" for step in answer["canary"]]
    lines += [click.style(f"! {text}", fg="red") for text in answer["destructive"]]
    if answer["held"]:
        place = f"{answer['app']} {answer['environment']}"
        lines.append(click.style(f"! kept until somebody confirms: {answer['held']}  -> setpoint prune {place}", fg="red"))
    if not (answer["objects"] or answer["workloads"]):
        lines.append("the objects are the same: no replica starts or stops")
    if answer["refusals"]:
        lines += [click.style("refused at the gate:", fg="red"), *reasons(answer["refusals"])]
    return "\n".join(lines)


def _short(wanted: str) -> str:
    return digest.short(wanted) if wanted else "none"


def _commits(title: str, commits: list[dict[str, Any]]) -> list[str]:
    rows = [[f"  {digest.short(one['commit'])[:7]}", cut(one["title"], 72), dim(one["author"])] for one in commits]
    return [f"{title}:", *table(rows).splitlines()] if rows else []


def _object(change: dict[str, Any]) -> list[str]:
    sign, colour = _SIGN[change["action"]]
    lines = [click.style(f"{sign} {change['object']}", fg=colour)]
    return [*lines, *(f"    {field['path']}: {_value(field['before'])} -> {_value(field['after'])}" for field in change["fields"])]


def _value(value: Any) -> str:
    """Return a value on one line; a longer one is shortened, --json has it whole."""
    if value is None:
        return "(not set)"
    text = value if isinstance(value, str) and value.isprintable() and value else json.dumps(value, ensure_ascii=False)
    return cut(_DIGEST.sub(r"\g<1>…", text), _VALUE_COLUMNS)


def _replicas(change: dict[str, Any]) -> str:
    return f"replicas of {change['workload']}: {change['start']} start, {change['stop']} stop"

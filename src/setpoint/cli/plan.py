"""The verb `plan`: what the next promotion, or a branch, would change; prints what /api/v1/plan and /plans say and decides nothing."""

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
_SIGN = {
    "create": ("+", "green"),
    "change": ("~", "yellow"),
    "replace": ("±", "red"),
    "remove": ("-", "red"),
    "keep": ("=", "yellow"),
    "refused": ("x", "red"),
    "unknown": ("?", "yellow"),
}


@click.command()
@click.argument("app", metavar="APP|REF", shell_complete=apps)
@click.argument("environment", required=False, shell_complete=environments)
@click.option("--at", "ref", metavar="REF", default="", help="A branch or commit of the delivery repository, as if it were merged.")
@click.option("--render-only", is_flag=True, help="Compare what is rendered; ask no cluster.")
@json_option
@server_options
def command(api: "Api", app: str, environment: str | None, ref: str, *, render_only: bool, as_json: bool) -> None:
    """Show what promoting the current candidate would change: images, commits, objects field by field, replicas, and what is lost by it.

    With one name, a branch or commit of the delivery repository: what it would change in every place once it is merged.
    On Kubernetes every object is tried as a dry run against what is live, and is shown with who wrote a field.

    Nothing is changed. `+` is created, `~` changed, `±` deleted and made again, `-` removed, `=` kept until somebody confirms, `x` refused,
    `?` not known, `!` lost; what looks secret is shown as ***. The exit code is 1 when the candidate cannot be rendered or the cluster
    would refuse it, else 0. Examples: setpoint plan hello production; setpoint plan feature/more-memory
    """
    from setpoint.client.http import segment

    live = {} if not render_only else {"live": "false"}
    answer: dict[str, Any]
    if environment is None or ref:
        place = {"application": app, "environment": environment} if environment is not None else {}
        answer = api.get("plans", {"ref": ref or app, **place, **live})
    else:
        answer = api.get(f"plan/{segment(app)}/{segment(environment)}", live)
    plans = answer.get("plans", [answer])
    if as_json:
        print_json(answer)
    else:
        print_text("\n\n".join([*_head(answer), *map(render, plans)]))
    if any(plan["error"] or _is_refused(plan) for plan in plans):
        raise AnswerNo


def _is_refused(plan: dict[str, Any]) -> bool:
    return bool(plan.get("live")) and any(change["action"] == "refused" for change in plan["live"]["objects"])


def _head(answer: dict[str, Any]) -> list[str]:
    """Return what is to be said of a branch before its places."""
    if "plans" not in answer:
        return []
    more = (
        [f"{answer['more']} more places are not shown: name one, setpoint plan APP ENVIRONMENT --at {answer['ref']}"]
        if answer["more"]
        else []
    )
    return ["\n".join([bold(answer["sentence"]), *answer["notes"], *more])]


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
    if answer.get("live"):
        lines += _live(answer["live"])
    elif not (answer["objects"] or answer["workloads"]):
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


def _live(live: dict[str, Any]) -> list[str]:
    """Return what would change of what is live."""
    lines = [bold(live["sentence"])]
    for change in live["objects"]:
        sign, colour = _SIGN[change["action"]]
        note = dim(f"  {change['note']}") if change["note"] else ""
        lines.append(click.style(f"{sign} {change['object']}", fg=colour) + note)
        for field in change["fields"]:
            writer = dim(f"  (written by {field['writer']})") if field["writer"] and field["writer"] != "setpoint" else ""
            lines.append(f"    {field['path']}: {_value(field['before'])} -> {_value(field['after'])}{writer}")
        lines += [click.style(f"    ! {text}", fg="red") for text in change["destructive"]]
    return lines


def _value(value: Any) -> str:
    """Return a value on one line; a longer one is shortened, --json has it whole."""
    if value is None:
        return "(not set)"
    text = value if isinstance(value, str) and value.isprintable() and value else json.dumps(value, ensure_ascii=False)
    return cut(_DIGEST.sub(r"\g<1>…", text), _VALUE_COLUMNS)


def _replicas(change: dict[str, Any]) -> str:
    return f"replicas of {change['workload']}: {change['start']} start, {change['stop']} stop"

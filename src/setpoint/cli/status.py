"""The verb `status`: what runs where, how it is, what waits, and what a person can do next; reads /api/v1/status and decides nothing.

With --wait it looks again until nothing moves by itself any more (see `cli.settling`).
"""

import time
from typing import TYPE_CHECKING, Any

import click

from setpoint.cli.options import json_option, server_options, wait_option
from setpoint.cli.output import AnswerNo, StillWaiting, ago, bold, cut, dim, print_json, print_text, state, table
from setpoint.core import digest, names

if TYPE_CHECKING:
    from setpoint.client.http import Api

_HEADERS = ("APP", "ENVIRONMENT", "VERSION", "COMMIT", "HEALTH", "SINCE", "REPLICAS", "URL", "WAITING")
_TITLE_COLUMNS = 60


@click.command()
@click.argument("app", required=False)
@wait_option
@json_option
@server_options
def command(api: "Api", app: str | None, wait_s: int | None, *, as_json: bool) -> None:
    """Show what runs where, how it is, and what waits; of one APP, or of all.

    Example: setpoint status --wait=5m
    """
    status, moving = settle(api, app, wait_s) if wait_s is not None else (api.get("status", {"application": app}), [])
    if as_json:
        print_json(status)
    else:
        print_text(render(status, every_pod=app is not None))
    if wait_s is None:
        return
    degraded = [f"{cell['app']} in {cell['environment']}" for cell in status["cells"] if cell["health"] == "degraded"]
    if degraded:
        first = next(cell for cell in status["cells"] if cell["health"] == "degraded")
        raise AnswerNo(f"degraded: {', '.join(degraded)}\nnext: setpoint why {first['app']} {first['environment']}")
    if moving:
        raise StillWaiting(f"still waiting: {'; '.join(moving)}\nnext: setpoint status --wait")


def settle(api: "Api", app: str | None, wait_s: float) -> tuple[dict[str, Any], list[str]]:
    """Return (status, what still moves) when nothing moves by itself any more, or when the time is over."""
    from setpoint.cli.progress import Line, Progress
    from setpoint.cli.settling import POLL_S, Settling

    settling, deadline = Settling(api, app), time.monotonic() + wait_s
    with Progress() as progress:
        while True:
            status, moving = settling.look()
            lines = {
                f"{cell['app']} in {cell['environment']}": Line(f"{cell['health']}", f"{cell['version']}  {_waiting(cell)}".strip())
                for cell in status["cells"]
            }
            lines |= {
                f"run {run['run']}": Line(run["state"], cut(run["title"], _TITLE_COLUMNS))
                for run in status["runs"]
                if run["state"] == "running"
            }
            progress.show(lines)
            if not moving or time.monotonic() >= deadline:
                return status, moving
            time.sleep(POLL_S)


def render(status: dict[str, Any], *, every_pod: bool = False) -> str:
    """Return the matrix, what a person can do, what is not in force, pods that are otherwise (or all), and the runs that go on."""
    parts = []
    shown = {one["environment"] for one in status.get("previews", ())}
    if status["cells"]:
        parts.append(table([_row(cell) for cell in status["cells"] if cell["environment"] not in shown], _HEADERS))
    elif status["delivery"]:
        parts.append(f"{status['delivery']} names no application in any environment yet: setpoint check shows what is there")
    if shown:
        from setpoint.cli.preview import HEADERS, rows_of

        parts.append("\n".join([bold("previews"), table(rows_of(status["previews"]), HEADERS)]))
        parts.append(table([_row(cell) for cell in status["cells"] if cell["environment"] in shown], _HEADERS))
    needs = [f"  {need['what']}" + (f"\n    -> {need['command']}" if need["command"] else "") for need in status["needs"]]
    if needs:
        parts.append("\n".join([bold("needs you"), *needs]))
    pods = pod_rows(status, every=every_pod)
    if pods:
        parts.append(bold("pods") + "\n" + table(pods))
    notices = [f"  {notice['subject']}: {notice['found']}" + _arrow(notice["fix"]) for notice in status["notices"]]
    if notices:
        parts.append("\n".join([bold("not in force"), *notices]))
    runs = [_run(run) for run in status["runs"] if run["state"] in ("running", "failed")]
    if runs:
        parts.append("\n".join([bold("runs"), *runs]))
    return "\n\n".join(parts) or "nothing here yet: setpoint init --example hello"


def _row(cell: dict[str, Any]) -> list[str]:
    replicas = f"{cell['replicas_ready']}/{cell['replicas_wanted']}" if cell["version"] else "-"
    return [
        cell["app"],
        cell["environment"],
        cell["version"] or "-",
        digest.short(cell["revision"])[:7] or "-",
        state(cell["health"]),
        ago(cell["since"]),
        replicas,
        cell["url"] or "-",
        "; ".join(text for text in (_drift(cell), _waiting(cell)) if text) or dim("-"),
    ]


def pod_rows(status: dict[str, Any], *, every: bool) -> list[list[str]]:
    """Return a row for each build of each workload in clusters; without `every` only what is not as it is pinned."""
    rows = [
        _pods(group, f"{cell['app']} in {cell['environment']}")
        for cell in status["cells"]
        for group in cell.get("pods", ())
        if every or group["state"] not in ("pinned", "operated")
    ]
    for one in status.get("strangers", ()):
        rows += [_pods(group, f"{one['cluster']}/{one['namespace']}") for group in one["groups"]]
        if one["unknown"]:
            rows.append([one["environment"], f"{one['cluster']}/{one['namespace']}", "", state("unknown"), one["unknown"]])
    return rows


def _pods(group: dict[str, Any], place: str) -> list[str]:
    build = group["version"] or ", ".join(image.rpartition("@sha256:")[0] or image for image in group["images"][:3])
    return [place, group["workload"], f"{group['ready']}/{group['count']}", state(group["state"]), build]


def _drift(cell: dict[str, Any]) -> str:
    """Return how much drift is open; `setpoint drift` has the cases."""
    return f"drift: {cell['drift']}" if cell.get("drift") else ""


def _waiting(cell: dict[str, Any]) -> str:
    """Return what is under way, and what waits and for what: `canary 25 %`, `3-41d2e0b: approvals, soak in staging`, `on hold`."""
    waiting, rollout = cell.get("waiting"), cell.get("rollout", "")
    if not waiting:
        kinds = {hold["kind"] for hold in cell.get("holds", ())}
        return "; ".join(
            word for word in (rollout, "break-glass" if "break-glass" in kinds else "on hold" if "stop" in kinds else "") if word
        )
    subjects = ", ".join(dict.fromkeys(reason["subject"] for reason in waiting["reasons"])) or "the pin commit"
    return "; ".join(
        [*([rollout] if rollout else []), f"{names.candidate(waiting['version'], waiting.get('configuration', ''))}: {subjects}"]
    )


def _arrow(fix: str) -> str:
    return f"\n    -> {fix}" if fix else ""


def _run(run: dict[str, Any]) -> str:
    what = f"{run['repository']} {digest.short(run['revision'])[:7]}  {cut(run['title'], _TITLE_COLUMNS)}"
    line = f"  {run['run']}  {state(run['state'])}  {what}"
    if run.get("lost"):
        return (
            f"  {run['run']}  {state('lost')}  {what}\n    -> setpoint resolve {run['run']} {run['lost'][0]} --passed, --failed or --again"
        )
    if run["state"] == "running":
        return f"{line}\n    -> setpoint watch {run['run']}"
    return f"{line}\n    -> setpoint log {run['run']} --failed"

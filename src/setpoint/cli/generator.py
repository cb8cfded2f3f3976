"""The verb `generator`: what generators made, what they would make, and a person's word for what leaves; speaks to /api/v1/generators."""

import sys
from typing import TYPE_CHECKING, Any

import click

from setpoint.cli.options import json_option, server_options
from setpoint.cli.output import AnswerNo, ago, bold, items_of, note, print_json, print_text, table

if TYPE_CHECKING:
    from setpoint.client.http import Api


@click.group()
def command() -> None:
    """Show what generators make of folders and clusters, before and after it is in force."""


@command.command("list")
@json_option
@server_options
def list_generators(api: "Api", *, as_json: bool) -> None:
    """List generators: what each made, and what stands against it."""
    answer = api.get("generators")
    if as_json:
        print_json(answer)
        return
    rows = [
        [one["generator"], str(len(one["products"])), one["makes"] or "-", ago(one["since"] or None), _worst(one)]
        for one in items_of(answer)
    ]
    print_text(table(rows, ("GENERATOR", "MADE", "OF", "SINCE", "STANDS AGAINST IT")) if rows else "no generators: docs/generators.md")


@command.command()
@click.argument("name")
@json_option
@server_options
def show(api: "Api", name: str, *, as_json: bool) -> None:
    """Show one generator: every application or environment that it made, of what, and every reason.

    Example: setpoint generator show services
    """
    found = _one(api, name)
    if as_json:
        print_json(found)
        return
    print_text("\n".join([bold(f"{name} ({found['file']})"), *_products(found), *_reasons(found)]))


@command.command()
@click.argument("ref")
@json_option
@server_options
def expand(api: "Api", ref: str, *, as_json: bool) -> None:
    """Show what generators would make by the files of REF, a branch or commit of the delivery repository, before it is merged.

    Example: setpoint generator expand my-branch
    """
    answer = api.get("generators/expansions", {"at": ref})
    if as_json:
        print_json(answer)
        return
    lines: list[str] = []
    for one in items_of(answer):
        lines.append(bold(f"{one['generator']}: {len(one['elements'])} {one['makes']}".rstrip()))
        lines += [f"  + {name}" for name in one["new"]]
        lines += [f"  - {name}" for name in one["gone"]]
        lines += [f"    {name}" for name in one["elements"] if name not in one["new"]]
        lines += _reasons(one)
    print_text("\n".join(lines) or "no generators there")


@command.command()
@click.argument("name")
@click.option("--yes", "-y", is_flag=True, help="Let them leave without asking.")
@click.option("--message", "-m", default="", help="Why; it is journalled.")
@json_option
@server_options
def confirm(api: "Api", name: str, message: str, *, yes: bool, as_json: bool) -> None:
    """Show what would leave a generator, and let it leave when you say so; what runs stays until it is pruned.

    Your word is for exactly what is shown. The exit code is 1 when nothing left. Example: setpoint generator confirm services
    """
    from setpoint.client.http import segment

    found = _one(api, name)
    held = found["held"]
    if held is None:
        raise AnswerNo("nothing waits for a word there")
    if not yes:
        print_json(found) if as_json else print_text("\n".join([bold(held["why"]), *(f"  - {one}" for one in held["elements"])]))
        if as_json or not sys.stdin.isatty():
            raise AnswerNo(f"nothing left\nnext: setpoint generator confirm {name} --yes")
        if not click.confirm("let them leave?", err=True):
            raise AnswerNo("nothing left")
    answer = api.post(f"generators/{segment(name)}/confirm", {"set": held["set"], "message": message})
    if as_json:
        print_json(answer)
        return
    print_text(f"they leave at the next look: {', '.join(answer['elements'])}")
    note("next: setpoint status lists what of them still runs, and how it is removed")


def _one(api: "Api", name: str) -> dict[str, Any]:
    from setpoint.client.http import segment

    found: dict[str, Any] = api.get(f"generators/{segment(name)}")
    return found


def _products(found: dict[str, Any]) -> list[str]:
    return [f"  {one['name']}  {one['element']}{'  (leaving)' if one['leaving'] else ''}" for one in found["products"]]


def _reasons(found: dict[str, Any]) -> list[str]:
    lines = []
    for reason in found["reasons"]:
        lines.append(f"  {reason['subject']}: {reason['found']}")
        if reason["fix"]:
            lines.append(f"    -> {reason['fix']}")
    return lines


def _worst(found: dict[str, Any]) -> str:
    return found["reasons"][0]["found"] if found["reasons"] else "-"

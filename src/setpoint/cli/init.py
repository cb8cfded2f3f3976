"""The verb `init`: an example pair of repositories, a first pipeline file, or the registration of a delivery repository.

The writing is `app.example` and `app.starter`; a running server is asked over the API, else a request is left for the next `up`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from setpoint.cli.options import home_option, json_option
from setpoint.cli.output import note, print_json, print_text
from setpoint.core.errors import NotFoundError, WorldError

if TYPE_CHECKING:
    from setpoint.app.home import Home
    from setpoint.client.http import Api

_TEMPLATES = Path(__file__).with_name("example")


@click.command()
@click.option("--example", metavar="NAME", help="Make ./NAME/app and ./NAME/delivery, a working pair, and host both in the home.")
@click.option("--delivery", metavar="REPO", help="Register this hosted repository as the home's delivery repository.")
@click.option("--branch", default="", help="Its branch; left out: the one that is registered, else main.")
@click.option("--accept", metavar="COMMIT", help="Accept this version of the delivery repository: its files judge from now on.")
@home_option
@json_option
def command(*, example: str | None, delivery: str | None, branch: str, accept: str | None, home: Path | None, as_json: bool) -> None:
    """Create or register repositories. Without options: write .setpoint/pipeline.yaml from what is here.

    Nothing is ever overwritten. Example: setpoint init --example hello
    """
    from setpoint.app.home import Home, default_home

    place = Home((home or default_home()).absolute())
    if example is not None and (delivery is not None or accept is not None):
        raise click.UsageError("--example registers its own delivery repository: leave --delivery and --accept out")
    if example is not None:
        _example(place, example, as_json=as_json)
    elif delivery is not None or accept is not None:
        _register(place, delivery, branch, accept or "", as_json=as_json)
    else:
        _pipeline(as_json=as_json)


def _api(home: "Home") -> "Api | None":
    """Return the API of the home's running server; None when none runs."""
    from setpoint.client.connection import of_home
    from setpoint.client.http import Api

    try:
        api = Api(of_home(home.root))
        api.get("whoami")
    except WorldError as error:
        if error.code != "SP845":
            raise
        return None
    return api


def _pipeline(*, as_json: bool) -> None:
    from setpoint.app.starter import write_pipeline

    place = write_pipeline(Path())
    if as_json:
        print_json({"written": [str(place)]})
        return
    print_text(place.read_text(encoding="utf-8").rstrip())
    note(f"\nwritten: {place}\nnext: setpoint check && setpoint run")


def _example(home: "Home", name: str, *, as_json: bool) -> None:
    from setpoint.app import example

    folder = Path(name)
    example.require_free(home, name, folder)
    api = _api(home)
    who = example.author()
    home.prepare()
    written = example.write(_TEMPLATES, folder, name, who.email)
    commits = {}
    for repository, part in ((name, "app"), (example.DELIVERY, "delivery")):
        commits[repository] = example.commit(folder / part, who, f"the example {name}: {part}")
        if api is not None:
            api.post("repositories", {"name": repository})
        example.push(folder / part, example.host(home, repository))
    accepted = commits[example.DELIVERY]
    if api is not None:
        api.post("delivery", {"repository": example.DELIVERY, "branch": "main", "commit": accepted})
    else:
        wanted = {"repositories": [name, example.DELIVERY], "delivery": example.DELIVERY, "branch": "main", "commit": accepted}
        example.leave_request(home, wanted)
    if as_json:
        print_json({"written": [str(path) for path in written], "home": str(home.root), "commits": commits, "person": who.email})
        return
    print_text(tree(folder, written))
    note(f"\nboth are repositories whose `origin` is hosted in {home.root}")
    note(f"you are {who.email} in setpoint.yaml; production has `not: []`, so that you may approve your own change")
    following = "setpoint check && setpoint run app" + ("" if api is not None else " && setpoint up -d")
    note(f"next: cd {name} && {following}")


def tree(folder: Path, files: list[Path]) -> str:
    """Return the files below a folder as an indented tree."""
    lines = [f"{folder}/"]
    seen: set[Path] = set()
    for path in files:
        inner = path.relative_to(folder)
        for parent in reversed([parent for parent in inner.parents if parent != Path()]):
            if parent not in seen:
                seen.add(parent)
                lines.append(f"{'  ' * len(parent.parts)}{parent.name}/")
        lines.append(f"{'  ' * len(inner.parts)}{inner.name}")
    return "\n".join(lines)


def _register(home: "Home", delivery: str | None, branch: str, commit: str, *, as_json: bool) -> None:
    """Register a delivery repository, or accept a version of it, now or at the next `up`."""
    api = _api(home)
    repository = delivery or _registered(api)
    if api is not None:
        answer: dict[str, Any] = api.post("delivery", {"repository": repository, "branch": branch, "commit": commit})
        place = f"{answer['repository']} is the delivery repository, {answer['branch']} its branch"
        said = f"{place}; {answer['commit'][:12]} is accepted: its files judge"
    else:
        answer = _leave(home, repository, branch, commit)
        said = f"{repository} is registered with {answer['commit'][:12]} at the next `setpoint up`"
    if as_json:
        print_json(answer)
    else:
        print_text(said)
        note("next: setpoint status" if api is not None else "next: setpoint up -d")


def _registered(api: "Api | None") -> str:
    """Return the name of the delivery repository that a running server has.

    Raises:
        NotFoundError: it has none, or no server runs (SP830).
    """
    from setpoint.cli.output import items_of

    found = [one["name"] for one in items_of(api.get("repositories")) if one["delivery"]] if api is not None else []
    if not found:
        fix = "name it: setpoint init --delivery REPO --accept COMMIT"
        raise NotFoundError("SP830", "no delivery repository is registered", fix=fix)
    return str(found[0])


def _leave(home: "Home", repository: str, branch: str, commit: str) -> dict[str, Any]:
    from setpoint.app import example

    known = example.hosted(home)
    if repository not in known:
        fix = f"hosted here: {', '.join(known)}" if known else "start the server and push it first: setpoint up -d"
        raise NotFoundError("SP831", f"the home hosts no repository `{repository}`", where=str(home.root), fix=fix)
    found = example.head(home, repository, commit or branch or "main")
    if found is None:
        fix = "push it first, or name another: --branch, --accept"
        raise NotFoundError("SP831", f"`{repository}` has no commit `{commit or branch or 'main'}`", where=str(home.root), fix=fix)
    example.leave_request(home, {"repositories": [], "delivery": repository, "branch": branch, "commit": found})
    return {"repository": repository, "branch": branch, "commit": found}

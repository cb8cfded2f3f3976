"""Branches of source repositories as previews see them: whose push counts (law 8). Reads Git and push records, decides nothing else.

Used by the generators' service. A push by somebody who is not trusted moves no preview; what was trusted before it stays.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Final

from setpoint.ground.identity.model import Directory
from setpoint.promotion.config import SetpointFile
from setpoint.promotion.generators.config import FromBranches
from setpoint.promotion.generators.previews import Branch, matches
from setpoint.source.ports import GitStore

_GONE: Final = "0" * 40
Pushes = Callable[[str, str], Sequence[tuple[str, str, str, str]]]
"""(repository, ref) -> (old, new, pusher, at) of every push, oldest first"""


def branches_of(
    spec: FromBranches, trusted: Collection[str], directory: Directory, sources: tuple[GitStore, Pushes, Callable[[str, str, str], bool]]
) -> dict[str, Branch]:
    """Return the branches that are asked for; trusted are names of people. Sources also say whose head is being pushed just now."""
    git, pushes, unsettled = sources
    found = {}
    for name, head in git.heads(spec.repository).items():
        if matches(spec, name):
            found[name] = _branch(head, pushes(spec.repository, f"refs/heads/{name}"), trusted, directory)
            if found[name].head != found[name].trusted and unsettled(spec.repository, name, head):
                found[name] = Branch(found[name].trusted, found[name].trusted, found[name].pushed_at)
    return {name: branch for name, branch in found.items() if branch.head}


def trusted_people(spec: FromBranches, setpoint: SetpointFile, owners: tuple[str, ...]) -> frozenset[str]:
    """Return the names of those whose pushes count: the spec's pushers, else the template's owners, else those of setpoint.yaml."""
    return setpoint.directory().members(spec.pushers if spec.pushers is not None else owners or setpoint.owners)


def _branch(head: str, pushes: Sequence[tuple[str, str, str, str]], trusted: Collection[str], directory: Directory) -> Branch:
    """Return a branch with its newest trusted push since it was made; a branch that was deleted and made anew begins anew."""
    pusher = ""
    for _old, new, email, at in reversed(pushes):
        if new == _GONE:
            break
        if new == head and not pusher:
            pusher = email
        person = directory.person(email)
        if person is not None and person.name in trusted:
            return Branch(head, new, at, pusher)
    return Branch(head, pusher=pusher)

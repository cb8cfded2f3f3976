"""`dependsOn:` of an application: others that have to be well before a new version of it is begun; what is wrong with it, as it is walked.

Called by `promotion.config` for parsing and by `promotion.generators` for references; the reconciler waits by it. Pure. It stands in
`setpoint.yaml`, so only the owners of that file decide who waits for whom (law 9).
"""

import re
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, Field

from setpoint.core import suggest
from setpoint.core.documents import Document, InvalidError
from setpoint.core.errors import Finding

if TYPE_CHECKING:
    from setpoint.promotion.config import SetpointFile

UNKNOWN: Final = "SP562"
CIRCLE: Final = "SP563"
_FORM: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}(@[a-z0-9][a-z0-9-]{0,39})?")


def _dependency(text: str) -> str:
    if not _FORM.fullmatch(text):
        raise InvalidError(
            f"`{text[:80]}` is no application", "write its name, or name@environment for one of another environment", UNKNOWN
        )
    return text


DependsOn = Annotated[tuple[Annotated[str, AfterValidator(_dependency)], ...], Field(max_length=50)]


def place_of(text: str, environment: str) -> tuple[str, str]:
    """Return (application, environment) of an entry of `dependsOn:`, as an application in an environment means it."""
    app, _, other = text.partition("@")
    return app, other or environment


def dependency_findings(
    document: "Document[SetpointFile]", made: Collection[str], is_environment: Callable[[str], bool], environments: Collection[str]
) -> Iterator[Finding]:
    """Yield a finding for each name that is not there, and for each circle, written out; made are applications of generators."""
    apps = document.model.apps
    known, unknown = {*apps, *made}, False
    for name, app in apps.items():
        for index, text in enumerate(app.dependsOn):
            wanted, _, other = text.partition("@")
            loc = ("apps", name, "dependsOn", index)
            if wanted not in known:
                fix, unknown = suggest.help_text(wanted, known - {name}, "applications"), True
                yield document.finding(loc, UNKNOWN, f"there is no application `{wanted}`", fix)
            if other and not is_environment(other):
                fix = suggest.help_text(other, environments, "environments")
                yield document.finding(loc, UNKNOWN, f"there is no environment `{other}`", fix)
    if unknown:
        return
    named = {**dict.fromkeys(made, ()), **{name: app.dependsOn for name, app in apps.items()}}
    for cycle in resolve(_graph(named)).cycles:
        first = cycle[0].partition("@")[0]
        index = next(n for n, text in enumerate(named[first]) if text.partition("@")[0] == cycle[1].partition("@")[0])
        what = f"applications wait for each other in a circle: {' -> '.join(cycle)}"
        yield document.finding(("apps", first, "dependsOn", index), CIRCLE, what, "remove one `dependsOn` of the circle")


def _graph(named: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
    """Return who waits for whom: an application in its own environment, and those of named environments that it leads to."""
    graph: dict[str, list[str]] = {}
    left = list(named)
    while left:
        node = left.pop()
        if node in graph:
            continue
        app, _, environment = node.partition("@")
        graph[node] = [text if "@" in text or not environment else f"{text}@{environment}" for text in named[app]]
        left += graph[node]
    return graph


@dataclass(frozen=True, slots=True)
class Dependencies:
    """A graph of who waits for whom, understood."""

    order: tuple[str, ...]
    """Every name that is in no circle and waits for none that is; what is waited for comes first, then by name."""
    cycles: tuple[tuple[str, ...], ...]
    """Circles as they are walked, `(a, b, a)`; one, the shortest, for each knot."""


def resolve(graph: Mapping[str, Collection[str]]) -> Dependencies:
    """Return the order and the circles of name -> names it waits for; every name that is waited for is known.

    The order is Kahn's (1962), what it leaves over are circles and who waits for them.
    """
    order: list[str] = []
    left = {name: set(targets) for name, targets in graph.items()}
    while ready := sorted(name for name, targets in left.items() if not targets & left.keys()):
        order += ready
        for name in ready:
            del left[name]
    cycles: list[tuple[str, ...]] = []
    told: set[str] = set()
    for name in sorted(left):
        cycle = () if name in told else _shortest(name, left)
        if cycle:
            cycles.append(cycle)
            told |= _knot(name, left)
    return Dependencies(tuple(order), tuple(cycles))


def _shortest(start: str, graph: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """Return the shortest way from a name back to it; empty when there is none."""
    queue: deque[tuple[str, ...]] = deque([(start,)])
    seen: set[str] = set()
    while queue:
        way = queue.popleft()
        for target in sorted(target for target in graph[way[-1]] if target in graph):
            if target == start:
                return (*way, start)
            if target not in seen:
                seen.add(target)
                queue.append((*way, target))
    return ()


def _reached(start: str, graph: Mapping[str, Collection[str]]) -> set[str]:
    found: set[str] = set()
    queue = [start]
    while queue:
        for target in graph.get(queue.pop(), ()):
            if target in graph and target not in found:
                found.add(target)
                queue.append(target)
    return found


def _knot(name: str, graph: Mapping[str, Collection[str]]) -> set[str]:
    """Return everything that is in a circle with a name."""
    return {name} | {other for other in _reached(name, graph) if name in _reached(other, graph)}

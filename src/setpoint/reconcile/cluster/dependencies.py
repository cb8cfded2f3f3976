"""Applications that wait for others: in which order they go, which wait for each other in a circle, and what each waits for. Pure."""

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from setpoint.core.reasons import Outcome, Reason
from setpoint.reconcile.model import Health


@dataclass(frozen=True, slots=True)
class Dependencies:
    """A graph of who waits for whom, understood."""

    order: tuple[str, ...]
    """Every name that is in no circle and waits for none that is; what is waited for comes first, then by name."""
    cycles: tuple[tuple[str, ...], ...]
    """Circles as they are walked, `(a, b, a)`; one, the shortest, for each knot."""
    missing: tuple[tuple[str, str], ...]
    """(who waits, for what that is not there)"""

    def problems(self) -> Iterator[Reason]:
        """Yield what makes the graph wrong."""
        for cycle in self.cycles:
            found = " waits for ".join(cycle)
            yield Reason(
                "DEPENDENCY_CYCLE", Outcome.DENY, cycle[0], found, "no circle", f"remove one `dependsOn` of {', '.join(cycle[:-1])}"
            )
        for name, target in self.missing:
            yield Reason("DEPENDENCY_MISSING", Outcome.DENY, name, f"it waits for {target}, which is not there", "a known application")


def resolve(graph: Mapping[str, Collection[str]]) -> Dependencies:
    """Return the order, the circles and the dangling ends of name -> names it waits for.

    The order is Kahn's (1962), what it leaves over are circles and who waits for them.
    """
    missing = tuple(sorted((name, target) for name, targets in graph.items() for target in targets if target not in graph))
    waits = {name: {target for target in targets if target in graph} for name, targets in graph.items()}
    order: list[str] = []
    left = dict(waits)
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
    return Dependencies(tuple(order), tuple(cycles), missing)


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


def waits(name: str, targets: Collection[str], health: Mapping[str, tuple[Health, str]]) -> tuple[Reason, ...]:
    """Return what an application still waits for: every one that is not healthy, with the (health, since) that was last seen of it."""
    found = []
    for target in sorted(targets):
        state, since = health.get(target, (Health.MISSING, ""))
        if state is not Health.HEALTHY:
            said = f"it waits for {target}, which is {state}" + (f" since {since}" if since else "")
            found.append(Reason("DEPENDENCY_WAITS", Outcome.WAIT, name, said, f"{target} is healthy", f"setpoint why {target}"))
    return tuple(found)

"""Needs as a graph: what is reached, in which order, and whether it goes round in circles; pure, over anything that has names and needs.

Called by the pipeline file's checks and document, and by the delivery repository's checks (environments and their `after:`).
"""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence


def closure(needs: Mapping[str, Sequence[str]], wanted: Iterable[str]) -> frozenset[str]:
    """Return the names in `wanted` and all that they need; unknown ones are left out."""
    found: set[str] = set()
    todo = list(wanted)
    while todo:
        name = todo.pop()
        if name not in found and name in needs:
            found.add(name)
            todo.extend(needs[name])
    return frozenset(found)


def find_cycle(needs: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return one circle of names, each needing the next, the last needing the first; empty when there is none."""
    left = {name: set(wanted) & set(needs) for name, wanted in needs.items()}
    while True:
        free = {name for name, wanted in left.items() if not wanted}
        if not free:
            break
        left = {name: wanted - free for name, wanted in left.items() if name not in free}
    if not left:
        return ()
    trail = [next(iter(left))]
    while trail.count(trail[-1]) == 1:
        trail.append(next(name for name in needs[trail[-1]] if name in left))
    return tuple(trail[trail.index(trail[-1]) : -1])


def order(needs: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the names so that needed ones come first, otherwise as they stand (Kahn, 1962; O(n log n)).

    Raises:
        ValueError: they need each other in a circle.
    """
    names = list(needs)
    position = {name: index for index, name in enumerate(names)}
    missing = {name: len(set(wanted)) for name, wanted in needs.items()}
    needed_by: dict[str, list[str]] = defaultdict(list)
    for name, wanted in needs.items():
        for need in set(wanted):
            needed_by[need].append(name)
    ready = [position[name] for name in names if not missing[name]]
    done: list[str] = []
    while ready:
        name = names[heapq.heappop(ready)]
        done.append(name)
        for other in needed_by[name]:
            missing[other] -= 1
            if not missing[other]:
                heapq.heappush(ready, position[other])
    if len(done) < len(names):
        raise ValueError("the tasks need each other in a circle")
    return done

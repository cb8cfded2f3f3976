"""How a running proxy differs from what it was last led to, and a goal that leaves some of that alone.

Called by the proxy before it converges; pure comparisons, each with the way back to the part that differs. It asks HAProxy nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from setpoint.adapters.host.haproxy_config import Backends, Wanted, server_text
from setpoint.adapters.host.proxy_memory import Applied
from setpoint.reconcile.drift.model import Deviation
from setpoint.reconcile.model import Difference

T = TypeVar("T")

PROCESS: Final = "process"
LOADED: Final = "configuration"


@dataclass(frozen=True, slots=True)
class Live:
    """The proxy as a look found it."""

    structure: str | None
    """None: no proxy runs."""
    worker: int
    backends: Backends
    identities: Mapping[str, str]
    files: Mapping[str, str]
    """Name -> sha256 of what lies in the folder; empty when it is not there."""


@dataclass(frozen=True, slots=True)
class Part:
    """A deviation and the part of the proxy that it is about."""

    deviation: Deviation
    backend: str = ""
    server: str = ""
    identity: str = ""
    file: str = ""


def find(memory: Applied, live: Live) -> list[Part]:
    """Return every difference between the proxy and what it was led to."""
    whole = f"proxy of {memory.config.environment}"
    if live.structure is None:
        gone = Difference(whole, PROCESS, f"listening on {memory.config.listen}", "not running")
        return [Part(_about(memory, "", gone))]
    found = [
        Part(_about(memory, "", Difference(whole, name, f"sha256 {wanted[:12]}", _short(live.files.get(name, "")))), file=name)
        for name, wanted in memory.files.items()
        if live.files.get(name, "") != wanted
    ]
    if live.structure != memory.structure or live.worker != memory.worker:
        loaded = Difference(whole, LOADED, "as Setpoint loaded it", f"loaded by somebody else (worker {live.worker})")
        found.append(Part(_about(memory, "", loaded)))
    return [*found, *_servers(memory, live), *_identities(memory, live)]


def _short(found: str) -> str:
    return f"sha256 {found[:12]}" if found else "not there"


def _about(memory: Applied, app: str, difference: Difference) -> Deviation:
    return Deviation(app, memory.config.environment, "proxy", difference)


def _servers(memory: Applied, live: Live) -> Iterator[Part]:
    routes = dict(zip(memory.backends, memory.config.routes, strict=True))
    for backend, wanted in memory.backends.items():
        app, route = routes[backend]
        servers = live.backends.get(backend, {})
        for name in sorted(wanted.keys() | servers.keys()):
            if name not in wanted and f"{backend}/{name}" in memory.leaving:
                continue
            shown = [server_text(side.get(name)) for side in (wanted, servers)]
            if shown[0] != shown[1]:
                subject = f"HTTPRoute/{route.name} {' '.join(route.hostnames)}{route.path_prefix} server {name}"
                yield Part(_about(memory, app, Difference(subject, "traffic", *shown)), backend, name)


def _identities(memory: Applied, live: Live) -> Iterator[Part]:
    owner = {server.name: app for app, server in memory.config.servers}
    for name in sorted(memory.identities.keys() | live.identities.keys()):
        wanted, found = memory.identities.get(name, "none"), live.identities.get(name, "none")
        if wanted != found:
            yield Part(_about(memory, owner.get(name, ""), Difference(f"server {name}", "identity headers", wanted, found)), identity=name)


@dataclass(frozen=True, slots=True)
class Course:
    """What an apply is going to do."""

    goal: Wanted
    """What to converge to: without what is only reported."""
    start: bool
    reload: bool
    keep: frozenset[str]
    """Files that are left as they are."""


def course(goal: Wanted, memory: Applied | None, live: Live, parts: Sequence[Part], correct: frozenset[Difference]) -> Course:
    """Return how to get to the goal when of the parts that differ only those in correct may be touched.

    A proxy that does not run is always started, and a change of Setpoint's own is always made: a reload resets everything.
    """
    changed = memory is None or memory.structure != goal.structure
    loaded = [part for part in parts if part.deviation.difference.field == LOADED]
    obeys = live.structure == goal.structure and not loaded
    wanted = changed if loaded and loaded[0].deviation.difference not in correct else not obeys
    left = [part for part in parts if part.deviation.difference not in correct]
    if live.structure is None or wanted or memory is None:
        return Course(goal, live.structure is None, wanted and live.structure is not None, frozenset())
    keep = frozenset(part.file for part in left if part.file)
    return Course(_spared(goal, memory, live, left), start=False, reload=False, keep=keep)


def _spared(goal: Wanted, memory: Applied, live: Live, left: Sequence[Part]) -> Wanted:
    """Return the goal with the parts that are only reported as they are; what the goal itself changes is changed all the same."""
    backends = {name: dict(servers) for name, servers in goal.backends.items()}
    identities = dict(goal.identities)
    for part in left:
        if part.deviation.difference.field == LOADED:
            backends = {name: servers for name, servers in backends.items() if name in live.backends}
        if part.backend in backends:
            wanted = goal.backends[part.backend].get(part.server)
            have = live.backends.get(part.backend, {}).get(part.server)
            if wanted == memory.backends.get(part.backend, {}).get(part.server):
                _put_or_drop(backends[part.backend], part.server, have)
        if part.identity and goal.identities.get(part.identity) == memory.identities.get(part.identity):
            _put_or_drop(identities, part.identity, live.identities.get(part.identity))
    return replace(goal, backends=backends, identities=identities)


def _put_or_drop(values: dict[str, T], name: str, value: T | None) -> None:
    if value is None:
        values.pop(name, None)
    else:
        values[name] = value

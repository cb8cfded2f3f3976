"""HAProxy's words: the configuration of an environment's proxy, the run-time commands that lead to it, and its answers.

Pure text in, text out; called by the proxy, never talks to HAProxy. Everything but servers, weights and identities is the structure: its
digest stands in the running process's environment, so that a look at the process says whether a reload is needed.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from setpoint.core.errors import UserError
from setpoint.reconcile.model import Difference, Identity, Route
from setpoint.reconcile.ports import ProxyConfig, ProxyServer

STRUCTURE: Final = "SETPOINT_STRUCTURE"
IDENTITY_MAP: Final = "identity.map"
MAX_WEIGHT: Final = 256
_NOTHING: Final = "setpoint-no-route"
_HEADERS: Final = ("App", "Environment", "Revision", "Digest", "Promotion")
_NAME: Final = re.compile(r"[A-Za-z0-9_.:-]{1,200}")
_VALUE: Final = re.compile(r"[A-Za-z0-9@:._/+-]*")
_HOST: Final = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_PATH: Final = re.compile(r"/[!-~]*")
_LISTEN: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})")

_HEAD: Final = """\
# Written by Setpoint; the next apply replaces it.
global
    nbthread 2
    fd-hard-limit 20000
    noreuseport
    hard-stop-after 1h
    setenv {structure_name} {structure}
{user}defaults
    mode http
    balance roundrobin
    retries 3
    retry-on conn-failure
    option redispatch 1
    option http-keep-alive
    option forwardfor
    option idle-close-on-response
    http-reuse safe
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout http-request 60s
    timeout http-keep-alive 60s
    timeout queue 30s
    timeout tunnel 1h
    http-error status 503 content-type text/plain string "503: no replica of this address is ready in environment {environment}\\n"

frontend setpoint
    bind {listen}
    # A proxy on this machine that ends TLS may say https; nobody else is believed.
    http-request set-header X-Forwarded-Proto http unless {{ src 127.0.0.0/8 ::1 }} {{ req.hdr(X-Forwarded-Proto) -m found }}
    http-response set-var(txn.identity) srv_name,map({map})
"""


@dataclass(frozen=True, slots=True)
class ServerState:
    """A server of a backend, as wanted or as found."""

    port: int
    weight: int
    """0 takes no new request: a drained server."""
    maintenance: bool = False
    """Found only: not enabled yet, or on its way out."""


Backends = dict[str, dict[str, ServerState]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the proxy should be."""

    text: str
    """haproxy.cfg"""
    structure: str
    backends: Backends
    identities: dict[str, str]
    """server name -> `app|environment|revision|digest|promotion`"""


@dataclass(frozen=True, slots=True)
class Command:
    """A run-time command for HAProxy."""

    text: str
    must: bool = True
    """False: the command may be refused now (requests in flight), a later apply repeats it."""


def split(weights: Mapping[str, int], counts: Mapping[str, int]) -> dict[str, int]:
    """Return the weight of each server per pool (a workload, or one revision of it), so that traffic follows the route's weights whatever
    the replica counts.

    Of all scales up to HAProxy's 256 the one whose shares come nearest is taken; a pool with a weight never falls to 0.
    """
    shares = {name: weight / counts[name] for name, weight in weights.items() if weight > 0 and counts.get(name, 0) > 0}
    if not shares:
        return dict.fromkeys(weights, 0)
    highest, whole = max(shares.values()), sum(weights[name] for name in shares)
    best: dict[str, int] = {}
    least = 2.0
    for top in range(1, MAX_WEIGHT + 1):
        tried = {name: max(1, round(share / highest * top)) for name, share in shares.items()}
        total = sum(weight * counts[name] for name, weight in tried.items())
        error = max(abs(weight * counts[name] / total - weights[name] / whole) for name, weight in tried.items())
        if error < least - 1e-9:
            best, least = tried, error
    return {name: best.get(name, 0) for name in weights}


def identity_value(identity: Identity) -> str:
    """Return an identity as one value of the map.

    Raises:
        UserError: a field has characters that may not stand in a header (SP643).
    """
    fields = (identity.app, identity.environment, identity.revision, identity.digest, identity.promotion)
    for name, value in zip(_HEADERS, fields, strict=True):
        if not _VALUE.fullmatch(value):
            raise UserError("SP643", f"{value!r} cannot be the header Setpoint-{name}", fix="use letters, digits and @ : . _ / + -")
    return "|".join(fields)


def _specificity(route: Route, hostname: str) -> tuple[int, int, int, int]:
    """Order of the Gateway API: exact host, longest wildcard, no host; then exact path, then the longest prefix."""
    host = 0 if not hostname else 1 if hostname.startswith("*.") else 2
    return (-host, -len(hostname), 0 if route.path_exact else 1, -len(_path(route)))


def _path(route: Route) -> str:
    """Return the path a route matches; a prefix has no slash at its end (`/a/` matches what `/a` does)."""
    path = route.path_prefix or "/"
    if not _PATH.fullmatch(path):
        raise UserError("SP643", f"{path!r} is not a path", where=f"HTTPRoute/{route.name}", fix="start with / and percent-encode the rest")
    return path if route.path_exact else path.rstrip("/") or "/"


def _quote(text: str) -> str:
    """Return a word in HAProxy's strong quotes (configuration manual, 2.2)."""
    return "'" + text.replace("'", "'\\x27'") + "'"


def _conditions(route: Route, hostname: str) -> list[str]:
    """Return the alternatives under which a route takes a request, each a conjunction."""
    host = ""
    if hostname:
        name = hostname.lower()
        if not _HOST.fullmatch(name):
            where, fix = f"HTTPRoute/{route.name}", "use a DNS name, or *. and one"
            raise UserError("SP643", f"{hostname!r} is not a host name", where=where, fix=fix)
        match = f"-m end -- {_quote(name[1:])}" if name.startswith("*.") else f"-m str -- {_quote(name)}"
        host = f"{{ req.hdr(host),host_only,lower {match} }} "
    path = _path(route)
    if route.path_exact:
        return [f"{host}{{ path -m str -- {_quote(path)} }}"]
    if path == "/":
        return [host.strip()]
    return [f"{host}{{ path -m str -- {_quote(path)} }}", f"{host}{{ path -m beg -- {_quote(path + '/')} }}"]


def _backend_names(config: ProxyConfig) -> list[str]:
    """Return one backend name per route, readable and unique."""
    names: list[str] = []
    for number, (app, route) in enumerate(config.routes):
        key = repr((app, route.name, route.hostnames, route.path_prefix, route.path_exact))
        name = f"{app}.{route.name}.{hashlib.sha256(key.encode()).hexdigest()[:8]}"
        if not _NAME.fullmatch(name):
            raise UserError("SP643", f"{name!r} is not a name", where=f"HTTPRoute/{route.name}", fix="use letters, digits, - and .")
        names.append(f"{name}.{number}" if name in names else name)
    return names


def _servers(app: str, route: Route, servers: Sequence[tuple[str, ProxyServer]]) -> dict[str, ServerState]:
    """Return the servers of one route's backend with their weights."""
    weights: dict[str, int] = {}
    for workload, weight in route.backends:
        weights[workload] = weights.get(workload, 0) + weight
    mine = [(server.pool or server.workload, server) for owner, server in servers if owner == app]
    mine = [(pool, server) for pool, server in mine if pool in weights]
    counts: dict[str, int] = {}
    for pool, server in mine:
        counts[pool] = counts.get(pool, 0) + (not server.draining)
    per_server = split(weights, counts)
    found = {}
    for pool, server in sorted(mine, key=lambda one: one[1].name):
        if not _NAME.fullmatch(server.name) or not 0 < server.port < 65536:
            raise UserError("SP643", f"{server.name!r} at port {server.port} cannot be a server", fix="this is a replica id and its port")
        found[server.name] = ServerState(server.port, 0 if server.draining else per_server[pool])
    return found


def wanted(config: ProxyConfig, uid: int | None) -> Wanted:
    """Return what an environment's proxy should be; uid is who HAProxy's workers run as when started by root.

    Raises:
        UserError: a listen address, host name, path, name or identity that HAProxy must not be told (SP643).
    """
    match = _LISTEN.fullmatch(config.listen)
    if match is None or not 0 < int(match.group(2)) < 65536:
        raise UserError("SP643", f"{config.listen!r} is not an address to listen on", where=config.environment, fix="write host:port")
    if not _NAME.fullmatch(config.environment):
        raise UserError("SP643", f"{config.environment!r} is not an environment's name", fix="use letters, digits and -")
    names = _backend_names(config)
    backends = {name: _servers(app, route, config.servers) for name, (app, route) in zip(names, config.routes, strict=True)}
    skeleton = _text(config, names, {}, "", uid)
    structure = hashlib.sha256(skeleton.encode()).hexdigest()[:32]
    identities = {server.name: identity_value(server.identity) for _app, server in config.servers}
    return Wanted(_text(config, names, backends, structure, uid), structure, backends, identities)


def _text(config: ProxyConfig, names: list[str], backends: Backends, structure: str, uid: int | None) -> str:
    user = "" if uid is None else f"    uid {uid}\n    gid {uid}\n"
    lines = [
        _HEAD.format(
            structure_name=STRUCTURE, structure=structure or "none", user=user + "\n",
            environment=config.environment, listen=config.listen, map=IDENTITY_MAP,
        ).rstrip()
    ]  # fmt: skip
    for number, header in enumerate((*_HEADERS, "Replica"), start=1):
        value = "%[srv_name]" if header == "Replica" else f"%[var(txn.identity),field({number},|)]"
        lines.append(f"    http-response del-header Setpoint-{header}")
        lines.append(f'    http-response set-header Setpoint-{header} "{value}" if {{ var(txn.identity) -m found }}')
    rules = [
        (_specificity(route, hostname), name, condition)
        for name, (_app, route) in zip(names, config.routes, strict=True)
        for hostname in route.hostnames or ("",)
        for condition in _conditions(route, hostname)
    ]
    for _order, name, condition in sorted(rules, key=lambda rule: rule[0]):
        lines.append(f"    use_backend {name} if {condition or 'TRUE'}")
    lines.append(f"    default_backend {_NOTHING}")
    text = f"404: no route of environment {config.environment} matches this host and path\\n"
    lines += ["", f"backend {_NOTHING}", f'    http-request return status 404 content-type text/plain string "{text}"']
    for name in names:
        lines += ["", f"backend {name}"]
        for server, state in backends.get(name, {}).items():
            lines.append(f"    server {server} 127.0.0.1:{state.port} weight {state.weight}")
    return "\n".join(lines) + "\n"


def map_text(identities: Mapping[str, str]) -> str:
    """Return the identity map as a file."""
    return "".join(f"{name} {value}\n" for name, value in sorted(identities.items()))


def differences(config: ProxyConfig, app: str, goal: Wanted, live: Backends) -> list[Difference]:
    """Return how the live routes and servers of an application differ from the wanted ones."""
    routes = {name: route for name, (owner, route) in zip(goal.backends, config.routes, strict=True) if owner == app}
    found = []
    for backend, route in routes.items():
        subject = f"HTTPRoute/{route.name} {' '.join(route.hostnames)}{route.path_prefix}"
        if backend not in live:
            found.append(Difference(subject, "route", "served", "not in the proxy"))
            continue
        wanted_servers, servers = goal.backends[backend], live[backend]
        for name in sorted(wanted_servers.keys() | servers.keys()):
            shown = [server_text(side.get(name)) for side in (wanted_servers, servers)]
            if shown[0] != shown[1]:
                found.append(Difference(f"{subject} server {name}", "traffic", shown[0], shown[1]))
    strange = sorted(name for name in live if name.startswith(f"{app}.") and name not in goal.backends)
    return [*found, *(Difference(f"proxy backend {name}", "route", "none", "served") for name in strange)]


def server_text(state: ServerState | None) -> str:
    """Return a server's state for people."""
    if state is None:
        return "no server"
    return f"port {state.port}, " + ("in maintenance" if state.maintenance else f"weight {state.weight}")


def server_commands(live: Backends, goal: Backends) -> list[Command]:
    """Return the commands that lead from the live servers to the wanted ones: first what adds room for traffic, then what takes it away."""
    adding: list[Command] = []
    weighing: list[Command] = []
    removing: list[Command] = []
    for backend, servers in goal.items():
        found = live.get(backend, {})
        for name, state in servers.items():
            have = found.get(name)
            path = f"{backend}/{name}"
            if have is not None and have.port != state.port:
                removing += [Command(f"set server {path} state maint"), Command(f"del server {path}")]
            elif have is None:
                adding.append(Command(f"add server {path} 127.0.0.1:{state.port} weight {state.weight}"))
                adding.append(Command(f"enable server {path}"))
            else:
                if have.weight != state.weight:
                    (adding if state.weight > have.weight else weighing).append(Command(f"set server {path} weight {state.weight}"))
                if have.maintenance and not state.maintenance:
                    adding.append(Command(f"set server {path} state ready"))
        for name in sorted(set(found) - set(servers)):
            path = f"{backend}/{name}"
            removing += [Command(f"set server {path} state maint", must=False), Command(f"del server {path}", must=False)]
    return [*adding, *weighing, *removing]


def map_commands(live: Mapping[str, str], goal: Mapping[str, str]) -> tuple[list[Command], list[Command]]:
    """Return the commands for the identity map: those to give before servers change, and those after."""
    before = [Command(f"add map {IDENTITY_MAP} {name} {goal[name]}") for name in sorted(set(goal) - set(live))]
    changed = sorted(name for name in set(goal) & set(live) if goal[name] != live[name])
    before += [Command(f"set map {IDENTITY_MAP} {name} {goal[name]}") for name in changed]
    return before, [Command(f"del map {IDENTITY_MAP} {name}") for name in sorted(set(live) - set(goal))]


def read_servers(answer: str) -> Backends:
    """Return the backends of `show servers state` (management manual, 9.3: fields are named in the comment line)."""
    found: Backends = {}
    columns: list[str] = []
    for line in answer.splitlines():
        if line.startswith("# "):
            columns = line[2:].split()
        words = line.split()
        if len(words) < 19 or line.startswith("#"):
            continue
        row = dict(zip(columns, words, strict=False))
        state = ServerState(int(row["srv_port"]), int(row["srv_uweight"]), maintenance=int(row["srv_admin_state"]) != 0)
        found.setdefault(row["be_name"], {})[row["srv_name"]] = state
    return found


def read_map(answer: str) -> dict[str, str]:
    """Return the entries of `show map`: reference, key, value."""
    rows = [line.split(None, 2) for line in answer.splitlines() if line.startswith("0x")]
    return {row[1]: row[2].strip() if len(row) > 2 else "" for row in rows}

"""What only all files of a delivery repository together can tell: references, order, addresses, approvals, policies.

Called by promotion before a version is accepted, and by `setpoint check`; pure, every finding at once, each in the file that must change.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

from setpoint.core import suggest
from setpoint.core.documents import Document, Loc
from setpoint.core.errors import Finding
from setpoint.core.words import counted
from setpoint.pipeline.graph import find_cycle
from setpoint.promotion import policy_names
from setpoint.promotion.config import EnvironmentFile, SetpointFile

_CEL_PLACE: Final = re.compile(r"^(\d+):(\d+): (.*)$", re.DOTALL)
Environments = Mapping[str, Document[EnvironmentFile]]


def validate_delivery(
    setpoint: Document[SetpointFile],
    environments: Environments,
    apps_present: AbstractSet[str],
    compile_error: Callable[[str], str] | None = None,
) -> list[Finding]:
    """Return every finding across the files, in the order of files and lines.

    apps_present are the folder names under apps/; compile_error is `PolicyEngine.compile_error`.
    """
    found = [*_owners(setpoint, setpoint, ("owners",)), *_folders(setpoint, apps_present), *_order(environments), *_addresses(environments)]
    found += _executors(setpoint, environments)
    for document in environments.values():
        found += _owners(setpoint, document, ("owners",))
        found += _approvals(setpoint, document)
        found += _commits(setpoint, document)
        found += _kubernetes(document, environments)
        found += _policy(document, compile_error) if compile_error else ()
    return sorted(found, key=lambda finding: (finding.path, finding.line, finding.column))


def policy_name_findings(document: Document[EnvironmentFile]) -> Iterator[Finding]:
    """Yield a finding for each name of a policy that no policy sees: it would deny whatever comes.

    Asked of what is new only, by `check` and before a change is accepted: a file that is in force stays sound when names change.
    """
    for one in policy_names.unknown(document.model.gates.policy or ""):
        yield document.text_finding(("gates", "policy"), one.offset, "SP544", f"there is no `{one.name}`", one.fix)


def _executors(setpoint: Document[SetpointFile], environments: Environments) -> Iterator[Finding]:
    """Yield each executor in a namespace that an environment lives in: its tasks could change what was promoted there."""
    places = {(there.cluster, there.namespace): name for name, one in environments.items() if (there := one.model.target.kubernetes)}
    for name, executor in setpoint.model.executors.items():
        own = executor.kubernetes
        if (own.cluster, own.namespace) in places:
            what = f"the namespace `{own.namespace}` is that of the environment `{places[own.cluster, own.namespace]}`"
            loc: Loc = ("executors", name, "kubernetes", "namespace")
            yield setpoint.finding(loc, "SP280", what, "give tasks a namespace of their own")


def _owners(setpoint: Document[SetpointFile], document: Document[SetpointFile] | Document[EnvironmentFile], loc: Loc) -> Iterator[Finding]:
    yield from _selectors(setpoint, document, loc, document.model.owners)


def _selectors(
    setpoint: Document[SetpointFile], document: Document[SetpointFile] | Document[EnvironmentFile], loc: Loc, selectors: tuple[str, ...]
) -> Iterator[Finding]:
    for index, selector in enumerate(selectors):
        kind, _, name = selector.partition(":")
        known = setpoint.model.teams if kind == "team" else setpoint.model.people
        if name not in known:
            plural = "teams in setpoint.yaml" if kind == "team" else "people in setpoint.yaml"
            yield document.finding((*loc, index), "SP531", f"there is no {kind} `{name}`", suggest.help_text(name, known, plural))


def _folders(setpoint: Document[SetpointFile], apps_present: AbstractSet[str]) -> Iterator[Finding]:
    for name in sorted(set(apps_present) - set(setpoint.model.apps)):
        fix = f"add `{name}: {{}}` (with `source:` when it has artifacts), or remove the folder"
        yield setpoint.finding(("apps",), "SP532", f"the folder apps/{name}/ belongs to no application of this file", fix, at="key")


def _order(environments: Environments) -> Iterator[Finding]:
    unknown = False
    for name, document in environments.items():
        for index, before in enumerate(document.model.after):
            if before not in environments:
                unknown = True
                fix = suggest.help_text(before, set(environments) - {name}, "environments")
                yield document.finding(("after", index), "SP533", f"there is no environment `{before}`", fix)
    circle = () if unknown else find_cycle({name: document.model.after for name, document in environments.items()})
    if circle:
        first, following = circle[0], circle[1 % len(circle)]
        document = environments[first]
        path = " -> ".join((*circle, first))
        what = f"environments come after each other in a circle: {path}"
        yield document.finding(("after", document.model.after.index(following)), "SP534", what, "remove one of the `after`s")


def _addresses(environments: Environments) -> Iterator[Finding]:
    """Refuse two environments on one port, also when one of them listens on every address."""
    taken: list[tuple[str, str, str]] = []
    for name, document in environments.items():
        host = document.model.target.host
        if host is None:
            continue
        address, _, port = host.listen.rpartition(":")
        for other, other_address, other_port in taken:
            if port == other_port and (address == other_address or "0.0.0.0" in (address, other_address)):  # noqa: S104 - compared, not bound
                loc: Loc = ("target", "host", "listen")
                yield document.finding(loc, "SP535", f"`{other}` already listens on {other_address}:{other_port}", "choose another port")
                break
        taken.append((name, address, port))


def _kubernetes(document: Document[EnvironmentFile], environments: Environments) -> Iterator[Finding]:
    """Refuse a canary on Kubernetes that nobody could judge, and checks of an environment that nobody can reach."""
    config = document.model
    target, canary = config.target.kubernetes, config.rollout.canary
    if target is not None and target.metrics is None and canary is not None and not canary.unjudged:
        what = "nothing says where the requests of this canary are counted, so nobody could judge it"
        fix = "add `metrics:` to `target: {kubernetes: ...}`, or say `unjudged: true`: steps go on by time and health alone"
        yield document.finding(("rollout", "canary"), "SP554", what, fix, at="key")
    for index, name in enumerate(config.after if config.gates.requests else ()):
        if name in environments and not environments[name].model.target.url:
            fix = f"add `url:` to `target: {{kubernetes: ...}}` of {name}"
            yield document.finding(("after", index), "SP555", f"HTTP checks ask {name}, and nobody said where it is reached", fix)


def _approvals(setpoint: Document[SetpointFile], document: Document[EnvironmentFile]) -> Iterator[Finding]:
    approvals = document.model.gates.approvals
    if approvals is None:
        return
    loc: Loc = ("gates", "approvals")
    unknown = list(_selectors(setpoint, document, (*loc, "from"), approvals.approvers))
    yield from unknown
    people = setpoint.model.people
    able = [name for name in setpoint.model.directory().members(approvals.approvers) if name in people and people[name].kind == "human"]
    if not unknown and len(able) < approvals.required:
        who = ", ".join(sorted(able)) or "nobody"
        what = f"{counted(approvals.required, 'approval')} required, but only {len(able)} can be given ({who}; machines cannot approve)"
        yield document.finding((*loc, "required"), "SP536", what, "lower `required`, or add people to `from`")


def _commits(setpoint: Document[SetpointFile], document: Document[EnvironmentFile]) -> Iterator[Finding]:
    if document.model.gates.commits is not None and not any(person.keys for person in setpoint.model.people.values()):
        what, fix = "commits are to be signed, but nobody in setpoint.yaml has a key", "add `keys:` to people in setpoint.yaml"
        yield document.finding(("gates", "commits"), "SP546", what, fix)


def _policy(document: Document[EnvironmentFile], compile_error: Callable[[str], str]) -> Iterator[Finding]:
    policy = document.model.gates.policy
    error = compile_error(policy) if policy is not None else ""
    if not error:
        return
    match = _CEL_PLACE.match(error)
    offset = int(match[2]) - 1 if match and match[1] == "1" else -1
    what = f"the policy does not compile: {match[3] if match else error}"
    fix = "it is a CEL expression over evidence, artifacts, candidate, environment and render"
    yield document.text_finding(("gates", "policy"), offset, "SP537", what, fix)

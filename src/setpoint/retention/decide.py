"""What stays and why, and what may go: a pure function of facts, rules and the time (laws 6 and 7).

Called by the retention service. The mark begins at what somebody may still need (`claims.claims`) and follows what manifests name and what
refers to them. Only what Setpoint itself wrote can be left over: a manifest that a person pushed stays until a person deletes it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from setpoint.core import clock
from setpoint.retention.model import Claims, Facts, Going, Kind, Manifest, Plan, Registry, Rules, Sum, Thing


def plan(registry: Registry, things: Mapping[Kind, Iterable[Thing]], claimed: Claims, facts: Facts, times: tuple[Rules, datetime]) -> Plan:
    """Return everything that goes; things are all of the kinds that are no part of the registry."""
    rules, now = times
    going: list[Going] = []
    unlinked: list[tuple[str, str]] = []
    why = _mark(registry, claimed, now.timestamp() - rules.grace_s)
    going += _of_registry(registry, why, now.timestamp() - rules.grace_s, unlinked)
    kept = _kept(registry, going)
    going += _of_things(things, claimed, facts, times)
    for kind, every in things.items():
        gone = {item.name for item in going if item.kind is kind}
        stay = [thing for thing in every if thing.name not in gone]
        kept[kind.value] = Sum(len(stay), sum(thing.size_bytes for thing in stay))
    reasons: dict[str, int] = defaultdict(int)
    for reason, _whole in why.values():
        reasons[reason] += 1
    return Plan(rules, tuple(going), tuple(unlinked), kept, dict(reasons))


Mark = dict[tuple[str, str], tuple[str, bool]]
"""(repository, manifest) -> (why it stays, whether its layers do)"""


def _mark(registry: Registry, claimed: Claims, fresh_since: float) -> Mark:
    places: dict[tuple[str, str], Manifest] = {(item.repository, item.digest): item for item in registry.manifests}
    referrers: dict[tuple[str, str], list[Manifest]] = defaultdict(list)
    for item in registry.manifests:
        if item.subject:
            referrers[item.repository, item.subject].append(item)
    marks: Mark = {}
    todo = [(item, *_root(item, claimed, fresh_since, places)) for item in registry.manifests]
    work = [(item, reason, whole) for item, reason, whole in todo if reason]
    while work:
        item, reason, whole = work.pop()
        before = marks.get((item.repository, item.digest))
        if before is not None and (before[1] or not whole):
            continue
        marks[item.repository, item.digest] = (reason, whole)
        named = [places[item.repository, child] for child in item.children if (item.repository, child) in places]
        work += [(child, reason, whole) for child in named]
        work += [(referrer, "refers to something that stays", True) for referrer in referrers[item.repository, item.digest]]
    return marks


def _root(item: Manifest, claimed: Claims, fresh_since: float, places: Mapping[tuple[str, str], Manifest]) -> tuple[str, bool]:
    """Return (why a manifest stays by itself, whether whole); an empty reason when only another one can keep it."""
    if item.digest in claimed.whole:
        return claimed.whole[item.digest], True
    if item.used_at >= fresh_since:
        return "written or used lately", True
    own = claimed.wrote(item.repository, item.digest)
    tags = [tag for tag in item.tags if not own or (item.repository, tag) not in claimed.own_tags]
    if tags:
        return "a person's tag names it", True
    if item.digest in claimed.records:
        return claimed.records[item.digest], False
    if own:
        return "", False
    if item.subject:
        held = (item.repository, item.subject) in places
        return ("", False) if held or claimed.wrote(item.repository, item.subject) else ("a person pushed it", True)
    return "a person pushed it", True


def _of_registry(registry: Registry, marks: Mark, fresh_since: float, unlinked: list[tuple[str, str]]) -> list[Going]:
    """Return manifests and bytes that go, and note the links that go first."""
    sizes = {blob.digest: blob for blob in registry.blobs}
    needed: dict[str, set[str]] = defaultdict(set)
    held: set[str] = set()
    going: list[Going] = []
    for item in registry.manifests:
        mark = marks.get((item.repository, item.digest))
        if mark is None:
            why = "not pinned, not kept by version or age, and nothing that stays names it"
            going.append(Going(Kind.MANIFEST, item.digest, 0, why, item.repository))
            continue
        held.add(item.digest)
        needed[item.repository].update(item.blobs if mark[1] else item.blobs[:1])
    for (repository, index), children in registry.indexes.items():
        if any((repository, child) in marks for child in children):
            needed[repository].add(index)
    for repository, links in registry.links.items():
        for digest in sorted(links):
            fresh = digest in sizes and sizes[digest].used_at >= fresh_since
            if digest in needed[repository] or fresh:
                held.add(digest)
            else:
                unlinked.append((repository, digest))
    bytes_why = "no manifest that stays names these bytes"
    idle = [item for item in registry.blobs if item.digest not in held and item.used_at < fresh_since]
    return [*going, *(Going(Kind.BLOB, item.digest, item.size_bytes, bytes_why) for item in idle)]


def _kept(registry: Registry, going: Iterable[Going]) -> dict[str, Sum]:
    items = list(going)
    blobs = {item.name for item in items if item.kind is Kind.BLOB}
    stay = [blob for blob in registry.blobs if blob.digest not in blobs]
    manifests = len(registry.manifests) - sum(item.kind is Kind.MANIFEST for item in items)
    return {Kind.MANIFEST.value: Sum(manifests, 0), Kind.BLOB.value: Sum(len(stay), sum(blob.size_bytes for blob in stay))}


def _of_things(things: Mapping[Kind, Iterable[Thing]], claimed: Claims, facts: Facts, times: tuple[Rules, datetime]) -> list[Going]:
    rules, now = times
    fresh = now.timestamp() - rules.grace_s
    unused = min(fresh, now.timestamp() - rules.cache_days * 86_400)
    going: list[Going] = []
    content = {digest for run in claimed.runs for digest in facts.outputs.get(run, ())}
    for thing in things.get(Kind.CACHE, ()):
        if thing.used_at < unused:
            going.append(Going(Kind.CACHE, thing.name, thing.size_bytes, f"not used for {rules.cache_days:g} days"))
        else:
            content.update(thing.holds)
    for thing in things.get(Kind.CONTENT, ()):
        if thing.name not in content and thing.used_at < fresh:
            why = "no run and no cached result that stays names it"
            going.append(Going(Kind.CONTENT, thing.name, thing.size_bytes, why))
    ended = clock.to_text(now - timedelta(days=rules.log_days))
    young = {run.run for run in facts.runs if run.finished_at is None or run.finished_at >= ended}
    for thing in things.get(Kind.LOG, ()):
        if thing.name not in young and thing.used_at < fresh:
            going.append(Going(Kind.LOG, thing.name, thing.size_bytes, f"its run ended more than {rules.log_days:g} days ago"))
    return [*going, *_made_again(things, facts, unused, rules)]


def _made_again(things: Mapping[Kind, Iterable[Thing]], facts: Facts, unused: float, rules: Rules) -> Iterator[Going]:
    """Yield renders and unpacked images that go: losing one costs the time to make it again."""
    for thing in things.get(Kind.RENDER, ()):
        if thing.used_at < unused:
            yield Going(Kind.RENDER, thing.name, thing.size_bytes, f"not used for {rules.cache_days:g} days")
    shown = {digest.partition(":")[2] for digest in (*facts.running, *facts.pinned)}
    for thing in things.get(Kind.IMAGE, ()):
        if thing.name not in shown and thing.used_at < unused:
            why = f"nothing pinned or running has it, and not used for {rules.cache_days:g} days"
            yield Going(Kind.IMAGE, thing.name, thing.size_bytes, why)

"""What a road looks like when nothing moves any more, told by meaning: two roads that end alike give equal answers.

Random names and times are left out: a promotion is told by what it was for, a replica by the build it runs.
"""

import json
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from chaos.crash_road import Road, leftovers
from chaos.kept import Kept
from chaos.later_steps import PASSWORD, VALUE
from setpoint.adapters.clock import SystemClock
from setpoint.adapters.database import tables
from setpoint.adapters.database.projection import Projection
from setpoint.adapters.git.store import GitRepositories
from setpoint.adapters.journal_folder import JournalFolder
from setpoint.adapters.oci.store import OciStoreFolder
from setpoint.ground.journal.model import Entry
from setpoint.ground.journal.service import Journal

FOLDING = Kept()
MAY_REPEAT = frozenset({"task.started", "pin.intended", "deployment.observed", "rollout.judged"})
"""Attempts, intentions and looks: a second one after a crash is the truth. Everything else happens once."""

NAMELESS = frozenset({"token.created", "token.revoked", "home.created", "drift.found", "drift.ended", "job.started", "job.finished"})
"""Entries whose subject is a random name."""

TOLD = (
    *("repository", "revision", "state", "task", "name", "digest", "run", "email", "person", "environment", "superseded_by"),
    *("predicate_type", "subject", "artifact", "result", "promotion", "branch", "binding", "phase", "weight", "job", "revision_hash"),
)
"""What an entry is told by; the rest of its body is times and random names."""


def end_state(road: Road, scratch: Path) -> dict[str, Any]:
    """Return everything that must not depend on who died when; also checks the chain, and folds the projection anew."""
    journal = Journal(JournalFolder(road.home.journal, writable=False), SystemClock())
    check = journal.check()
    assert check.fault == ""
    entries = list(journal.entries())
    kept, folded = _tables(road.home.database), _folded(entries, scratch)
    assert {name for name in kept if kept[name] != folded[name]} == set(), "the database is not what the journal says"
    label, spool = _labels(entries), road.home.repositories / ".pushes"
    return {
        "entries": sorted(Counter(_meaning(entry, label) for entry in entries if entry.kind not in MAY_REPEAT).items()),
        "delivery": _delivery(road, label),
        "deployments": _deployments(entries, label),
        "replicas": sorted(_running(road, label)),
        "traffic": sorted(_traffic(road, label)),
        "registry": _registry(road),
        "content": sorted(path.name for path in (road.home.content / "sha256").rglob("*") if path.is_file()),
        "cache": sorted(path.name for path in road.home.task_cache.rglob("*.json")),
        "left behind": [str(path) for folder in [*leftovers(road.home), spool] if folder.is_dir() for path in folder.iterdir()],
        "in clear": sorted(_in_clear(road)),
        "secrets": sorted(str(path.relative_to(road.home.root)) for folder in kept_secrets(road) for path in folder.rglob("*")),
        "lost": road.world.lost,
        "faults": road.faults,
    }


def kept_secrets(road: Road) -> list[Path]:
    """Return the only folders in which values of secrets may lie."""
    return [road.home.secrets, road.home.registries]


def _in_clear(road: Road) -> list[str]:
    """Return the files that a secret's value stands in: nowhere but where the home keeps those of tasks."""
    away = kept_secrets(road)
    files = [path for path in road.home.root.rglob("*") if path.is_file() and not any(path.is_relative_to(folder) for folder in away)]
    return [
        str(path.relative_to(road.home.root)) for path in files if any(value in path.read_bytes() for value in (PASSWORD, VALUE.encode()))
    ]


def _folded(entries: list[Entry], scratch: Path) -> dict[str, list[list[str]]]:
    fresh = scratch / "folded-anew.db"
    for name in (fresh.name, f"{fresh.name}-wal", f"{fresh.name}-shm"):
        fresh.with_name(name).unlink(missing_ok=True)
    Projection(FOLDING.open_database(fresh)).apply(entries)
    FOLDING.let_go()
    return _tables(fresh)


def _tables(path: Path) -> dict[str, list[list[str]]]:
    with closing(sqlite3.connect(path)) as connection:
        rows = {name: connection.execute(f'SELECT * FROM "{name}"') for name in tables.metadata.tables}  # noqa: S608 - our own names
        return {name: sorted([_value(value) for value in row] for row in found) for name, found in rows.items()}


def _value(value: object) -> str:
    """Return a column's value as text; a body without the order of its keys."""
    return json.dumps(json.loads(value), sort_keys=True) if isinstance(value, str) and value.startswith("{") else repr(value)


def _labels(entries: list[Entry]) -> dict[str, str]:
    """Return {promotion or hold: what it was for, and which of its kind}."""
    found: dict[str, str] = {}
    for entry in entries:
        if entry.kind == "promotion.created":
            body = entry.body
            what = f"{body['kind']} of {body['version']} to {body['candidate']['environment']}"
            same = sum(text.startswith(what) for text in found.values())
            found[entry.subject] = f"{what}, the {same + 1}."
        elif entry.kind == "hold.opened":
            body = entry.body
            what = f"{body['kind']} hold of {body['app']} in {body['environment']}"
            same = sum(text.startswith(what) for text in found.values())
            found[entry.subject] = f"{what}, the {same + 1}."
    return found


def _meaning(entry: Entry, label: dict[str, str]) -> tuple[str, ...]:
    body = dict(entry.body)
    subject = "" if entry.kind in NAMELESS else label.get(entry.subject, entry.subject)
    if entry.kind.startswith("drift.") and "subject" in body:
        body["subject"] = body["subject"].rpartition("-")[0]  # a replica: without the random end of its name
    if entry.kind.startswith("job."):
        body["run"] = body["run"].rpartition("-")[0]  # likewise
    told = [f"{name}={label.get(str(body[name]), body[name])}" for name in TOLD if name in body]
    return (entry.kind, entry.actor, subject, *told)


def _delivery(road: Road, label: dict[str, str]) -> dict[str, Any]:
    """Return the pins at the head and the titles of the commits that led there."""
    git = GitRepositories(road.home.repositories)
    head = git.heads("delivery").get("main") if "delivery" in git.names() else None
    if head is None:
        return {}
    pins = {path: git.read("delivery", head, path) or b"" for path in (f"pins/{name}/hello.yaml" for name in ("staging", "production"))}
    line = [git.revision("delivery", commit).message for commit in git.first_parents("delivery", head)]
    return {"pins": {path: _named(data.decode(), label) for path, data in pins.items()}, "commits": [_named(text, label) for text in line]}


def _named(text: str, label: dict[str, str]) -> str:
    for promotion, name in label.items():
        text = text.replace(promotion, name)
    return text


def _deployments(entries: list[Entry], label: dict[str, str]) -> dict[str, tuple[Any, ...]]:
    last = {entry.subject: entry.body for entry in entries if entry.kind == "deployment.observed"}
    return {
        place: (body["health"], body["version"], body["artifacts"], label.get(body["promotion"]), body["replicas_ready"], body["url"])
        for place, body in last.items()
    }


def _running(road: Road, label: dict[str, str]) -> list[tuple[str, ...]]:
    live = [status.spec for status in road.world.replicas_.values()]
    return [(spec.identity.environment, spec.identity.version, spec.identity.digest, label[spec.identity.promotion]) for spec in live]


def _traffic(road: Road, label: dict[str, str]) -> list[tuple[str, ...]]:
    servers = [server for config in road.world.proxies.values() for _, server in config.servers]
    return [(s.identity.environment, s.identity.version, s.identity.digest, label[s.identity.promotion], str(s.draining)) for s in servers]


def _registry(road: Road) -> dict[str, Any]:
    """Return tags, and how many statements refer to what: signed again after a crash, a statement is the same bytes."""
    store = OciStoreFolder(road.home.registry)
    found: dict[str, Any] = {}
    for name in store.repositories():
        tags = {tag: store.manifest(name, tag) for tag in store.tags(name)}
        found[name] = {tag: manifest.digest for tag, manifest in tags.items() if manifest is not None}
        folder = road.home.registry / "repositories" / name / "_referrers" / "sha256"
        for subject in sorted(folder.iterdir()) if folder.is_dir() else []:
            found[f"{name} {subject.name}"] = sorted(d.artifact_type for d in store.referrers(name, f"sha256:{subject.name}"))
    return found

"""What of an inventory stays although it is no longer wanted, and what goes with its revision: pure, called by the cluster's rollout.

The end of a revision is no removal: nobody has to confirm it. But a revision goes only when nothing leads to it any more: after a while
without traffic, and after the time that the plan keeps it for the way back.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from setpoint.core import clock
from setpoint.reconcile.cluster.model import ObjectKey
from setpoint.reconcile.cluster.revisions import Apart, of_revision
from setpoint.rollout.cluster.compose import Pair
from setpoint.rollout.model import Phase, Rollout

QUIET: Final = timedelta(seconds=10)
"""How long a revision has no traffic before its pods end: data planes follow a route after a moment, and requests are still open."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """What becomes of what is no longer wanted."""

    stays: frozenset[str]
    retired: frozenset[str]


def leaving(rollout: Rollout, pair: Pair, gone: Collection[str], now: datetime) -> Leaving:
    """Return what stays of the names that are not wanted in this phase, and which of them belong to a revision that is over."""
    revisions = _revisions(pair, gone)
    stays = {name for name in gone if _stays(rollout, pair, revisions.get(name), now)}
    return Leaving(frozenset(stays), frozenset(revisions))


def of_revisions(pair: Pair, names: Collection[str]) -> frozenset[str]:
    """Return the names that belong to a revision of either side."""
    return frozenset(_revisions(pair, names))


def _revisions(pair: Pair, names: Collection[str]) -> dict[str, str]:
    bases = {base for side in (pair.new, pair.stable) if side is not None for base in _bases(side)}
    return {name: hash_ for name in names if (hash_ := _hash(name, bases)) is not None}


def _stays(rollout: Rollout, pair: Pair, revision: str | None, now: datetime) -> bool:
    kept = any(revision in one.workloads.values() and clock.from_text(one.until) > now for one in rollout.kept)
    if rollout.phase is Phase.FINISHED:
        return kept if revision is not None else False
    if rollout.phase in (Phase.ROLLING, Phase.FINISHING) or revision is None:
        return True
    if rollout.is_split and pair.by_replicas:
        return revision in _hashes(pair)  # pods of an earlier one have the labels of the Service that both share
    if rollout.phase is Phase.RETURNED and now < clock.from_text(rollout.since) + QUIET:
        return True
    return kept or (rollout.is_split and revision in _hashes(pair))


def _hashes(pair: Pair) -> set[str]:
    return {one for side in (pair.new, pair.stable) if side is not None for one in side.hashes.values()}


def _bases(side: Apart) -> Iterator[tuple[str, str]]:
    for one in side.revisions.values():
        yield "Deployment", one.name
        for value in one.parts:
            key = ObjectKey.of(value)
            yield key.kind, of_revision(key.name)[0]


def _hash(name: str, bases: set[tuple[str, str]]) -> str | None:
    """Return the revision that an object of the inventory belongs to: none, or the one from before there were any (empty)."""
    if name.count("/") != 3:
        return None
    key = ObjectKey.parse(name)
    if key.kind == "Deployment" and (key.kind, key.name) in bases:
        return ""
    base, revision = of_revision(key.name)
    return revision if revision and (key.kind, base) in bases else None

"""Looks at the pods of every namespace that an environment lives in, and says which build each of them runs.

Called by the target around each pass (`reconcile.pods.target`), and by `status`, `why`, `trace`, the page and metrics for what they show.
It changes nothing: a pod that no pin names is told, with who made it. Before an environment was passed once nothing is said of its pods.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Protocol

from setpoint.core import clock
from setpoint.core.errors import SetpointError
from setpoint.core.recent import Recent
from setpoint.promotion.model import Pin, Promotion, PromotionState
from setpoint.promotion.repository import Delivery, DeliveryReader
from setpoint.promotion.targets import KubernetesTarget
from setpoint.reconcile.model import DeployReason
from setpoint.reconcile.pods import decide
from setpoint.reconcile.pods.digests import reported
from setpoint.reconcile.pods.model import Aliases, Build, Placed, Pod, PodGroup, PodState, PodVerdict, Strangers
from setpoint.reconcile.pods.ports import PodClusters
from setpoint.reconcile.prune.model import Inventory
from setpoint.reconcile.rendering import Rendering

_SETTLED: Final = timedelta(seconds=30)
"""How long an application has to be well before a pod of an earlier build is no longer taken for one that leaves."""
_EARLIER: Final = 20
_KEPT: Final = 50_000
Where = tuple[str, str]
"""(cluster, namespace)"""


class PromotionHistory(Protocol):
    """Promotions as the journal tells them."""

    def promotions(self, app: str | None = None, environment: str | None = None, limit: int = 100) -> Sequence[Promotion]:
        """Return promotions, newest first."""
        ...


@dataclass(frozen=True, slots=True)
class PodParts:
    """What pods are compared with."""

    home: str
    clusters: PodClusters
    reader: DeliveryReader
    rendering: Rendering
    records: PromotionHistory
    inventory: Callable[[str, str], Inventory]
    aliases: Callable[[str, str], frozenset[str]]
    """(OCI repository, digest) -> every digest that a node may report for it"""
    clock: clock.Clock


@dataclass(slots=True)
class _Passed:
    """What the last pass over an environment knew."""

    where: Where
    repository: str
    commits: dict[str, tuple[str, ...]]
    """Application -> the pin commits whose images may run."""
    since: dict[str, datetime]
    """Since when an application has been well."""


class PodService:
    """The pods of one home's environments; safe to call from several threads."""

    def __init__(self, parts: PodParts) -> None:
        self._parts = parts
        self._lock = threading.Lock()
        self._passed: dict[str, _Passed] = {}
        self._places: dict[Where, tuple[str, ...]] = {}
        """Which environments live in a namespace."""
        self._named: dict[Placed, tuple[Inventory, tuple[str, ...], tuple[str, ...]]] = {}
        """The commits that were put together last, and of what."""
        self._builds: Recent[tuple[str, str, str, str], Build] = Recent(_KEPT)
        self._aliases: Recent[str, frozenset[str]] = Recent(_KEPT)
        self._judged: dict[Where, tuple[object, dict[Placed, list[PodVerdict]]]] = {}

    # Around a pass

    def begin(self, delivery: Delivery, environment: str, pins: Mapping[str, Pin]) -> None:
        """Note what a pass is about to bring up, and have the pods of its cluster's namespaces watched.

        Raises:
            SetpointError: there is no such cluster, or its kubeconfig is not understood.
        """
        where, every = _where(delivery, environment), _places(delivery)
        with self._lock:
            self._places = every
            for gone in self._passed.keys() - delivery.environments.keys():
                del self._passed[gone]
            before = self._passed.get(environment)
            kept = before if before is not None and before.where == where else _Passed(where, delivery.repository, {}, {})
            commits = {app: tuple(dict.fromkeys([*kept.commits.get(app, ()), pin.commit])) for app, pin in pins.items()}
            self._passed[environment] = _Passed(where, delivery.repository, self._with_inventory(environment, commits), kept.since)
        self._parts.clusters.of(where[0]).watch_pods([namespace for cluster, namespace in every if cluster == where[0]])

    def end(
        self, delivery: Delivery, environment: str, pins: Mapping[str, Pin], well: Iterable[str]
    ) -> dict[str, tuple[DeployReason, ...]]:
        """Note what a pass left behind, and return what is to be said of each application's pods; well are those that rest as wanted."""
        now, resting = self._parts.clock.now(), set(well)
        with self._lock:
            last = self._passed[environment]
            since = {app: last.since.get(app, now) for app in pins if app in resting}
            commits = self._with_inventory(environment, {app: (pin.commit,) for app, pin in pins.items()})
            self._passed[environment] = _Passed(last.where, delivery.repository, commits, since)
        return {
            app: tuple(decide.reasons(rows, f"{app} in {environment}")) for app, rows in self.groups(environment).items() if app in pins
        }

    def _with_inventory(self, environment: str, commits: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        found = {}
        for app, mine in commits.items():
            inventory, known = self._parts.inventory(app, environment), self._named.get((app, environment))
            if known is None or known[0] is not inventory or known[1] != mine:
                every = tuple(dict.fromkeys([*reversed(mine), *sorted(set(inventory.objects.values()))]))
                known = self._named[app, environment] = (inventory, mine, every)
            found[app] = known[2]
        return found

    # Answers

    def groups(self, environment: str) -> dict[str, tuple[PodGroup, ...]]:
        """Return the pods of every application of an environment by workload and build; none on the host, and before the first pass."""
        passed = self._passed.get(environment)
        found = self._verdicts(passed.where) if passed is not None else {}
        return {app: decide.groups(verdicts) for (app, place), verdicts in found.items() if place == environment}

    def strangers(self, environments: Sequence[str]) -> tuple[Strangers, ...]:
        """Return what nobody of ours made in the namespaces of some environments, and which of them cannot be looked at."""
        found = []
        for environment in environments:
            passed = self._passed.get(environment)
            if passed is None:
                continue
            cluster, namespace = passed.where
            try:
                look = self._parts.clusters.of(cluster).pods(namespace)
            except SetpointError as error:
                found.append(Strangers(environment, cluster, namespace, unknown=error.what))
                continue
            rows = decide.groups(self._verdicts(passed.where).get(("", ""), ()))
            if rows or look.stale_since:
                found.append(Strangers(environment, cluster, namespace, rows, look.reason, look.stale_since))
        return tuple(found)

    def counts(self) -> dict[tuple[str, str, PodState], int]:
        """Return how many pods there are by (application, environment, state); those of nobody's count for each environment there."""
        found: dict[tuple[str, str, PodState], int] = {}
        for environment, passed in list(self._passed.items()):
            for place, verdicts in self._verdicts(passed.where).items():
                if place[1] in (environment, ""):
                    for one in verdicts:
                        key = (place[0], environment, one.state)
                        found[key] = found.get(key, 0) + 1
        return found

    def everything(self) -> list[tuple[str, str, PodVerdict | None, Pod]]:
        """Return (cluster, environments, what is said of it, pod) of every pod that the pictures show."""
        found = []
        for cluster, namespace in list(self._places):
            try:
                pods = self._parts.clusters.of(cluster).pods(namespace).pods
            except SetpointError:
                continue
            said = {one.pod.uid: one for rows in self._verdicts((cluster, namespace)).values() for one in rows}
            found += [(cluster, ", ".join(self._places.get((cluster, namespace), ())), said.get(pod.uid), pod) for pod in pods]
        return found

    def named(self, where: Where) -> tuple[set[str], bool]:
        """Return every image that may run in a namespace, and whether that is all: every environment there was passed once."""
        here = {name: passed for name, passed in list(self._passed.items()) if passed.where == where}
        builds = [one for name, passed in here.items() for app in passed.commits for one in self._current(passed, app, name)]
        return {image for one in builds for image in one.images}, set(self._places.get(where, ())) <= here.keys()

    def named_before(self, where: Where) -> set[str]:
        """Return every image that earlier promotions of a namespace's applications named, the last twenty of each."""
        here = {name: passed for name, passed in list(self._passed.items()) if passed.where == where}
        builds = [one for name, passed in here.items() for app in passed.commits for one in self._earlier(passed, app, name)]
        return {image for one in builds for image in one.images}

    def look(self, where: Where) -> tuple[Pod, ...] | None:
        """Return the pods of a namespace; None while nothing is known of them, or it may be old."""
        look = self._parts.clusters.of(where[0]).pods(where[1])
        return look.pods if not look.stale_since and not look.reason else None

    def read(self, cluster: str, namespace: str, name: str) -> Pod | None:
        """Return a pod of any namespace of a registered cluster, read now; raises what the port raises."""
        return self._parts.clusters.of(cluster).pod(namespace, name)

    def aliases(self, repository: str, digest: str) -> frozenset[str]:
        """Return every digest that a node may report for an image."""
        known = self._aliases.get(digest)
        if known is None:
            known = self._parts.aliases(repository, digest)
            self._aliases.put(digest, known)
        return known

    # Judgement

    def _verdicts(self, where: Where) -> dict[Placed, list[PodVerdict]]:
        """Return what is said of a namespace's pods, by whose they are; judged again when a pod or a pin changed."""
        try:
            look = self._parts.clusters.of(where[0]).pods(where[1])
        except SetpointError:
            return {}
        here = {name: passed for name, passed in list(self._passed.items()) if passed.where == where}
        settled = frozenset((app, name) for name, one in here.items() for app, at in one.since.items() if self._is_past(at))
        on = (look.version, {name: passed.commits for name, passed in here.items()}, settled, self._places.get(where))
        kept = self._judged.get(where)
        if kept is not None and kept[0] == on:
            return kept[1]
        named = decide.Named(self._parts.home, {}, {}, {}, settled, self._places.get(where, ()))
        whose = {(one.app, one.environment) for pod in look.pods if (one := decide.owner(pod, named)) is not None}
        current = {(app, name): self._current(here[name], app, name) for app, name in whose if name in here}
        named = replace(named, current=current, aliases=self._all_aliases(current))
        found = [verdict for pod in look.pods if (verdict := self._judge(pod, named, here)) is not None]
        self._judged[where] = (on, decide.by_place(found))
        return self._judged[where][1]

    def _is_past(self, at: datetime) -> bool:
        return self._parts.clock.now() - at >= _SETTLED

    def _judge(self, pod: Pod, named: decide.Named, here: Mapping[str, _Passed]) -> PodVerdict | None:
        verdict = decide.judge(pod, named)
        if verdict is None or verdict.state in (PodState.FOREIGN, PodState.PINNED):
            return verdict
        if verdict.app not in here.get(verdict.environment, _NOTHING).commits:
            return None  # nothing is known of its pins yet
        earlier = self._earlier(here[verdict.environment], verdict.app, verdict.environment)
        aliases = {**named.aliases, **self._all_aliases({(verdict.app, verdict.environment): earlier})}
        again = replace(named, aliases=aliases, earlier={(verdict.app, verdict.environment): earlier})
        return decide.judge(pod, again)

    def _current(self, passed: _Passed, app: str, environment: str) -> list[Build]:
        builds = [self._build(passed.repository, commit, app, environment) for commit in passed.commits.get(app, ())]
        return [one for one in builds if one is not None]

    def _earlier(self, passed: _Passed, app: str, environment: str) -> list[Build]:
        found = []
        for one in self._parts.records.promotions(app, environment, _EARLIER):
            if one.state is PromotionState.PINNED and one.pin_commit:
                build = self._build(passed.repository, one.pin_commit, app, environment)
                found += [build] if build is not None else []
        return found

    def _build(self, repository: str, commit: str, app: str, environment: str) -> Build | None:
        """Return what a pin commit names; by its artifacts alone where it does not render any more."""
        key = (repository, commit, app, environment)
        kept = self._builds.get(key)
        if kept is None:
            try:
                pin = self._parts.reader.pin_at(repository, commit, environment, app)
            except SetpointError:
                pin = None
            if pin is None:
                return None
            kept = Build(app, environment, pin.promotion, pin.version, pin.source_revision, self._images(pin, repository))
            self._builds.put(key, kept)
        return kept

    def _images(self, pin: Pin, repository: str) -> frozenset[str]:
        ours = frozenset(f"{one.oci_repository}@{one.digest}" for one in pin.candidate.artifacts.values())
        try:
            return ours | self._parts.rendering.images(pin.candidate, repository)
        except SetpointError:
            return ours

    def _all_aliases(self, builds: Mapping[Placed, Sequence[Build]]) -> Aliases:
        images = {image for mine in builds.values() for build in mine for image in build.images}
        return {reported(image): self.aliases(image.rpartition("@")[0], reported(image)) for image in images}


_NOTHING: Final = _Passed(("", ""), "", {}, {})


def _where(delivery: Delivery, environment: str) -> Where:
    target = delivery.environment(environment).target.kubernetes or KubernetesTarget(cluster="none", namespace="none", registry="none")
    return target.cluster, target.namespace


def _places(delivery: Delivery) -> dict[Where, tuple[str, ...]]:
    """Return which environments live in which namespace."""
    found: dict[Where, tuple[str, ...]] = {}
    for name in delivery.environments:
        if delivery.environment(name).target.kubernetes is not None:
            where = _where(delivery, name)
            found[where] = (*found.get(where, ()), name)
    return found

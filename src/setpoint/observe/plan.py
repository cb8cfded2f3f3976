"""What the next promotion would change, and what is not live as it is pinned: renders and looks, compared by `reconcile.plan`.

Called by the API for `plan` and `diff`; reads Git, renders, replicas and the proxy, and decides and changes nothing.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from setpoint.artifact.ports import OciStore
from setpoint.core import digest
from setpoint.core.errors import SetpointError, UserError
from setpoint.core.reasons import Outcome
from setpoint.observe import rollouts
from setpoint.observe.model import CommitTitle, Diff, FolderChange, ImageChange, Plan
from setpoint.promotion.explaining import Explanation
from setpoint.promotion.model import Candidate, Pin
from setpoint.promotion.repository import Delivery, DeliveryReader
from setpoint.promotion.service import PromotionService
from setpoint.reconcile import plan as comparing
from setpoint.reconcile.live_plan import LivePlan
from setpoint.reconcile.model import DesiredState, Difference, Identity, ReplicaStatus
from setpoint.reconcile.ports import ProxyConfig, ProxyServer
from setpoint.reconcile.prune.decide import objects_of, over_budget
from setpoint.reconcile.rendering import Rendering
from setpoint.reconcile.strategy import canary_plan
from setpoint.rollout.canary import traffic
from setpoint.rollout.canary.reasons import StepView
from setpoint.rollout.model import Phase, Rollout
from setpoint.source.ports import GitStore

_COMMITS: Final = 100
LIMIT_S: Final = 30.0
"""How long a cluster is asked for one plan."""


@dataclass(frozen=True, slots=True)
class PlanParts:
    """What plans and differences are read from."""

    reader: DeliveryReader
    promotions: PromotionService
    rendering: Rendering
    git: GitStore
    store: OciStore
    replicas: Callable[[], list[ReplicaStatus]]
    proxy: Callable[[ProxyConfig, str], list[Difference]]
    """(configuration, application) -> how the running proxy differs."""
    images: Callable[[str, str], list[Difference]]
    """(application, environment) -> what is known to differ in its unpacked images."""
    rollout: Callable[[str, str], Rollout | None]
    """(application, environment) -> its newest rollout."""
    cluster: Callable[[Delivery, str, Pin], list[Difference]]
    """(delivery, environment, pin) -> how the live objects of a Kubernetes target differ."""
    live: Callable[[Delivery, Candidate, Pin | None, float], LivePlan]
    """(delivery, candidate, pin, seconds) -> what a candidate would change of the live objects of a Kubernetes target."""


@dataclass(frozen=True, slots=True)
class Coming:
    """The candidate that would be promoted."""

    candidate: Candidate
    promotion: str
    source_repository: str
    revision: str
    version: str
    called: str = ""
    """What a plan calls its configuration; empty: that of HEAD."""


class PlanView:
    """Answers `plan` and `diff`."""

    def __init__(self, parts: PlanParts) -> None:
        self._parts = parts

    def plan(self, app: str, environment: str, *, live: bool = True) -> Plan:
        """Return what promoting the current candidate would change; live: clusters are asked too.

        Raises:
            NotFoundError: application or environment is unknown.
        """
        explanation = self._parts.promotions.explain(app, environment)
        delivery, pin = self._parts.reader.require(app, environment), explanation.pin
        coming = _coming(explanation, delivery, app)
        if coming is None:
            sentence, before = f"nothing to promote for {app} in {environment}", _version(pin)
            return Plan(app, environment, sentence, "", before, "", reasons=explanation.proposal.reasons or explanation.verdict.reasons)
        found = self.of(delivery, pin, coming, LIMIT_S if live else 0.0)
        refusals = tuple(r for r in explanation.verdict.reasons if r.outcome is Outcome.DENY) if coming.promotion else ()
        return replace(found, refusals=refusals)

    def of(self, delivery: Delivery, pin: Pin | None, coming: Coming, live_s: float) -> Plan:
        """Return what pinning a candidate would change; live_s is how long a cluster may be asked, 0 not at all."""
        app, environment = coming.candidate.app, coming.candidate.environment
        place, before, configuration = f"{app} in {environment}", _version(pin), coming.called or "the configuration at HEAD"
        added, dropped = self._commits(pin, coming)
        after = coming.version or configuration
        same = pin is not None and bool(after == before) and coming.candidate.artifacts == pin.candidate.artifacts
        after = f"{after} with {configuration}" if same else after
        found = Plan(
            app=app,
            environment=environment,
            sentence=f"{place}: {before or 'nothing'} -> {after}",
            promotion=coming.promotion,
            before=before,
            after=after,
            images=_images(pin, coming.candidate),
            folders=_folders(pin, coming.candidate),
            commits=added,
            dropped=dropped,
        )
        try:
            budget = delivery.environment(environment).prune.budget
            found = self._rendered(found, delivery.repository, (pin, coming.candidate), budget)
            if live_s > 0 and delivery.environment(environment).target.kubernetes is not None:
                found = replace(found, live=self._parts.live(delivery, coming.candidate, pin, live_s))
        except UserError as error:
            return replace(found, error=error.render())
        return found

    def _rendered(self, found: Plan, repository: str, sides: tuple[Pin | None, Candidate], budget: str) -> Plan:
        """Add what rendering both sides shows; the candidate first, for its fault is the one that matters."""
        rendering, (pin, candidate) = self._parts.rendering, sides
        after = rendering.desired(candidate, repository)
        before = rendering.desired(pin.candidate, repository) if pin is not None else None
        canary = self._canary(found, before, after)
        objects = rendering.changes(pin.candidate if pin is not None else None, candidate, repository)
        lost = rendering.losses(candidate, pin.candidate if pin is not None else None, repository)
        lost += tuple(f"{address} is no longer served" for address in comparing.lost_routes(before, after))
        changes = comparing.workload_changes(before, after)
        return replace(found, objects=objects, workloads=changes, destructive=lost, canary=canary, held=_held(before, after, budget))

    def _canary(self, found: Plan, before: DesiredState | None, after: DesiredState) -> tuple[StepView, ...]:
        """Return the steps that the change would take, by the traffic of the last rollout here, else as declared."""
        delivery = self._parts.reader.load()
        config = delivery.environment(found.environment).rollout.canary if delivery is not None else None
        if config is None or before is None or not traffic.can_split(before, after):
            return ()
        return rollouts.planned(canary_plan(config), self._parts.rollout(found.app, found.environment))

    def _commits(self, pin: Pin | None, coming: Coming) -> tuple[tuple[CommitTitle, ...], tuple[CommitTitle, ...]]:
        """Return the commits that come and that go, between the pinned revision and the candidate's."""
        git, name, new = self._parts.git, coming.source_repository, coming.revision
        old = pin.source_revision if pin is not None and pin.source_repository == name else ""
        if not new or new == old or name not in git.names() or git.resolve(name, new) is None:
            return (), ()
        if not old or git.resolve(name, old) is None:
            return tuple(_titles(git, name, new, None, 1)), ()
        return tuple(_titles(git, name, new, old, _COMMITS)), tuple(_titles(git, name, old, new, _COMMITS))

    def diff(self, app: str, environment: str) -> Diff:
        """Return how the live replicas, routes and images differ from the pin at HEAD.

        Raises:
            NotFoundError: application or environment is unknown.
            UserError: the pin cannot be read or rendered, so that there is nothing to compare with.
        """
        delivery = self._parts.reader.require(app, environment)
        host = delivery.environment(environment).target.host
        pin = self._parts.reader.pin(delivery, environment, app)
        if host is None:
            found = self._parts.cluster(delivery, environment, pin) if pin is not None else []
            return Diff(app, environment, _version(pin), pin.promotion if pin is not None else "", tuple(found))
        every = [r for r in self._parts.replicas() if r.spec.identity.environment == environment]
        mine = [replica for replica in every if replica.spec.identity.app == app]
        if pin is None:
            desired = DesiredState(app, environment, (), (), "")
            return Diff(app, environment, "", "", comparing.replica_differences(desired, mine))
        rollout = self._parts.rollout(app, environment)
        if rollout is not None and (rollout.is_split or rollout.phase is Phase.RETURNED):
            # Two revisions are there on purpose: comparing each replica with one of them would say nothing true.
            live = Difference("rollout", "traffic", "all of it with the pin's revision", rollouts.short(rollout))
            return Diff(app, environment, _version(pin), pin.promotion, (*self._images_missing(pin), live))
        desired = self._parts.rendering.desired(pin.candidate, delivery.repository)
        found = [*self._images_missing(pin), *self._parts.images(app, environment), *comparing.replica_differences(desired, mine)]
        found += self._proxy_differences(delivery, (app, desired), environment, host.listen, every)
        return Diff(app, environment, _version(pin), pin.promotion, tuple(found))

    def _images_missing(self, pin: Pin) -> Iterable[Difference]:
        for name, artifact in sorted(pin.candidate.artifacts.items()):
            try:
                stored = self._parts.store.manifest(artifact.oci_repository, artifact.digest)
                live = "" if stored is not None and digest.sha256(stored.data) == artifact.digest else "not in the registry"
            except SetpointError as error:
                live = error.what
            if live:
                yield Difference(f"image {name}", "registry", artifact.digest, live)

    def _proxy_differences(
        self, delivery: Delivery, asked: tuple[str, DesiredState], environment: str, listen: str, replicas: Sequence[ReplicaStatus]
    ) -> list[Difference]:
        """Compare the proxy with the routes of all pins of the environment and the replicas that should serve them."""
        states: dict[str, DesiredState] = {}
        whole = True
        for app in delivery.apps_in(environment):
            state = asked[1] if app == asked[0] else self._other(delivery, app, environment)
            whole = whole and not isinstance(state, SetpointError)
            if isinstance(state, DesiredState):
                states[app] = state
        routes = tuple((app, route) for app, state in states.items() for route in state.routes)
        servers = tuple(server for app, state in states.items() for server in _servers(app, state, replicas))
        if not routes:
            return []
        found = self._parts.proxy(ProxyConfig(environment, listen, routes, servers), asked[0])
        # An application whose pin cannot be rendered keeps the routes it had: the whole configuration says nothing then.
        return [difference for difference in found if whole or difference.field != "configuration"]

    def _other(self, delivery: Delivery, app: str, environment: str) -> DesiredState | SetpointError | None:
        try:
            pin = self._parts.reader.pin(delivery, environment, app)
            return self._parts.rendering.desired(pin.candidate, delivery.repository) if pin is not None else None
        except SetpointError as error:
            return error


def _held(before: DesiredState | None, after: DesiredState, budget: str) -> str:
    """Return why the removals of a plan would wait for a person; empty when they would not."""
    every = objects_of(before) if before is not None else ()
    return over_budget(set(every) - set(objects_of(after)), every, budget)


def _coming(explanation: Explanation, delivery: Delivery, app: str) -> Coming | None:
    """Return the candidate of the open (or denied) promotion, else the one that would be proposed."""
    promotion, proposal = explanation.promotion, explanation.proposal
    if promotion is not None:
        source = (promotion.source_repository, promotion.source_revision)
        return Coming(promotion.candidate, promotion.promotion, *source, promotion.names)
    if proposal.candidate is None:
        return None
    build = proposal.build
    source_name = delivery.app_in(app, proposal.candidate.environment).source or ""
    return Coming(proposal.candidate, "", source_name, build.revision if build else "", build.version if build else "")


def _version(pin: Pin | None) -> str:
    """Return what people call a pin; an application without artifacts has the promotion only."""
    return (pin.version or pin.promotion) if pin is not None else ""


def _images(pin: Pin | None, candidate: Candidate) -> tuple[ImageChange, ...]:
    old = {name: artifact.digest for name, artifact in (pin.candidate.artifacts if pin is not None else {}).items()}
    new = {name: artifact.digest for name, artifact in candidate.artifacts.items()}
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    return tuple(ImageChange(name, old.get(name, ""), new.get(name, "")) for name in names)


def _folders(pin: Pin | None, candidate: Candidate) -> tuple[FolderChange, ...]:
    old, new = pin.candidate.folders() if pin is not None else {}, candidate.folders()
    moved = [name for name in dict.fromkeys((*new, *old)) if old.get(name) != new.get(name)]
    return tuple(FolderChange(name, old.get(name) or "", new.get(name) or "") for name in moved)


def _titles(git: GitStore, name: str, head: str, base: str | None, limit: int) -> Iterable[CommitTitle]:
    for revision in git.history(name, head, base, limit):
        yield CommitTitle(revision.commit, revision.title, revision.author_email, revision.committed_at)


def _servers(app: str, state: DesiredState, replicas: Sequence[ReplicaStatus]) -> Iterable[tuple[str, ProxyServer]]:
    """Yield the replicas of the wanted revisions: each of them should get traffic."""
    wanted = {workload.name: workload.revision_hash for workload in state.workloads}
    for replica in replicas:
        spec = replica.spec
        mine = spec.identity.app == app and wanted.get(spec.workload) == spec.revision_hash
        if mine and replica.shim_alive and not replica.stopping:
            shown = Identity(app, spec.identity.environment, spec.identity.revision, spec.identity.digest, spec.identity.promotion)
            yield app, ProxyServer(spec.replica, spec.workload, spec.port, shown)

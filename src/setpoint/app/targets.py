"""Builds the places that applications run in, the host runtime and clusters, and the reconciler over them: a part of `app.wiring`.

Called by wiring only; adapters are made here and there, and nowhere else.
"""

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

from setpoint.adapters.clock import SteadyClock
from setpoint.adapters.database.records import Records
from setpoint.adapters.host.proxy import HaProxy
from setpoint.adapters.host.runtime import HostFolders, HostRuntime
from setpoint.adapters.kubernetes.clusters import KubernetesClusters, access_of, facts
from setpoint.adapters.kubernetes.kubeconfig import Access, in_cluster
from setpoint.adapters.kubernetes.metrics import MetricsPages
from setpoint.adapters.oci.client import RegistryClient
from setpoint.adapters.oci.copy import RegistryCopy
from setpoint.adapters.runner.client import dedicated_uid
from setpoint.adapters.secret_files import SecretFolder
from setpoint.adapters.sops import SopsVault
from setpoint.app.application import Store
from setpoint.app.looks import served, touched
from setpoint.app.pull_tokens import HomeLogins, HomePullTokens
from setpoint.app.returns import CanaryReturns
from setpoint.artifact.bases import needs_host
from setpoint.artifact.copies import Copies
from setpoint.artifact.digests import aliases
from setpoint.core import clock
from setpoint.evidence.ports import Signer
from setpoint.ground.clusters.service import IN_CLUSTER, Clusters
from setpoint.ground.registries.service import Registries
from setpoint.observe.plan import PlanParts
from setpoint.pipeline.model import ToolchainFacts
from setpoint.promotion.repository import Delivery, DeliveryReader
from setpoint.promotion.service import PromotionService
from setpoint.promotion.targets import KubernetesTarget
from setpoint.reconcile.admission import Admission
from setpoint.reconcile.adopt.service import AdoptionService, AdoptParts
from setpoint.reconcile.cluster.hooking import Hooking
from setpoint.reconcile.cluster.inventories import Inventories
from setpoint.reconcile.cluster.preview import ClusterPreview, PreviewParts
from setpoint.reconcile.cluster.target import ClusterParts, ClusterTarget
from setpoint.reconcile.drift.service import DriftParts, DriftService
from setpoint.reconcile.effective import EffectiveParts, EffectivePins
from setpoint.reconcile.enforce.service import EnforceParts, EnforceService
from setpoint.reconcile.enforce.target import TargetWithRefusal
from setpoint.reconcile.host.target import HostParts, HostTarget
from setpoint.reconcile.model import ReplicaStatus
from setpoint.reconcile.pods.model import Pod
from setpoint.reconcile.pods.service import PodParts, PodService
from setpoint.reconcile.pods.target import TargetWithPods
from setpoint.reconcile.prune.service import PruneParts, PruneService
from setpoint.reconcile.pulls.service import PullParts, PullService
from setpoint.reconcile.pulls.target import TargetWithPulls
from setpoint.reconcile.rendering import Rendering
from setpoint.reconcile.renders import Renders
from setpoint.reconcile.service import ReconcileParts, ReconcileService
from setpoint.reconcile.target import Target
from setpoint.rollout.canary.decide import was_sent_back
from setpoint.rollout.canary.engine import Engine
from setpoint.rollout.cluster.service import ClusterRollout, RevisionParts
from setpoint.rollout.jobs import HostJobs
from setpoint.rollout.returning import Returning
from setpoint.rollout.rollouts import Rollouts
from setpoint.rollout.service import HostRollout, RolloutParts

Machine = tuple[Callable[[], ToolchainFacts], SopsVault]
"""What of this machine replicas start with: its toolchain, and who opens their Secrets."""


@dataclass(frozen=True, slots=True)
class Targets:
    """Where applications run: what runs on the host, what leads to it, the clusters, and who keeps all of it as desired."""

    runtime: HostRuntime
    proxy: HaProxy
    drift: DriftService
    prune: PruneService
    rollouts: Rollouts
    reconcile: ReconcileService
    cluster: ClusterTarget
    connections: KubernetesClusters
    pods: PodService
    adoptions: AdoptionService


def build(
    store: Store,
    judges: tuple[DeliveryReader, Rendering, Admission],
    machine: Machine,
    promotions: PromotionService,
    own: Collection[str],
    writing: tuple[Signer, Renders],
) -> Targets:
    """Make host and clusters, and the reconciler over both; own are names of this home's own registry for others."""
    (delivery, rendering, admission), records, recorder = judges, store.records, store.recorder
    facts, vault = machine
    home = home_of(store)
    folders = HostFolders(store.home.replicas, store.home.images)
    runtime = HostRuntime(folders, store.oci, facts, dedicated_uid(), vault=vault)
    drift = DriftService(
        DriftParts(records, records, recorder, store.clock, runtime.replicas, store.holds, records, partial(_sent_back, records))
    )
    proxy = HaProxy(store.home.proxies, dedicated_uid(), judge=drift.judge)
    prune = PruneService(
        PruneParts(records, records, recorder, delivery, rendering, runtime.replicas, records.approved_losses, store.holds.leases)
    )
    steady = _steady(store)
    rollouts = Rollouts(records, recorder, steady)
    engine, returning = Engine(rollouts, steady), Returning(rollouts, CanaryReturns(promotions), steady)
    rollout = HostRollout(RolloutParts(runtime, proxy, recorder, steady, records, rollouts, engine, returning))
    connections = KubernetesClusters(clusters_of(store).kubeconfig, store.control.notify, store.clock)
    host = HostTarget(
        HostParts(
            delivery=delivery,
            rendering=rendering,
            rollout=rollout,
            jobs=HostJobs(runtime, records, recorder, store.clock),
            records=records,
            clock=store.clock,
            drift=drift,
            prune=prune,
            served=lambda environment: served(proxy, environment),
        )
    )
    pulls = pulls_of(store, connections, own)
    cluster = ClusterTarget(
        ClusterParts(
            home=home,
            clusters=connections,
            reader=delivery,
            rendering=rendering,
            records=records,
            drift=drift,
            prune=prune,
            copies=Copies(store.oci, RegistryCopy(store.oci, registries_of(store).access), recorder, own),
            open=vault.open,
            needs_host=partial(needs_host, store.oci),
            hooking=Hooking(records, recorder, store.clock),
            rollout=_revisions(store, rollouts, (engine, returning), connections),
            refers=pulls.refers,
        )
    )
    pods = pods_of(store, connections, (delivery, rendering), prune)
    enforce = EnforceService(EnforceParts(home, connections, pods, records, recorder))
    watched = TargetWithPulls(TargetWithPods(TargetWithRefusal(cluster, enforce), pods), pulls)
    pins = EffectivePins(EffectiveParts(delivery, admission, rendering, records, store.holds, store.git, store.clock))

    def where(delivery: Delivery, environment: str) -> Target:
        return host if delivery.environment(environment).target.host is not None else watched

    signer, renders = writing
    adoptions = AdoptionService(AdoptParts(delivery, store.git, renders, cluster.rows, drift, records, recorder, signer, store.holds))
    service = ReconcileService(ReconcileParts(delivery, pins, where, records, recorder, store.clock, adoptions.settle))
    return Targets(runtime, proxy, drift, prune, rollouts, service, cluster, connections, pods, adoptions)


def _revisions(store: Store, rollouts: Rollouts, hands: tuple[Engine, Returning], connections: KubernetesClusters) -> ClusterRollout:
    engine, returning = hands
    pages = MetricsPages(connections)
    return ClusterRollout(RevisionParts(rollouts, engine, returning, pages, partial(_pods, connections), store.clock))


def _pods(connections: KubernetesClusters, target: KubernetesTarget) -> Sequence[Pod]:
    look = connections.of(target.cluster).pods(target.namespace)
    return look.pods if not look.stale_since else ()


def home_of(store: Store) -> str:
    """Return the id of a home."""
    return next(iter(store.journal.entries())).subject


def _steady(store: Store) -> SteadyClock:
    """Return the clock of rollouts: never behind the journal, or behind a step that was timed while the machine's clock was."""
    told = [at for rollout in store.records.rollouts() for at in (rollout.since, rollout.looked_at) if at]
    return SteadyClock(max(store.clock.now(), *(clock.from_text(at) for at in (*told, store.journal.last_at) if at)))


def pods_of(store: Store, connections: KubernetesClusters, reads: tuple[DeliveryReader, Rendering], prune: PruneService) -> PodService:
    """Return who looks at the pods of a home's environments."""
    delivery, rendering = reads
    return PodService(
        PodParts(
            home=home_of(store),
            clusters=connections,
            reader=delivery,
            rendering=rendering,
            records=store.records,
            inventory=prune.inventory,
            aliases=partial(aliases, store.oci),
            clock=store.clock,
        )
    )


def pulls_of(store: Store, connections: KubernetesClusters, own: Collection[str]) -> PullService:
    """Return the pull secrets of a home; own are names of its own registry for others."""
    ours, tokens = frozenset(host.lower() for host in own), HomePullTokens(store.tokens, store.recorder)
    logins = HomeLogins(registries_of(store))
    return PullService(PullParts(home_of(store), connections, tokens, logins, store.recorder, store.clock, ours.__contains__))


def registries_of(store: Store) -> Registries:
    """Return the logins of a home to other registries."""
    return Registries(store.records, SecretFolder(store.home.registries), store.recorder, lambda access: RegistryClient(access).greet())


def clusters_of(store: Store) -> Clusters:
    """Return the clusters of a home."""
    return Clusters(store.records, SecretFolder(store.home.clusters), store.recorder, facts)


def access(clusters: Clusters, name: str) -> Access:
    """Return how a cluster of a home is reached.

    Raises:
        NotFoundError: there is none of this name (SP693). UserError: its kubeconfig is not here (SP694).
    """
    return in_cluster(os.environ) if name == IN_CLUSTER else access_of(name, *clusters.kubeconfig(name))


def plan_parts(store: Store, target: Targets, delivery: DeliveryReader, promotions: PromotionService, rendering: Rendering) -> PlanParts:
    """Return what plans and differences are read from."""
    made = Inventories(delivery, rendering, target.prune)
    return PlanParts(
        reader=delivery,
        promotions=promotions,
        rendering=rendering,
        git=store.git,
        store=store.oci,
        replicas=target.runtime.replicas,
        proxy=target.proxy.differences,
        images=touched(store.records),
        rollout=store.records.rollout,
        cluster=target.cluster.differences,
        live=ClusterPreview(
            PreviewParts(home_of(store), target.connections, rendering, target.prune.inventory, made.of, target.cluster.shapes.rolled_out)
        ).of,
    )


def _sent_back(records: Records, replica: ReplicaStatus) -> bool:
    spec = replica.spec
    return was_sent_back(records.rollout(spec.identity.app, spec.identity.environment), spec.workload, spec.revision_hash)

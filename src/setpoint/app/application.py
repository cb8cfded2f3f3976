"""A home, opened and ready to be served: what API, pages and loop reach; `app.wiring` builds it, and nobody else makes one of these.

It holds what was built and decides nothing; a verb of the API finds here the one service that it calls.
"""

from dataclasses import dataclass

from setpoint.adapters.content import ContentFolder
from setpoint.adapters.database.records import Records
from setpoint.adapters.git.store import GitRepositories
from setpoint.adapters.host.proxy import HaProxy
from setpoint.adapters.host.runtime import HostRuntime
from setpoint.adapters.kubernetes.clusters import KubernetesClusters
from setpoint.adapters.kubernetes.jobs.door import TaskDoor
from setpoint.adapters.oci.store import OciStoreFolder
from setpoint.adapters.runner.client import RunnerClient
from setpoint.adapters.signer.client import SignerClient
from setpoint.adapters.sops import SopsVault
from setpoint.adapters.task_logs import TaskLogFolder
from setpoint.adapters.tokens import LoginLinks, TokenFile
from setpoint.adapters.toolchain import HostToolchain
from setpoint.app.bus import Bus
from setpoint.app.home import Home
from setpoint.app.loop import ControlLoop
from setpoint.app.pushes import Pushes
from setpoint.app.recorder import JournalRecorder
from setpoint.app.registration import Registration
from setpoint.core import clock
from setpoint.evidence.verify import TrustRoot
from setpoint.ground.clusters.service import Clusters
from setpoint.ground.hold.service import Holds
from setpoint.ground.journal.service import Journal
from setpoint.ground.registries.service import Registries
from setpoint.ground.secrets.service import Secrets
from setpoint.observe.branches import BranchPlans
from setpoint.observe.evidence import EvidenceView
from setpoint.observe.executors import ExecutorsView
from setpoint.observe.plan import PlanView
from setpoint.observe.runs import RunsView
from setpoint.observe.status import StatusView
from setpoint.observe.trace import TraceView
from setpoint.observe.verify import Verifier
from setpoint.pipeline.service import PipelineService
from setpoint.promotion.break_glass import BreakGlass
from setpoint.promotion.checks.service import CommandChecks
from setpoint.promotion.generators.service import Generators
from setpoint.promotion.repository import DeliveryReader
from setpoint.promotion.service import PromotionService
from setpoint.promotion.stops import Stops
from setpoint.reconcile.adopt.service import AdoptionService
from setpoint.reconcile.drift.service import DriftService
from setpoint.reconcile.pods.service import PodService
from setpoint.reconcile.prune.service import PruneService
from setpoint.reconcile.rendering import Rendering
from setpoint.reconcile.service import ReconcileService
from setpoint.retention.service import GarbageCollection
from setpoint.rollout.rollouts import Rollouts


@dataclass(frozen=True, slots=True)
class Store:
    """What is on disk, opened."""

    home: Home
    clock: clock.Clock
    git: GitRepositories
    oci: OciStoreFolder
    content: ContentFolder
    logs: TaskLogFolder
    tokens: TokenFile
    journal: Journal
    records: Records
    recorder: JournalRecorder
    holds: Holds
    bus: Bus
    log_bus: Bus
    control: Bus
    """Wakes the control loop."""


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes beside the server."""

    runner: RunnerClient
    signer: SignerClient

    def close(self) -> None:
        """End both."""
        self.runner.close()
        self.signer.close()


@dataclass(frozen=True, slots=True)
class Application:
    """A home, ready to be served: what API and pages call."""

    store: Store
    processes: Processes
    trust: TrustRoot
    links: LoginLinks
    pipeline: PipelineService
    secrets: Secrets
    registries: Registries
    clusters: Clusters
    connections: KubernetesClusters
    generators: Generators
    door: TaskDoor
    executors: ExecutorsView
    promotions: PromotionService
    checks: CommandChecks
    stops: Stops
    break_glass: BreakGlass
    adoptions: AdoptionService
    delivery: DeliveryReader
    runtime: HostRuntime
    proxy: HaProxy
    drift: DriftService
    prune: PruneService
    pods: PodService
    reconcile: ReconcileService
    vault: SopsVault
    rendering: Rendering
    rollouts: Rollouts
    status: StatusView
    runs: RunsView
    trace: TraceView
    plan: PlanView
    branches: BranchPlans
    evidence: EvidenceView
    toolchain: HostToolchain
    verifier: Verifier
    registration: Registration
    pushes: Pushes
    garbage: GarbageCollection
    loop: ControlLoop

    def close(self) -> None:
        """End the processes beside the server; replicas and proxies live on."""
        self.garbage.close()
        self.connections.close()
        self.processes.close()

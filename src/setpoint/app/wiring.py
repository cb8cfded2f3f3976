"""Builds the application of a home: the only place where a server's adapters are made and its ports are filled.

Called by `setpoint up` (in cli.serve) and by tests. What works without a server (`run`, `check`, `down`, `doctor`) makes its own few. The
order matters: the runner is forked before any key is read, the signer reads the keys in its own process, and the server never holds one.
"""

from dataclasses import replace
from functools import partial

from setpoint.adapters.age import KeyFile
from setpoint.adapters.clock import SystemClock
from setpoint.adapters.commit_signatures import CheckedSignatures
from setpoint.adapters.content import ContentFolder
from setpoint.adapters.database.engine import open_database
from setpoint.adapters.database.projection import Projection
from setpoint.adapters.database.records import Records
from setpoint.adapters.git.spool import PushSpool
from setpoint.adapters.git.store import GitRepositories
from setpoint.adapters.helm import HelmBinary
from setpoint.adapters.host.image_care import ImageCare
from setpoint.adapters.http_check import HttpProbe, setpoint_headers
from setpoint.adapters.journal_folder import JournalFolder
from setpoint.adapters.json_schema import JsonSchemaProcess
from setpoint.adapters.kustomize import KustomizeBinary
from setpoint.adapters.oci.pull import RegistryPull
from setpoint.adapters.oci.store import OciStoreFolder
from setpoint.adapters.output_index import OutputIndex
from setpoint.adapters.policy import CelPolicy
from setpoint.adapters.render_folder import RenderFolder
from setpoint.adapters.runner.client import RunnerClient, dedicated_uid
from setpoint.adapters.scans import ScanProcess
from setpoint.adapters.secret_files import SecretFolder
from setpoint.adapters.signer.client import SignerClient, SignerPaths
from setpoint.adapters.sops import SopsVault
from setpoint.adapters.task_cache import TaskCacheFolder
from setpoint.adapters.task_logs import TaskLogFolder
from setpoint.adapters.tokens import LoginLinks, TokenFile
from setpoint.adapters.toolchain import HostToolchain
from setpoint.adapters.workspaces import WorkspaceFolder
from setpoint.app import targets
from setpoint.app.application import Application, Processes, Store
from setpoint.app.bus import Bus
from setpoint.app.commit_check import CommitKeyCheck
from setpoint.app.executors import Executors
from setpoint.app.garbage import collected, garbage_of
from setpoint.app.generating import Previewed, generators_of
from setpoint.app.home import Home
from setpoint.app.loop import ControlLoop, LoopParts
from setpoint.app.products import ProductParts, Products
from setpoint.app.pushes import Pushes
from setpoint.app.recorder import JournalRecorder
from setpoint.app.registration import Registration
from setpoint.app.secret_source import ServerSecrets
from setpoint.app.settings import Settings
from setpoint.app.trust import ensure_trust
from setpoint.artifact.files import is_files
from setpoint.artifact.service import ArtifactService
from setpoint.evidence.facts import EvidenceFacts
from setpoint.evidence.service import EvidenceService
from setpoint.evidence.verify import TrustRoot
from setpoint.ground.hold.service import Holds
from setpoint.ground.identity.model import Role
from setpoint.ground.journal.service import Journal
from setpoint.ground.secrets.service import Secrets
from setpoint.observe.branches import BranchParts, BranchPlans
from setpoint.observe.evidence import EvidenceView
from setpoint.observe.executors import ExecutorsView
from setpoint.observe.plan import PlanView
from setpoint.observe.runs import RunsView
from setpoint.observe.status import Beside, StatusView
from setpoint.observe.trace import TraceView
from setpoint.observe.verify import Verifier
from setpoint.pipeline.prepared import TaskParts
from setpoint.pipeline.service import PipelineService, RunParts
from setpoint.pipeline.task import TaskRunner
from setpoint.promotion.break_glass import BreakGlass
from setpoint.promotion.builds import Builds
from setpoint.promotion.checks.service import CheckParts, CommandChecks
from setpoint.promotion.commits import SignedCommits
from setpoint.promotion.facts import FactGatherer, FactParts
from setpoint.promotion.generators.service import Generators
from setpoint.promotion.parts import PromotionParts
from setpoint.promotion.people import Exclusions
from setpoint.promotion.pinning import Pinning, PinningParts
from setpoint.promotion.repository import DeliveryReader
from setpoint.promotion.service import PromotionService
from setpoint.promotion.stops import Stops
from setpoint.reconcile.admission import Admission, AdmissionParts
from setpoint.reconcile.allowed import Allowed, allowed_in
from setpoint.reconcile.drift.images import ImageDrift
from setpoint.reconcile.render import Renderers
from setpoint.reconcile.rendering import Rendering
from setpoint.reconcile.renders import Renders
from setpoint.reconcile.sources.registry_charts import RegistryCharts
from setpoint.reconcile.upstream import Upstreams
from setpoint.retention.service import GarbageCollection
from setpoint.source.service import SourceService


def start_processes(home: Home) -> Processes:
    """Fork the runner, then start the signer: in this order, so that the runner's memory never held a key."""
    runner = RunnerClient.spawn(home.workspaces, dedicated_uid())
    return Processes(runner, SignerClient.spawn(_signer_paths(home)))


def _signer_paths(home: Home) -> SignerPaths:
    return SignerPaths(home.journal, home.keys, home.repositories, home.registry, home.content)


def open_store(home: Home) -> Store:
    """Open everything on disk and bring the projection up to the journal."""
    time = SystemClock()
    log_bus = Bus()
    bus = Bus(log_bus)  # the end of a task is news for who follows its log
    journal = Journal(JournalFolder(home.journal, writable=True), time)
    engine = open_database(home.database)
    control = Bus()
    projection = Projection(engine)
    recorder = JournalRecorder(journal, projection, bus, control)
    recorder.catch_up()
    git = GitRepositories(home.repositories)
    oci = OciStoreFolder(home.registry)
    content = ContentFolder(home.content)
    content.sweep()
    oci.sweep(time.now())
    logs = TaskLogFolder(home.logs, log_bus.notify)
    tokens = TokenFile(home.tokens, time)
    records = Records(engine, lambda: projection.folded)
    holds = Holds(records, recorder, time, lambda: journal.last_at)
    return Store(home, time, git, oci, content, logs, tokens, journal, records, recorder, holds, bus, log_bus, control)


def build(store: Store, processes: Processes, settings: Settings | None = None) -> Application:
    """Fill every port and return the application: the judges first, then the stages in the order of the road, then who only looks."""
    trust = ensure_trust(store, processes.signer)
    policy = CelPolicy()
    delivery = DeliveryReader(store.git, store.records, store.recorder, policy)
    evidence = EvidenceService(processes.signer, store.oci, store.content, store.recorder, store.records)
    toolchain = HostToolchain()
    settings = settings or Settings()
    executors = Executors.of(store, settings, delivery)
    pipeline = _pipeline((store, processes), evidence, toolchain, settings, executors)
    vault = SopsVault(KeyFile.of_home(store.home.age_key))
    renders = Renders(Renderers(KustomizeBinary(), HelmBinary(), RegistryCharts(store.oci)), RenderFolder(store.home.renders))
    rendering = Rendering(store.git, renders, partial(_allowed, delivery), partial(is_files, store.oci), vault)
    commits = CommitKeyCheck(store.git, trust)
    admission = Admission(AdmissionParts(store.git, store.oci, trust, commits, store.records, store.records))
    promotions, stops, break_glass = _promotions(store, processes, (delivery, evidence), (trust, policy, rendering, admission))
    checks = _checks(store, processes, delivery)
    own = (settings.pull.name,) if settings.pull is not None else ()
    target = targets.build(store, (delivery, rendering, admission), (toolchain.facts, vault), promotions, own, (processes.signer, renders))
    pushes = Pushes(PushSpool(store.home.repositories / ".pushes"), store.git, store.records, store.recorder)
    garbage = garbage_of(store, target.runtime.images, target.runtime.replicas, settings)
    runs, secrets, registries = RunsView(store.records, pipeline), secrets_of(store), targets.registries_of(store)
    secrets.sweep()
    registries.sweep()
    generators = generators_of(store, delivery, processes.signer, Previewed(pushes, target.proxy, store.home.proxies))
    clusters = targets.clusters_of(store)
    clusters.sweep()
    plan = PlanView(targets.plan_parts(store, target, delivery, promotions, rendering))
    return Application(
        store=store,
        processes=processes,
        trust=trust,
        links=LoginLinks(store.clock, store.tokens),
        pipeline=pipeline,
        secrets=secrets,
        registries=registries,
        clusters=clusters,
        connections=target.connections,
        generators=generators,
        door=executors.door,
        executors=ExecutorsView(executors.offers.listed, executors.remote.look),
        promotions=promotions,
        checks=checks,
        stops=stops,
        break_glass=break_glass,
        adoptions=target.adoptions,
        delivery=delivery,
        runtime=target.runtime,
        proxy=target.proxy,
        rollouts=target.rollouts,
        drift=target.drift,
        prune=target.prune,
        status=StatusView(
            delivery, promotions, store.records, lambda: len(store.journal), Beside(target.prune.orphans, garbage.pressing, target.pods)
        ),
        vault=vault,
        rendering=rendering,
        runs=runs,
        pods=target.pods,
        reconcile=target.reconcile,
        trace=TraceView(store.records, store.git, delivery, target.runtime.replicas, setpoint_headers, target.pods),
        plan=plan,
        branches=BranchPlans(BranchParts(delivery, promotions, store.git, plan)),
        evidence=EvidenceView(store.records, store.oci, trust, delivery, runs),
        toolchain=toolchain,
        verifier=Verifier(store.git, store.oci, trust, delivery, commits),
        registration=Registration(store.git, store.records, store.recorder, delivery),
        pushes=pushes,
        garbage=garbage,
        loop=_loop(store, target, (pipeline, generators, promotions, checks, garbage), pushes, delivery),
    )


def _pipeline(
    built: tuple[Store, Processes], evidence: EvidenceService, toolchain: HostToolchain, settings: Settings, executors: Executors
) -> PipelineService:
    store, processes = built
    workspaces = executors.workspaces
    workspaces.sweep()
    cache = TaskCacheFolder(store.home.task_cache)
    tasks = TaskRunner(
        TaskParts(
            git=store.git,
            executor=processes.runner,
            workspaces=workspaces,
            content=store.content,
            index=OutputIndex(store.content),
            reports=JsonSchemaProcess(),
            scans=ScanProcess(),
            cache=cache,
            logs=store.logs,
            secrets=ServerSecrets(secrets_of(store)),
            remote=executors.remote,
            offers=executors.offers,
            refused=settings.unsandboxed_refused,
            toolchain=toolchain,
            recorder=store.recorder,
            clock=store.clock,
        ),
    )
    products = Products(
        ProductParts(
            git=store.git,
            content=store.content,
            toolchain=toolchain,
            artifacts=ArtifactService(store.oci, RegistryPull(store.oci, access=targets.registries_of(store).access)),
            evidence=evidence,
            records=store.records,
            recorder=store.recorder,
            clock=store.clock,
            scratch=store.home.fresh_scratch(),
        ),
    )
    return PipelineService(RunParts(store.git, tasks, store.records, store.recorder, products, store.clock), settings.task_slots)


def secrets_of(store: Store) -> Secrets:
    """Return the secrets of a home."""
    return Secrets(store.records, SecretFolder(store.home.secrets), store.recorder)


def _promotions(
    store: Store,
    processes: Processes,
    served: tuple[DeliveryReader, EvidenceService],
    judges: tuple[TrustRoot, CelPolicy, Rendering, Admission],
) -> tuple[PromotionService, Stops, BreakGlass]:
    (delivery, evidence), (trust, policy, rendering, admission) = served, judges
    exclusions = Exclusions(store.git, store.records, delivery.lines)
    facts = FactParts(
        delivery=delivery,
        records=store.records,
        evidence=EvidenceFacts(store.oci, trust),
        renderer=rendering,
        upstreams=Upstreams(delivery, store.records),
        checks=HttpProbe(),
        policy=policy,
        exclusions=exclusions,
        signed=SignedCommits(store.git, exclusions, CheckedSignatures(store.git, trust.key(Role.COMMIT), store.clock)),
        holds=store.holds,
        clock=store.clock,
    )
    pinning = Pinning(PinningParts(store.git, processes.signer, evidence, store.recorder, delivery.lines))
    builds = Builds(store.git, store.records)
    parts = PromotionParts(
        delivery=delivery,
        records=store.records,
        recorder=store.recorder,
        gatherer=FactGatherer(facts),
        builds=builds,
        pinning=pinning,
        evidence=evidence,
        clock=store.clock,
        holds=store.holds,
        admissible=lambda repository, pin: (
            "; ".join(reason.found for reason in admission.returns(repository, pin).blocking()) or collected(store.oci, pin)
        ),
        changes=store.records,
    )
    return PromotionService(parts), Stops(parts), BreakGlass(parts)


def _checks(store: Store, processes: Processes, delivery: DeliveryReader) -> CommandChecks:
    return CommandChecks(
        CheckParts(
            delivery=delivery,
            records=store.records,
            upstreams=Upstreams(delivery, store.records),
            git=store.git,
            executor=processes.runner,
            workspaces=WorkspaceFolder(store.home.workspaces, dedicated_uid()),
            logs=store.logs,
            recorder=store.recorder,
            clock=store.clock,
        )
    )


def _loop(
    store: Store,
    target: targets.Targets,
    driven: tuple[PipelineService, Generators, PromotionService, CommandChecks, GarbageCollection],
    pushes: Pushes,
    delivery: DeliveryReader,
) -> ControlLoop:
    runtime, (pipeline, generators, promotions, checks, garbage) = target.runtime, driven
    return ControlLoop(
        LoopParts(
            store.control,
            SourceService(store.git),
            pipeline,
            promotions,
            target.reconcile,
            ImageDrift(ImageCare(runtime.images, runtime.generations), target.drift, runtime.replicas),
            delivery,
            generators,
            pushes,
            checks,
            (store.git.glance, runtime.glance, target.proxy.glance, store.recorder.mend),
            garbage.advance,
        )
    )


def _allowed(delivery: DeliveryReader, app: str, environment: str) -> Allowed:
    loaded = delivery.load()
    if loaded is None or environment not in loaded.environments:
        return Allowed()
    preview = loaded.generated.previews.get(environment)
    found = allowed_in(loaded.setpoint, loaded.environments[environment], app)
    return replace(found, host=preview.host) if preview is not None else found

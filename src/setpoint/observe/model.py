"""Answers as data: what the API returns, the CLI prints and the pages draw; one shape for all three."""

from dataclasses import dataclass, field
from typing import Literal

from setpoint.artifact.model import ArtifactRecord
from setpoint.core.reasons import Reason
from setpoint.evidence.model import CheckLine, EvidenceRecord
from setpoint.ground.hold.model import Hold
from setpoint.observe.generated import GeneratorReport, PreviewReport
from setpoint.pipeline.model import Run
from setpoint.promotion.model import Approval, Promotion
from setpoint.reconcile.live_plan import LivePlan
from setpoint.reconcile.model import DeployReason, Difference
from setpoint.reconcile.plan import ObjectChange, WorkloadChange
from setpoint.reconcile.pods.model import PodGroup, Strangers
from setpoint.reconcile.prune.model import Prunable
from setpoint.rollout.canary.reasons import StepView
from setpoint.rollout.model import Counts


@dataclass(frozen=True, slots=True)
class Waiting:
    """A candidate that wants to get into an environment."""

    promotion: str
    version: str
    revision: str
    outcome: str
    """`wait` or `deny`."""
    reasons: tuple[Reason, ...]
    """Only those that stand in the way."""
    configuration: str = ""
    """Commit of the delivery repository when only its configuration is new: the version runs already."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One application in one environment."""

    app: str
    environment: str
    health: str
    """`healthy`, `progressing`, `degraded`, `missing`; `empty` when nothing was ever pinned."""
    since: str | None = None
    version: str = ""
    revision: str = ""
    promotion: str = ""
    artifacts: dict[str, str] = field(default_factory=dict)
    url: str = ""
    replicas_ready: int = 0
    replicas_wanted: int = 0
    reasons: tuple[DeployReason, ...] = ()
    waiting: Waiting | None = None
    rollout: str = ""
    """A few words while a rollout is under way: `canary 25 %`."""
    holds: tuple[Hold, ...] = ()
    """What overrides the pin at HEAD (a rollback that is not committed yet), and what stops new pins."""
    drift: int = 0
    """Open cases of drift, those of the environment's proxy included."""
    pods: tuple[PodGroup, ...] = ()
    """In a cluster: its pods by workload and build; empty on the host, and until its reconciler has looked once."""


@dataclass(frozen=True, slots=True)
class Need:
    """Something only a person can do next."""

    what: str
    command: str
    app: str = ""
    environment: str = ""
    promotion: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """The matrix."""

    delivery: str
    """Delivery repository; empty when none is registered."""
    apps: tuple[str, ...]
    environments: tuple[str, ...]
    """In promotion order."""
    cells: tuple[Cell, ...]
    runs: tuple[Run, ...]
    """The newest run of every source repository, and every one still running."""
    needs: tuple[Need, ...]
    notices: tuple[Reason, ...] = ()
    """What is not in force or is faulty in the delivery repository (law 9)."""
    orphans: tuple[Prunable, ...] = ()
    """What runs of applications and environments that the delivery repository no longer has."""
    strangers: tuple[Strangers, ...] = ()
    """Pods in namespaces of environments that nobody of ours made, and namespaces whose pods cannot be looked at."""
    generators: tuple[GeneratorReport, ...] = ()
    """What generators made of it."""
    previews: tuple[PreviewReport, ...] = ()
    """Environments of branches, with their addresses and ends."""

    @property
    def settled(self) -> bool:
        """Whether nothing moves by itself: no run goes on and every cell is healthy, empty, or waits for a person."""
        running = any(run.state == "running" and not run.lost for run in self.runs)
        return not running and all(cell.health in ("healthy", "empty", "suspended") for cell in self.cells)


@dataclass(frozen=True, slots=True)
class RolloutReport:
    """A rollout, as people see it."""

    app: str
    environment: str
    rollout: str
    strategy: str
    """`rolling` or `canary`."""
    phase: str
    """`rolling`, `preparing`, `holding`, `held`, `finishing`, `finished`, `returned`."""
    sentence: str
    weight: int
    """Percent of the traffic that the new revision has."""
    version: str
    promotion: str
    stable: str
    """What was fully rolled out before."""
    began_at: str
    since: str
    evidence: float
    """M, against it; 1 says nothing, `needed` sends it back."""
    needed: float
    fine: float
    """The evidence that it is less than twice as bad; only told."""
    counts: Counts
    steps: tuple[StepView, ...]
    reasons: tuple[DeployReason, ...]
    found: str
    """The judge's numbers in one sentence."""
    kept: tuple[str, ...]
    """Replicas that stay without traffic for a while, and why."""
    next: str
    sent_back: str = ""
    """The version that the last canary sent back, while what served before it has its place again."""
    coming: str = ""
    """The version whose rollout is about to begin: let in and not pinned yet, or pinned and not looked at yet."""


@dataclass(frozen=True, slots=True)
class Why:
    """Why an environment has what it has."""

    app: str
    environment: str
    sentence: str
    outcome: str
    reasons: tuple[Reason, ...]
    running: Cell
    promotion: Promotion | None
    approvals: tuple[Approval, ...]
    next: str
    """The next command, or a sentence."""
    rollout: RolloutReport | None = None
    """The newest rollout; None before the first."""


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task of a run, as people see it."""

    task: str
    state: str
    needs: tuple[str, ...]
    started_at: str | None
    finished_at: str | None
    seconds: float | None
    exit_code: int | None
    origin_run: str | None
    reason: str
    networked: bool = False
    key: str = ""
    family: str = ""
    """The name that the task is written under; all cells of a matrix have the same."""
    cell: dict[str, str] = field(default_factory=dict)
    """Values of its matrix; empty without one."""
    sandbox: str = "bubblewrap"
    """`none`: the task declares that it runs without a sandbox; `kubernetes`: it runs in a pod."""
    executor: str = ""
    """The executor that it names; empty: this machine."""
    place: str = ""
    """Where it is just now when that is elsewhere, and what it waits for there."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """A run with its tasks, artifacts and evidence."""

    run: Run
    tasks: tuple[TaskRow, ...]
    artifacts: tuple[ArtifactRecord, ...]
    evidence: tuple[EvidenceRecord, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One link of a trace, or one stop of a change's journey."""

    kind: Literal[
        "url",
        "replica",
        "pod",
        "owner",
        "image",
        "mount",
        "artifact",
        "pin",
        "promotion",
        "approval",
        "evidence",
        "run",
        "revision",
        "deployment",
    ]
    id: str
    text: str
    at: str = ""
    where: str = ""
    """Environment, repository or page it belongs to."""


@dataclass(frozen=True, slots=True)
class Trace:
    """The chain from a thing back to its commit and to who allowed it."""

    thing: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Journey:
    """One revision's way: pushed, built, proved, promoted, serving."""

    repository: str
    revision: str
    title: str
    author: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Verification:
    """Numbered checks of `verify`."""

    subject: str
    lines: tuple[CheckLine, ...]

    @property
    def passed(self) -> bool:
        """Whether every line holds."""
        return bool(self.lines) and all(line.passed for line in self.lines)


@dataclass(frozen=True, slots=True)
class ImageChange:
    """An artifact whose pinned digest would change; empty: there is none on that side."""

    artifact: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class FolderChange:
    """A folder of the delivery repository whose pinned tree would change; empty: it is not pinned on that side."""

    folder: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class CommitTitle:
    """A commit between two revisions, as `git log` shows it."""

    commit: str
    title: str
    author: str
    committed_at: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What promoting the next candidate would change against what is pinned."""

    app: str
    environment: str
    sentence: str
    promotion: str
    """The open promotion of the candidate; empty when there is none."""
    before: str
    """The pinned version; empty when nothing is pinned."""
    after: str
    """The candidate's version; empty when there is no candidate."""
    images: tuple[ImageChange, ...] = ()
    folders: tuple[FolderChange, ...] = ()
    """The application's and the environment's folder, and those of `includes:`, where their trees differ."""
    commits: tuple[CommitTitle, ...] = ()
    """What the candidate's revision adds, newest first, at most 100."""
    dropped: tuple[CommitTitle, ...] = ()
    """What it leaves out again."""
    objects: tuple[ObjectChange, ...] = ()
    workloads: tuple[WorkloadChange, ...] = ()
    destructive: tuple[str, ...] = ()
    """Everything that is lost by it, a sentence each."""
    held: str = ""
    """Why its removals would wait for `setpoint prune` (deletion budget); empty when they would not, or when approvals confirm them."""
    error: str = ""
    """Why the candidate cannot be rendered."""
    reasons: tuple[Reason, ...] = ()
    """Why there is no candidate."""
    refusals: tuple[Reason, ...] = ()
    """What the gate has against the open promotion: every reason that denies."""
    canary: tuple[StepView, ...] = ()
    """The steps of its canary and what each can find out; empty when it only rolls."""
    live: LivePlan | None = None
    """Against what is live in a cluster; None on the host, and where it was not asked for."""


@dataclass(frozen=True, slots=True)
class RefPlan:
    """What a branch or commit of the delivery repository would change once it is merged."""

    ref: str
    """As it was asked for."""
    repository: str
    commit: str
    sentence: str
    notes: tuple[str, ...]
    """What of it is judged before it counts."""
    plans: tuple[Plan, ...]
    """One for each place that it touches, upstream environments first."""
    more: int = 0
    """Places that it touches and that are not among them."""


@dataclass(frozen=True, slots=True)
class Diff:
    """How what is live differs from what is pinned; empty differences: it is the same."""

    app: str
    environment: str
    version: str
    """The pinned one; empty when nothing is pinned."""
    promotion: str
    differences: tuple[Difference, ...]

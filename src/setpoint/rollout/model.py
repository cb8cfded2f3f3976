"""What the rollout engine looks at and asks for, and where a rollout is: all that a killed server needs to go on (`rollout.*` entries)."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from setpoint.reconcile.model import CanaryPlan, DeployReason
from setpoint.rollout.judge.model import Rule, Sums


@dataclass(frozen=True, slots=True)
class ReplicaView:
    """A replica as the engine sees it."""

    replica: str
    revision_hash: str
    phase: Literal["starting", "ready", "draining", "stopping", "dead"]
    in_flight: int = 0
    """Requests the proxy has open with it; only asked of draining ones."""
    draining_s: float = 0.0
    """How long it has been draining."""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do to a workload's replicas."""

    what: Literal["start", "drain", "stop", "remove"]
    replica: str = ""
    """Empty for `start`."""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """How a workload may change: Kubernetes' words for it."""

    revision_hash: str
    replicas: int
    max_surge: int
    max_unavailable: int
    drain_limit_s: float
    """A draining replica is stopped after this even with requests open."""


WHOLE = 100
"""Percent: all traffic."""
Arm = Literal["canary", "stable"]
"""Which side a server counts for."""


class Phase(StrEnum):
    """Where a rollout is."""

    ROLLING = "rolling"
    """Replica by replica; nothing is judged but health."""
    PREPARING = "preparing"
    """Replicas for the next weight start."""
    HOLDING = "holding"
    """The weight is shifted, and the judge looks on."""
    HELD = "held"
    """The step's time is over, but too few requests came: it waits for traffic or a person."""
    FINISHING = "finishing"
    """All traffic is with the new revision; what has no route follows."""
    FINISHED = "finished"
    RETURNED = "returned"
    """All traffic is with the stable revision again."""


SPLIT = (Phase.PREPARING, Phase.HOLDING, Phase.HELD)
"""The phases in which both revisions are there by weights."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two revisions of an application: as it was pinned, and what makes its replicas different."""

    promotion: str
    pin_commit: str
    version: str
    workloads: dict[str, str]
    """workload -> revision hash"""

    def has(self, workload: str, revision_hash: str) -> bool:
        """Say whether a replica of this workload and hash belongs to this side."""
        return self.workloads.get(workload) == revision_hash


@dataclass(frozen=True, slots=True)
class Kept:
    """Replicas that stay without traffic for a while."""

    workloads: dict[str, str]
    until: str
    why: Literal["to go back to", "to look into"]


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests answered and failed by both sides since the rollout began."""

    canary_requests: int = 0
    canary_errors: int = 0
    stable_requests: int = 0
    stable_errors: int = 0
    seconds: float = 0.0
    """Over how long."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """A rollout of one application in one environment; every `rollout.*` entry has it whole, so that any of them is enough to go on."""

    rollout: str
    """`ro-<8>`"""
    app: str
    environment: str
    strategy: Literal["rolling", "canary"]
    phase: Phase
    new: Side
    stable: Side | None
    """What ran before and was fully rolled out; None for a first deployment."""
    began_at: str
    since: str
    """When this phase began."""
    plan: CanaryPlan | None = None
    """Frozen at the beginning: a rule that changes half-way proves nothing."""
    step: int = 0
    """Index into the plan's weights; their number while it goes to all traffic."""
    weight: int = 0
    """Percent of the traffic that the new revision has now."""
    step_requests: int = 0
    """Requests that the canary answered in this step."""
    counts: Counts = field(default_factory=Counts)
    sums: Sums = field(default_factory=Sums)
    baseline: dict[str, tuple[int, ...]] | None = None
    """`backend server` -> the proxy's counters at the last look (see `canary.counters`); None before the first."""
    looked_at: str = ""
    kept: tuple[Kept, ...] = ()
    dropped: dict[str, str] = field(default_factory=dict)
    """Workloads of a canary that this one superseded: they never stand in for anybody."""
    reasons: tuple[DeployReason, ...] = ()
    """Why it was held or returned."""
    message: str = ""
    """What a person said who resumed or aborted it."""
    rollback: str = ""
    """After a return: the promotion that takes it out of Git, or why there is none."""
    sent_back: str = ""
    """What people call the canary whose return this rollout completes; empty for everything else."""

    @property
    def rule(self) -> Rule:
        """When the canary counts as worse."""
        return Rule(self.plan.ratio, self.plan.alpha) if self.plan is not None else Rule()

    @property
    def is_split(self) -> bool:
        """Whether both revisions are there by weights."""
        return self.phase in SPLIT


@dataclass(frozen=True, slots=True)
class Coming:
    """What the pin wants, as the beginning of a rollout looks at it."""

    app: str
    environment: str
    side: Side
    plan: CanaryPlan | None
    """None: rolling, for nothing else was declared, or it is a rollback."""
    can_split: bool
    """Whether a route leads to something that changes."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a pass found, as the next step looks at it."""

    ready: dict[str, int]
    """Ready replicas of the new revision, for each workload whose traffic is shifted."""
    wanted: dict[str, int]
    """How many there are to be in the end."""
    problems: tuple[DeployReason, ...] = ()
    """Crash loops and faults of the new revision's replicas."""
    unready_s: float = 0.0
    """How long fewer than needed have been ready."""
    made_at: str | None = ""
    """When the last workload of the new revision was made (RFC 3339); None: none is there yet, for a hook works; empty: with its phase."""
    deadline_s: float = 600.0
    settled: bool = False
    """Rolling and finishing: everything is up, and nothing old is left."""
    whole: bool = False
    """Rolling, where both revisions are there beside each other: the new one can take over all traffic."""

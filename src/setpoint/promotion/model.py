"""Candidates, promotions, approvals, quarantines and pins; the words of promotion.

The files people write (`setpoint.yaml`, `environment.yaml`) are `promotion/config.py`.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from setpoint.core import canonical, digest, names
from setpoint.core.reasons import Verdict
from setpoint.evidence.model import ArtifactEvidence
from setpoint.ground.hold.model import Hold
from setpoint.promotion.pod_standard import PodVerdict
from setpoint.promotion.render_content import RenderContent


@dataclass(frozen=True, slots=True)
class PinnedArtifact:
    """An artifact as a pin names it."""

    oci_repository: str
    digest: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """What could be promoted: digests plus configuration trees, for one application in one environment (law 1).

    Its canonical JSON is what gates decide about, what approvals and gate statements have as subject, and what quarantine bars.
    """

    app: str
    environment: str
    artifacts: dict[str, PinnedArtifact]
    """artifact name -> where and what; empty for an application without artifacts"""
    app_tree: str | None
    """Tree id of `apps/<app>/` in the delivery repository."""
    environment_tree: str | None
    """Tree id of `environments/<env>/<app>/`."""
    includes: dict[str, str] = field(default_factory=dict)
    """folder of `includes:` -> its tree id"""

    @property
    def trees(self) -> tuple[str | None, ...]:
        """What of it is configuration, to be compared: the application's tree, the environment's, and `folder@tree` of each include."""
        return (self.app_tree, self.environment_tree, *(f"{path}@{tree}" for path, tree in sorted(self.includes.items())))

    def folders(self) -> dict[str, str | None]:
        """Return {folder of the delivery repository: its tree id} of everything that its render may read."""
        own = {f"apps/{self.app}": self.app_tree, f"environments/{self.environment}/{self.app}": self.environment_tree}
        return {**own, **self.includes}

    def content(self) -> dict[str, Any]:
        """Return the JSON value whose canonical bytes are the candidate."""
        return {
            "app": self.app,
            "environment": self.environment,
            "artifacts": {name: {"repository": a.oci_repository, "digest": a.digest} for name, a in self.artifacts.items()},
            "trees": {
                "app": self.app_tree,
                "environment": self.environment_tree,
                **({"includes": dict(self.includes)} if self.includes else {}),
            },
        }

    def data(self) -> bytes:
        """Return the canonical JSON."""
        return canonical.dumps(self.content())

    @property
    def digest(self) -> str:
        """sha256 over `data()`: the candidate's name in approvals, quarantines and trailers."""
        return digest.sha256(self.data())

    def same_content(self, other: "Candidate") -> bool:
        """Say whether digests, the application's tree and its includes match, whatever the environment (what `after:` compares)."""
        return self.artifacts == other.artifacts and self.app_tree == other.app_tree and self.includes == other.includes


class PromotionState(StrEnum):
    """Where a promotion is."""

    OPEN = "open"
    DECIDED = "decided"
    """Gates passed and the decision is journalled; the gate statement and the pin commit follow."""
    PINNED = "pinned"
    DENIED = "denied"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class Promotion:
    """A request to pin a candidate, with everything decided about it; journalled as `promotion.created`, `.decided`, `.pinned`."""

    promotion: str
    """`p-<8>`"""
    kind: Literal["advance", "rollback"]
    candidate: Candidate
    source_repository: str
    source_revision: str
    """The newest revision that built the digests; empty without artifacts."""
    version: str
    """What people call it."""
    delivery_commit: str
    """The commit of the delivery repository the trees were read at."""
    accepted_commit: str
    """The accepted commit whose environment.yaml judges (law 9)."""
    policy: str
    """Blob id of that environment.yaml: the policy in force."""
    binding: str
    """Digest over candidate, render, policy and losses: what approvals bind to."""
    requested_by: str
    """Actor; `setpoint` when the loop created it."""
    created_at: str
    state: PromotionState = PromotionState.OPEN
    of: str = ""
    """For a rollback: the promotion whose candidate comes back."""
    hold: str = ""
    """For a rollback: the hold under which it already serves before it is committed."""
    note: str = ""
    decided_at: str | None = None
    verdict: Verdict | None = None
    """The verdict that was acted on."""
    gate_bundle: str = ""
    """Digest of the gate statement's bundle."""
    pin_commit: str = ""
    pinned_at: str | None = None
    served_at: str | None = None
    """When it was healthy in its environment for the first time."""
    superseded_by: str = ""
    losses: tuple[str, ...] = ()
    """What pinning it destroys, `Deployment/web: its replicas stop`: part of what approvals bind to."""
    configuration: str = ""
    """Commit of the delivery repository whose configuration is all that it changes; empty when it brings another build."""
    scripts: str = ""
    """Tree id of the accepted scripts that the environment's checks run with; part of what approvals bind to."""

    @property
    def names(self) -> str:
        """What sentences call it: the version that it brings, or the configuration when the version stays."""
        return names.candidate(self.version, self.configuration)


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's yes to one binding; journalled as `approval.given`."""

    promotion: str
    person: str
    """Name in setpoint.yaml."""
    email: str
    binding: str
    message: str
    at: str
    bundle: str = ""
    """Digest of the signed approval statement, once attached."""


@dataclass(frozen=True, slots=True)
class Quarantine:
    """A candidate (digests plus trees) barred from an environment until a person lifts it."""

    environment: str
    app: str
    candidate: str
    """Candidate digest; of a bare quarantine that of the artifact."""
    artifacts: dict[str, str]
    """artifact name -> digest: the same build under other configuration is not proposed again by itself"""
    trees: tuple[str | None, ...]
    """`Candidate.trees`: nor is the same configuration with another build"""
    since: str
    by: str
    why: str
    lifted_at: str | None = None
    lifted_by: str = ""
    bare: bool = False
    """`candidate` is the digest of an artifact that a person barred, whatever comes with it."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check saw in one environment."""

    environment: str
    what: str
    """`/health`, or the first line of a command."""
    wanted: str
    """`status 200`, `exit status 0`"""
    state: Literal["passed", "failed", "error", "running"]
    """`error`: it could not be asked to the end; `running`: its answer is still to come."""
    found: str
    """`status 200`, or the error: the same words for the same answer, so that explanations can be compared."""
    at: str
    candidate: str = ""
    """Candidate digest that was serving."""
    recheck_at: str = ""
    """When it is asked again."""
    fix: str = ""


@dataclass(frozen=True, slots=True)
class UpstreamFacts:
    """What an environment of `after:` runs."""

    environment: str
    pinned: Candidate | None
    healthy: bool
    healthy_since: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class RenderFacts:
    """What rendering the candidate gave."""

    digest: str
    objects: tuple[str, ...]
    """`Deployment/web` ..."""
    error: str = ""
    """Rendered text of the error when it cannot be rendered or holds what the target refuses."""
    content: RenderContent = field(default_factory=RenderContent)
    """What policies see of the objects."""


@dataclass(frozen=True, slots=True)
class PolicyResult:
    """What evaluating the CEL policy gave; only `passed` is a pass, an error denies."""

    expression: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class CommitFault:
    """A commit that no known person signed."""

    repository: str
    commit: str
    title: str
    state: Literal["none", "bad", "unknown"]
    """Without a signature, with one that does not count, or with a good one by nobody's key."""
    detail: str


@dataclass(frozen=True, slots=True)
class CommitFacts:
    """Who signed the commits between what runs and a candidate."""

    total: int
    signers: tuple[str, ...] = ()
    """Names of people."""
    faults: tuple[CommitFault, ...] = ()
    """At most 100: what comes after that was not looked at."""
    error: str = ""
    """Why it cannot be said."""


@dataclass(frozen=True, slots=True)
class GateFacts:
    """Everything a gate decision looks at; `decide.decide` is a pure function of this and the time."""

    candidate: Candidate
    evidence: tuple[ArtifactEvidence, ...]
    upstreams: tuple[UpstreamFacts, ...]
    checks: tuple[CheckResult, ...]
    approvals: tuple[Approval, ...]
    binding: str
    excluded: dict[str, str]
    """person name -> why this person's approval does not count (`author of 41d2e0b`)"""
    approvers: frozenset[str]
    quarantined: Quarantine | None
    render: RenderFacts
    policy_result: PolicyResult | None
    stops: tuple[Hold, ...] = ()
    """People's holds that are in force here."""
    losses: tuple[str, ...] = ()
    """What of the pinned candidate's objects is removed or made anew, a sentence each; part of the binding."""
    pods: PodVerdict | None = None
    """What `gates.pods` says of the render's pods; None when it is not asked, or nothing is rendered."""
    commits: CommitFacts | None = None
    """Who signed the commits; None when `gates.commits` does not ask."""
    last_entry_at: str = ""
    """When the journal's last entry was written; a wall clock behind it judges no time."""


@dataclass(frozen=True, slots=True)
class Pin:
    """The machine-written file `pins/<env>/<app>.yaml`."""

    candidate: Candidate
    promotion: str
    source_repository: str
    source_revision: str
    version: str
    policy: str
    commit: str = ""
    """The commit that last touched the file, filled when read."""

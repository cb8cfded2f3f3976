"""What promotion needs from outside: verified evidence, a render, HTTP checks, a policy engine, records, the signer, Git, the OCI store."""

from typing import Any, Protocol

from setpoint.evidence.model import ArtifactEvidence
from setpoint.ground.hold.ports import HoldRecords
from setpoint.promotion.checks.model import CommandRun
from setpoint.promotion.model import (
    Approval,
    Candidate,
    PolicyResult,
    Promotion,
    Quarantine,
    RenderFacts,
    UpstreamFacts,
)
from setpoint.promotion.pod_standard import PodStandard, PodVerdict


class PolicyEngine(Protocol):
    """Evaluates a CEL expression over facts (adapters.policy)."""

    def evaluate(self, expression: str, facts: dict[str, Any]) -> PolicyResult:
        """Return the result; anything but the value `true` is no pass, and an exception is no pass with its text."""
        ...

    def compile_error(self, expression: str) -> str:
        """Return why the expression does not compile, or an empty string."""
        ...


class Renderer(Protocol):
    """Renders a candidate as reconcile will (filled from reconcile in app wiring)."""

    def render_facts(self, candidate: Candidate, delivery: str) -> RenderFacts:
        """Return digest and objects, or the error as text; never raises for what the user wrote."""
        ...

    def pods(self, candidate: Candidate, delivery: str, standard: PodStandard) -> PodVerdict | None:
        """Return what a Pod Security Standard says of the render's pods; None when it cannot be rendered."""
        ...

    def losses(self, candidate: Candidate, pinned: Candidate | None, delivery: str) -> tuple[str, ...]:
        """Return what of the pinned candidate's objects is lost by a candidate, a sentence each; empty when nothing is pinned."""
        ...


class UpstreamView(Protocol):
    """What runs in an environment (filled from reconcile's records in app wiring)."""

    def upstream(self, app: str, environment: str) -> UpstreamFacts:
        """Return what is pinned there and whether it is healthy."""
        ...


class HttpChecks(Protocol):
    """Makes the HTTP checks of a gate against an environment's listen address (adapters.http_check)."""

    def check(self, base_url: str, path: str, status: int) -> tuple[bool, str]:
        """Return (passed, what was found); one request, no redirects, bounded in time and size."""
        ...


class EvidenceView(Protocol):
    """Verified evidence of artifacts (`evidence.facts.EvidenceFacts`)."""

    def artifact(self, name: str, oci_repository: str, digest: str) -> ArtifactEvidence:
        """Verify every bundle attached to a digest and aggregate what counts."""
        ...


class PromotionRecords(HoldRecords, Protocol):
    """Promotions, approvals, quarantines and holds as the journal tells them."""

    def promotion(self, promotion: str) -> Promotion | None:
        """Return one promotion."""
        ...

    def promotions(self, app: str | None = None, environment: str | None = None, limit: int = 100) -> list[Promotion]:
        """Return promotions, newest first."""
        ...

    def unfinished(self, app: str = "", environment: str = "") -> list[Promotion]:
        """Return promotions in state open or decided, oldest first: of a place, or all."""
        ...

    def approvals(self, promotion: str) -> list[Approval]:
        """Return the approvals of a promotion, in journal order."""
        ...

    def command_run(self, check: str) -> CommandRun | None:
        """Return what became of a command the last time it was asked."""
        ...

    def command_runs(self, promotion: str = "") -> list[CommandRun]:
        """Return the commands that were asked for a promotion (empty: those that are running), oldest first."""
        ...

    def quarantines(self, app: str, environment: str) -> list[Quarantine]:
        """Return the quarantines in force (not lifted)."""
        ...

    def accepted(self, repository: str) -> str | None:
        """Return the last accepted commit of a delivery repository (law 9)."""
        ...

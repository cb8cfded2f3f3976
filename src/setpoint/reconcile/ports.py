"""What reconcile needs from outside: the host runtime, its proxy, the renderers, port numbers, records.

Adapters: `adapters.host.runtime`, `adapters.host.proxy`, `adapters.kustomize`, `adapters.helm`. Every call may be repeated: starting what
runs and stopping what is gone are no errors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from setpoint.promotion.model import Promotion
from setpoint.reconcile.model import (
    Deployment,
    DeployReason,
    Health,
    Identity,
    JobRun,
    Probe,
    Release,
    ReplicaSpec,
    ReplicaStatus,
    Route,
    SealedSecret,
)


class ReplicaRuntime(Protocol):
    """Starts, finds and stops replicas under shims that outlive the server."""

    def start(self, spec: ReplicaSpec) -> None:
        """Unpack the image when needed and start a shim for the replica; returns once the shim has written its state.

        UserError SP631 when the image cannot run on this host (base mismatch), WorldError SP632 when the shim does not start.
        """
        ...

    def replicas(self) -> list[ReplicaStatus]:
        """Return every replica that has a folder, alive or not, re-adopted by (pid, start time, boot id)."""
        ...

    def stop(self, replica: str, grace_s: float) -> None:
        """Ask the shim to end its process tree: TERM, then KILL after the grace; returns at once."""
        ...

    def remove(self, replica: str) -> None:
        """Delete the folder of a replica whose shim is gone (kills what is left of its tree first)."""
        ...

    def ready(self, replica: ReplicaStatus, probe: Probe | None) -> tuple[bool, str]:
        """Probe a replica once: HTTP GET or TCP connect on its port, TCP without a probe. Returns (ready, what was found)."""
        ...

    def free_port(self) -> int:
        """Return a loopback port that nothing listens on and no replica was given."""
        ...


@dataclass(frozen=True, slots=True)
class ProxyServer:
    """One server line of the proxy: a replica that may get traffic."""

    name: str
    """The replica's id."""
    workload: str
    port: int
    identity: Identity
    draining: bool = False
    pool: str = ""
    """What the backends of routes call it by, where one workload has several revisions; empty: the workload."""


@dataclass(frozen=True, slots=True)
class ServerCount:
    """What the proxy counted for one server of one route's backend since its worker started; a reload begins anew, with another worker."""

    backend: str
    server: str
    worker: int
    responses: dict[str, int]
    """`1xx` to `5xx` and `other` -> how many the server gave"""
    connect_errors: int = 0
    """Requests that failed because it could not be reached."""
    broken: int = 0
    """Responses that broke off after they had begun; counted among `responses` too."""
    unanswered_signs: int = 0
    """One or two for every request that got no response from it: a proxy may see the same failure twice."""
    ended: int = 0
    """Requests that ended, however."""
    client_aborts: int = 0
    """Requests whose client went away."""


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """Everything one environment's proxy should do."""

    environment: str
    listen: str
    """host:port"""
    routes: tuple[tuple[str, Route], ...]
    """(app, route); more specific first is the adapter's work"""
    servers: tuple[tuple[str, ProxyServer], ...]
    """(app, server)"""


class Proxy(Protocol):
    """A real proxy per environment that outlives the server (HAProxy)."""

    def apply(self, config: ProxyConfig) -> None:
        """Make the running proxy equal to config, starting it when it is not there.

        Servers are added, drained and removed at run time; only changed routes or listen addresses reload it, without a lost request.
        UserError SP641 when the address is in use by somebody else (names it), WorldError SP642 otherwise.
        """
        ...

    def applied(self, environment: str) -> ProxyConfig | None:
        """Return what the environment's proxy was told last, by whatever server; None when it was told nothing."""
        ...

    def sessions(self, environment: str, server: str) -> int:
        """Return the requests in flight at a server; 0 when it is gone."""
        ...

    def counters(self, environment: str) -> Sequence[ServerCount]:
        """Return what every server of every route counted; empty when the proxy does not answer."""
        ...

    def stop(self, environment: str) -> None:
        """Stop the environment's proxy; missing is fine."""
        ...


@dataclass(frozen=True, slots=True)
class WorkloadStatus:
    """How far a workload is on its way to what is wanted."""

    workload: str
    wanted: int
    ready: int
    """Ready replicas of the wanted revision."""
    old: int
    """Replicas of other revisions that are still there, draining ones included."""
    waiting: tuple[DeployReason, ...]
    """Why replicas are not ready, or what went wrong; empty when all is well."""
    notes: tuple[DeployReason, ...] = ()
    """What is worth knowing and holds nothing up."""
    pace: Literal["", "going", "holding", "held"] = ""
    """In a canary: replicas for its next step start, it looks on for a while, or it waits for traffic or a person."""


@dataclass(frozen=True, slots=True)
class JobStatus:
    """How a Job of the desired revision stands."""

    health: Health
    reason: DeployReason


class JobRuns(Protocol):
    """Brings the Jobs of applications to their end, once for each revision (filled from the rollout stage in app wiring)."""

    def advance(self, environment: str, releases: Sequence[Release]) -> dict[str, list[JobStatus]]:
        """Start, watch and clear away the Jobs of an environment; returns {app: statuses}. Nothing passes through: faults are reasons."""
        ...


class JobRecords(Protocol):
    """Runs of Jobs as the journal tells them."""

    def job_runs(self, app: str, environment: str) -> list[JobRun]:
        """Return the runs of an application's Jobs in an environment, oldest first."""
        ...


class WorkloadRollout(Protocol):
    """Moves workloads towards what is wanted, one step a call (filled from the rollout stage in app wiring)."""

    def advance(self, environment: str, listen: str, releases: Sequence[Release]) -> dict[str, list[WorkloadStatus]]:
        """Take one step for every application of an environment and keep its proxy equal to it; returns {app: statuses}.

        Applications that are not in `releases` are left alone. UserError and WorldError of runtime and proxy pass through.
        """
        ...

    def stable_pin(self, app: str, environment: str) -> str:
        """Return the commit of the pin that was fully rolled out last; empty when there is none."""
        ...


class CommitCheck(Protocol):
    """Verifies the signature of a commit by the home's commit key (adapters.sshsig)."""

    def signed(self, repository: str, commit: str) -> bool:
        """Say whether exactly this commit is signed by the commit key of the trust root."""
        ...


class Kustomize(Protocol):
    """Renders a kustomization in a sandbox (kubectl from its wheel or the system's)."""

    def version(self) -> str:
        """Return what the program calls itself; WorldError SP613 when it is missing."""
        ...

    def build(self, root: Path, folder: str) -> bytes:
        """Return the YAML of `kubectl kustomize <folder>` run with only `root` readable and no network (its message: UserError SP611)."""
        ...


@dataclass(frozen=True, slots=True)
class ChartRelease:
    """What `helm template` is asked for."""

    name: str
    """The release's: the application."""
    namespace: str
    chart: str
    """The chart's folder below the root."""
    values: tuple[str, ...]
    """Values files below the root, later ones over earlier ones."""
    kube_version: str
    api_versions: tuple[str, ...]
    label: str
    """How messages name the chart."""


class Helm(Protocol):
    """Renders a chart in a sandbox (the system's Helm)."""

    def version(self) -> str:
        """Return what the program calls itself; WorldError SP613 when it is missing or one that is not known to agree."""
        ...

    def template(self, root: Path, release: ChartRelease, *, again: bool = False) -> bytes:
        """Return the YAML of `helm template` run with only `root` readable and no network (its message: UserError SP614).

        again asks for the answer of another second, to find out whether it is the same.
        """
        ...


class ChartStore(Protocol):
    """Charts that were pushed to the embedded registry."""

    def chart(self, repository: str, digest: str) -> Mapping[str, bytes]:
        """Return {path in the chart: bytes} of a chart by the digest of its manifest.

        UserError SP619 when it is not there, is no chart, or holds what a chart does not.
        """
        ...


class RenderStore(Protocol):
    """Keeps what was rendered, by name (adapters.render_folder); a render that is gone is made again."""

    def get(self, key: str) -> bytes | None:
        """Return what is kept under a name; None when there is nothing, or nothing that can be read."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Keep a render; that there is no room is no error."""
        ...


class Vault(Protocol):
    """Opens what sops has encrypted to the age keys of the home (adapters.sops); nothing it returns may be kept or shown."""

    def verify(self, data: bytes, path: str) -> None:
        """Check a whole encrypted file against its MAC; UserError SP672 when it was changed, SP673 when no key opens it."""
        ...

    def open(self, secret: SealedSecret) -> dict[str, bytes]:
        """Return {`data:KEY` or `stringData:KEY`: value}, decoded; UserError as above."""
        ...

    def recipients(self) -> tuple[str, ...]:
        """Return what the home's keys are known by to others, `age1...`."""
        ...


class DeploymentRecords(Protocol):
    """Deployments as the journal tells them."""

    def deployment(self, app: str, environment: str) -> Deployment | None:
        """Return the last observation."""
        ...

    def deployments(self) -> list[Deployment]:
        """Return all last observations."""
        ...

    def promotion(self, promotion: str) -> Promotion | None:
        """Return one promotion."""
        ...

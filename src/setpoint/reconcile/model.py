"""Rendered objects, the host runtime's workloads, replicas and deployments; the words of reconcile."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Rendered:
    """What rendering the pinned trees gave, before and after images were substituted."""

    objects: tuple[dict[str, Any], ...]
    digest: str
    """sha256 over the canonical JSON of all objects, sorted by identity."""
    sources: dict[str, str]
    """object identity -> file it came from, where known (for error places)"""


def identity(manifest: dict[str, Any]) -> str:
    """Return `Kind/name` of a manifest (the host runtime has one namespace)."""
    meta = manifest.get("metadata") or {}
    return f"{manifest.get('kind', '?')}/{meta.get('name', '?')}"


@dataclass(frozen=True, slots=True)
class Probe:
    """A readiness, liveness or startup probe: an HTTP GET, or a TCP connect when path is empty."""

    path: str
    period_s: float = 10.0
    timeout_s: float = 1.0
    failure_threshold: int = 3
    initial_delay_s: float = 0.0
    success_threshold: int = 1
    """Passes in a row until it counts; only a readiness probe may ask for more than one."""
    headers: tuple[tuple[str, str], ...] = ()
    grace_s: float | None = None
    """From TERM to KILL when a liveness or startup probe has failed; None is the workload's own."""


@dataclass(frozen=True, slots=True)
class ImageMount:
    """An artifact or image whose files a container sees, read-only (Kubernetes' image volume)."""

    path: str
    """Absolute, where it is mounted."""
    image: str
    """`<oci repository>@<digest>`"""
    sub_path: str = ""
    """What of it is mounted; empty is all."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What a container may use at most (Kubernetes `resources.limits`); None is without limit."""

    memory_bytes: int | None = None
    cpu_millis: int | None = None
    """Thousandths of a processor."""


@dataclass(frozen=True, slots=True)
class PreStop:
    """What happens between the wish to stop a replica and its TERM: a pause, or an HTTP GET when there is a path."""

    sleep_s: float = 0.0
    path: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class EmptyDir:
    """A private writable folder of a replica."""

    volume: str
    path: str
    """Absolute, where it is mounted."""
    in_memory: bool = False
    """In memory it is empty after every restart of the process; on disk it lives as long as the replica."""
    size_bytes: int | None = None
    """Only in memory."""


@dataclass(frozen=True, slots=True)
class SecretKey:
    """One value of a Secret, by name: never the value itself."""

    secret: str
    key: str


@dataclass(frozen=True, slots=True)
class SealedSecret:
    """What a container uses of an encrypted Secret: ciphertext only, as it lies in Git (SOPS with age)."""

    name: str
    stanzas: tuple[str, ...]
    """The data key, encrypted to each recipient (armored age files)."""
    values: dict[str, str]
    """`data:KEY` or `stringData:KEY` -> `ENC[AES256_GCM,...]`; empty text stays empty"""


@dataclass(frozen=True, slots=True)
class Container:
    """One container as the host runtime runs it."""

    name: str
    image: str
    """`<oci repository>@<digest>`"""
    command: tuple[str, ...] | None
    """Overrides the image's entrypoint (Kubernetes `command`)."""
    args: tuple[str, ...] | None
    """Overrides the image's command (Kubernetes `args`)."""
    environment: dict[str, str]
    files: dict[str, str]
    """mounted path -> content, from ConfigMap volumes"""
    port: int
    """`containerPort`; on the host the process listens on $PORT instead."""
    readiness: Probe | None
    liveness: Probe | None
    workdir: str = ""
    startup: Probe | None = None
    """Holds the other two until it passes."""
    mounts: tuple[ImageMount, ...] = ()
    """By path."""
    resources: Resources = Resources()
    pre_stop: PreStop | None = None
    scratch: tuple[EmptyDir, ...] = ()
    modes: dict[str, int] = field(default_factory=dict)
    """mounted path of a file -> its permission bits, where they are not the usual ones"""
    secret_environment: dict[str, SecretKey] = field(default_factory=dict)
    secret_files: dict[str, SecretKey] = field(default_factory=dict)
    """mounted path -> what it holds"""
    sealed: tuple[SealedSecret, ...] = ()
    """By name: every Secret that the two fields above name."""

    @property
    def images(self) -> tuple[str, ...]:
        """Everything that has to be unpacked for it: its own image first, then what it mounts, each once."""
        return tuple(dict.fromkeys((self.image, *(mount.image for mount in self.mounts))))


@dataclass(frozen=True, slots=True)
class Workload:
    """A Deployment, ready to run: its identity, how many, and what each replica is.

    `revision_hash` covers everything that makes a replica different (image, command, environment, files, probes) and leaves out
    replicas and Setpoint's identity fields, so only a real change rolls.
    """

    app: str
    environment: str
    name: str
    replicas: int
    labels: dict[str, str]
    """The pod template's labels, which Services select."""
    container: Container
    revision_hash: str
    grace_s: float = 30.0
    progress_deadline_s: float = 600.0
    max_surge: int = 1
    max_unavailable: int = 0
    min_ready_s: float = 0.0
    """How long a replica has to be ready before it counts as available."""


@dataclass(frozen=True, slots=True)
class Job:
    """A program that has to come to an end, run once for each revision hash."""

    app: str
    environment: str
    name: str
    container: Container
    revision_hash: str
    grace_s: float = 30.0
    retries: int = 6
    """How often it is started again after a failure (Kubernetes `backoffLimit`)."""
    deadline_s: float | None = None
    ttl_s: float | None = None
    """How long its log stays after the end; None until another revision runs."""


@dataclass(frozen=True, slots=True)
class Route:
    """One rule of an HTTPRoute: what it matches and the workloads its traffic goes to, with weights."""

    name: str
    hostnames: tuple[str, ...]
    path_prefix: str
    path_exact: bool
    backends: tuple[tuple[str, int], ...]
    """(workload name, weight)"""


@dataclass(frozen=True, slots=True)
class DesiredState:
    """What an application should be in an environment of the host target."""

    app: str
    environment: str
    workloads: tuple[Workload, ...]
    routes: tuple[Route, ...]
    digest: str
    """Render digest."""
    jobs: tuple[Job, ...] = ()


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose build it is: the identity fields that every replica carries and no digest covers."""

    app: str
    environment: str
    revision: str
    digest: str
    """The artifact digest of the container's image."""
    promotion: str
    version: str = ""

    def labels(self) -> dict[str, str]:
        """Return the identity as labels, under one prefix, as every target carries them."""
        fields = {"app": self.app, "environment": self.environment, "revision": self.revision, "digest": self.digest}
        fields |= {"promotion": self.promotion, "version": self.version}
        return {f"setpoint.dev/{name}": value for name, value in fields.items()}


@dataclass(frozen=True, slots=True)
class CanaryPlan:
    """How a new revision gets its traffic: `rollout.canary` of an environment, as the rollout carries it out."""

    weights: tuple[int, ...]
    """Percent, rising, each below 100."""
    hold_s: float
    look_s: float = 5.0
    keep_s: float = 300.0
    """How long the revision that lost its traffic stays, so that the way back is a change of weights."""
    ratio: float = 1.1
    alpha: float = 0.01
    responses: tuple[str, ...] = ("5xx",)
    """Classes of responses that count as failed."""
    least_requests: int = 20
    """A step in which the canary answered fewer is not judged, and held."""
    unjudged: bool = False
    """Steps go on by time and health alone where the traffic is too little to judge."""
    traffic_rate: float | None = None
    """Declared: requests a second."""
    traffic_errors: float | None = None
    """Declared: share of them that fails while nothing is wrong."""


@dataclass(frozen=True, slots=True)
class Release:
    """What an application is to become, and in whose name: what the rollout is handed on every pass."""

    desired: DesiredState
    identity: Identity
    pin_commit: str = ""
    """The commit of the pin that wants it."""
    canary: CanaryPlan | None = None
    """None: rolling, as nothing else is declared, or because it goes back to what ran before."""
    stable: "Release | None" = None
    """What was fully rolled out last, while it is something else."""

    @property
    def app(self) -> str:
        """The application."""
        return self.desired.app


@dataclass(frozen=True, slots=True)
class JobLimits:
    """What makes a replica the run of a Job: it has to come to an end."""

    retries: int
    deadline_s: float | None


@dataclass(frozen=True, slots=True)
class ReplicaSpec:
    """What the host runtime is asked to start."""

    replica: str
    """`<environment>-<app>-<workload>-<hash>-<n>`; unique for ever (n grows)."""
    workload: str
    revision_hash: str
    port: int
    container: Container
    identity: Identity
    grace_s: float
    job: JobLimits | None = None
    """None for a replica of a Deployment."""


@dataclass(frozen=True, slots=True)
class JobRun:
    """One run of a Job: journalled as `job.started` before anything happens, and as `job.finished` once its end is known."""

    run: str
    """Also the replica's id."""
    app: str
    environment: str
    job: str
    revision_hash: str
    promotion: str
    state: Literal["started", "succeeded", "failed", "deadline", "stopped", "lost"]
    """`stopped`: another revision was wanted; `lost`: nobody can say how it ended."""
    started_at: str
    finished_at: str = ""
    exit: str = ""
    attempts: int = 0
    """How often the program was started."""


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """What the host runtime finds when it looks."""

    spec: ReplicaSpec
    shim_alive: bool
    pid: int | None
    """Process id of the application's process in the host's namespace; None while it is not running."""
    started_at: str | None
    restarts: int
    last_exit: str
    """`exit status 3`, `killed by SIGKILL`; empty when it never ended."""
    stopping: bool = False
    outdated: bool = False
    """Files of its image were replaced since it was started: it may have read what somebody wrote there."""
    unenforced: str = ""
    """Which limits of the container this machine does not hold it to, and why; empty when it does."""
    outcome: str = ""
    """How a Job's run ended: `succeeded`, `failed`, `deadline`; empty while it has not."""
    finished_at: str | None = None
    begun: bool = True
    """A shim has run; without one nothing of the program has."""
    age_s: float | None = None
    """For how long its process has been running, whatever the clock was set to; None when it does not, or nobody knows."""

    @property
    def revision_hash(self) -> str:
        """What the rollout takes it for: none that is wanted when it is outdated, so that it is replaced like any old one."""
        return "" if self.outdated else self.spec.revision_hash


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing of the live world that is not as it is desired."""

    subject: str
    """`Deployment/web`, a replica, `HTTPRoute/web`, `image web`"""
    field: str
    desired: str
    live: str


class Health(StrEnum):
    """One health vocabulary for every target, best to worst."""

    HEALTHY = "healthy"
    PROGRESSING = "progressing"
    SUSPENDED = "suspended"
    MISSING = "missing"
    DEGRADED = "degraded"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class DeployReason:
    """A sentence about why an application is in its health, for `why` and `status`."""

    code: str
    subject: str
    found: str
    fix: str = ""
    severity: Literal["info", "problem"] = "info"


@dataclass(frozen=True, slots=True)
class Deployment:
    """What the reconciler last saw of an application in an environment; journalled when state or pin changes as `deployment.observed`."""

    app: str
    environment: str
    promotion: str
    pin_commit: str
    health: Health
    since: str
    """When this health began for this pin."""
    reasons: tuple[DeployReason, ...] = ()
    render: str = ""
    artifacts: dict[str, str] = field(default_factory=dict)
    revision: str = ""
    version: str = ""
    url: str = ""
    replicas_ready: int = 0
    replicas_wanted: int = 0

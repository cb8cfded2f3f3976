"""The words of garbage collection: rules, facts, what stays and what goes; frozen, no I/O."""

from dataclasses import dataclass, field
from enum import StrEnum

from setpoint.artifact.model import ArtifactRecord
from setpoint.evidence.model import EvidenceRecord
from setpoint.ground.hold.model import Hold
from setpoint.promotion.model import Promotion
from setpoint.reconcile.model import Deployment
from setpoint.reconcile.prune.model import Inventory
from setpoint.rollout.model import Rollout


@dataclass(frozen=True, slots=True)
class Rules:
    """How long things stay; the operator's, given to `setpoint up`."""

    versions: int = 20
    """Newest versions of each artifact, pins of each application in each environment, and runs of each repository that always stay."""
    days: float = 30
    """Everything younger stays too."""
    log_days: float = 30
    """Logs of tasks, from the end of their run."""
    cache_days: float = 14
    """Green results and unpacked images, from their last use."""
    grace_s: float = 86_400
    """Nothing that was written or used in this time is touched: a push may be in flight."""


class Kind(StrEnum):
    """Where bytes lie."""

    MANIFEST = "manifests"
    BLOB = "blobs"
    CACHE = "task-cache"
    CONTENT = "content"
    LOG = "logs"
    RENDER = "renders"
    IMAGE = "images"


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest or index in one repository of the registry, and what it names."""

    repository: str
    digest: str
    used_at: float
    """Seconds since 1970 of the last write or use."""
    blobs: tuple[str, ...] = ()
    """Config first."""
    children: tuple[str, ...] = ()
    subject: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes in the registry, manifests too."""

    digest: str
    size_bytes: int
    used_at: float


@dataclass(frozen=True, slots=True)
class Registry:
    """Everything in the registry."""

    manifests: tuple[Manifest, ...]
    blobs: tuple[Blob, ...]
    links: dict[str, frozenset[str]]
    """repository -> the blobs that it has"""
    indexes: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    """(repository, blob) -> manifests that an index names which is kept as a blob (of a base for several platforms)"""


@dataclass(frozen=True, slots=True)
class Thing:
    """A file or folder that stays or goes as a whole."""

    name: str
    size_bytes: int
    used_at: float
    holds: tuple[str, ...] = ()
    """Of a cached result: the content it needs."""


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run as retention looks at it."""

    run: str
    repository: str
    created_at: str
    finished_at: str | None


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a decision rests on; a source that cannot be read leaves no Facts, and so deletes nothing (law 7)."""

    artifacts: tuple[ArtifactRecord, ...]
    """Newest first."""
    evidence: tuple[EvidenceRecord, ...]
    promotions: tuple[Promotion, ...]
    """Newest first."""
    deployments: tuple[Deployment, ...]
    rollouts: tuple[Rollout, ...]
    holds: tuple[Hold, ...]
    """Open ones."""
    inventories: tuple[Inventory, ...]
    runs: tuple[PastRun, ...]
    """Newest first."""
    pinned: dict[str, str]
    """digest of an artifact pinned at HEAD -> where"""
    running: dict[str, str]
    """digest of an image that a replica has -> the replica"""
    outputs: dict[str, frozenset[str]]
    """run -> digests of the content that its results name"""


@dataclass(frozen=True, slots=True)
class Claims:
    """Why digests stay."""

    whole: dict[str, str]
    """manifest digest -> why all its bytes stay"""
    records: dict[str, str]
    """digest of an artifact -> why its manifest, config and evidence stay, without layers"""
    own: frozenset[str]
    """Manifests that Setpoint wrote; with `bases`, nothing else is ever taken out of a repository."""
    runs: dict[str, str]
    """run -> why what its tasks left stays"""
    own_tags: frozenset[tuple[str, str]] = frozenset()
    """(repository, tag) that a build gave: such a tag alone keeps nothing"""
    bases: frozenset[tuple[str, str]] = frozenset()
    """(repository, manifest) of the copies of bases that builds took in; in any other repository a person pushed it"""

    def wrote(self, repository: str, digest: str) -> bool:
        """Say whether Setpoint put a manifest into a repository."""
        return digest in self.own or (repository, digest) in self.bases


@dataclass(frozen=True, slots=True)
class Going:
    """Something that goes, and why."""

    kind: Kind
    name: str
    size_bytes: int
    why: str
    repository: str = ""


@dataclass(frozen=True, slots=True)
class Sum:
    """How many, and how large."""

    count: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a collection would do; what `setpoint gc --dry-run` shows."""

    rules: Rules
    going: tuple[Going, ...]
    unlinked: tuple[tuple[str, str], ...]
    """(repository, blob): links to take away, so that bytes which nothing else holds can go"""
    keeping: dict[str, Sum]
    """kind -> what stays"""
    reasons: dict[str, int]
    """why -> how many manifests stay for it"""

    def sums(self) -> dict[str, Sum]:
        """Return what goes, by kind."""
        found: dict[str, Sum] = {}
        for item in self.going:
            before = found.get(item.kind.value, Sum())
            found[item.kind.value] = Sum(before.count + 1, before.size_bytes + item.size_bytes)
        return found

    def of(self, kind: Kind) -> list[Going]:
        """Return what goes of a kind."""
        return [item for item in self.going if item.kind is kind]

    @property
    def size_bytes(self) -> int:
        """How many bytes go."""
        return sum(item.size_bytes for item in self.going)


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection, as it is journalled at its end."""

    gc: str
    state: str
    """`running`, `done`, `stopped` by a person or a server that ended, or `failed`."""
    began_at: str
    by: str
    ended_at: str = ""
    planned: dict[str, Sum] = field(default_factory=dict)
    """kind -> what was to go"""
    gone: dict[str, Sum] = field(default_factory=dict)
    """kind -> what went"""
    spared: int = 0
    """How many were used since they were looked at, and stayed."""
    why: str = ""
    """Of a failed one."""

    @property
    def size_bytes(self) -> int:
        """How many bytes went."""
        return sum(item.size_bytes for item in self.gone.values())


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system of the home."""

    size_bytes: int
    free_bytes: int

    @property
    def nearly_full(self) -> bool:
        """Whether somebody should do something: less than a tenth, and less than 10 GiB, are free."""
        return self.free_bytes < min(self.size_bytes // 10, 10 << 30)


@dataclass(frozen=True, slots=True)
class Report:
    """Where garbage collection stands."""

    active: Collection | None
    done: int
    """How many things the active one has looked at again, of `total`."""
    total: int
    last: Collection | None
    rules: Rules
    automatic: bool
    """Whether it runs once a day by itself."""
    due_at: str
    """When it runs by itself next; empty when it does not."""
    disk: Disk
    nearly_full: bool

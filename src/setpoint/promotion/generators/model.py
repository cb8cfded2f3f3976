"""Elements, expansions and what came of them; the words of generators. Expansions are journalled whole, as `generator.expanded`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from setpoint.core import canonical, digest, plain_names
from setpoint.core.reasons import Reason

_LONGEST: Final = 40
_TAIL: Final = 6


@dataclass(frozen=True, slots=True)
class Life:
    """A preview's branch, what of it counts, and how long."""

    branch: str
    commit: str
    """The newest commit that somebody trusted pushed: what is built and deployed."""
    pushed_at: str
    begun_at: str
    until: str = ""
    """A person's word: not before that."""
    deleted_at: str = ""
    """Since when there is no such branch; empty while there is."""
    port: int = 0
    """On this machine; 0 elsewhere."""
    ended: str = ""
    """Why it ends; empty while it lives."""


@dataclass(frozen=True, slots=True)
class Element:
    """One thing that something is made from: a folder or a cluster."""

    name: str
    """Of the application, or the second part of the environment's."""
    source: str
    """What it is, for people: `apps/web`, `cluster edge-1`."""
    values: dict[str, str] = field(default_factory=dict)
    """word -> what stands for `${word}`"""
    life: Life | None = None
    """Of a preview."""


@dataclass(frozen=True, slots=True)
class Shrink:
    """Elements that a generator does not find any more and that wait for a person before they leave."""

    elements: tuple[str, ...]
    why: str
    set: str
    """Digest over generator and elements: a confirmation is for exactly this."""


@dataclass(frozen=True, slots=True)
class Expansion:
    """What a generator makes, as last found out; the newest one stands until a better one is journalled."""

    generator: str
    commit: str
    """The accepted commit whose file made it; empty when nothing was made yet."""
    file: str
    """Blob id of that file."""
    elements: tuple[Element, ...] = ()
    leaving: tuple[Element, ...] = ()
    """Elements of environments that are no longer made, while something is still there."""
    reasons: tuple[Reason, ...] = ()
    """What stands against it, or against single elements."""
    since: str = ""
    """When these reasons began; empty without any."""
    held: Shrink | None = None
    confirmed: str = ""
    """The set of a shrink that a person confirmed."""
    ended: dict[str, str] = field(default_factory=dict)
    """branch -> commit at which a person ended its preview: that commit brings none back"""


@dataclass(frozen=True, slots=True)
class Made:
    """Where an application or environment comes from when nobody wrote it down."""

    generator: str
    place: str
    """`generators/services.yaml:5`"""
    element: str
    """`apps/web`"""


@dataclass(frozen=True, slots=True)
class PreviewOf:
    """A preview in force: what of its repository it runs, and its life."""

    repository: str
    expires_at: str
    """When it ends if nobody pushes."""
    life: Life
    host: str = ""
    """The host name of its routes; empty: as the manifests say."""


@dataclass(frozen=True, slots=True)
class Generated:
    """What all generators of a delivery repository made of it."""

    apps: Mapping[str, Made] = field(default_factory=dict)
    environments: Mapping[str, Made] = field(default_factory=dict)
    like: Mapping[str, str] = field(default_factory=dict)
    """generated environment -> its template"""
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """generated environment -> the only applications that run there; absent: those that say so themselves"""
    previews: Mapping[str, PreviewOf] = field(default_factory=dict)
    """environment -> its life, for those that are previews; ending ones too"""
    expansions: Mapping[str, Expansion] = field(default_factory=dict)
    """generator -> what it found last"""


def environment_name(generator: str, element: str) -> str:
    """Return the name of an environment that a generator makes: stable, and no longer than a name may be."""
    name = f"{generator}-{element}"
    if len(name) <= _LONGEST and plain_names.is_plain(name):
        return name
    tail = digest.sha256(name.encode()).rpartition(":")[2][:_TAIL]
    return f"{name[: _LONGEST - _TAIL - 1].rstrip('-')}-{tail}"


def shrink_of(generator: str, elements: tuple[str, ...], why: str) -> Shrink:
    """Return a shrink with the digest that confirms exactly it."""
    return Shrink(elements, why, digest.sha256(canonical.dumps({"generator": generator, "elements": list(elements)})))

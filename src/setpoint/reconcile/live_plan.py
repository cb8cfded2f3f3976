"""What a candidate would change of live objects, as people read it: the words of a plan against a cluster. Nothing here looks at one.

Made by `reconcile.cluster.preview`; shown by `observe.plan`, the command line and the page.
"""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class LiveField:
    """A field of a live object that would change."""

    path: str
    before: Any
    """The live value; None when it is not set. Secret values are masked."""
    after: Any
    writer: str = ""
    """The field manager that owns the live value; empty when nobody does."""


@dataclass(frozen=True, slots=True)
class LiveChange:
    """What would happen to one object."""

    object: str
    """`Deployment/web`"""
    action: Literal["create", "change", "replace", "remove", "keep", "refused", "unknown"]
    """`keep`: no longer wanted, and not removed without a person; `refused`: the cluster, or a rule of ours, would not have it."""
    fields: tuple[LiveField, ...] = ()
    destructive: tuple[str, ...] = ()
    """What is lost by it, a sentence each."""
    note: str = ""
    """What is to be said about it: why it is refused, kept or not known, and what was only predicted."""


@dataclass(frozen=True, slots=True)
class LivePlan:
    """A candidate against what is live in a namespace of a cluster."""

    cluster: str
    namespace: str
    compared: bool
    """False: the cluster could not be asked, and the plan compares renders only."""
    sentence: str
    objects: tuple[LiveChange, ...] = ()
    """What changes; an object that stays as it is is left out."""
    same: int = 0
    """How many objects stay as they are."""
    held: str = ""
    """Why removals would wait for a person (deletion budget); empty when they would not."""

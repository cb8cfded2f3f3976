"""Objects of a cluster, who writes their fields, and what differs; the words of the Kubernetes planner. Nothing here reads a cluster."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from setpoint.reconcile.changes import FieldChange

Object = Mapping[str, Any]
"""A manifest or a live object, as JSON gives it."""


@dataclass(frozen=True, slots=True, order=True)
class ObjectKey:
    """Which object of a cluster: what stays the same when it is served in another version."""

    group: str
    """`apps`; empty for the core group."""
    kind: str
    namespace: str
    """Empty for what has none."""
    name: str

    @classmethod
    def of(cls, value: Object) -> Self:
        """Return the key of a manifest or a live object."""
        api_version = str(value.get("apiVersion", ""))
        meta = value.get("metadata") or {}
        group = api_version.rpartition("/")[0]
        return cls(group, str(value.get("kind", "")), str(meta.get("namespace") or ""), str(meta.get("name", "")))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the key that `str()` wrote.

        Raises:
            ValueError: the text is none.
        """
        group, kind, namespace, name = text.split("/")
        return cls(group, kind, namespace, name)

    def __str__(self) -> str:
        return f"{self.group}/{self.kind}/{self.namespace}/{self.name}"

    @property
    def subject(self) -> str:
        """What people read, `Deployment/web`; which namespace is said beside it, where there are several."""
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class Writer:
    """A field manager, as the server noted it (`metadata.managedFields`)."""

    manager: str
    """`kubectl-edit`, `kube-controller-manager`"""
    operation: str
    """`Apply` or `Update`"""
    time: str = ""
    """When it last changed the set of fields it owns (RFC 3339)."""
    subresource: str = ""
    """`scale` or `status` when it wrote through one."""

    def __str__(self) -> str:
        return f"{self.manager} ({self.subresource})" if self.subresource else self.manager


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """A field that an apply would change."""

    change: FieldChange
    """Before is live, after is what is desired; None is left out."""
    writer: Writer | None = None
    """Who owns the live value; None when nobody does: a default, a webhook, or a value that is gone."""
    replaces: str = ""
    """Why the object has to be deleted and made again for it; empty when it can be changed in place."""

    @property
    def path(self) -> str:
        """Where: `spec.template.spec.containers[web].image`."""
        return self.change.path


@dataclass(frozen=True, slots=True)
class Comparison:
    """What an apply would do to a live object."""

    differences: tuple[FieldDifference, ...] = ()
    """Values of fields that we declare, or declared and leave out now."""
    claims: tuple[str, ...] = ()
    """Fields that would become ours, with the value they have."""
    releases: tuple[str, ...] = ()
    """Fields that would no longer be ours, with the value they keep."""
    others: tuple[FieldChange, ...] = ()
    """What the server or a webhook would change besides: no drift, and never a reason to write."""
    sure: bool = True
    """False: seen without asking the server, which may find that some of it is no difference (defaults, webhooks)."""

    @property
    def in_step(self) -> bool:
        """Whether an apply would do nothing at all."""
        return not (self.differences or self.claims or self.releases)

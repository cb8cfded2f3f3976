"""What an application is to be in a namespace: its pin rendered, with the images that the nodes can pull, and every object in its place.

Called by the target for each application that does not rest, and by `diff`. Copies of artifacts are made here, before anything names them.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from setpoint.artifact.copies import Copies, Place
from setpoint.core.errors import SetpointError, UserError, WorldError
from setpoint.promotion.model import Candidate, Pin
from setpoint.promotion.repository import Delivery
from setpoint.promotion.targets import KubernetesTarget
from setpoint.reconcile.cluster import ignoring
from setpoint.reconcile.cluster.desired import placed, relocated
from setpoint.reconcile.cluster.hooking import split
from setpoint.reconcile.cluster.ignore import IgnoreRule
from setpoint.reconcile.cluster.model import ObjectKey
from setpoint.reconcile.cluster.owner import Owner
from setpoint.reconcile.cluster.ports import Cluster
from setpoint.reconcile.cluster.shapes import Shape, Shapes
from setpoint.reconcile.effective import Effective
from setpoint.reconcile.model import DeployReason
from setpoint.reconcile.pulls.decide import referring
from setpoint.reconcile.rendering import Rendering


@dataclass(frozen=True, slots=True)
class Wanted:
    """One application of an environment, rendered and placed."""

    effective: Effective
    manifests: tuple[dict[str, Any], ...]
    owner: Owner
    rules: tuple[IgnoreRule, ...] = ()
    """Which of their fields are left to somebody else."""
    versions: Mapping[ObjectKey, str] = field(default_factory=dict)
    """The version in which each of them is read, in their order."""
    approved: Collection[str] | None = None
    """The objects whose loss people approved with this promotion; None where nobody has to."""
    shape: Shape | None = None
    """None: it does not run in revisions."""
    hooks: tuple[dict[str, Any], ...] = ()
    """What is run around the apply, and is no part of what stays."""

    @property
    def stamp(self) -> str:
        """What `all of it was there` is remembered under."""
        commit = self.effective.pin.commit
        return self.shape.stamp(commit) if self.shape is not None else commit

    def also(self, notes: Sequence[DeployReason]) -> "Wanted":
        """Return the same with more to tell people."""
        return replace(self, effective=replace(self.effective, notes=(*self.effective.notes, *notes))) if notes else self


@dataclass(frozen=True, slots=True)
class Placing:
    """Places applications of one home."""

    home: str
    rendering: Rendering
    copies: Copies
    needs_host: Callable[[str, str], bool]
    """(OCI repository, digest) -> whether an image is built on the machine of this home, and runs nowhere else"""
    shapes: Shapes
    approved: Callable[[Pin], Collection[str]] = lambda _pin: ()
    """pin -> the objects whose loss people approved with its promotion"""
    refers: Callable[[KubernetesTarget], tuple[str, str] | None] = lambda _target: None
    """target -> (registry, pull secret that its pods have to name)"""

    def placed(
        self, delivery: Delivery, environment: str, where: tuple[Cluster, KubernetesTarget], effective: Effective, *, step: bool
    ) -> Wanted:
        """Return an application's objects in the namespace, once the nodes can pull its artifacts; its rollout takes a step if asked to.

        Raises:
            UserError: something cannot be there (SP651, SP653, SP695, SP696), or the registry refuses the copy (SP331, SP333).
            WorldError: cluster or registry give no usable answer.
        """
        (cluster, target), candidate = where, effective.pin.candidate
        references = self.references(candidate, target)
        every = placed(self.rendering.objects(candidate, delivery.repository), target.namespace, cluster.is_namespaced)
        objects, hooks = split(every)
        shape = self.shapes.of(delivery, where, effective, objects, step=step)
        if shape is not None and shape.stable is not None:
            references |= self.references(shape.stable.candidate, target)
        manifests = tuple(relocated(value, references) for value in (shape.shaped.manifests if shape is not None else objects))
        hooks = tuple(relocated(value, references) for value in hooks)
        refers = self.refers(target)
        if refers is not None:
            manifests, hooks = (tuple(referring(value, *refers) for value in some) for some in (manifests, hooks))
        config, versions = delivery.environment(environment), {ObjectKey.of(one): str(one["apiVersion"]) for one in (*manifests, *hooks)}
        approved = self.approved(effective.pin) if config.gates.approvals is not None else None
        owner, rules = Owner(self.home, candidate.app, environment), ignoring.rules_of(config, candidate.app)
        return Wanted(effective, manifests, owner, rules, versions, approved, shape, hooks)

    def references(self, candidate: Candidate, target: KubernetesTarget) -> dict[str, str]:
        """Return how the nodes name each artifact, once it is where they pull from; raises what `placed` raises of that."""
        place, references = Place.parse(target.registry), {}
        for name, pinned in candidate.artifacts.items():
            if self.needs_host(pinned.oci_repository, pinned.digest):
                fix = "give the artifact a base image by digest; `base: host` runs on the host target only"
                raise UserError("SP696", f"the artifact `{name}` is built on this machine's own system", where=name, fix=fix)
            ours = f"{pinned.oci_repository}@{pinned.digest}"
            try:
                references[ours] = self.copies.ensure(pinned.oci_repository, pinned.digest, place)
            except WorldError as error:  # of one application, and not the cluster's
                what = f"the artifact `{name}` cannot be copied to {target.registry}: {error.what}"
                raise UserError("SP698", what, where=error.where, fix=error.fix or "it is tried again") from error
        return references

    def copied(self, candidate: Candidate, target: KubernetesTarget) -> bool:
        """Say whether all copies of a candidate are where the nodes pull from, with all evidence of now."""
        try:
            self.references(candidate, target)
        except SetpointError:
            return False
        return True

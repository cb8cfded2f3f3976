"""Asks the rollout what the objects of an application are, where it runs in revisions; called by the target for each application and pass.

An application runs in revisions once its environment declares a canary, and from then on: whoever leaves the canary out again gets the
same without steps. The stable side is rendered from its own pin, never from HEAD.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from setpoint.core import canonical
from setpoint.core.digest import sha256
from setpoint.core.errors import SetpointError, UnreachableError, UserError, WorldError
from setpoint.promotion.model import Pin
from setpoint.promotion.repository import Delivery, DeliveryReader
from setpoint.promotion.targets import KubernetesTarget
from setpoint.reconcile.cluster.desired import placed
from setpoint.reconcile.cluster.hooking import split
from setpoint.reconcile.cluster.model import ObjectKey
from setpoint.reconcile.cluster.owner import Made
from setpoint.reconcile.cluster.ports import Cluster
from setpoint.reconcile.cluster.shaping import Asked, Placed, RevisionRollout, Shaped
from setpoint.reconcile.effective import Effective
from setpoint.reconcile.model import DeployReason, Health
from setpoint.reconcile.ports import DeploymentRecords
from setpoint.reconcile.prune.service import PruneService
from setpoint.reconcile.rendering import Rendering
from setpoint.reconcile.strategy import canary_plan
from setpoint.reconcile.target import Observed


@dataclass(frozen=True, slots=True)
class Shape:
    """What the objects of an application are in this pass."""

    shaped: Shaped
    stable: Pin | None
    """Whose artifacts have to be there too."""

    @property
    def rests(self) -> bool:
        """Whether only another pin, or a change of what is live, moves it."""
        shaped = self.shaped
        return not (shaped.pace or shaped.reasons or shaped.stays or shaped.retired)

    def made(self) -> Mapping[ObjectKey, Made]:
        """Return in whose name objects are there that are not the wanted pin's."""
        if self.stable is None:
            return {}
        return dict.fromkeys(self.shaped.of_stable, Made(self.stable.promotion, self.stable.source_revision, self.stable.version))

    def stamp(self, commit: str) -> str:
        """Return what `all of it was there` is remembered under: a phase that adds an object begins anew."""
        return f"{commit} {sha256(canonical.dumps(sorted(str(ObjectKey.of(one)) for one in self.shaped.manifests)))}"


@dataclass(frozen=True, slots=True)
class Shapes:
    """What shapes are made from."""

    rollout: RevisionRollout
    reader: DeliveryReader
    rendering: Rendering
    records: DeploymentRecords
    prune: PruneService

    def of(
        self,
        delivery: Delivery,
        where: tuple[Cluster, KubernetesTarget],
        effective: Effective,
        objects: Sequence[dict[str, Any]],
        *,
        step: bool,
    ) -> Shape | None:
        """Return the shape of an application, after a step if one is asked for; None when it does not run in revisions.

        Raises:
            UserError: see `RevisionRollout.shape`; the stable revision cannot be rendered now (SP653).
        """
        pin, (cluster, target) = effective.pin, where
        app, environment = pin.candidate.app, pin.candidate.environment
        inventory = self.prune.inventory(app, environment).objects.keys()
        config = delivery.environment(environment).rollout.canary
        if config is None and not self.rollout.concerns(app, environment, inventory):
            return None
        promotion = self.records.promotion(pin.promotion)
        back = effective.held or (promotion is not None and promotion.kind == "rollback")
        plan = canary_plan(config) if config is not None and not back else None
        stable = self._stable(delivery, where, pin)
        asked = Asked(Placed(pin, tuple(objects)), stable, plan, inventory, cluster, target)
        shaped = self.rollout.shape(asked) if step else self.rollout.shown(asked)
        return Shape(shaped, stable.pin if stable is not None and shaped.of_stable else None)

    def rolled_out(self, delivery: Delivery, place: tuple[str, str], objects: Sequence[dict[str, Any]]) -> Shaped:
        """Return what the objects of an application are in the end, for a plan: as they were rendered where it runs in no revisions.

        Raises:
            UserError: see `RevisionRollout.shape`.
        """
        inventory = self.prune.inventory(*place).objects.keys()
        if delivery.environment(place[1]).rollout.canary is None and not self.rollout.concerns(*place, inventory):
            return Shaped(tuple(objects))
        return self.rollout.rolled_out(objects, inventory)

    def _stable(self, delivery: Delivery, where: tuple[Cluster, KubernetesTarget], pin: Pin) -> Placed | None:
        """Return what was fully rolled out last; None when that is the pin itself, or nobody can render it any more.

        Raises:
            UserError: it cannot be rendered now, and may be later (SP653): a canary that began without it would be none.
            UnreachableError: nobody answers in the cluster.
        """
        app, environment = pin.candidate.app, pin.candidate.environment
        commit = self.rollout.stable_pin(app, environment)
        if not commit or commit == pin.commit:
            return None
        try:
            found = self.reader.pin_at(delivery.repository, commit, environment, app)
            objects = self.rendering.objects(found.candidate, delivery.repository) if found is not None else ()
            every, _hooks = split(placed(objects, where[1].namespace, where[0].is_namespaced))
            return Placed(found, tuple(every)) if found is not None else None
        except UnreachableError:
            raise
        except WorldError as error:
            what = f"the stable revision of {app} cannot be rendered from its pin {commit[:12]} now, so nothing is changed: {error.what}"
            raise UserError("SP653", what, where=environment, fix=error.fix or "it is tried again by itself") from error
        except SetpointError:
            return None  # without it nothing is split; a split that goes on says what is missing


def with_rollout(observed: Observed, shape: Shape | None) -> Observed:
    """Return how an application is, with where its rollout is."""
    if shape is None:
        return observed
    shaped = shape.shaped
    health = _health(observed.health, shaped.reasons, shaped.pace)
    reasons = tuple(one for one in observed.reasons if health is observed.health or one.code != "READY")
    return Observed(health, (*shaped.reasons, *reasons), observed.faults, observed.url, observed.ready, observed.wanted, observed.render)


def _health(health: Health, reasons: Sequence[DeployReason], pace: str) -> Health:
    if health not in (Health.HEALTHY, Health.PROGRESSING):
        return health
    if any(reason.severity == "problem" for reason in reasons):
        return Health.DEGRADED
    if pace == "held":
        return Health.SUSPENDED
    return Health.PROGRESSING if pace else health

"""What may be removed: pure functions of the inventory, what is desired, the budget and a person's confirmation (laws 6 and 7).

Called by the prune service for every application on every pass, and by `plan` beforehand. Counted are objects with something live of
their own on the host: Deployments (replicas), Jobs (runs) and HTTPRoutes (rules of the proxy). Services, ConfigMaps and Secrets are
parts of those.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from setpoint.reconcile.model import DeployReason, DesiredState
from setpoint.reconcile.prune.model import Held, Inventory, set_of


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to the objects that are no longer desired."""

    remove: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    held: Held | None = None
    """Why they are kept, when a person can change that."""
    waits: str = ""
    """Why nothing is removed for now, whatever the budget says."""


def objects_of(state: DesiredState) -> tuple[str, ...]:
    """Return the objects of a desired state that are counted."""
    parts = (("Deployment", state.workloads), ("Job", state.jobs), ("HTTPRoute", state.routes))
    return tuple(sorted({f"{kind}/{one.name}" for kind, every in parts for one in every}))


def over_budget(removed: Collection[str], every: Collection[str], budget: str) -> str:
    """Return why removing some of every object needs a person; empty when the budget (`3`, `50%`) allows it. Never all without one."""
    if not removed:
        return ""
    if len(removed) >= len(every):
        return f"all {len(every)} objects of the application would go" if len(every) > 1 else "the only object of the application would go"
    limit = len(every) * int(budget[:-1]) // 100 if budget.endswith("%") else int(budget)
    if len(removed) > limit:
        return f"{len(removed)} of {len(every)} objects would go, the budget is {budget}"
    return ""


def decide_all(
    inventory: Inventory, wanted: Sequence[str], pin_commit: str, budget: str, approved: Collection[str], retired: Collection[str]
) -> Decision:
    """Return the same as `decide`, with what goes because its revision is over: that is no removal, and counts for no budget."""
    over = tuple(sorted(set(inventory.objects) & set(retired) - set(wanted))) if wanted else ()
    left = replace(inventory, objects={name: commit for name, commit in inventory.objects.items() if name not in over})
    found = decide(left, wanted, pin_commit, budget, approved)
    return replace(found, remove=(*found.remove, *over))


def decide(inventory: Inventory, wanted: Sequence[str], pin_commit: str, budget: str, approved: Collection[str]) -> Decision:
    """Return what of the inventory is removed and what is kept; approved are objects whose removal people approved with this pin.

    What was held back once stays so until a person says otherwise: the inventory grows by what a pin wants anew, and would
    allow more with every pass. A confirmation holds for as long as part of what it names is left.
    """
    gone = tuple(sorted(set(inventory.objects) - set(wanted)))
    if not gone:
        return Decision()
    if not wanted:
        return Decision(keep=gone)
    before, pending = inventory.held, [name for name in gone if _short(name) not in approved]
    if before is not None and inventory.confirmed == before.set and before.pin_commit == pin_commit and set(gone) <= set(before.objects):
        return Decision(remove=gone)
    why = over_budget(pending, inventory.objects, budget)
    if not why and before is not None and not set(pending).isdisjoint(before.objects):
        why = before.why
    return Decision(keep=gone, held=Held(gone, pin_commit, why, set_of(gone, pin_commit))) if why else Decision(remove=gone)


def _short(name: str) -> str:
    """Return what approvals call an object: `Deployment/web`, also for one of a cluster (`apps/Deployment/shop/web`)."""
    parts = name.split("/")
    return f"{parts[1]}/{parts[3]}" if len(parts) == 4 else name


def reasons(decision: Decision, app: str, environment: str) -> tuple[DeployReason, ...]:
    """Return what is to be said about objects that are kept."""
    if not decision.keep:
        return ()
    names = ", ".join(decision.keep)
    if decision.waits:
        return (DeployReason("PRUNE_WAITS", "prune", f"{decision.waits}: {names}"),)
    if decision.held is None:
        found = f"the render holds none of what was made, so nothing is removed: {names}"
        fix = f"to take it down, remove {app} from setpoint.yaml, then setpoint prune {app} {environment}"
        return (DeployReason("PRUNE_EMPTY_RENDER", "prune", found, fix),)
    found = f"{decision.held.why}; kept: {names}"
    return (DeployReason("PRUNE_OVER_BUDGET", "prune", found, f"setpoint prune {app} {environment}"),)

"""What holds which cases of drift now: leases in force, branches that wait, and what a lease that is over said of the cases that it held.

Called by the drift service at each look, so a lease that ended while the server was down ends at the first one. It writes nothing.
"""

from collections.abc import Iterable, Mapping

from setpoint.core import names
from setpoint.ground.hold.service import Holds
from setpoint.reconcile.adopt.model import Adoption, AdoptionState
from setpoint.reconcile.adopt.ports import AdoptionRecords
from setpoint.reconcile.drift.decide import Key, Known
from setpoint.reconcile.drift.model import Drift, Holding


def holding(
    holds: Holds, adoptions: AdoptionRecords, environment: str, keys: Iterable[Key], known: Mapping[Key, Known]
) -> dict[Key, Holding]:
    """Return what holds the cases of some keys, or held those that are known."""
    leases, waiting = holds.leases(environment), {key: one for one in adoptions.adoptions(environment=environment) for key in one.cases()}
    found: dict[Key, Holding] = {}
    for key in keys:
        lease = next((one for one in leases if one.is_about(key[0], key[2])), None)
        if key in waiting:
            found[key] = _branch(waiting[key])
        elif lease is not None:
            found[key] = Holding(lease.hold, f"{names.actor(lease.by)} broke the glass: {lease.why}")
        elif key in known and known[key].drift.held_by:
            over = _over(holds, adoptions, known[key].drift)
            if over is not None:
                found[key] = over
    return found


def _branch(adoption: Adoption) -> Holding:
    merged = adoption.state is AdoptionState.MERGED
    why = f"its value was merged from {adoption.branch}, and is being promoted" if merged else f"its value waits on {adoption.branch}"
    fix = "" if merged else f"merge {adoption.branch}, or delete it"
    return Holding(adoption.adoption, why, fix, adopted=merged)


def _over(holds: Holds, adoptions: AdoptionRecords, drift: Drift) -> Holding | None:
    """Return what a lease said of a case that it held, or whether a branch was merged; None when neither is known any more."""
    lease = holds.named(drift.held_by)
    if lease is None:
        every = adoptions.adoptions(drift.app, drift.environment, ended=True)
        adoption = next((one for one in every if one.adoption == drift.held_by), None)
        adopted = adoption is not None and adoption.state is AdoptionState.ADOPTED
        return Holding(drift.held_by, drift.held_why, over="correct", adopted=adopted) if adoption is not None else None
    heal = f"setpoint heal {drift.app or 'APP'} {drift.environment}"
    if drift.then == "hold":
        return Holding(lease.hold, drift.held_why, drift.held_fix or heal, over="hold")
    why = f"the lease of {names.actor(lease.by)} is over: {lease.why}"
    return Holding(lease.hold, why, heal if lease.then == "hold" else "", over=lease.then)

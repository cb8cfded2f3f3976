"""What `setpoint check` says before anything runs: of a canary's steps that could find nothing, of pods, and of names in policies.

Called by `app.check`; the judges are those of the gate and the rollout.
"""

from collections.abc import Iterator

from setpoint.core import durations
from setpoint.core.documents import Document
from setpoint.core.errors import Finding
from setpoint.promotion.config import EnvironmentFile
from setpoint.promotion.pod_standard import standard_of
from setpoint.reconcile.allowed import Allowed
from setpoint.reconcile.model import DesiredState, Rendered
from setpoint.reconcile.pod_security import decide as pod_security
from setpoint.reconcile.strategy import canary_plan
from setpoint.rollout.canary import reasons
from setpoint.rollout.judge.preflight import WANTED


def findings(document: Document[EnvironmentFile]) -> Iterator[Finding]:
    """Yield a finding for each step that cannot tell a ten times worse release with the declared traffic, unless it is `unjudged`."""
    config = document.model.rollout.canary
    if config is None or config.unjudged or config.traffic is None:
        return
    plan = canary_plan(config)
    for number, step in enumerate(reasons.steps(plan, reasons.traffic_of(plan))):
        if step.detects is None or step.detects > WANTED:
            can = f"finds only {step.detects:.2g} times as many errors" if step.detects is not None else "finds nothing"
            hold = durations.to_text(int(plan.hold_s))
            what = f"with this traffic a step of {hold} at {step.weight} % {can}; {WANTED:g} times is the least it has to find"
            fix = "hold longer, begin with a higher weight, or say `unjudged: true`"
            yield document.finding(("rollout", "canary", "weights", number), "SP549", what, fix)


def notes(name: str, environment: EnvironmentFile) -> Iterator[str]:
    """Yield what is true of an environment's canary and worth knowing."""
    config = environment.rollout.canary
    if config is None:
        return
    plan = canary_plan(config)
    traffic = reasons.traffic_of(plan)
    if traffic is None:
        yield f"{name}: what its canary can find is not known here: declare `traffic: {{rate: .., errors: ..}}`, or see `setpoint rollout`"
        return
    steps = ", ".join(f"{step.weight} % {step.note}" for step in reasons.steps(plan, traffic))
    yield f"{name}: with this traffic the steps of its canary: {steps} ({durations.to_text(int(plan.hold_s))} each)"


def pods(environment: EnvironmentFile, rendered: Rendered, allowed: Allowed) -> Iterator[Finding]:
    """Yield a finding for each field of a pod that the environment's Pod Security Standard does not allow."""
    if environment.gates.pods is None:
        return
    standard = standard_of(environment.gates.pods)
    for fault in pod_security.judge(rendered, standard, allowed).faults:
        what = f"{fault.object}: `{fault.field}` {fault.found}, and {standard} ({fault.control}) wants: {fault.wanted}"
        yield Finding("SP629", what, fault.place or fault.object, fix=fault.fix)


def uncovered(environment: EnvironmentFile, desired: DesiredState) -> Iterator[str]:
    """Yield a sentence for each workload that a canary does not split."""
    if environment.rollout.canary is None:
        return
    routed = {workload for route in desired.routes for workload, weight in route.backends if weight}
    for workload in desired.workloads:
        if workload.name not in routed:
            place = f"{desired.app} in {desired.environment}"
            yield f"{place}: `{workload.name}` has no route, so the canary does not split it: it follows last"

"""Whether the pods of a render keep to a Pod Security Standard, with every field that does not: pure.

Called by rendering for the gate's facts and by `setpoint check`; the gate and `why` repeat what is returned here (law 6).
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from typing import Final

from setpoint.promotion.pod_standard import PodFault, PodStandard, PodVerdict
from setpoint.reconcile.allowed import Allowed
from setpoint.reconcile.model import Rendered
from setpoint.reconcile.pod_security import baseline, restricted
from setpoint.reconcile.pod_security.model import Control, faults
from setpoint.reconcile.pod_specs import PodSpec, pod_specs

HOST_EXEMPT: Final = (restricted.SECCOMP,)
"""What the host runtime cannot be asked for, so that it is not judged there: it has no seccomp profiles and refuses the field."""


def controls(standard: PodStandard) -> Iterator[Control]:
    """Yield the controls of a standard."""
    strict = standard.level == "restricted"
    for control in baseline.CONTROLS:
        replaced = control.name in restricted.REPLACED or (control.name == baseline.PROC_MOUNT and standard.minor >= 35)
        if not (strict and replaced):
            yield control
    if strict:
        yield from restricted.CONTROLS


def faults_of(pods: Iterable[PodSpec], standard: PodStandard, exempt: Collection[str] = ()) -> Iterator[PodFault]:
    """Yield every field of every pod that a control of the standard does not allow, in the order of the objects."""
    wanted = [control for control in controls(standard) if control.name not in exempt]
    yield from (fault for pod in pods for control in wanted for fault in faults(control, pod, standard))


def judge(rendered: Rendered, standard: PodStandard, allowed: Allowed) -> PodVerdict:
    """Return what a standard says of the pods of a render, each fault with the place of its object."""
    pods = list(pod_specs(rendered.objects))
    asked = {control.name for control in controls(standard)}
    exempt = tuple(name for name in HOST_EXEMPT if allowed.on_host and name in asked)
    found = (replace(fault, place=rendered.sources.get(fault.object, "")) for fault in faults_of(pods, standard, exempt))
    return PodVerdict(len(pods), tuple(found), exempt)

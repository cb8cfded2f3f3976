"""Jobs on the host: one program that has to come to an end, run once for each revision of its template; called by `reconcile.subset`."""

from collections.abc import Mapping
from typing import Any, Final

from setpoint.reconcile.host import pod as pods
from setpoint.reconcile.host.fields import UNSUPPORTED, Fields, Report
from setpoint.reconcile.host.sources import Sources
from setpoint.reconcile.host.workload import workload_name
from setpoint.reconcile.model import Job
from setpoint.reconcile.revision import revision_hash

_DAY_S: Final = 86_400


def job(value: Mapping[str, Any], sources: Sources, report: Report, place: tuple[str, str]) -> Job:
    """Read a Job; place is (application, environment). What is wrong is in the report, the rest harmless."""
    top = Fields(value, "", report)
    name = workload_name(top)
    spec = top.mapping("spec")
    top.close()
    for field in ("completions", "parallelism"):
        if spec.number(field, 1, 0, 1_000_000) != 1:
            spec.bad(field, "may only be 1 on the host", "write a Job for each run, or let one program do all of it", UNSUPPORTED)
    retries = spec.number("backoffLimit", 6, 0, 1000)
    deadline = spec.number("activeDeadlineSeconds", 0, 1, 30 * _DAY_S) if spec.has("activeDeadlineSeconds") else None
    ttl = spec.number("ttlSecondsAfterFinished", 0, 0, 3650 * _DAY_S) if spec.has("ttlSecondsAfterFinished") else None
    for field in ("activeDeadlineSeconds", "ttlSecondsAfterFinished"):
        spec.raw(field)
    spec.without_effect("suspend", False)
    spec.without_effect("manualSelector", False)
    spec.without_effect("completionMode", "NonIndexed")
    spec.without_effect("podReplacementPolicy", "TerminatingOrFailed", "Failed")
    template = spec.mapping("template")
    spec.close()
    pod = pods.read(template, sources, ("Never", "OnFailure"), serves=False)
    return Job(
        app=place[0],
        environment=place[1],
        name=name,
        container=pod.container,
        revision_hash=revision_hash(pod.container, pod.grace_s),
        grace_s=pod.grace_s,
        retries=retries,
        deadline_s=None if deadline is None else float(deadline),
        ttl_s=None if ttl is None else float(ttl),
    )

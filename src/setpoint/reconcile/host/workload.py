"""Deployments on the host: one container, probed by HTTP or TCP, rolled by surge and unavailability; called by `reconcile.subset`."""

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from setpoint.reconcile.host import pod as pods
from setpoint.reconcile.host.fields import UNSUPPORTED, Fields, Report, metadata
from setpoint.reconcile.host.probes import Port
from setpoint.reconcile.host.sources import Sources
from setpoint.reconcile.model import Workload
from setpoint.reconcile.revision import revision_hash

MAX_REPLICAS: Final = 100
_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_PERCENT: Final = re.compile(r"([0-9]{1,3})%")


def workload_name(top: Fields) -> str:
    """Read the head of a workload's manifest and return its name, which becomes part of the names of replicas."""
    name = metadata(top)
    if name and not _LABEL.fullmatch(name):
        top.bad("metadata.name", f"`{name}` is no name of a workload", "lower-case letters, digits and dashes, at most 63")
    return name


def deployment(value: Mapping[str, Any], sources: Sources, report: Report, place: tuple[str, str]) -> tuple[Workload, Port]:
    """Read a Deployment; place is (application, environment). What is wrong is in the report, the rest harmless."""
    top = Fields(value, "", report)
    name = workload_name(top)
    spec = top.mapping("spec")
    top.close()
    replicas = spec.number("replicas", 1, 0, MAX_REPLICAS)
    surge, unavailable = _strategy(spec, replicas)
    deadline = spec.number("progressDeadlineSeconds", 600, 1, 86_400)
    spec.number("revisionHistoryLimit", 10, 0, 1_000_000)
    min_ready = spec.number("minReadySeconds", 0, 0, 86_400)
    if min_ready >= deadline:
        spec.bad("minReadySeconds", "must be less than progressDeadlineSeconds", f"write less than {deadline}")
    spec.without_effect("paused", False)
    selector, template = spec.mapping("selector"), spec.mapping("template")
    spec.close()
    wanted = selector.labels("matchLabels")
    selector.close()
    pod = pods.read(template, sources, ("Always",), serves=True)
    if not wanted or any(pod.labels.get(key) != text for key, text in wanted.items()):
        fix = "write the same labels in spec.selector.matchLabels and spec.template.metadata.labels"
        selector.bad("matchLabels", "does not select the pods of its own template", fix)
    workload = Workload(
        app=place[0],
        environment=place[1],
        name=name,
        replicas=replicas,
        labels=pod.labels,
        container=pod.container,
        revision_hash=revision_hash(pod.container, pod.grace_s),
        grace_s=pod.grace_s,
        progress_deadline_s=float(deadline),
        max_surge=surge,
        max_unavailable=unavailable,
        min_ready_s=float(min_ready),
    )
    return workload, pod.port


def _strategy(spec: Fields, replicas: int) -> tuple[int, int]:
    """Return (surge, unavailable) in replicas, resolved as Kubernetes does: surge rounds up, unavailability down, never both zero."""
    strategy = spec.mapping("strategy")
    if strategy.text("type", "RollingUpdate") != "RollingUpdate":
        strategy.bad(
            "type", "must be RollingUpdate on the host", "remove `strategy`, or set maxSurge to 0 to free the old one first", UNSUPPORTED
        )
    rolling = strategy.mapping("rollingUpdate")
    strategy.close()
    surge = _share(rolling, "maxSurge", replicas, up=True)
    unavailable = _share(rolling, "maxUnavailable", replicas, up=False)
    rolling.close()
    zero = (0, "0%")  # a tuple: what was written may be unhashable
    if rolling.raw("maxSurge") in zero and rolling.raw("maxUnavailable") in zero:
        rolling.bad("maxUnavailable", "and maxSurge cannot both be 0: nothing could ever be replaced")
    return (surge, unavailable) if surge or unavailable else (0, 1)


def _share(rolling: Fields, name: str, replicas: int, *, up: bool) -> int:
    value = rolling.raw(name)
    value = "25%" if value is None else value
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if match and int(match[1]) <= 100:
        exact = replicas * int(match[1]) / 100
        return math.ceil(exact) if up else math.floor(exact)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_REPLICAS:
        return value
    rolling.bad(name, f"must be a whole number up to {MAX_REPLICAS} or a percentage up to 100%")
    return 1

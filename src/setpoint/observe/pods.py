"""From a pod back to its build, and from a digest to the pods that run it: `trace` for what runs in clusters.

Called by the trace view. It shows the pictures that the reconcilers keep; only a pod that is named with its cluster and namespace and lies
in no environment's is read from the cluster.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Protocol

from setpoint.core.errors import NotFoundError, UserError
from setpoint.core.words import counted
from setpoint.observe.model import Step
from setpoint.reconcile.pods.digests import reported
from setpoint.reconcile.pods.model import Pod, PodGroup, PodState, PodVerdict, Strangers

_UID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MOST: Final = 20
_SAID: Final = {
    PodState.PINNED: "",
    PodState.STARTING: "it has not pulled its image yet",
    PodState.LEAVING: "an earlier build, on its way out",
    PodState.OPERATED: "an operator made it from a custom resource",
    PodState.EARLIER: "an earlier build that nothing takes away",
    PodState.FOREIGN: "nobody of ours made it",
    PodState.UNNAMED: "no pin names what it runs",
}


class PodLooks(Protocol):
    """What is known of pods (reconcile.pods.service)."""

    def groups(self, environment: str) -> dict[str, tuple[PodGroup, ...]]:
        """Return the pods of every application of an environment by workload and build."""
        ...

    def strangers(self, environments: Sequence[str]) -> tuple[Strangers, ...]:
        """Return what nobody of ours made in the namespaces of environments, and which of them cannot be looked at."""
        ...

    def everything(self) -> list[tuple[str, str, PodVerdict | None, Pod]]:
        """Return (cluster, environments, what is said of it, pod) of every pod that the pictures show."""
        ...

    def read(self, cluster: str, namespace: str, name: str) -> Pod | None:
        """Return a pod of any namespace of a cluster, read now."""
        ...

    def aliases(self, repository: str, digest: str) -> frozenset[str]:
        """Return every digest that a node may report for an image."""
        ...


class NoPods:
    """Stands in where there are no clusters."""

    def groups(self, _environment: str) -> dict[str, tuple[PodGroup, ...]]:
        """Return nothing."""
        return {}

    def strangers(self, _environments: Sequence[str]) -> tuple[Strangers, ...]:
        """Return nothing."""
        return ()

    def everything(self) -> list[tuple[str, str, PodVerdict | None, Pod]]:
        """Return nothing."""
        return []

    def read(self, cluster: str, _namespace: str, _name: str) -> Pod | None:
        """Refuse: no cluster has this name.

        Raises:
            NotFoundError: always (SP709).
        """
        raise NotFoundError("SP709", f"this home has no cluster `{cluster}`", where=cluster, fix="setpoint cluster list")

    def aliases(self, _repository: str, digest: str) -> frozenset[str]:
        """Return the digest itself."""
        return frozenset({digest})


@dataclass(frozen=True, slots=True)
class Traced:
    """A pod that was found."""

    cluster: str
    environments: str
    verdict: PodVerdict | None
    pod: Pod

    def steps(self) -> Iterator[Step]:
        """Yield the pod, what is above it, and its images."""
        pod, said = self.pod, _SAID[self.verdict.state] if self.verdict is not None else ""
        where = f"{self.cluster}/{pod.namespace}"
        state = ["leaving" if pod.leaving else pod.phase or "not started", "ready" if pod.ready else "not ready"]
        placed = [f"on {pod.node}"] if pod.node else []
        text = ", ".join([*state, counted(pod.restarts, "restart"), *placed, *pod.addresses, f"uid {pod.uid}", *([said] if said else [])])
        yield Step("pod", pod.name, text, pod.created_at, self._environment() or where)
        for owner in pod.owners:
            revision = f"revision {owner.revision}" if owner.revision else ""
            whose = f"of {owner.whose}" if owner.whose is not None else ""
            yield Step("owner", owner.subject, " ".join(one for one in (revision, whose) if one), where=where)
        for one in pod.containers:
            digest = reported(one.image) or reported(one.image_id)
            unnamed = self.verdict is not None and one in self.verdict.unnamed
            reports = f", reported as {reported(one.image_id)[:19]}" if reported(one.image_id) not in ("", digest) else ""
            note = ": no pin names it" if unnamed else ""
            yield Step("image", digest or one.image, f"{one.sort} {one.name}: {one.image}{reports}{note}", where=where)

    def _environment(self) -> str:
        return self.verdict.environment if self.verdict is not None and self.verdict.environment else ""


def is_pod(thing: str) -> bool:
    """Say whether a thing names a pod: `pod/NAME`, an address, or a uid."""
    return thing.startswith(("pod/", "pods/")) or _UID.fullmatch(thing) is not None or _is_address(thing)


def find(looks: PodLooks, thing: str, cluster: str, namespace: str) -> Traced:
    """Return the pod that a thing names, in a cluster and namespace where they are given.

    Raises:
        NotFoundError: no pod answers to it (SP709).
        UserError: several do (SP710).
        Whatever the cluster's connection raises, when both are given and no picture shows it.
    """
    name = thing.partition("/")[2] if thing.startswith(("pod/", "pods/")) else ""
    found = [
        Traced(*row)
        for row in looks.everything()
        if cluster in ("", row[0])
        and namespace in ("", row[3].namespace)
        and (row[3].name == name if name else thing == row[3].uid or thing in row[3].addresses)
    ]
    if not found and name and cluster and namespace:
        pod = looks.read(cluster, namespace, name)
        found = [Traced(cluster, "", None, pod)] if pod is not None else []
    if not found:
        fix = "kubectl get pods shows names; of another namespace give --cluster and --namespace"
        raise NotFoundError("SP709", f"no pod of an environment's namespace answers to `{thing}`", fix=fix)
    if len(found) > 1:
        places = ", ".join(sorted(f"pod/{one.pod.name} --cluster {one.cluster} --namespace {one.pod.namespace}" for one in found)[:10])
        raise UserError("SP710", f"{len(found)} pods answer to `{thing}`", fix=f"one of: {places}")
    return found[0]


def running(looks: PodLooks, digests: frozenset[str]) -> list[Step]:
    """Return the pods that run one of some digests, at most twenty."""
    found = [
        Traced(*row)
        for row in looks.everything()
        if not row[3].ended and any(digests & {reported(one.image), reported(one.image_id)} for one in row[3].containers)
    ]
    found.sort(key=lambda one: (one.cluster, one.pod.namespace, one.pod.name))
    steps = [next(one.steps()) for one in found[:_MOST]]
    more = len(found) - len(steps)
    return [*steps, Step("pod", f"and {more} more", "run it too")] if more else steps


def _is_address(thing: str) -> bool:
    try:
        ip_address(thing)
    except ValueError:
        return False
    return True

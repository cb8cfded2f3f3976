"""Has clusters refuse images that no pin names, in the namespaces whose environments ask for it (`enforceImages`).

Called by the target within each pass (`reconcile.enforce.target`): before anything is applied the list holds what will run, and it shrinks
when everything has come to rest. Where no environment asks any more its objects are deleted, the binding first. The objects lie in the
cluster and need no server: pods start again while Setpoint is down.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from setpoint.core.errors import NotFoundError, SetpointError, UserError
from setpoint.ground.journal.ports import Recorder
from setpoint.promotion.repository import Delivery
from setpoint.reconcile.cluster.model import ObjectKey
from setpoint.reconcile.cluster.ports import Clusters, Deletion
from setpoint.reconcile.enforce import decide
from setpoint.reconcile.enforce.decide import PROTECTED, Names
from setpoint.reconcile.pods.digests import reported
from setpoint.reconcile.pods.service import PodService, Where

log = logging.getLogger(__name__)

_SHA256: Final = "sha256:"


class EnforcedRecords(Protocol):
    """Where images are refused, as the journal tells it."""

    def enforced(self) -> list[Where]:
        """Return (cluster, namespace) of every place whose objects may be there."""
        ...


@dataclass(frozen=True, slots=True)
class EnforceParts:
    """What the refusal is kept with."""

    home: str
    clusters: Clusters
    pods: PodService
    records: EnforcedRecords
    recorder: Recorder


@dataclass(slots=True)
class _Applied:
    """What was applied last at a place, and how it lay there then: what differs now was changed by somebody."""

    manifests: tuple[dict[str, Any], ...] = ()
    digests: dict[ObjectKey, str] = field(default_factory=dict)


class EnforceService:
    """The refusals of one home."""

    def __init__(self, parts: EnforceParts) -> None:
        self._parts = parts
        self._applied: dict[Where, _Applied] = {}

    def keep(self, delivery: Delivery, environment: str, *, settled: bool) -> bool:
        """Bring list, policy and binding of an environment's namespace to what they have to be; false while they are looked for.

        Settled: everything there rests, so that the list may shrink.

        Raises:
            UserError: the namespace is one of Kubernetes' own (SP676), or the cluster refuses an object.
            WorldError: the cluster does not answer.
        """
        wanted = _asking(delivery)
        for where in [one for one in self._parts.records.enforced() if one not in wanted]:
            try:
                self._take_away(where)
            except SetpointError as error:  # one cluster that does not answer leaves the others as well kept as they were
                log.warning("images are still refused in %s: %s", "/".join(where), error.render())
        target = delivery.environment(environment).target.kubernetes
        where = (target.cluster, target.namespace) if target is not None else ("", "")
        if where not in wanted:
            return True
        if where[1] in PROTECTED:
            fix = "give the environment a namespace of its own, or leave `enforceImages` out"
            raise UserError("SP676", f"images cannot be refused in {where[1]}: a mistake there would stop the cluster itself", fix=fix)
        return self._bring(where, delivery, settled=settled)

    def _bring(self, where: Where, delivery: Delivery, *, settled: bool) -> bool:
        cluster, names = self._parts.clusters.of(where[0]), Names(self._parts.home, where[1])
        cluster.follow(_place(where), {names.keys[0]: "v1", names.keys[1]: decide.VERSION, names.keys[2]: decide.VERSION})
        seen = cluster.seen(names.keys)
        if any(not one.known and one.stale_reason.startswith("it was not") for one in seen.values()):
            return False
        live = (seen[names.keys[0]].live or {}).get("data") or {}
        images, whole = self._parts.pods.named(where)
        images |= {image for one in _there(delivery, where) for image in delivery.environment(one).images}
        digests = {reported(image) for image in images} - {""}
        pods = self._parts.pods.look(where)
        more = {_SHA256 + one for one in live} - digests
        # What somebody else wrote into the list is nobody's promotion, and counts for nothing.
        before = more & {reported(image) for image in self._parts.pods.named_before(where)} if more else set()
        kept = decide.admitted(digests, before, pods or (), settled=settled and whole and pods is not None)
        manifests = decide.manifests(names, decide.listed(kept))
        last = self._applied.get(where, _Applied())
        if last.manifests == manifests and all(seen[key].digest == last.digests.get(key) for key in names.keys):
            return True
        if where not in self._parts.records.enforced():
            self._journal("admission.enforced", where)
        strange = dict.fromkeys(live.keys() - manifests[0]["data"].keys())
        if strange:
            cluster.take_over(names.keys[0], "v1", {"data": strange})
        for manifest in manifests:
            for result in cluster.apply([manifest]).values():
                if isinstance(result, SetpointError):
                    raise result
        self._applied[where] = _Applied(manifests, {key: look.digest for key, look in cluster.seen(names.keys).items()})
        return True

    def _take_away(self, where: Where) -> None:
        """Delete what is at a place where nobody asks for it any more: the binding first, and the policy with the last one."""
        try:
            cluster, names = self._parts.clusters.of(where[0]), Names(self._parts.home, where[1])
        except NotFoundError:  # the operator took the cluster away, and what is in it is not ours to touch any more
            self._journal("admission.released", where)
            return
        images, policy, binding = names.keys
        others = [one for one in self._parts.records.enforced() if one[0] == where[0] and one != where]
        going = [(binding, decide.VERSION), *([] if others else [(policy, decide.VERSION)]), (images, "v1")]
        for key, version in going:
            fault = cluster.delete([Deletion(key, version, "")])[key]
            if fault is not None:
                raise fault
        cluster.follow(_place(where), {})
        self._applied.pop(where, None)
        self._journal("admission.released", where)

    def _journal(self, kind: str, where: Where) -> None:
        self._parts.recorder.record(kind, "/".join(where), "setpoint", {"cluster": where[0], "namespace": where[1]})


def _asking(delivery: Delivery) -> set[Where]:
    targets = (one.target.kubernetes for one in delivery.environments.values())
    return {(one.cluster, one.namespace) for one in targets if one is not None and one.enforceImages}


def _there(delivery: Delivery, where: Where) -> Mapping[str, Any]:
    every = {name: one.target.kubernetes for name, one in delivery.environments.items()}
    return {name: one for name, one in every.items() if one is not None and (one.cluster, one.namespace) == where}


def _place(where: Where) -> str:
    return f"images of {where[0]}/{where[1]}"

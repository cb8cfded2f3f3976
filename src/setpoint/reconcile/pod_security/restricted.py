"""The controls that the level `restricted` has over `baseline`: what hardens a container; called by `decide`, pure (see `baseline`)."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from setpoint.promotion.pod_standard import PodStandard
from setpoint.reconcile.pod_security import baseline
from setpoint.reconcile.pod_security.model import Control, Found, allow, container_contexts, contexts, is_windows, own_users
from setpoint.reconcile.pod_specs import PodSpec, items, part

_VOLUMES: Final = (*("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret"),)
SECCOMP: Final = "seccompProfile_restricted"


def _volumes(pod: PodSpec, _standard: PodStandard) -> Iterator[Found]:
    for index, volume in enumerate(items(pod.spec, "volumes")):
        sources = [key for key, value in volume.items() if key != "name" and value is not None]
        # A volume without a source is an emptyDir: the API server fills it in.
        if sources and not any(source in _VOLUMES for source in sources):
            field = f"{pod.path}.volumes[{index}].{sources[0]}"
            yield Found(field, volume.get("name", "?"), f"only {', '.join(_VOLUMES)}", "use another kind of volume")


def _escalation(pod: PodSpec, _standard: PodStandard) -> Iterator[Found]:
    for path, context in () if is_windows(pod) else container_contexts(pod):
        value = context.get("allowPrivilegeEscalation")
        if value is not False:
            yield Found(f"{path}.allowPrivilegeEscalation", value, "`false`", "write `allowPrivilegeEscalation: false`")


def _non_root(pod: PodSpec, standard: PodStandard) -> Iterator[Found]:
    if own_users(pod, standard):
        return
    of_pod = part(pod.spec, "securityContext").get("runAsNonRoot")
    fix = "write `runAsNonRoot: true`, for the pod or for the container"
    if of_pod is not None and of_pod is not True:
        yield Found(f"{pod.path}.securityContext.runAsNonRoot", of_pod, "`true`", fix)
    for path, context in container_contexts(pod):
        value = context.get("runAsNonRoot")
        if value is not True and not (value is None and of_pod is True):
            yield Found(f"{path}.runAsNonRoot", value, "`true`", fix)


def _root_user(pod: PodSpec, standard: PodStandard) -> Iterator[Found]:
    for path, context in () if own_users(pod, standard) else contexts(pod):
        if context.get("runAsUser") == 0:
            yield Found(f"{path}.runAsUser", 0, "a user other than 0", "write the number of another user, or remove it")


def _seccomp(pod: PodSpec, _standard: PodStandard) -> Iterator[Found]:
    if is_windows(pod):
        return
    of_pod = part(pod.spec, "securityContext").get("seccompProfile")
    yield from baseline.profile(f"{pod.path}.securityContext.seccompProfile", of_pod)
    confined = _confines(of_pod)
    for path, context in container_contexts(pod):
        value = context.get("seccompProfile")
        yield from baseline.profile(f"{path}.seccompProfile", value)
        if value is None and not confined:
            fix = "write `seccompProfile: {type: RuntimeDefault}`, for the pod or for the container"
            yield Found(f"{path}.seccompProfile", None, "RuntimeDefault or Localhost", fix)


def _confines(profile: Mapping[str, Any] | None) -> bool:
    return profile is not None and not any(baseline.profile("", profile))


def _capabilities(pod: PodSpec, _standard: PodStandard) -> Iterator[Found]:
    for path, context in () if is_windows(pod) else container_contexts(pod):
        capabilities = part(context, "capabilities")
        dropped = baseline.listed(capabilities.get("drop"))
        if "ALL" not in dropped:
            yield Found(f"{path}.capabilities.drop", dropped or None, "`[ALL]`", "write `capabilities: {drop: [ALL]}`")
        for index, name in enumerate(baseline.listed(capabilities.get("add"))):
            yield from allow(f"{path}.capabilities.add[{index}]", name, ("NET_BIND_SERVICE",), "only NET_BIND_SERVICE")


CONTROLS: Final = (
    Control("restrictedVolumes", _volumes),
    Control("allowPrivilegeEscalation", _escalation),
    Control("runAsNonRoot", _non_root),
    Control("runAsUser", _root_user),
    Control(SECCOMP, _seccomp),
    Control("capabilities_restricted", _capabilities),
    Control("procMount_restricted", baseline.proc_mount, since=35),
)
REPLACED: Final = (baseline.HOST_PATHS, baseline.SECCOMP, baseline.CAPABILITIES)
"""Controls of `baseline` that a stricter one of these stands for."""

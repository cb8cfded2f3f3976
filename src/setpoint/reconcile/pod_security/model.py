"""What a control of the Pod Security Standards is, and the small words to write one in; used by the controls only."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from setpoint.promotion.pod_standard import PodFault, PodStandard
from setpoint.reconcile.pod_specs import PodSpec, part

Check = Callable[["PodSpec", PodStandard], Iterator["Found"]]
_SHOWN: Final = 80


@dataclass(frozen=True, slots=True)
class Found:
    """A field that is not as it has to be."""

    field: str
    value: Any
    """What is there; None is nothing."""
    wanted: str
    fix: str


@dataclass(frozen=True, slots=True)
class Control:
    """One control of a level."""

    name: str
    """The id that Kubernetes gives it."""
    check: Check
    since: int = 0
    """First minor version that has it."""


def faults(control: Control, pod: PodSpec, standard: PodStandard) -> Iterator[PodFault]:
    """Yield what a control finds in a pod."""
    if standard.minor >= control.since:
        for one in control.check(pod, standard):
            yield PodFault(control.name, pod.object, one.field, shown(one.value), one.wanted, one.fix)


def shown(value: Any) -> str:
    """Return a value as a reason tells it."""
    if value is None:
        return "is not set"
    text = f"`{str(value).lower()}`" if isinstance(value, bool) else repr(value) if not isinstance(value, str) else f"`{value}`"
    return f"is {text if len(text) <= _SHOWN else text[: _SHOWN - 1] + '…'}"


def contexts(pod: PodSpec) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (field path, security context) of the pod and of each container, empty where there is none."""
    yield f"{pod.path}.securityContext", part(pod.spec, "securityContext")
    yield from container_contexts(pod)


def container_contexts(pod: PodSpec) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (field path, security context) of each container."""
    for path, container in pod.containers():
        yield f"{path}.securityContext", part(container, "securityContext")


def allow(field: str, value: Any, allowed: Collection[Any], wanted: str, fix: str = "remove it") -> Iterator[Found]:
    """Yield a fault when a value is set and is none of those allowed (True is not 1)."""
    if value is not None and not any(value == one and type(value) is type(one) for one in allowed):
        yield Found(field, value, wanted, fix)


def is_windows(pod: PodSpec) -> bool:
    """Say whether a pod says that it runs on Windows, where the fields of Linux must not be set."""
    return part(pod.spec, "os").get("name") == "windows"


def own_users(pod: PodSpec, standard: PodStandard) -> bool:
    """Say whether a pod has a user namespace of its own, which relaxes some controls since 1.35."""
    return standard.minor >= 35 and pod.spec.get("hostUsers") is False

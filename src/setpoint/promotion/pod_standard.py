"""Which of the Pod Security Standards an environment asks for, as `gates.pods` says it: `restricted`, or `baseline:v1.29`.

Called by the configuration and by the gate; the controls themselves are in `reconcile.pod_security`. Pure.
Source: kubernetes.io/docs/concepts/security/pod-security-standards; the form is that of pod-security.kubernetes.io/enforce-policy.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import AfterValidator

from setpoint.core import suggest
from setpoint.core.documents import InvalidError

OLDEST: Final = 25
NEWEST: Final = 35
"""Minor versions of Kubernetes 1 in which a control changed, or that are older: what comes after is judged like the newest."""
_FORM: Final = re.compile(r"(baseline|restricted)(?::v1\.([0-9]{1,3}))?")


@dataclass(frozen=True, slots=True)
class PodStandard:
    """A level at a version."""

    level: Literal["baseline", "restricted"]
    minor: int
    """Of Kubernetes 1."""

    def __str__(self) -> str:
        return f"{self.level}:v1.{self.minor}"


@dataclass(frozen=True, slots=True)
class PodFault:
    """One field of one object that a control does not allow."""

    control: str
    """As Kubernetes calls it: `hostNamespaces`."""
    object: str
    """`Deployment/web`"""
    field: str
    """`spec.template.spec.hostNetwork`"""
    found: str
    wanted: str
    fix: str
    place: str = ""
    """Where the object is written: `apps/web/web.yaml:3`."""


@dataclass(frozen=True, slots=True)
class PodVerdict:
    """What judging the pods of a render gave."""

    pods: int
    """How many pod specs were judged."""
    faults: tuple[PodFault, ...] = ()
    exempt: tuple[str, ...] = ()
    """Controls that the target cannot be asked for, and that were not judged."""


def standard_of(text: str) -> PodStandard:
    """Return what `gates.pods` says; without a version it is the newest that this release knows."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return PodStandard("baseline" if match[1] == "baseline" else "restricted", int(match[2]) if match[2] else NEWEST)


def _pods(text: str) -> str:
    match = _FORM.fullmatch(text)
    if match is None:
        near = suggest.nearest(text.partition(":")[0], ("baseline", "restricted"))
        fix = f"did you mean `{near}`?" if near and ":" not in text else "write baseline or restricted, with a version: restricted:v1.34"
        raise InvalidError(f"`{text}` is no Pod Security Standard", fix, "SP543")
    if match[2] and not OLDEST <= int(match[2]) <= NEWEST:
        raise InvalidError(f"the standards of v1.{match[2]} are not known", f"write v1.{OLDEST} to v1.{NEWEST}, or no version", "SP543")
    return text


Pods = Annotated[str, AfterValidator(_pods)]

"""Where tasks may run beside this machine, as `executors:` of `setpoint.yaml` says it: namespaces of clusters, with an image and limits.

Part of the delivery repository, so its owners decide it (law 9), never the repository whose tasks run there. Pipelines name an executor;
a cluster is named as the operator registered it. Trust domains stay apart (law 8): an executor is for trusted runs of named sources.
"""

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from setpoint.core.documents import FileModel, InvalidError
from setpoint.core.durations import Duration
from setpoint.pipeline.fields import Quantity
from setpoint.pipeline.offers import Offer, Resources
from setpoint.promotion.targets import ClusterName, Namespace

_IMAGE: Final = re.compile(r"[a-z0-9][a-z0-9._/:-]{0,254}@sha256:[0-9a-f]{64}")
_OBJECT: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
_LONGEST_START_S: Final = 86_400


def _image(text: str) -> str:
    if not _IMAGE.fullmatch(text):
        fix = "write registry/repository@sha256: and 64 hex digits: the digest is part of every task's key"
        raise InvalidError(f"`{text}` is not named by digest", fix, "SP279")
    return text


def _object(text: str) -> str:
    if not _OBJECT.fullmatch(text):
        raise InvalidError(f"`{text}` is no name of an object", "lower-case letters, digits, dots and dashes (RFC 1123)", "SP279")
    return text


def _start(seconds: float) -> float:
    if not 1 <= seconds <= _LONGEST_START_S:
        raise InvalidError("a pod starts within 1s to 24h", "write for example 10m", "SP279")
    return seconds


Image = Annotated[str, AfterValidator(_image)]
ObjectName = Annotated[str, AfterValidator(_object)]


class LimitsConfig(FileModel):
    """What a task gets that asks for nothing, and the most that it may ask for."""

    cpu: Quantity = "1"
    memory: Quantity = "1Gi"


class KubernetesExecutor(FileModel):
    """A namespace of a cluster in which tasks run as Jobs."""

    cluster: ClusterName
    """As the operator registered it: `setpoint cluster add NAME`."""
    namespace: Namespace
    """For tasks only: whoever may read its Secrets may take part in its tasks."""
    image: Image
    """What tasks run in; it has /bin/sh."""
    helper: Image | None = None
    """What brings inputs and takes outputs; it has python3 (3.9 or later). Left out: `image`."""
    architecture: Literal["amd64", "arm64"] = "amd64"
    limits: LimitsConfig = LimitsConfig()
    priorityClass: ObjectName | None = None  # noqa: N815 - the key as it is written
    """PriorityClass of the pods."""
    pullSecrets: Annotated[tuple[ObjectName, ...], Field(max_length=10)] = ()  # noqa: N815 - as above
    """Secrets of the namespace that images are pulled with."""
    slots: Annotated[int, Field(ge=1, le=1000)] = 20
    """How many tasks of a home run there at the same time."""
    start: Annotated[Duration, AfterValidator(_start)] = 600
    """How long a pod may take to start."""


class ExecutorConfig(FileModel):
    """One executor, and whose tasks may use it."""

    kubernetes: KubernetesExecutor
    sources: Annotated[tuple[str, ...], Field(max_length=1000)] | None = None
    """Source repositories whose runs may use it; left out: those of the applications in this file."""

    def offer(self, name: str) -> Offer:
        """Return what the pipeline needs of it."""
        own = self.kubernetes
        return Offer(
            name=name,
            cluster=own.cluster,
            namespace=own.namespace,
            image=own.image,
            helper=own.helper or own.image,
            architecture=own.architecture,
            resources=Resources(own.limits.cpu, own.limits.memory),
            priority_class=own.priorityClass or "",
            pull_secrets=own.pullSecrets,
            slots=own.slots,
            start_s=float(own.start),
        )

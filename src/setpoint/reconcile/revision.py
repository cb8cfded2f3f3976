"""The revision hash: what makes one replica different from another, and nothing else; called by the host subset, pure."""

import hashlib
from dataclasses import asdict
from typing import Any, Final

from setpoint.core import canonical
from setpoint.reconcile.model import Container

_VERSION: Final = 1
_LENGTH: Final = 12


def revision_hash(container: Container, grace_s: float) -> str:
    """Return 12 hex digits over image, command, arguments, environment, files, probes, working folder and grace.

    Replicas, labels, ports, rollout settings and Setpoint's identity fields stay out, so that only a real change rolls.
    """
    content: dict[str, Any] = {
        "version": _VERSION,
        "image": container.image,
        "command": container.command,
        "args": container.args,
        "environment": container.environment,
        "files": container.files,
        "readiness": asdict(container.readiness) if container.readiness else None,
        "liveness": asdict(container.liveness) if container.liveness else None,
        "workdir": container.workdir,
        "grace_s": float(grace_s),
    }
    return hashlib.sha256(canonical.dumps(content)).hexdigest()[:_LENGTH]

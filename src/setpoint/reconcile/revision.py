"""The revision hash: what makes one replica different from another, and nothing else; called by the host subset, pure."""

import hashlib
from dataclasses import asdict
from typing import Any, Final

from setpoint.core import canonical
from setpoint.reconcile.model import Container, Probe, Resources

_VERSION: Final = 1
_LENGTH: Final = 12
_FIRST_OF_PROBE: Final = ("path", "period_s", "timeout_s", "failure_threshold", "initial_delay_s")


def revision_hash(container: Container, grace_s: float) -> str:
    """Return 12 hex digits over image, command, arguments, environment, files, probes, working folder, grace and what came later.

    Replicas, labels, ports, rollout settings and Setpoint's identity fields stay out, so that only a real change rolls.
    """
    content: dict[str, Any] = {
        "version": _VERSION,
        "image": container.image,
        "command": container.command,
        "args": container.args,
        "environment": container.environment,
        "files": container.files,
        "readiness": _probe(container.readiness),
        "liveness": _probe(container.liveness),
        "workdir": container.workdir,
        "grace_s": float(grace_s),
    }
    content |= {name: value for name, value in _later(container).items() if value}
    return hashlib.sha256(canonical.dumps(content)).hexdigest()[:_LENGTH]


def _later(container: Container) -> dict[str, Any]:
    """Return what came after the first version, to be counted only where it is used: an upgrade of Setpoint rolls nothing."""
    resources, sealed = container.resources, {secret.name: secret.values for secret in container.sealed}
    return {
        "startup": _probe(container.startup),
        "mounts": [asdict(mount) for mount in container.mounts],
        "resources": asdict(resources) if resources != Resources() else None,
        "pre_stop": asdict(container.pre_stop) if container.pre_stop else None,
        "scratch": [asdict(folder) for folder in container.scratch],
        "modes": container.modes,
        "secret_environment": {name: asdict(key) for name, key in container.secret_environment.items()},
        "secret_files": {path: asdict(key) for path, key in container.secret_files.items()},
        # Ciphertext of the values that are used; the encrypted data key is left out, so that new recipients roll nothing.
        "sealed": sealed,
    }


def _probe(probe: Probe | None) -> dict[str, Any] | None:
    """Return a probe's content; what came to it later counts only when it is used, so that an upgrade of Setpoint rolls nothing."""
    if probe is None:
        return None
    content = asdict(probe)
    later = asdict(Probe(probe.path))
    return {name: value for name, value in content.items() if name in _FIRST_OF_PROBE or value != later[name]}

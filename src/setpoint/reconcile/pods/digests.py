"""Digests in the ways that pods write them. Pure; called by whoever compares what a node reports with what a pin names.

A node reports what it pulled: by containerd the digest that was asked for (an index or a manifest) or, for an image that it got without a
registry, the digest of its configuration; by Docker's shim with `docker-pullable://` before it (Kubernetes, `ContainerStatus.imageID`).
"""

import re
from typing import Final

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*://")


def reported(text: str) -> str:
    """Return the digest in a reference or an image id: `repo@sha256:..`, `docker-pullable://..`, `sha256:..`; empty without one."""
    last = _SCHEME.sub("", text, count=1).rpartition("@")[2]
    return last if _DIGEST.fullmatch(last) else ""


def name_of(text: str) -> str:
    """Return how people read an image: its name, with the beginning of its digest if it has one."""
    whole = _SCHEME.sub("", text, count=1)
    digest = reported(whole)
    return f"{whole.rpartition('@')[0] or 'image'}@{digest[:19]}" if digest else whole

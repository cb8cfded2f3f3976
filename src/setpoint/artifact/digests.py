"""Every digest under which a node may report an image: its index, its manifests, their configurations.

Called by whoever compares pods with pins. It reads the store only: of an image that lies elsewhere nothing is known but its own digest.
"""

import json
from collections.abc import Iterator

from setpoint.artifact.ports import OciStore
from setpoint.core.errors import SetpointError


def aliases(store: OciStore, repository: str, digest: str) -> frozenset[str]:
    """Return a digest with those of what it holds, as far as the store has it (OCI image-spec, "Image Index", "Image Manifest")."""
    return frozenset({digest, *_below(store, repository, digest, depth=2)})


def _below(store: OciStore, repository: str, digest: str, depth: int) -> Iterator[str]:
    try:
        found = store.manifest(repository, digest)
        value = json.loads(found.data) if found is not None else {}
    except (SetpointError, ValueError):
        return
    config = value.get("config")
    if isinstance(config, dict) and isinstance(config.get("digest"), str):
        yield config["digest"]
    for one in value.get("manifests") or ():
        child = one.get("digest") if isinstance(one, dict) else None
        if isinstance(child, str):
            yield child
            if depth:
                yield from _below(store, repository, child, depth - 1)

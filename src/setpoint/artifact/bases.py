"""What an image was built on, as its configuration says; called by targets that are not the machine it was built on."""

import json

from setpoint.artifact.model import LABEL_BASE
from setpoint.artifact.ports import OciStore
from setpoint.artifact.recipe import HOST

_LIMIT_BYTES = 4 << 20


def needs_host(store: OciStore, repository: str, digest: str) -> bool:
    """Say whether an image has the builder's own system as its base, and so runs nowhere else; a file artifact does not.

    Raises:
        NotFoundError: its configuration is not in the store (SP302).
    """
    found = store.manifest(repository, digest)
    config = json.loads(found.data).get("config") if found is not None else None
    if not isinstance(config, dict):
        return False
    value = json.loads(store.read_blob(repository, str(config.get("digest")), _LIMIT_BYTES) or b"{}")
    labels = (value.get("config") or {}).get("Labels") if isinstance(value, dict) else None
    return isinstance(labels, dict) and labels.get(LABEL_BASE) == HOST

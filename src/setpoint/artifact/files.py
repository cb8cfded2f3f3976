"""Artifacts that are no images: one file as it is, or a folder as a deterministic tar, under a manifest that oras pulls.

Called by `ArtifactService`; content is streamed, so a model of many gigabytes costs no memory. Like an image's bytes, these say nothing of
revision, run or time. Sources: OCI image-spec 1.1 (manifest.md, guidelines for artifact usage), oras-go 2 (content/file) for folders.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from setpoint.artifact.model import (
    EMPTY,
    EMPTY_BYTES,
    FILE,
    FILES,
    FOLDER_DIGEST,
    FOLDER_UNPACK,
    LAYER,
    MANIFEST,
    TITLE,
    Descriptor,
    LayerFile,
)
from setpoint.artifact.ports import OciStore
from setpoint.core import canonical, digest
from setpoint.core.errors import BugError, SetpointError


def write_file(content: Iterator[bytes], size_bytes: int, path: Path) -> LayerFile:
    """Write a file's content to path; its digest is also its diff_id, for nothing is packed.

    Raises:
        BugError: the content has another length than was announced (SP318).
    """
    hasher, written = hashlib.sha256(), 0
    with path.open("wb") as file:
        for chunk in content:
            hasher.update(chunk)
            written += file.write(chunk)
    if written != size_bytes:
        raise BugError("SP318", f"{written} bytes were read where {size_bytes} were announced", where=str(path))
    found = "sha256:" + hasher.hexdigest()
    return LayerFile(found, found, written, 1)


def layer_type(*, is_folder: bool) -> str:
    """Return the media type of the one layer."""
    return LAYER if is_folder else FILE


def files_manifest(layer: Descriptor, title: str, folder_digest: str = "") -> bytes:
    """Return the manifest of a file, or of a folder when folder_digest (of its uncompressed tar) is given."""
    notes = {TITLE: title}
    if folder_digest:
        notes |= {FOLDER_DIGEST: folder_digest, FOLDER_UNPACK: "true"}
    config = {"mediaType": EMPTY, "digest": digest.sha256(EMPTY_BYTES), "size": len(EMPTY_BYTES), "data": "e30="}
    part = {"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size_bytes, "annotations": notes}
    return canonical.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": FILES, "config": config, "layers": [part]})


def is_files(store: OciStore, oci_repository: str, wanted: str) -> bool:
    """Say whether a digest of the store is an artifact of this kind; what is not there or damaged is not."""
    try:
        manifest = store.manifest(oci_repository, wanted)
        value = json.loads(manifest.data) if manifest is not None else None
    except (SetpointError, ValueError):
        return False
    return isinstance(value, dict) and value.get("artifactType") == FILES

"""Reads manifests and indexes as documents: what they name, and whether they are well formed.

Called by the store before it accepts a manifest and by the puller before it trusts one; pure, never looks at blobs.
Source: OCI image-spec 1.1 (manifest.md, image-index.md, descriptor.md) and Docker's schema 2, which has the same members.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

from setpoint.artifact.model import INDEX, MANIFEST
from setpoint.core import digest as digests
from setpoint.core.errors import UserError

DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
IMAGES: Final = frozenset({MANIFEST, DOCKER_MANIFEST})
INDEXES: Final = frozenset({INDEX, DOCKER_INDEX})
LIMIT_BYTES: Final = 4 << 20
"""The spec's own advice for the size of a manifest (distribution-spec, pushing manifests)."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A descriptor inside a document: what has to be there, and how large."""

    media_type: str
    digest: str
    size_bytes: int
    platform: str = ""
    """`os/architecture`, in an index."""
    elsewhere: bool = False
    """A layer that may not be distributed, or that has URLs: it need not be in the registry."""


@dataclass(frozen=True, slots=True)
class Document:
    """What a manifest or index says of its own place among others."""

    blobs: tuple[Reference, ...]
    """Config first, then layers in order."""
    manifests: tuple[Reference, ...]
    subject: str
    """Digest, or empty."""
    artifact_type: str
    annotations: tuple[tuple[str, str], ...]


def _fault(what: str) -> UserError:
    return UserError("SP304", f"the manifest is not valid: {what}", fix="push what an OCI 1.1 client writes")


def _reference(value: Any, place: str) -> Reference:
    if not isinstance(value, dict):
        raise _fault(f"{place} is not an object")
    media_type, digest, size = value.get("mediaType"), value.get("digest"), value.get("size")
    if not isinstance(media_type, str) or not isinstance(digest, str) or not digests.is_digest(digest):
        raise _fault(f"{place} needs a mediaType and a sha256 or sha512 digest")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise _fault(f"{place} needs a size")
    platform = value.get("platform")
    named = f"{platform.get('os', '')}/{platform.get('architecture', '')}" if isinstance(platform, dict) else ""
    return Reference(media_type, digest, size, named, "nondistributable" in media_type or bool(value.get("urls")))


def _references(value: Any, place: str) -> tuple[Reference, ...]:
    if not isinstance(value, list):
        raise _fault(f"{place} is not a list")
    return tuple(_reference(item, f"{place}[{number}]") for number, item in enumerate(value))


def load(data: bytes) -> dict[str, Any]:
    """Return the JSON object in data.

    Raises:
        UserError: it is none (SP304).
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _fault("it is not JSON") from error
    if not isinstance(value, dict):
        raise _fault("it is not an object")
    return value


def read(data: bytes, media_type: str) -> Document:
    """Return what a manifest names; media_type is the Content-Type it came with.

    A document with both `layers` and `manifests` is refused: two readers could take it for two things (CVE-2021-41190).

    Raises:
        UserError: it is malformed, too large or of another type than it was sent as (SP304).
    """
    if len(data) > LIMIT_BYTES:
        raise _fault(f"it is larger than {LIMIT_BYTES} bytes")
    value = load(data)
    if value.get("schemaVersion") != 2:
        raise _fault("schemaVersion is not 2")
    if value.get("mediaType", media_type) != media_type:
        raise _fault(f"it says {value['mediaType']} but was sent as {media_type}")
    subject = _reference(value["subject"], "subject").digest if value.get("subject") is not None else ""
    annotations = value.get("annotations") or {}
    if not isinstance(annotations, dict) or not all(isinstance(text, str) for text in annotations.values()):
        raise _fault("annotations are not strings")
    artifact_type = value.get("artifactType", "")
    if not isinstance(artifact_type, str):
        raise _fault("artifactType is not a string")
    listed = tuple(sorted(annotations.items()))
    if media_type in INDEXES:
        if "layers" in value or "config" in value:
            raise _fault("an index has no config and no layers")
        return Document((), _references(value.get("manifests"), "manifests"), subject, artifact_type, listed)
    if media_type not in IMAGES:
        raise _fault(f"{media_type or 'no media type'} is not supported")
    if "manifests" in value:
        raise _fault("an image manifest has no manifests")
    config = _reference(value.get("config"), "config")
    layers = _references(value.get("layers"), "layers")
    return Document((config, *layers), (), subject, artifact_type or config.media_type, listed)

"""Fetches base images by digest, from the embedded store or from the registry that the reference names; fills `BaseSource`.

Called by `ArtifactService` in a worker thread. Every digest and size is checked before anything is linked, what is there already is
not fetched again, and a tag is never asked for.
"""

import hashlib
import platform
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from setpoint.adapters.oci import documents
from setpoint.adapters.oci.client import RegistryClient
from setpoint.adapters.oci.documents import DOCKER_INDEX, DOCKER_MANIFEST, IMAGES, INDEXES, Reference
from setpoint.adapters.oci.store import REPOSITORY, OciStoreFolder
from setpoint.artifact.model import INDEX, MANIFEST, StoredManifest
from setpoint.core import digest as digests
from setpoint.core.errors import NotFoundError, UserError, WorldError
from setpoint.ground.registries.model import RegistryAccess

_NAME: Final = re.compile(
    rf"(?:(?P<host>[A-Za-z0-9.-]+(?::\d{{1,5}})?|\[[0-9a-fA-F:]+\](?::\d{{1,5}})?)/)?(?P<name>{REPOSITORY})(?::[\w.-]+)?"
)
_ACCEPT: Final = f"{MANIFEST}, {INDEX}, {DOCKER_MANIFEST}, {DOCKER_INDEX}"
_CHUNK_BYTES: Final = 1 << 20
_LAYER_LIMIT_BYTES: Final = 16 << 30
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


def own_platform() -> str:
    """Return this machine's platform as OCI writes it: `linux/amd64`."""
    machine = platform.machine()
    return f"linux/{_ARCHITECTURES.get(machine, machine)}"


@dataclass(frozen=True, slots=True)
class ImageReference:
    """A reference taken apart."""

    host: str
    """Empty: the embedded store."""
    name: str
    digest: str

    @classmethod
    def parse(cls, text: str) -> "ImageReference":
        """Return the parts of `[host[:port]/]name[:tag]@digest`; a first part without dot, colon or `localhost` is no host.

        Raises:
            UserError: there is no digest, or it is not a reference (SP305).
        """
        place, _, digest = text.partition("@")
        if not digests.is_digest(digest):
            fix = f"lock it by digest: {place[:100] or 'host/name'}@sha256:..."
            raise UserError("SP305", f"the base {text[:200]!r} names no digest", where=text[:200], fix=fix)
        first, slash, _ = place.partition("/")
        match = _NAME.fullmatch(place)
        if match is None:
            raise UserError("SP305", f"the base {text[:200]!r} is not a reference", where=text[:200], fix="write host/name@sha256:...")
        if slash and ("." in first or ":" in first or first == "localhost"):
            return cls(match["host"] or "", match["name"], digest)
        return cls("", place.partition(":")[0], digest)


class RegistryPull:
    """Brings images into a store; `want` is the platform to take from an index."""

    def __init__(
        self, store: OciStoreFolder, want: str = "", *, timeout_s: float = 30, access: Callable[[str], RegistryAccess] = RegistryAccess
    ) -> None:
        self._store = store
        self._access = access
        """host -> how it is spoken to"""
        self._platform = want or own_platform()
        self._timeout_s = timeout_s

    def fetch(self, reference: str, into: str) -> StoredManifest:
        """Bring `host/repo@sha256:...` with its config and layers into repository `into`; returns its image manifest.

        Raises:
            UserError: no digest, or an unsupported media type (SP305).
            NotFoundError: it is not there (SP306).
            WorldError: the registry does not answer, or gives other bytes than were asked for (SP307).
        """
        image = ImageReference.parse(reference)
        # The digest says it all: what the embedded registry holds under this name needs no other registry, nor a login to ourselves.
        here = not image.host or self._store.manifest(image.name, image.digest) is not None
        source = None if here else _Remote(image, RegistryClient(self._access(image.host), self._timeout_s))
        manifest = self._manifest(image, source, image.digest, into)
        if manifest.media_type in INDEXES:
            chosen = self._choose(manifest, reference)
            manifest = self._manifest(image, source, chosen.digest, into)
        if manifest.media_type not in IMAGES:
            raise _unsupported(reference, manifest.media_type)
        for blob in documents.read(manifest.data, manifest.media_type).blobs:
            self._blob(image, source, blob, into)
        self._store.put_manifest(into, manifest.data, manifest.media_type, expected=manifest.digest)
        return manifest

    def _manifest(self, image: ImageReference, source: "_Remote | None", digest: str, into: str) -> StoredManifest:
        """Return a manifest or index: the store's, a kept index, or the registry's."""
        held = self._store.manifest(into, digest) or (None if source else self._store.manifest(image.name, digest))
        if held is None and self._store.has_blob(into, digest):
            data = self._store.read_blob(into, digest, documents.LIMIT_BYTES)
            held = StoredManifest(_media_type(data, digest), digest, data)
        if held is not None:
            return held
        if source is None:
            raise _missing(image)
        data = source.read(f"manifests/{digest}", documents.LIMIT_BYTES, digest)
        manifest = StoredManifest(_media_type(data, digest), digest, data)
        if manifest.media_type in INDEXES:
            # Kept as a blob: the other platforms' manifests are not fetched, so the store would refuse it as an index.
            self._store.put_blob(into, data, manifest.media_type, expected=digest)
        return manifest

    def _choose(self, index: StoredManifest, reference: str) -> Reference:
        listed = documents.read(index.data, index.media_type).manifests
        for entry in listed:
            if entry.platform == self._platform:
                return entry
        offered = ", ".join(sorted({entry.platform for entry in listed})) or "none"
        fix = f"name an image for {self._platform}"
        raise NotFoundError("SP306", f"the base has no image for {self._platform}, only {offered}", where=reference, fix=fix)

    def _blob(self, image: ImageReference, source: "_Remote | None", blob: Reference, into: str) -> None:
        if self._store.has_blob(into, blob.digest):
            return
        if blob.elsewhere:
            raise _unsupported(f"{image.name}@{image.digest}", blob.media_type)
        if source is None:
            if not self._store.mount(into, blob.digest, image.name):
                raise _missing(image)
            return
        scratch = self._store.scratch()
        try:
            source.download(blob, scratch)
            self._store.put_blob_file(into, scratch, blob.media_type, expected=blob.digest)
        finally:
            scratch.unlink(missing_ok=True)


def _media_type(data: bytes, digest: str) -> str:
    try:
        value = documents.load(data)
    except UserError as error:
        raise _unsupported(digest, "no manifest") from error
    # OCI 1.0 let the field be left out; then the members tell (image-spec, manifest.md).
    guess = INDEX if "manifests" in value else MANIFEST
    media_type = value.get("mediaType", guess)
    if media_type not in IMAGES | INDEXES or value.get("schemaVersion") != 2:
        raise _unsupported(digest, str(media_type))
    return str(media_type)


def _unsupported(where: str, media_type: str) -> UserError:
    what = f"the base cannot be used: {media_type} is not supported"
    return UserError("SP305", what, where=where, fix="name a container image (OCI, or Docker schema 2)")


def _missing(image: ImageReference) -> NotFoundError:
    what = f"the embedded registry has no {image.name}@{image.digest}"
    return NotFoundError("SP306", what, where=image.name, fix="push it there first, or put its registry's host in front of the name")


@dataclass(frozen=True, slots=True)
class _Remote:
    """One repository of a foreign registry."""

    image: ImageReference
    client: RegistryClient

    def _bad(self, path: str, why: str) -> WorldError:
        what = f"the registry {self.image.host} gave {why}"
        return WorldError("SP307", what, where=f"{self.image.name}/{path}", fix="try again; else tell who runs it")

    def read(self, path: str, limit_bytes: int, digest: str) -> bytes:
        """Return a small answer that has this digest."""
        with self.client.get(f"/v2/{self.image.name}/{path}", _ACCEPT) as response:
            data = response.read(limit_bytes + 1)
        if len(data) > limit_bytes:
            raise self._bad(path, f"more than {limit_bytes} bytes")
        algorithm, _, encoded = digest.partition(":")
        if hashlib.new(algorithm, data).hexdigest() != encoded:
            raise self._bad(path, "bytes with another digest")
        return data

    def download(self, blob: Reference, target: Path) -> None:
        """Write a blob to a file; its size is checked here, its digest again when the store takes it."""
        path = f"blobs/{blob.digest}"
        if blob.size_bytes > _LAYER_LIMIT_BYTES:
            raise self._bad(path, f"a layer of more than {_LAYER_LIMIT_BYTES} bytes")
        algorithm, _, encoded = blob.digest.partition(":")
        digest = hashlib.new(algorithm)
        left = blob.size_bytes
        with self.client.get(f"/v2/{self.image.name}/{path}", "*/*") as response, target.open("wb", buffering=0) as file:
            while chunk := response.read(min(_CHUNK_BYTES, left + 1)):
                left -= len(chunk)
                if left < 0:
                    break
                digest.update(chunk)
                _keep(file, chunk)
        if left != 0 or digest.hexdigest() != encoded:
            raise self._bad(path, "other bytes than were asked for")


def _keep(file: BinaryIO, chunk: bytes) -> None:
    """Write to our own disk; its failure must not be taken for the registry's."""
    try:
        file.write(chunk)
    except OSError as error:
        fix = "make room on the disk of the home"
        raise WorldError("SP309", f"the base cannot be kept: {error.strerror}", where=file.name, fix=fix) from error

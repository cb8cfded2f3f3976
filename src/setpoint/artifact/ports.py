"""What artifacts need from outside: the OCI store behind the embedded registry, and other registries for bases and for copies."""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from setpoint.artifact.model import Descriptor, StoredManifest


class OciStore(Protocol):
    """Blobs and manifests on disk (adapters.oci.store); durable (fsync) when a put returns; every digest is checked on the way in.

    The embedded registry serves this very store, so what is put here can be pulled and what is pushed can be read here.
    """

    def put_blob(self, repository: str, data: bytes, media_type: str = "application/octet-stream") -> Descriptor:
        """Store bytes and link them into a repository."""
        ...

    def put_blob_file(self, repository: str, path: Path, media_type: str) -> Descriptor:
        """Move a finished file in and link it."""
        ...

    def has_blob(self, repository: str, digest: str) -> bool:
        """Say whether the repository links this blob."""
        ...

    def open_blob(self, repository: str, digest: str) -> BinaryIO:
        """Open a blob for reading; NotFoundError SP302 when the repository does not have it."""
        ...

    def read_blob(self, repository: str, digest: str, limit_bytes: int = 16 << 20) -> bytes:
        """Return a small blob; UserError SP303 when it is larger than the limit."""
        ...

    def put_manifest(self, repository: str, data: bytes, media_type: str, tag: str | None = None) -> Descriptor:
        """Store a manifest, by digest and tag; a `subject` makes it a referrer. UserError SP304 for a missing blob or bad JSON."""
        ...

    def manifest(self, repository: str, reference: str) -> StoredManifest | None:
        """Return a manifest by tag or digest."""
        ...

    def tags(self, repository: str) -> list[str]:
        """Return the tags of a repository, sorted."""
        ...

    def referrers(self, repository: str, digest: str, artifact_type: str | None = None) -> list[Descriptor]:
        """Return the manifests whose subject is digest (distribution-spec 1.1, listing referrers)."""
        ...

    def repositories(self) -> list[str]:
        """Return the names of the repositories, sorted."""
        ...


class BaseSource(Protocol):
    """Where base images come from, by digest (adapters.oci.pull): the embedded store first, then the registry that the reference names."""

    def fetch(self, reference: str, into: str) -> StoredManifest:
        """Bring `host/repo@sha256:...` with its config and layers into repository `into` of the store; returns its image manifest.

        UserError SP305 without a digest or for an unsupported media type, NotFoundError SP306 when it is not there,
        WorldError SP307 when the registry does not answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class Copied:
    """What one copy had to send."""

    manifests: int
    size_bytes: int
    referrers: tuple[str, ...]
    """Digests of all that refer to it and are there now."""


class ArtifactCopy(Protocol):
    """Leaves copies in other registries, by digest and with their referrers (adapters.oci.copy)."""

    def copy(self, repository: str, digest: str, host: str, name: str) -> Copied:
        """Bring a manifest, what it names and what refers to it to `host/name`; what is there is not sent again.

        NotFoundError SP336 when the store does not have it, UserError SP331 or SP333 when the registry refuses,
        WorldError SP307 when it gives no usable answer.
        """
        ...

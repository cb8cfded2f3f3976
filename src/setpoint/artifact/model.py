"""Artifacts, descriptors and the image recipe; the words of OCI that later stages use."""

from dataclasses import dataclass
from typing import Final

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX: Final = "application/vnd.oci.image.index.v1+json"
CONFIG: Final = "application/vnd.oci.image.config.v1+json"
LAYER: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
EMPTY: Final = "application/vnd.oci.empty.v1+json"
EMPTY_BYTES: Final = b"{}"

FILES: Final = "application/vnd.setpoint.files.v1"
"""artifactType of an artifact that is a file or a folder and no image."""
FILE: Final = "application/octet-stream"
"""Media type of a layer that is one file, byte for byte."""
TITLE: Final = "org.opencontainers.image.title"
"""Annotation of a layer: the name that it has when it is pulled or mounted (image-spec 1.1, annotations.md)."""
FOLDER_DIGEST: Final = "io.deis.oras.content.digest"
FOLDER_UNPACK: Final = "io.deis.oras.content.unpack"
"""What oras writes beside a layer that is a folder's tar, and unpacks by (oras-go 2, content/file)."""

LABEL_BASE: Final = "dev.setpoint.base"
"""Image label: `host`, or the digest of the base image."""
LABEL_TOOLCHAIN: Final = "dev.setpoint.host.fingerprint"
LABEL_PYTHON: Final = "dev.setpoint.host.python"


@dataclass(frozen=True, slots=True)
class Descriptor:
    """An OCI descriptor (image-spec 1.1, descriptor.md)."""

    media_type: str
    digest: str
    size_bytes: int
    artifact_type: str = ""
    annotations: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest as the registry holds it."""

    media_type: str
    digest: str
    data: bytes


@dataclass(frozen=True, slots=True)
class ArtifactRecord:
    """An artifact that a run assembled; journalled as `artifact.built`."""

    repository: str
    """Source repository."""
    name: str
    """The artifact's name in the pipeline file."""
    oci_repository: str
    """`<source repository>/<name>` in the registry."""
    digest: str
    size_bytes: int
    run: str
    revision: str
    version: str
    """What people call it: a tag at the revision, else `<first-parent count>-<commit 7>`."""
    built_at: str
    needs: tuple[str, ...]
    """Names of the tasks whose outputs are in it."""
    inputs: str
    """Digest over (path, mode, blob id) of the source files in it."""
    base: str


@dataclass(frozen=True, slots=True)
class LayerFile:
    """A finished layer on disk, not yet in the store."""

    digest: str
    """Of the gzip bytes."""
    diff_id: str
    """Of the tar inside: what stays equal when another compressor is used."""
    size_bytes: int
    entries: int


@dataclass(frozen=True, slots=True)
class ArtifactAssembled:
    """What `ArtifactService.assemble` made; the manifest and all it names lie in the registry."""

    descriptor: Descriptor
    """Of the manifest."""
    config: Descriptor
    layers: tuple[Descriptor, ...]
    """The base's first, ours last."""
    diff_ids: tuple[str, ...]
    base: str
    """`host`, the digest of the base image's manifest, or empty for what is no image."""
    source_paths: tuple[str, ...]
    """The source files in it, sorted: what the tasks' inputs have to cover."""
    tasks: tuple[str, ...]
    """The tasks whose outputs are in it, sorted."""
    compressor: str
    """For example `zlib 1.2.13 level 6`: only with the same one are the bytes equal again; empty when nothing was compressed."""

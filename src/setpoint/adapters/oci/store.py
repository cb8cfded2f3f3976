"""The OCI store on disk behind the embedded registry; fills `artifact.ports.OciStore`.

Built by wiring for the server (which writes) and by the signer process (which only calls the reading methods and so changes nothing).

    blobs/<algorithm>/<hex>                                    bytes, shared by all repositories, manifests too
    repositories/<name>/_blobs/<algorithm>/<hex>               empty: this repository has the blob
    repositories/<name>/_manifests/<algorithm>/<hex>           the media type
    repositories/<name>/_tags/<tag>                            the digest
    repositories/<name>/_referrers/<algorithm>/<hex>/<alg>-<hex>   a descriptor as JSON: subject -> referrer
    uploads/                                                   unfinished work; may be lost

No component of a repository name starts with `_`, so names and links never meet. It never deletes bytes, only links to them: `garbage`
does, by when each file was last written or used (its modification time; `durable.mark_used`).
"""

import hashlib
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

from setpoint.adapters.oci import documents, durable
from setpoint.adapters.oci.uploads import UploadSessions
from setpoint.artifact.model import Descriptor, StoredManifest
from setpoint.core import canonical
from setpoint.core import digest as digests
from setpoint.core.errors import BugError, NotFoundError, UserError, WorldError

_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
REPOSITORY: Final = rf"{_COMPONENT}(?:/{_COMPONENT})*"
"""Names of repositories (distribution-spec 1.1, pulling manifests)."""
_REPOSITORY: Final = re.compile(REPOSITORY)
_TAG: Final = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_NAME_LIMIT: Final = 255


def tag_order(tag: str) -> tuple[str, str]:
    """Return the sort key of tags: case does not matter first (distribution-spec 1.1, listing tags: lexical order)."""
    return (tag.lower(), tag)


class OciStoreFolder:
    """Blobs, manifests, tags and referrers below one folder; every method may be called from any thread."""

    def __init__(self, root: Path) -> None:
        self.root = self._root = root
        self.links = self._links = threading.RLock()
        """Held while links are made or taken away; garbage collection holds it for each thing that it takes."""
        self.uploads = UploadSessions(root / "uploads")

    # Places. Every name that comes from outside is checked here, so nothing can point out of the root.

    def _repository(self, name: str) -> Path:
        if len(name) > _NAME_LIMIT or _REPOSITORY.fullmatch(name) is None:
            fix = "lower-case letters, digits, and . _ - / between them, at most 255 characters"
            raise UserError("SP308", f"{name[:80]!r} is not a repository name", where=name[:80], fix=fix)
        return self._root / "repositories" / name

    @staticmethod
    def _split(digest: str) -> tuple[str, str]:
        if not digests.is_digest(digest):
            raise UserError("SP301", f"{digest[:80]!r} is not a digest", where=digest[:80], fix="sha256:<64 hex> or sha512:<128 hex>")
        algorithm, _, encoded = digest.partition(":")
        return algorithm, encoded

    def _blob(self, digest: str) -> Path:
        return self._root.joinpath("blobs", *self._split(digest))

    def _link(self, repository: str, kind: str, digest: str) -> Path:
        return self._repository(repository).joinpath(kind, *self._split(digest))

    def _tag(self, repository: str, tag: str) -> Path:
        if _TAG.fullmatch(tag) is None:
            fix = "letters, digits, _ . -; at most 128 characters"
            raise UserError("SP308", f"{tag[:80]!r} is not a tag", where=f"{repository}:{tag[:80]}", fix=fix)
        return self._repository(repository) / "_tags" / tag

    @contextmanager
    def _writing(self) -> Iterator[Path]:
        """Yield a scratch file name; what the disk refuses becomes SP309."""
        try:
            scratch = self.scratch()
            try:
                yield scratch
            finally:
                scratch.unlink(missing_ok=True)
        except OSError as error:
            fix = "make room on the disk of the home, or give its folders back to the server's user; then push again"
            raise WorldError("SP309", f"the registry cannot be written: {error.strerror}", where=str(self._root), fix=fix) from error

    def scratch(self) -> Path:
        """Return a fresh file name in the store's own file system, for `put_blob_file`; swept when it is forgotten."""
        return self.uploads.scratch()

    # Blobs.

    def put_blob(
        self, repository: str, data: bytes, media_type: str = "application/octet-stream", *, expected: str | None = None
    ) -> Descriptor:
        """Store bytes and link them into a repository; `expected` is the digest they must have (else SP301)."""
        with self._writing() as scratch:
            scratch.write_bytes(data)
            return self.put_blob_file(repository, scratch, media_type, expected=expected)

    def put_blob_file(self, repository: str, path: Path, media_type: str, *, expected: str | None = None) -> Descriptor:
        """Move a finished file in and link it; it must have the digest `expected`, by default its sha256.

        Raises:
            UserError: the bytes have another digest (SP301), or the name is none (SP308).
            WorldError: the disk refused (SP309).
        """
        self._repository(repository)
        algorithm = self._split(expected)[0] if expected else "sha256"
        with self._writing() as scratch:
            if path.stat().st_dev != scratch.parent.stat().st_dev:
                shutil.copyfile(path, scratch)
                path.unlink()
                path = scratch
            with path.open("rb") as file:
                found = f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"
            if expected not in (None, found):
                raise UserError("SP301", f"the bytes have the digest {found}, not {expected}", where=repository, fix="send the bytes again")
            size = path.stat().st_size
            os.utime(path)  # an old file that is put here now is in use now
            durable.sync_file(path)  # the long part, so that others need not wait for it
            with self._links:  # as one: bytes that are not linked yet are nobody's to garbage collection
                durable.move_in(path, self._blob(found))
                self._link_blob(repository, found)
        return Descriptor(media_type, found, size)

    def _link_blob(self, repository: str, digest: str) -> None:
        link = self._link(repository, "_blobs", digest)
        with self._links:
            durable.ensure_folder(link.parent)
            link.touch(mode=0o600)
            durable.sync_folder(link.parent)

    def mount(self, repository: str, digest: str, source: str | None = None) -> bool:
        """Link a blob that `source` (None: any repository) has into another repository; False when it has not."""
        sources = [source] if source is not None else self.repositories()
        with self._writing(), self._links:
            if not any(self.has_blob(name, digest) for name in sources):
                return False
            self._link_blob(repository, digest)
        return True

    def has_blob(self, repository: str, digest: str) -> bool:
        """Say whether the repository links this blob; who asks may rely on it, so that counts as a use (see `garbage`)."""
        link, blob = self._link(repository, "_blobs", digest), self._blob(digest)
        with self._links:
            return link.is_file() and durable.mark_used(blob)

    def use_manifest(self, repository: str, digest: str) -> bool:
        """Count as used a manifest and all below it: a client that found it sends none of it again; False when it is not there."""
        with self._links:
            found = self.manifest(repository, digest)
            if found is None or not durable.mark_used(self._blob(digest)):
                return False
            document = documents.read(found.data, found.media_type)
            for reference in document.blobs:
                durable.mark_used(self._blob(reference.digest))
            for reference in document.manifests:
                self.use_manifest(repository, reference.digest)
        return True

    def open_blob(self, repository: str, digest: str) -> BinaryIO:
        """Open a blob for reading; NotFoundError SP302 when the repository does not have it."""
        if not self.has_blob(repository, digest):
            raise NotFoundError("SP302", f"there is no blob {digest}", where=repository, fix="push it to this repository")
        return self._blob(digest).open("rb", buffering=0)

    def read_blob(self, repository: str, digest: str, limit_bytes: int = 16 << 20) -> bytes:
        """Return a small blob, its digest checked again; UserError SP303 when it is larger than the limit."""
        with self.open_blob(repository, digest) as file:
            data = file.read(limit_bytes + 1)
        if len(data) > limit_bytes:
            raise UserError("SP303", f"the blob {digest} is larger than {limit_bytes} bytes", where=repository, fix="read it as a stream")
        return self._intact(digest, data)

    def _intact(self, digest: str, data: bytes) -> bytes:
        """Return data when it still has its digest: the signer and the gates rely on what is read here."""
        algorithm, encoded = self._split(digest)
        if hashlib.new(algorithm, data).hexdigest() != encoded:
            fix = "restore the file from a copy or push the same content again"
            raise BugError("SP310", f"the stored bytes of {digest} are damaged", where=str(self._blob(digest)), fix=fix)
        return data

    def delete_blob(self, repository: str, digest: str) -> bool:
        """Take a blob out of a repository; False when it was not there. The bytes stay until they are collected."""
        with self._writing(), self._links:
            return durable.remove(self._link(repository, "_blobs", digest))

    # Manifests.

    def put_manifest(
        self, repository: str, data: bytes, media_type: str, tag: str | None = None, *, expected: str | None = None
    ) -> Descriptor:
        """Store a manifest, by digest and tag; a `subject` makes it a referrer.

        Raises:
            UserError: bad JSON (SP304), another digest than `expected` (SP301), a bad name or tag (SP308).
            NotFoundError: a blob or manifest that it names is missing (SP304).
        """
        document = documents.read(data, media_type)
        algorithm = self._split(expected)[0] if expected else "sha256"
        digest = f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
        if expected not in (None, digest):
            raise UserError("SP301", f"the manifest has the digest {digest}, not {expected}", where=repository, fix="send the bytes again")
        tag_path = self._tag(repository, tag) if tag is not None else None
        descriptor = Descriptor(media_type, digest, len(data), document.artifact_type, document.annotations)
        with self._writing() as scratch, self._links:
            self._require(repository, document)
            durable.write(scratch, self._blob(digest), data)
            durable.write(scratch, self._link(repository, "_manifests", digest), media_type.encode())
            if document.subject:
                name = digest.replace(":", "-")
                entry = self._link(repository, "_referrers", document.subject) / name
                durable.write(scratch, entry, canonical.dumps(to_wire(descriptor)))
            if tag_path is not None:
                durable.write(scratch, tag_path, digest.encode())
        return descriptor

    def is_whole(self, repository: str, digest: str) -> bool:
        """Say whether nothing of a manifest was collected; what an index names for other platforms need never have been here."""
        found = self.manifest(repository, digest)
        if found is None:
            return True
        document = documents.read(found.data, found.media_type)
        blobs = all(blob.elsewhere or self.has_blob(repository, blob.digest) for blob in document.blobs)
        return blobs and all(self.is_whole(repository, child.digest) for child in document.manifests)

    def _require(self, repository: str, document: documents.Document) -> None:
        """Check that everything a manifest names is in the repository, with the size it says."""
        for reference in document.blobs:
            present = self.has_blob(repository, reference.digest)
            if not present and not reference.elsewhere:
                raise NotFoundError("SP304", f"the manifest names the blob {reference.digest}, which is not here", where=repository)
            if present and self._blob(reference.digest).stat().st_size != reference.size_bytes:
                raise UserError("SP304", f"the manifest names another size for {reference.digest}", where=repository)
        for reference in document.manifests:
            known = self._link(repository, "_manifests", reference.digest).is_file()
            if not known or not self.is_whole(repository, reference.digest):
                raise NotFoundError("SP304", f"the index names the manifest {reference.digest}, which is not here", where=repository)
            self.use_manifest(repository, reference.digest)

    def manifest(self, repository: str, reference: str) -> StoredManifest | None:
        """Return a manifest by tag or digest, its digest checked again."""
        try:
            digest = reference if ":" in reference else self._tag(repository, reference).read_text()
            media_type = self._link(repository, "_manifests", digest).read_text()
            data = self._blob(digest).read_bytes()
        except FileNotFoundError:
            return None
        return StoredManifest(media_type, digest, self._intact(digest, data))

    def delete_manifest(self, repository: str, digest: str) -> bool:
        """Take a manifest out of a repository, with the tags that name it and its place as a referrer; False when it was not there."""
        with self._writing(), self._links:
            found = self.manifest(repository, digest)
            if found is None:
                return False
            for tag in self.tags(repository):
                if self._tag(repository, tag).read_text() == digest:
                    durable.remove(self._tag(repository, tag))
            subject = documents.read(found.data, found.media_type).subject
            if subject:
                durable.remove(self._link(repository, "_referrers", subject) / digest.replace(":", "-"))
            return durable.remove(self._link(repository, "_manifests", digest))

    def delete_tag(self, repository: str, tag: str) -> bool:
        """Take a tag away; False when it was not there."""
        with self._writing(), self._links:
            return durable.remove(self._tag(repository, tag))

    def tags(self, repository: str) -> list[str]:
        """Return the tags of a repository, sorted."""
        folder = self._repository(repository) / "_tags"
        return sorted((path.name for path in folder.iterdir()), key=tag_order) if folder.is_dir() else []

    def referrers(self, repository: str, digest: str, artifact_type: str | None = None) -> list[Descriptor]:
        """Return the manifests whose subject is digest, by digest (distribution-spec 1.1, listing referrers)."""
        folder = self._link(repository, "_referrers", digest)
        found: list[Descriptor] = []
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            try:
                descriptor = _from_json(path.read_bytes())
            except FileNotFoundError:
                continue
            if artifact_type in (None, descriptor.artifact_type):
                found.append(descriptor)
        return found

    def has_repository(self, repository: str) -> bool:
        """Say whether anything was ever put into this repository."""
        return self._repository(repository).is_dir()

    def repositories(self) -> list[str]:
        """Return the names of the repositories, sorted."""
        top = self._root / "repositories"
        return sorted(folder.relative_to(top).as_posix() for folder in _holders(top))

    def sweep(self, now: datetime, max_age_s: float = 24 * 3600) -> int:
        """Delete unfinished uploads that nothing was added to for max_age_s; returns how many."""
        return self.uploads.sweep(now, max_age_s)


def _holders(folder: Path) -> Iterator[Path]:
    """Yield the folders that hold links of a repository."""
    children = [child for child in folder.iterdir() if child.is_dir()] if folder.is_dir() else []
    if any(child.name in ("_blobs", "_manifests") for child in children):
        yield folder
    for child in children:
        if not child.name.startswith("_"):
            yield from _holders(child)


def to_wire(descriptor: Descriptor) -> dict[str, object]:
    """Return a descriptor as image-spec 1.1 writes it."""
    value: dict[str, object] = {"mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size_bytes}
    if descriptor.artifact_type:
        value["artifactType"] = descriptor.artifact_type
    if descriptor.annotations:
        value["annotations"] = dict(descriptor.annotations)
    return value


def _from_json(data: bytes) -> Descriptor:
    value = json.loads(data)
    annotations = tuple(sorted(value.get("annotations", {}).items()))
    return Descriptor(value["mediaType"], value["digest"], value["size"], value.get("artifactType", ""), annotations)

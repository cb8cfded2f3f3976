"""What lies in the registry's folder, and how it is taken away while clients push; fills `retention.ports.RegistryShelf`.

Built by wiring, called by the retention service. Every removal holds the store's lock of links and looks at the file's last use again under
it: whoever asked for a blob or manifest since (HEAD, GET, a mount, a manifest that names it) has marked it used under the same lock, so it
stays. Order: manifests, then links of blobs, then these made durable, then bytes. A crash anywhere leaves bytes that the next one takes.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from setpoint.adapters.oci import documents, durable
from setpoint.adapters.oci.store import OciStoreFolder
from setpoint.artifact.model import INDEX
from setpoint.core.errors import SetpointError, WorldError
from setpoint.retention.model import Blob, Manifest, Registry

_INDEX_BYTES: Final = 256 << 10


class RegistryGarbage:
    """One pass over the store at a time."""

    def __init__(self, store: OciStoreFolder) -> None:
        self._store = store
        self._root = store.root
        self._touched: set[Path] = set()
        """Folders that lost a link since `settle`."""
        self._seen: dict[tuple[str, str], Manifest] = {}
        """What the last look found: whoever tags a manifest afterwards marks it used, so its tags are all here."""

    def look(self) -> Registry:
        """Return everything that is there.

        Raises:
            WorldError: a manifest cannot be read, so what it names is not known (SP340).
        """
        manifests: list[Manifest] = []
        links: dict[str, frozenset[str]] = {}
        indexes: dict[tuple[str, str], tuple[str, ...]] = {}
        for repository in self._store.repositories():
            tags = self._tags(repository)
            found = [self._manifest(repository, digest, tags.get(digest, ())) for digest in self._digests(repository, "_manifests")]
            mine = [item for item in found if item is not None]
            manifests += mine
            links[repository] = frozenset(self._digests(repository, "_blobs"))
            named = {blob for item in mine for blob in item.blobs}
            for blob in links[repository] - named:
                children = self._index(blob)
                if children:
                    indexes[repository, blob] = children
        self._seen = {(item.repository, item.digest): item for item in manifests}
        return Registry(tuple(manifests), tuple(self._blobs()), links, indexes)

    def drop_manifest(self, repository: str, digest: str, unused_since: float) -> bool:
        """Take a manifest out of a repository, unless it was used since: its tags first, so that none ever names nothing."""
        seen = self._seen.get((repository, digest))
        if seen is None:
            return False
        folder = self._root / "repositories" / repository
        with self._store.links:
            if not _unused(self._blob(digest), unused_since):
                return False
            for tag in seen.tags:
                if _text(folder / "_tags" / tag) == digest:
                    self._remove(folder / "_tags" / tag)
            if seen.subject:
                self._remove(self._link(repository, "_referrers", seen.subject) / digest.replace(":", "-"))
            return self._remove(self._link(repository, "_manifests", digest))

    def _remove(self, path: Path) -> bool:
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        self._touched.add(path.parent)
        return True

    def unlink(self, links: Sequence[tuple[str, str]], unused_since: float) -> int:
        """Take blobs out of repositories, unless they were used since; returns how many."""
        count = 0
        for repository, digest in links:
            link = self._link(repository, "_blobs", digest)
            with self._store.links:
                if not link.is_file() or not _unused(link, unused_since) or not _unused(self._blob(digest), unused_since):
                    continue
                count += self._remove(link)
        return count

    def settle(self) -> None:
        """Make durable that links are gone: before any bytes go."""
        for folder in self._touched:
            durable.sync_folder(folder)
        self._touched.clear()

    def drop_blob(self, digest: str, unused_since: float) -> int | None:
        """Delete bytes that no repository has, unless they were used since; returns how many."""
        blob = self._blob(digest)
        with self._store.links:
            if not _unused(blob, unused_since) or self._linked(digest) or not blob.is_file():
                return None
            size = blob.stat().st_size
            blob.unlink()
        return size

    def _linked(self, digest: str) -> bool:
        kinds = ("_blobs", "_manifests")
        return any(self._link(name, kind, digest).is_file() for name in self._store.repositories() for kind in kinds)

    def _link(self, repository: str, kind: str, digest: str) -> Path:
        return self._root.joinpath("repositories", repository, kind, *digest.split(":"))

    def _blob(self, digest: str) -> Path:
        return self._root.joinpath("blobs", *digest.split(":"))

    def _digests(self, repository: str, kind: str) -> list[str]:
        top = self._root.joinpath("repositories", repository, kind)
        return [f"{folder.name}:{entry.name}" for folder in _entries(top) for entry in _entries(folder)]

    def _tags(self, repository: str) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for tag in _entries(self._root.joinpath("repositories", repository, "_tags")):
            digest = _text(tag)
            found[digest] = (*found.get(digest, ()), tag.name)
        return found

    def _manifest(self, repository: str, digest: str, tags: tuple[str, ...]) -> Manifest | None:
        link = self._link(repository, "_manifests", digest)
        try:
            stored = self._store.manifest(repository, digest)
            if stored is None:
                if not link.is_file():
                    return None  # deleted since it was listed
                raise _unreadable(link, "its bytes are gone")
            document = documents.read(stored.data, stored.media_type)
            used = self._blob(digest).stat().st_mtime
        except (SetpointError, OSError) as error:
            if not link.is_file():
                return None
            raise _unreadable(link, str(error)) from error
        blobs = tuple(reference.digest for reference in document.blobs)
        children = tuple(reference.digest for reference in document.manifests)
        return Manifest(repository, digest, used, blobs, children, document.subject, tags)

    def _index(self, digest: str) -> tuple[str, ...]:
        """Return the manifests of an index that is kept as a blob; nothing for other bytes."""
        path = self._blob(digest)
        try:
            if path.stat().st_size > _INDEX_BYTES:
                return ()
            data = path.read_bytes()
            if b'"manifests"' not in data:
                return ()
            value = documents.load(data)
            return tuple(item.digest for item in documents.read(data, str(value.get("mediaType", INDEX))).manifests)
        except (OSError, SetpointError):
            return ()

    def _blobs(self) -> Iterator[Blob]:
        for folder in _entries(self._root / "blobs"):
            for entry in _entries(folder):
                try:
                    facts = entry.stat()
                except FileNotFoundError:
                    continue
                yield Blob(f"{folder.name}:{entry.name}", facts.st_size, facts.st_mtime)


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def _unused(path: Path, since: float) -> bool:
    """Say whether a file was neither written nor used since; one that is gone is used by nobody."""
    try:
        return path.stat().st_mtime < since
    except FileNotFoundError:
        return True


def _unreadable(link: Path, why: str) -> WorldError:
    fix = "push it again, or restore the file from a copy; until then nothing is collected"
    return WorldError("SP340", f"a manifest of the registry cannot be read: {why}", where=str(link), fix=fix)

"""Builds garbage collection of a home, and answers where artifacts are pinned and what runs; called by wiring.

It reads pins at the branch of every delivery repository as Git has them, so what is pinned stays even when `setpoint.yaml` forgot it.
"""

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from setpoint.adapters.database.retained import RetainedRecords
from setpoint.adapters.git.upkeep import GitRepack
from setpoint.adapters.host.unpack import ImageFolder
from setpoint.adapters.oci import documents
from setpoint.adapters.oci.garbage import RegistryGarbage
from setpoint.adapters.oci.store import OciStoreFolder
from setpoint.adapters.task_cache import TaskCacheFolder
from setpoint.app.application import Store
from setpoint.app.settings import Settings
from setpoint.core import digest as digests
from setpoint.promotion.model import Pin
from setpoint.promotion.pin import ALLOWED_SIGNERS, LIMIT_BYTES, parse_pin
from setpoint.reconcile.model import ReplicaStatus
from setpoint.retention.model import Disk, Kind
from setpoint.retention.service import GarbageCollection, RetentionParts


def garbage_of(store: Store, images: ImageFolder, replicas: Callable[[], Sequence[ReplicaStatus]], settings: Settings) -> GarbageCollection:
    """Return the collector of a home."""
    return GarbageCollection(
        RetentionParts(
            records=RetainedRecords(store.records),
            recorder=store.recorder,
            clock=store.clock,
            registry=RegistryGarbage(store.oci),
            shelves={
                Kind.CACHE: TaskCacheFolder(store.home.task_cache),
                Kind.CONTENT: store.content,
                Kind.LOG: store.logs,
                Kind.IMAGE: images,
            },
            git=GitRepack(store.git),
            pinned=partial(pinned, store),
            running=partial(running, replicas),
            leftovers=lambda: store.oci.sweep(store.clock.now()),
            disk=partial(disk_of, store.home.root),
            rules=settings.retention,
            automatic=settings.collects,
        )
    )


def pinned(store: Store) -> dict[str, str]:
    """Return {digest of an artifact: where it is pinned at HEAD}.

    Raises:
        UserError: a pin cannot be read (SP540): what it names is not known.
    """
    found: dict[str, str] = {}
    for repository, branch in store.records.deliveries().items():
        head = store.git.heads(repository).get(branch)
        tree = store.git.tree_id(repository, head, "pins") if head is not None else None
        if head is None or tree is None:
            continue
        for file in store.git.files(repository, tree):
            path = f"pins/{file.path}"
            if path == ALLOWED_SIGNERS:
                continue
            pin = parse_pin(store.git.read(repository, head, path, LIMIT_BYTES) or b"", path)
            where = f"pinned for {pin.candidate.app} in {pin.candidate.environment}"
            found |= {artifact.digest: where for artifact in pin.candidate.artifacts.values()}
    return found


def collected(store: OciStoreFolder, pin: Pin) -> str:
    """Return why a pin cannot come back although all of its evidence is here: bytes that were collected; empty when all are there.

    Asking counts as a use, so a collection that goes on meanwhile takes none of them.
    """
    for name, artifact in sorted(pin.candidate.artifacts.items()):
        if store.use_manifest(artifact.oci_repository, artifact.digest) and not _is_whole(store, artifact.oci_repository, artifact.digest):
            again = f"build revision {digests.short(pin.source_revision)} of {pin.source_repository} again to have them back"
            return f"the bytes of {name} {pin.version} are gone, `setpoint gc` collected them (docs/gc.md says what it keeps); {again}"
    return ""


def _is_whole(store: OciStoreFolder, repository: str, digest: str) -> bool:
    found = store.manifest(repository, digest)
    if found is None:
        return True  # an index may name what was never pushed here, for other platforms
    document = documents.read(found.data, found.media_type)
    return all(blob.elsewhere or store.has_blob(repository, blob.digest) for blob in document.blobs) and all(
        _is_whole(store, repository, child.digest) for child in document.manifests
    )


def running(replicas: Callable[[], Sequence[ReplicaStatus]]) -> dict[str, str]:
    """Return {digest of an image: the replica that has it}."""
    return {
        image.rpartition("@")[2]: f"replica {status.spec.replica} has it" for status in replicas() for image in status.spec.container.images
    }


def disk_of(folder: Path) -> Disk:
    """Return how much room the file system of a folder has, for who is not root."""
    found = shutil.disk_usage(folder)
    return Disk(found.total, found.free)

"""Builds garbage collection of a home, and answers where artifacts are pinned and what runs; called by wiring.

It reads pins at the branch of every delivery repository as Git has them, so what is pinned stays even when `setpoint.yaml` forgot it.
"""

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from setpoint.adapters.database.retained import RetainedRecords
from setpoint.adapters.git.upkeep import GitRepack
from setpoint.adapters.host.unpack import ImageFolder
from setpoint.adapters.oci.garbage import RegistryGarbage
from setpoint.adapters.oci.store import OciStoreFolder
from setpoint.adapters.render_folder import RenderFolder
from setpoint.adapters.task_cache import TaskCacheFolder
from setpoint.app.application import Store
from setpoint.app.settings import Settings
from setpoint.artifact.recipe import PIPELINE_FILE
from setpoint.core import digest as digests
from setpoint.core.errors import UserError
from setpoint.pipeline.service import LOCK_PATH
from setpoint.promotion.model import Pin
from setpoint.promotion.pin import ALLOWED_SIGNERS, LIMIT_BYTES, parse_pin
from setpoint.reconcile.model import ReplicaStatus
from setpoint.retention.model import Disk, Kind
from setpoint.retention.service import GarbageCollection, RetentionParts

_DIGEST: Final = re.compile(rb"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_FILE_BYTES: Final = 1 << 20
"""No larger file is parsed (SP010)."""


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
                Kind.RENDER: RenderFolder(store.home.renders),
                Kind.IMAGE: images,
            },
            git=GitRepack(store.git),
            pinned=lambda: named(store) | pinned(store),
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


def named(store: Store) -> dict[str, str]:
    """Return {digest: what names it} of digests that files at heads hold, and of what was built from heads themselves.

    A pipeline may build on an older version, an `images:` or a manifest may have one run, and a branch that was made anew at an old commit
    makes its build the newest. Digests are looked for in the text, so a file that cannot be parsed keeps what it names.
    """
    found: dict[str, str] = {}
    for repository in store.git.names():
        branches = store.git.heads(repository)
        for branch, head in branches.items():
            run = store.records.run_for(repository, head)
            if run is not None:
                found |= {record.digest: f"built from {branch} of {repository}" for record in store.records.artifacts(run=run.run)}
            for file in (PIPELINE_FILE, LOCK_PATH):
                found |= _digests(partial(store.git.read, repository, head, file), f"{file} of {repository}")
        files = [file for commit in _judging(store, repository, branches) for file in store.git.files(repository, commit)]
        for blob, path in {file.blob: file.path for file in files if not file.path.startswith("pins/")}.items():
            found |= _digests(partial(store.git.blob, repository, blob), f"{path} of {repository}")
    return found


def _judging(store: Store, repository: str, branches: Mapping[str, str]) -> set[str]:
    """Return the head of a delivery repository and the commit whose governed files are in force; nothing for another repository."""
    head = branches.get(store.records.deliveries().get(repository, ""))
    return {commit for commit in (head, store.records.accepted(repository)) if commit is not None} if head is not None else set()


def _digests(read: Callable[[int], bytes | None], place: str) -> dict[str, str]:
    """Return the digests in a file; one that is not there, or larger than any that is parsed, names none."""
    try:
        data = read(_FILE_BYTES) or b""
    except UserError as error:
        if error.code != "SP103":
            raise
        return {}
    return {digest.decode(): f"{place} names it" for digest in _DIGEST.findall(data)}


def collected(store: OciStoreFolder, pin: Pin) -> str:
    """Return why a pin cannot come back although all of its evidence is here: bytes that were collected; empty when all are there.

    Asking counts as a use, so a collection that goes on meanwhile takes none of them.
    """
    for name, artifact in sorted(pin.candidate.artifacts.items()):
        if store.use_manifest(artifact.oci_repository, artifact.digest) and not store.is_whole(artifact.oci_repository, artifact.digest):
            again = f"build revision {digests.short(pin.source_revision)} of {pin.source_repository} again to have them back"
            return f"the bytes of {name} {pin.version} are gone, `setpoint gc` collected them (docs/gc.md says what it keeps); {again}"
    return ""


def running(replicas: Callable[[], Sequence[ReplicaStatus]]) -> dict[str, str]:
    """Return {digest of an image: the replica that has it}."""
    return {
        image.rpartition("@")[2]: f"replica {status.spec.replica} has it" for status in replicas() for image in status.spec.container.images
    }


def disk_of(folder: Path) -> Disk:
    """Return how much room the file system of a folder has, for who is not root."""
    found = shutil.disk_usage(folder)
    return Disk(found.total, found.free)

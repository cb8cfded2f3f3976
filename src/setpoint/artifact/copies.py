"""Copies of artifacts in the registries that targets pull from: made before anything is applied there, and kept complete.

Called by targets that pull for themselves (Kubernetes), on every pass and in a worker thread. It looks at no target and deletes nothing.
"""

import threading
from collections.abc import Collection
from dataclasses import dataclass

from setpoint.artifact.ports import ArtifactCopy, OciStore
from setpoint.ground.journal.ports import Recorder


@dataclass(frozen=True, slots=True)
class Place:
    """Where a target pulls from: `registry:` of an environment's target, taken apart."""

    host: str
    prefix: str
    """Of repository names; empty: none."""

    @classmethod
    def parse(cls, registry: str) -> "Place":
        """Return the parts of `host[:port][/prefix]`; who reads the file has checked its form."""
        host, _, prefix = registry.strip("/").partition("/")
        return cls(host, prefix)

    def name(self, repository: str) -> str:
        """Return what a repository of ours is called there."""
        return f"{self.prefix}/{repository}" if self.prefix else repository

    def reference(self, repository: str, digest: str) -> str:
        """Return how a pod names an artifact of ours there."""
        return f"{self.host}/{self.name(repository)}@{digest}"


class Copies:
    """Makes sure of copies; safe to call from several threads."""

    def __init__(self, store: OciStore, copy: ArtifactCopy, recorder: Recorder, own: Collection[str] = ()) -> None:
        self._store = store
        self._copy = copy
        self._recorder = recorder
        self._own = frozenset(host.lower() for host in own)
        """Hosts that are this home's own registry under another name: nothing is copied there."""
        self._seen: dict[tuple[str, str, Place], frozenset[str]] = {}
        """What this process found complete, with the referrers of then."""
        self._lock = threading.Lock()

    def ensure(self, repository: str, digest: str, place: Place) -> str:
        """Return how an artifact is named at a place, once it and all its evidence of now are there.

        Raises:
            NotFoundError: the store does not have it (SP336).
            UserError: the registry refuses us (SP331, SP333).
            WorldError: it gives no usable answer (SP307).
        """
        if place.host.lower() in self._own:
            return Place(place.host, "").reference(repository, digest)  # served under the store's own names, which have no prefix
        reference = place.reference(repository, digest)
        key = (repository, digest, place)
        with self._lock:
            seen = self._seen.get(key)
        if seen is not None and seen >= {referrer.digest for referrer in self._store.referrers(repository, digest)}:
            return reference
        done = self._copy.copy(repository, digest, place.host, place.name(repository))
        if done.manifests:
            body = {"digest": digest, "manifests": done.manifests, "size_bytes": done.size_bytes, "referrers": len(done.referrers)}
            self._recorder.record("artifact.copied", reference, "setpoint", {"repository": repository, **body})
        with self._lock:
            self._seen[key] = frozenset(done.referrers)
        return reference

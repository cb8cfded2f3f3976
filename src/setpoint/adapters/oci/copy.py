"""Leaves copies of artifacts in other registries, with everything they name and everything that refers to them; fills `ArtifactCopy`.

Called by `artifact.copies` in a worker thread. What is there already is not sent again, so a copy that broke off goes on where it was. It
copies digests only: no tag is written but the one that stands in for the referrers API where a registry has none.
Source: OCI distribution-spec 1.1 (pushing blobs and manifests, listing referrers, referrers tag schema).
"""

import http.client
import json
from collections.abc import Callable
from typing import Final

from setpoint.adapters.oci import documents
from setpoint.adapters.oci.client import RegistryClient
from setpoint.adapters.oci.documents import Reference
from setpoint.adapters.oci.store import OciStoreFolder, to_wire
from setpoint.artifact.model import INDEX, Descriptor, StoredManifest
from setpoint.artifact.ports import Copied
from setpoint.core import canonical
from setpoint.core.errors import NotFoundError, SetpointError, UserError
from setpoint.ground.registries.model import RegistryAccess

_READABLE: Final = (200, 404)
_MOVED: Final = (302, 307)


class RegistryCopy:
    """Copies out of one store."""

    def __init__(self, store: OciStoreFolder, access: Callable[[str], RegistryAccess] = RegistryAccess, *, timeout_s: float = 30) -> None:
        self._store = store
        self._access = access
        """host -> how it is spoken to"""
        self._timeout_s = timeout_s

    def copy(self, repository: str, digest: str, host: str, name: str) -> Copied:
        """Bring a manifest, what it names, and its referrers to `host/name`; says what had to be sent.

        Raises:
            NotFoundError: it is not in the store (SP336).
            UserError: the registry does not know the login (SP331) or lets it not write there (SP333).
            WorldError: no usable answer (SP307); what arrived stays, and the next call goes on.
        """
        return _Copy(self._store, repository, RegistryClient(self._access(host), self._timeout_s), name).whole(digest)


class _Copy:
    """One call: where from, where to, and what was sent."""

    def __init__(self, store: OciStoreFolder, repository: str, client: RegistryClient, name: str) -> None:
        self._store = store
        self._repository = repository
        self._client = client
        self._base = f"{client.base}/v2/{name}"
        self._name = name
        self._manifests = self._bytes = 0

    def whole(self, digest: str) -> Copied:
        self._manifest(digest)
        referrers = self._store.referrers(self._repository, digest)
        for referrer in referrers:
            self._manifest(referrer.digest)
        if referrers:
            self._listed(digest, referrers)
        return Copied(self._manifests, self._bytes, tuple(referrer.digest for referrer in referrers))

    def _manifest(self, digest: str) -> None:
        """Send a manifest after all that it names; one that is there has all that."""
        held = self._store.manifest(self._repository, digest)
        if held is None:
            raise NotFoundError(
                "SP336", f"the store has no manifest {digest} to copy", where=self._repository, fix="run its pipeline again"
            )
        url = f"{self._base}/manifests/{digest}"
        if self._has(url, held.media_type):
            return
        document = documents.read(held.data, held.media_type)
        for child in document.manifests:
            self._manifest(child.digest)
        for blob in {blob.digest: blob for blob in document.blobs if not blob.elsewhere}.values():
            self._blob(blob)
        self._put(url, held)

    def _put(self, url: str, held: StoredManifest) -> None:
        with self._client.send("PUT", url, {"Content-Type": held.media_type}, held.data) as response:
            if response.status != 201:
                raise self._refused(url, response)
            found = response.headers.get("Docker-Content-Digest", held.digest)
        if found != held.digest:
            raise self._client.trouble(url, f"it calls the manifest {found}")
        self._manifests += 1
        self._bytes += len(held.data)

    def _has(self, url: str, accept: str = "*/*") -> bool:
        with self._client.send("HEAD", url, {"Accept": accept}) as response:
            if response.status in _READABLE:
                return response.status == 200
            if response.status in _MOVED:
                return url.startswith(f"{self._base}/blobs/")  # blobs may live elsewhere; a moved manifest is sent, and that tells
            raise self._refused(url, response)

    def _blob(self, blob: Reference) -> None:
        """Send a blob in one piece (POST then PUT)."""
        if self._has(f"{self._base}/blobs/{blob.digest}"):
            return
        start = f"{self._base}/blobs/uploads/"
        with self._client.send("POST", start, {"Content-Length": "0"}, b"") as response:
            if response.status != 202:
                raise self._refused(start, response)
            place = self._client.redirected(start, response.headers.get("Location", ""))
        url = f"{place}{'&' if '?' in place else '?'}digest={blob.digest}"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(blob.size_bytes)}
        with self._store.open_blob(self._repository, blob.digest) as file, self._client.send("PUT", url, headers, file) as response:
            if response.status != 201:
                raise self._refused(place, response)
        self._bytes += blob.size_bytes

    def _listed(self, digest: str, referrers: list[Descriptor]) -> None:
        """Make the registry list the referrers: it does by itself, or by the tag of the referrers tag schema."""
        url = f"{self._base}/referrers/{digest}"
        with self._client.send("GET", url, {"Accept": INDEX}) as response:
            if response.status == 200:
                return
            if response.status != 404:
                raise self._refused(url, response)
        tag = f"{self._base}/manifests/{digest.replace(':', '-')}"
        listed = self._tagged(tag)
        known = {entry.get("digest") for entry in listed}
        missing = [to_wire(referrer) for referrer in referrers if referrer.digest not in known]
        if not missing:
            return
        index = canonical.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [*listed, *missing]})
        with self._client.send("PUT", tag, {"Content-Type": INDEX}, index) as response:
            if response.status != 201:
                raise self._refused(tag, response)
        self._manifests += 1
        self._bytes += len(index)

    def _tagged(self, tag: str) -> list[dict[str, object]]:
        with self._client.send("GET", tag, {"Accept": INDEX}) as response:
            if response.status == 404:
                return []
            if response.status != 200:
                raise self._refused(tag, response)
            data = response.read(documents.LIMIT_BYTES + 1)
        try:
            documents.read(data, INDEX)
            return list(json.loads(data)["manifests"])
        except UserError as error:
            raise self._client.trouble(tag, "its list of referrers is no index") from error

    def _refused(self, url: str, response: http.client.HTTPResponse) -> SetpointError:
        """Return the error for an answer that is none of those hoped for."""
        who, place = self._client.access.user or "somebody without a login", f"{self._client.host}/{self._name}"
        if response.status in (401, 403):
            fix = f"give the user the right to push, or: setpoint registry login {self._client.host} --user USER"
            return UserError("SP333", f"the registry does not let {who} write ({response.status})", where=place, fix=fix)
        if response.status in (400, 404, 405, 413):
            fix = "make the repository there if it has to be made by hand, or name another one"
            return UserError("SP333", f"the registry takes nothing there ({response.status})", where=place, fix=fix)
        return self._client.trouble(url, f"status {response.status}")

"""The embedded registry: OCI distribution-spec 1.1 with referrers, as a raw ASGI application over the store's folder.

Mounted by wiring at `/v2` of the server; every call needs a token (HTTP Basic), only the home's operator may delete. What is
pushed is named by its digest, so a push can add but never change what is deployed. It runs nothing and reads no Setpoint state.
"""

import json
import re
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

from setpoint.adapters.oci import documents
from setpoint.adapters.oci.blobs import BlobEndpoints
from setpoint.adapters.oci.store import REPOSITORY, OciStoreFolder, tag_order, to_wire
from setpoint.adapters.oci.wire import JSON, Exchange, OciError, Receive, Scope, Send, in_thread
from setpoint.artifact.model import INDEX, StoredManifest
from setpoint.core import digest as digests
from setpoint.ground.identity.model import Principal

_ROUTE: Final = re.compile(
    rf"/v2/(?P<name>{REPOSITORY})/(?:blobs/uploads/(?P<upload>[^/]*)|blobs/(?P<blob>[^/]+)|manifests/(?P<manifest>[^/]+)"
    r"|tags/(?P<tags>list)|referrers/(?P<referrers>[^/]+))"
)
_PATH_LIMIT: Final = 1024
_PAGE_BYTES: Final = 2 << 20
"""A list of referrers is cut here and goes on at its Link; clients may refuse answers above 4 MiB."""


class Registry:
    """The ASGI application; one instance serves any number of connections of one event loop."""

    def __init__(
        self,
        store: OciStoreFolder,
        authenticate: Callable[[str | None], Principal | None],
        may_pull: Callable[[str | None], bool] = lambda _authorization: False,
    ) -> None:
        self._store = store
        self._authenticate = authenticate
        self._may_pull = may_pull
        """Who may read though they are nobody."""
        self._blobs = BlobEndpoints(store)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; anything but HTTP is not for us."""
        if scope["type"] != "http":
            raise ValueError(f"the registry speaks HTTP, not {scope['type']}")
        await Exchange(scope, receive, send).served_by(self._serve)

    async def _serve(self, exchange: Exchange) -> None:
        principal = self._admitted(exchange)
        if exchange.path in ("/v2", "/v2/"):
            await exchange.answer_json(200, {})
            return
        route = _ROUTE.fullmatch(exchange.path) if len(exchange.path) <= _PATH_LIMIT else None
        if route is None:
            raise OciError(404, "NAME_UNKNOWN", "there is nothing at this path")
        repository, upload = route["name"], route["upload"]
        if principal is None and (upload is not None or exchange.method not in ("GET", "HEAD")):
            raise OciError(403, "DENIED", "this token may only pull")
        if exchange.method == "DELETE" and upload is None and (principal is None or principal.kind != "operator"):
            raise OciError(403, "DENIED", "only the operator of this home may delete")
        if upload is not None:
            await self._blobs.uploads(exchange, repository, upload)
        elif route["blob"]:
            await self._blobs.blob(exchange, repository, route["blob"])
        elif route["manifest"]:
            await self._manifest(exchange, repository, route["manifest"])
        else:
            await self._lists(exchange, repository, route["referrers"])

    def _admitted(self, exchange: Exchange) -> Principal | None:
        """Return who calls; None for a machine that may read."""
        authorization = exchange.headers.get("authorization")
        principal = self._authenticate(authorization)
        if principal is None and not self._may_pull(authorization):
            challenge = [("WWW-Authenticate", 'Basic realm="setpoint"')]
            raise OciError(401, "UNAUTHORIZED", "log in with any user name and a token as the password", challenge)
        return principal

    async def _lists(self, exchange: Exchange, repository: str, subject: str | None) -> None:
        """Answer a list: the referrers of a subject, else the tags."""
        if exchange.method not in ("GET", "HEAD"):
            raise OciError(405, "UNSUPPORTED", "lists are read-only")
        if subject:
            await self._referrers(exchange, repository, subject)
        else:
            await self._tags(exchange, repository)

    async def _manifest(self, exchange: Exchange, repository: str, reference: str) -> None:
        if ":" in reference and not digests.is_digest(reference):
            raise OciError(400, "DIGEST_INVALID", "the digest is neither sha256 nor sha512")
        if exchange.method == "PUT":
            await self._put_manifest(exchange, repository, reference)
        elif exchange.method == "DELETE":
            delete = self._store.delete_manifest if ":" in reference else self._store.delete_tag
            if not await in_thread(delete, repository, reference):
                raise OciError(404, "MANIFEST_UNKNOWN", "there is no such manifest")
            await exchange.answer(202)
        elif exchange.method in ("GET", "HEAD"):
            found = await in_thread(self._wanted, repository, reference)
            await exchange.answer(200, [("Content-Type", found.media_type), ("Docker-Content-Digest", found.digest)], found.data)
        else:
            raise OciError(405, "UNSUPPORTED", "manifests know GET, HEAD, PUT and DELETE")

    def _wanted(self, repository: str, reference: str) -> StoredManifest:
        """Return a manifest that a client may rely on. One whose layers were collected is none: a push that looks first sends them all."""
        found = self._store.manifest(repository, reference)
        if found is None or not self._store.use_manifest(repository, found.digest):
            raise OciError(404, "MANIFEST_UNKNOWN", "there is no such manifest")
        if not self._store.is_whole(repository, found.digest):
            raise OciError(404, "MANIFEST_UNKNOWN", "its layers are not here any more; push or build it again")
        return found

    async def _put_manifest(self, exchange: Exchange, repository: str, reference: str) -> None:
        data = await exchange.body(documents.LIMIT_BYTES)
        media_type = exchange.headers.get("content-type", "").partition(";")[0].strip()
        media_type = media_type or str(documents.load(data).get("mediaType", ""))
        subject = documents.read(data, media_type).subject
        by_digest = digests.is_digest(reference)
        tags = [value for name, value in exchange.query if name == "tag"] if by_digest else [reference]
        expected = reference if by_digest else None
        for tag in tags or (None,):
            stored = await in_thread(self._store.put_manifest, repository, data, media_type, tag, expected=expected)
        headers = [("Location", f"/v2/{repository}/manifests/{stored.digest}"), ("Docker-Content-Digest", stored.digest)]
        if by_digest:
            headers += [("OCI-Tag", tag) for tag in tags]
        if subject:
            headers.append(("OCI-Subject", subject))
        await exchange.answer(201, headers)

    async def _tags(self, exchange: Exchange, repository: str) -> None:
        if not await in_thread(self._store.has_repository, repository):
            raise OciError(404, "NAME_UNKNOWN", "there is no such repository")
        tags = await in_thread(self._store.tags, repository)
        last, count = exchange.parameter("last"), exchange.parameter("n")
        if last is not None:
            tags = [tag for tag in tags if tag_order(tag) > tag_order(last)]
        headers = [JSON]
        if count is not None:
            if not count.isascii() or not count.isdigit() or len(count) > 9:
                raise OciError(400, "UNSUPPORTED", "n is not a number")
            page = tags[: int(count)]
            if page and len(page) < len(tags):
                headers.append(("Link", f'</v2/{repository}/tags/list?n={count}&last={page[-1]}>; rel="next"'))
            tags = page
        await exchange.answer_json(200, {"name": repository, "tags": tags}, headers)

    async def _referrers(self, exchange: Exchange, repository: str, digest: str) -> None:
        if not digests.is_digest(digest):
            raise OciError(400, "DIGEST_INVALID", "the digest is neither sha256 nor sha512")
        wanted, last = exchange.parameter("artifactType"), exchange.parameter("last") or ""
        found = await in_thread(self._store.referrers, repository, digest, wanted)
        headers = [("Content-Type", INDEX)]
        if wanted is not None:
            headers.append(("OCI-Filters-Applied", "artifactType"))
        page: list[dict[str, object]] = []
        size = 0
        for descriptor in (item for item in found if item.digest > last):
            entry = to_wire(descriptor)
            size += len(json.dumps(entry))
            if page and size > _PAGE_BYTES:
                headers.append(("Link", f'</v2/{repository}/referrers/{digest}?last={page[-1]["digest"]}{_again(wanted)}>; rel="next"'))
                break
            page.append(entry)
        await exchange.answer_json(200, {"schemaVersion": 2, "mediaType": INDEX, "manifests": page}, headers)


def _again(wanted: str | None) -> str:
    return "" if wanted is None else f"&artifactType={quote(wanted, safe='')}"

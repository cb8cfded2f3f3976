"""Calls to an API server that misbehaves: what is tried again, what is not, and what each failure is called."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import pytest
from aiohttp import web

from setpoint.adapters.kubernetes.client import Client, ExpiredError
from setpoint.adapters.kubernetes.kinds import Kind
from setpoint.adapters.kubernetes.kubeconfig import Access, Credential
from setpoint.adapters.kubernetes.transport import CONNECTIONS, Call, Transport
from setpoint.core.errors import (
    ConflictError,
    CredentialError,
    NotAllowedError,
    NotFoundError,
    SetpointError,
    UnreachableError,
    UserError,
    WorldError,
)

T = TypeVar("T")
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
CONFIG_MAP = Kind("v1", "ConfigMap", "configmaps", namespaced=True, verbs=frozenset())


def against(answer: Answer, work: Callable[[Transport], Awaitable[T]]) -> T:
    """Call `work` with a transport to a server that answers everything by `answer`."""

    async def play() -> T:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        try:
            async with Transport(Access(f"http://127.0.0.1:{port}", b"", Credential(token="secret")), chance=lambda: -0.5) as transport:
                return await work(transport)
        finally:
            await runner.cleanup()

    return asyncio.run(asyncio.wait_for(play(), 30))


def get(transport: Transport) -> Awaitable[bytes]:
    """Make one call that may be repeated."""
    return transport.send(Call("GET", "/api/v1/x", {}))


def status(code: int, message: str, **details: object) -> web.Response:
    """Return a `Status` answer."""
    return web.json_response({"kind": "Status", "code": code, "message": message, "details": details}, status=code)


def test_a_busy_server_is_asked_again_as_late_as_it_says() -> None:
    """429 and 503 with Retry-After are tried again and succeed, each request with its token."""
    seen: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers["Authorization"])
        if len(seen) < 3:
            busy = status(429 if len(seen) == 1 else 503, "slow down")
            busy.headers["Retry-After"] = "0"
            return busy
        return web.Response(text="ok")

    assert against(answer, get) == b"ok"
    assert seen == ["Bearer secret"] * 3


def test_what_must_not_run_twice_is_not_tried_again() -> None:
    """A call that may not be repeated fails at its first unknown outcome."""
    seen: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(request.method)
        return status(500, "etcd is slow")

    with pytest.raises(WorldError):
        against(answer, lambda transport: transport.send(Call("POST", "/x", {}, b"{}", repeatable=False)))
    assert seen == ["POST"]


@pytest.mark.parametrize(
    ("code", "kind", "error"),
    [
        (403, NotAllowedError, "SP683"),
        (404, NotFoundError, "SP684"),
        (409, ConflictError, "SP685"),
        (422, UserError, "SP686"),
        (401, CredentialError, "SP689"),
    ],
)
def test_each_refusal_has_its_type(code: int, kind: type[SetpointError], error: str) -> None:
    """What a caller does next follows from the type, and the server's own words are kept."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        return status(code, "because of this")

    with pytest.raises(kind) as caught:
        against(answer, get)
    assert caught.value.code == error
    assert "because of this" in caught.value.what
    assert isinstance(caught.value, UnreachableError) == (code == 401)
    assert "secret" not in caught.value.render()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (500, "failed to create typed patch object (n/x; apps/v1, Kind=Deployment): .spec.replcas: field not declared in schema"),
        (500, "failed to create typed patch object (n/x; v1, Kind=Pod): .spec.containers: expected list, got &map[]"),
        (500, "failed to convert new object (n/c; /v1, Kind=ConfigMap) to proper version: unable to convert unstructured object to /v1"),
        (403, 'pods "p" is forbidden: failed quota: rq: must specify requests.cpu for: web'),
        (403, 'pods "p" is forbidden: violates PodSecurity "restricted:latest": privileged'),
        (403, 'admission webhook "x.io" denied the request: no'),
    ],
)
def test_a_fault_of_the_manifest_is_one_whatever_status_it_has(code: int, message: str) -> None:
    """What no second try and no other right can mend is not tried again, and not taken for a missing right."""
    seen: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(request.method)
        return status(code, message)

    with pytest.raises(UserError) as caught:
        against(answer, get)
    assert (caught.value.code, len(seen)) == ("SP686", 1)
    assert message in caught.value.what


def test_a_missing_right_is_told_as_one() -> None:
    """The cluster's own words for it begin with who may not do what."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        return status(403, 'pods "p" is forbidden: User "a" cannot get resource "pods" in API group "" in the namespace "n"')

    with pytest.raises(NotAllowedError):
        against(answer, get)


def test_of_a_very_long_refusal_both_ends_are_kept() -> None:
    """The server puts a whole object between what is wrong and why it is."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        return status(422, f"Job x is invalid: {'y' * 5000}: field is immutable")

    with pytest.raises(UserError) as caught:
        against(answer, get)
    assert caught.value.what.endswith("field is immutable")
    assert "Job x is invalid" in caught.value.what
    assert len(caught.value.what) < 2200


def test_many_questions_about_kinds_are_one() -> None:
    """Forty streams that begin at once ask what the cluster serves once, and a kind that is not there is asked for again each time."""
    seen: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(request.path)
        resource = {"resource": "configmaps", "responseKind": {"kind": "ConfigMap"}, "scope": "Namespaced", "verbs": ["list"]}
        group = {"metadata": {"name": ""}, "versions": [{"version": "v1", "resources": [resource]}]}
        return web.json_response({"kind": "APIGroupDiscoveryList", "items": [group] if request.path == "/api" else []})

    async def ask(transport: Transport) -> None:
        kinds = Client(transport).kinds
        found = await asyncio.gather(*(kinds.of("v1", "ConfigMap") for _ in range(40)))
        assert {kind.plural for kind in found} == {"configmaps"}
        assert seen == ["/api", "/apis"]
        for _ in range(2):
            with pytest.raises(UserError):
                await kinds.of("v1", "Nothing")
        assert len(seen) == 6

    against(answer, ask)


def test_what_lasts_does_not_hold_calls_up() -> None:
    """More streams than there may be calls at once, and a call still goes through."""
    over = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return web.json_response({})
        response = web.StreamResponse()
        await response.prepare(request)
        await over.wait()
        return response

    async def play(transport: Transport) -> None:
        opened = asyncio.Semaphore(0)

        async def watch() -> None:
            async for _ in Client(transport).watch(CONFIG_MAP, "1", opened=opened.release):
                pass

        tasks = [asyncio.create_task(watch()) for _ in range(CONNECTIONS + 4)]
        for _ in tasks:
            await opened.acquire()
        await get(transport)
        over.set()
        await asyncio.gather(*tasks, return_exceptions=True)

    against(answer, play)


def test_a_conflict_names_who_owns_the_field() -> None:
    """A field manager's conflict reads as who and which field."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        cause = {"reason": "FieldManagerConflict", "message": 'conflict with "kubectl"', "field": ".spec.replicas"}
        return status(409, "Apply failed", causes=[cause])

    with pytest.raises(ConflictError) as caught:
        against(answer, get)
    assert caught.value.what == 'conflict with "kubectl": .spec.replicas'


def test_an_address_where_nobody_listens_is_unreachable() -> None:
    """A refused connection is an error that may pass, never a traceback of a library."""

    async def play() -> None:
        async with Transport(Access("http://127.0.0.1:1", b"", Credential(token="t")), chance=lambda: -0.5) as transport:
            await transport.send(Call("POST", "/x", {}, b"{}", repeatable=False))

    with pytest.raises(UnreachableError) as caught:
        asyncio.run(play())
    assert caught.value.code == "SP682"
    assert "127.0.0.1:1/x" in caught.value.where


@pytest.mark.parametrize("code", [502, 503, 504])
def test_a_proxy_that_reaches_no_server_is_nobody(code: int) -> None:
    """A page without a `Status` comes from what stands in front: asked once more, and then the cluster as a whole is unreachable."""
    seen: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(request.method)
        return web.Response(status=code, text="<html>bad gateway</html>")

    with pytest.raises(UnreachableError, match=str(code)):
        against(answer, get)
    assert len(seen) == 2


def test_a_webhook_that_does_not_answer_is_the_objects_trouble() -> None:
    """A 500 that names a webhook is told with the webhook, is not repeated at once, and says nothing about the cluster."""
    seen: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(request.method)
        return status(500, 'Internal error occurred: failed calling webhook "x.example.com": context deadline exceeded')

    with pytest.raises(WorldError, match="SP699") as caught:
        against(answer, get)
    assert not isinstance(caught.value, UnreachableError)
    assert "x.example.com" in caught.value.what
    assert len(seen) == 1


def test_a_server_that_wants_to_be_left_alone_is() -> None:
    """After a 429 that names a long time no call of anybody is sent before it; each says how long, and nothing waits meanwhile."""
    seen: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(request.path)
        busy = status(429, "too many requests")
        busy.headers["Retry-After"] = "300"
        return busy

    async def play(transport: Transport) -> None:
        for path in ("/one", "/two", "/three"):
            with pytest.raises(WorldError) as caught:
                await transport.send(Call("GET", path, {}))
            assert caught.value.retry_after_s > 290
            assert not isinstance(caught.value, UnreachableError)

    against(answer, play)
    assert seen == ["/one"]


def test_every_answer_of_the_server_is_heard_of() -> None:
    """A refusal is an answer too; a page of a proxy and a refused credential are none."""
    heard: list[str] = []
    codes = {"/ok": 200, "/gone": 404, "/proxy": 502, "/who": 401}

    async def answer(request: web.Request) -> web.StreamResponse:
        code = codes[request.path]
        return web.Response(status=code, text="x") if code == 502 else status(code, "said")

    async def play(transport: Transport) -> None:
        transport._heard = lambda: heard.append(path)
        for path in codes:
            with suppress(SetpointError):
                await transport.send(Call("GET", path, {}))

    against(answer, play)
    assert heard == ["/ok", "/gone"]


@pytest.mark.parametrize("how", ["status", "event"])
def test_a_watch_that_is_too_old_says_so(how: str) -> None:
    """410 is told apart from a broken connection, as a status and as an event, for only it needs a new list."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        if how == "status":
            return status(410, "too old resource version")
        event = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old resource version"}}
        return web.Response(text=json.dumps(event) + "\n")

    async def watch(transport: Transport) -> None:
        async for _ in Client(transport).watch(CONFIG_MAP, "1"):
            pass

    with pytest.raises(ExpiredError):
        against(answer, watch)


def test_an_event_larger_than_a_line_is_read_whole() -> None:
    """An object of megabytes in one event arrives, and a bookmark after it too."""
    large = {"type": "ADDED", "object": {"metadata": {"name": "a"}, "data": {"x": "y" * 3_000_000}}}
    mark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}}

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(text=f"{json.dumps(large)}\n{json.dumps(mark)}\n")

    async def watch(transport: Transport) -> list[str]:
        return [change.what async for change in Client(transport).watch(CONFIG_MAP, "1")]

    assert against(answer, watch) == ["ADDED", "BOOKMARK"]


def test_a_watch_that_breaks_off_is_an_error_that_may_pass() -> None:
    """A connection that ends in the middle of an event is told as the world's fault, and is not taken for a watch that is too old."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"type": "ADD')
        assert request.transport is not None
        request.transport.close()
        return response

    async def watch(transport: Transport) -> None:
        async for _ in Client(transport).watch(CONFIG_MAP, "1"):
            pass

    with pytest.raises(WorldError) as caught:
        against(answer, watch)
    assert caught.value.code == "SP682"
    assert not isinstance(caught.value, ExpiredError)


@pytest.mark.parametrize("page", ["<html>log in first</html>", "[]", ""])
def test_what_is_no_object_is_an_error_that_names_the_address(page: str) -> None:
    """A proxy's page with status 200 is told as one, for objects and for what the cluster serves; no traceback of a parser."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=page)

    for work in (
        lambda transport: Client(transport).get(CONFIG_MAP, "n", "x"),
        lambda transport: Client(transport).kinds.of("v1", "ConfigMap"),
    ):
        with pytest.raises(WorldError, match="SP682") as caught:
            against(answer, work)
        assert "API server" in caught.value.fix


@pytest.mark.parametrize("broken", ["authority", "key"])
def test_certificates_that_cannot_be_used_are_the_kubeconfigs_fault(broken: str) -> None:
    """A bad authority or key is SP680, and nothing of it is told."""
    authority = b"-----BEGIN CERTIFICATE-----\nnot one\n-----END CERTIFICATE-----\n" if broken == "authority" else b""
    credential = Credential(token="t") if broken == "authority" else Credential(certificate=b"no certificate", key=b"no key")

    async def play() -> None:
        async with Transport(Access("https://127.0.0.1:1", authority, credential)) as transport:
            await transport.send(Call("GET", "/x", {}))

    with pytest.raises(UserError, match="SP680") as caught:
        asyncio.run(play())
    assert "not one" not in caught.value.render()


def test_a_refusal_that_comes_in_pieces_is_read_to_its_end() -> None:
    """Why an object is refused may stand in the last piece of the answer."""
    body = json.dumps({"kind": "Status", "code": 422, "message": "field is immutable", "details": {}}).encode()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=422)
        await response.prepare(request)
        for piece in (body[:20], body[20:]):
            await response.write(piece)
            await asyncio.sleep(0.05)
        return response

    with pytest.raises(UserError, match="field is immutable"):
        against(answer, get)

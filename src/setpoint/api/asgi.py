"""The one ASGI application of a server: Git and the registry as raw ASGI, everything else (API, metrics, pages) as FastAPI.

Built by app.server at `up`, and by tools that check the OpenAPI file; routes by path and knows nothing else.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

import setpoint
from setpoint.adapters.git.http import GitHttp
from setpoint.adapters.oci.registry import Registry
from setpoint.api import actions, break_glass, calls, clusters, garbage, generators, metrics, problems, reads, registries, secrets
from setpoint.api.auth import NotLoggedInError
from setpoint.app.application import Application
from setpoint.core.errors import SetpointError, UserError, WorldError
from setpoint.ground.identity.model import Principal
from setpoint.source.model import RefUpdate

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_FIRST_PUSH = re.compile(r"/git/([^/]+)\.git/info/refs")
_DESCRIPTION = "The API is the product: command line and pages use only this."


def api(application: Application | None, pages: APIRouter | None = None) -> FastAPI:
    """Return the FastAPI application; without an Application it only describes itself (OpenAPI)."""
    app = FastAPI(title="Setpoint", version=setpoint.__version__, description=_DESCRIPTION, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.application = application
    routers = [
        reads.router,
        actions.router,
        break_glass.router,
        secrets.router,
        registries.router,
        clusters.router,
        generators.router,
        garbage.router,
        metrics.router,
    ]
    app.state.routes = [route for router in [*routers, *([pages] if pages is not None else [])] for route in router.routes]
    app.add_exception_handler(NotLoggedInError, _not_logged_in)
    app.add_exception_handler(SetpointError, problems.answer)
    app.add_exception_handler(RequestValidationError, calls.unfit)
    app.add_exception_handler(HTTPException, calls.refused)
    for router in routers:
        app.include_router(router, responses=calls.PROBLEMS)

    @app.get("/healthz", include_in_schema=False)
    def healthz() -> PlainTextResponse:
        """Say that the server answers; the only thing it tells to anyone."""
        return PlainTextResponse("ok\n")

    if pages is not None:
        app.include_router(pages, include_in_schema=False)
    return app


async def _not_logged_in(_request: Any, error: Exception) -> Response:
    """Answer 401 instead of 403, with the schemes that help."""
    if not isinstance(error, SetpointError):
        raise error
    body = {**problems.body_of(error), "status": 401}
    headers = {"WWW-Authenticate": 'Bearer realm="setpoint"'}
    return JSONResponse(body, 401, headers, media_type="application/problem+json")


class Server:
    """Routes by path: /git/ to Git, /v2 to the registry, the rest to FastAPI."""

    def __init__(self, application: Application, pages: APIRouter | None = None) -> None:
        self._application = application
        store = application.store
        self._git = GitHttp(store.git, store.tokens.authenticate, self._pushed, _may_push, spool=application.pushes.spool)
        self._registry = Registry(store.oci, store.tokens.authenticate, store.tokens.may_pull)
        self._api = api(application, pages)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        path = scope.get("path", "")
        if scope["type"] == "http" and path.startswith("/git/"):
            try:
                await asyncio.to_thread(self._host_new, scope)
            except WorldError as error:
                await PlainTextResponse(f"{error.render()}\n", 503)(scope, receive, send)  # git shows it as `remote:`
                return
            await self._git(scope, receive, send)
        elif scope["type"] == "http" and (path == "/v2" or path.startswith("/v2/")):
            await self._registry(scope, receive, send)
        else:
            await self._api(scope, calls.bounded(receive), send)

    async def pulls(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request at the address that pods pull from: what reads the registry, and what the pod of a task asks for its own."""
        path, method = scope.get("path", ""), scope.get("method", "")
        if scope["type"] == "http" and self._application.door.leads(path):
            await self._application.door(scope, receive, send)
        elif scope["type"] == "http" and method in ("GET", "HEAD") and (path == "/v2" or path.startswith("/v2/")):
            await self._registry(scope, receive, send)
        else:
            await PlainTextResponse("images are pulled here, nothing else\n", 404)(scope, receive, send)

    def _host_new(self, scope: Scope) -> None:
        """Host a repository that the operator is about to push to and that is not there: a first push needs no other command."""
        found = _FIRST_PUSH.fullmatch(scope["path"])
        if found is None or b"service=git-receive-pack" not in scope["query_string"]:
            return
        store, name = self._application.store, found.group(1)
        authorization = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
        who = store.tokens.authenticate(authorization or None)
        if who is None or who.kind != "operator" or (name in store.git.names() and name in store.records.hosted()):
            return
        with suppress(UserError):  # a name that cannot be is refused by the Git endpoint, in words for git
            self._application.registration.host(name, who.actor)

    def _pushed(self, who: Principal, repository: str, updates: list[RefUpdate]) -> None:
        self._application.pushes.received(repository, who.actor, who.pusher, updates)


def _may_push(_who: Principal, _repository: str, _updates: list[RefUpdate]) -> str:
    """Return why a push is refused; everybody with a token may push, for pushing alone moves nothing into an environment (law 2)."""
    return ""

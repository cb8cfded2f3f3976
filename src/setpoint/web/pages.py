"""The pages for reading: matrix, change, run with its log, why, runs, journal; each shows what the API answers, through the same views.

`router` is included by the server (cli.serve) and not part of the OpenAPI document. Nothing is decided here.
"""

from typing import Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Match
from starlette.types import Scope

from setpoint.api.auth import App, Caller, principal
from setpoint.api.streams import Wanted, as_event
from setpoint.app.application import Application
from setpoint.core.errors import NotFoundError
from setpoint.ground.identity.model import Principal
from setpoint.pipeline.model import LogRecord
from setpoint.web import assets, checks, deeds, entrance, generators, journal, logs, views
from setpoint.web.deeds import why_path
from setpoint.web.render import PageRoute, add_global, render
from setpoint.web.rights import rights

RUNS_A_PAGE: Final = 50
EVENTS_A_PAGE: Final = 100
_LAST_PAGE: Final = 200

add_global("asset", assets.asset)
add_global("why_path", why_path)
add_global("step_link", views.step_link)
add_global("health_of", views.health_of)

router = APIRouter(route_class=PageRoute)


def _show(request: Request, template: str, app: Application, caller: Principal, **values: Any) -> Response:
    return render(request, template, now=app.store.clock.now(), caller=caller, newest=len(app.store.journal) - 1, **values)


def _number(text: str | None) -> int | None:
    """Return a number of a URL; None for anything else, for a page has better things to say than `invalid`."""
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 16 else None


@router.get("/")
def home(request: Request, app: App, login: str | None = None, q: str = "") -> Response:
    """Show the matrix and what needs a person; with a login code, log in."""
    if login is not None:
        return entrance.redeem(request, app, login)
    caller = principal(request)
    status = app.status.status()
    return _show(request, "home.html", app, caller, status=status, rows=views.grid(status, q), places=views.places(status), q=q)


@router.get("/change/{commit}")
def change(request: Request, app: App, caller: Caller, commit: str) -> Response:
    """Show a commit's way on one line."""
    journey = app.trace.journey(commit)
    return _show(request, "change.html", app, caller, journey=journey, stops=views.stops(journey))


@router.get("/runs")
def runs(request: Request, app: App, caller: Caller, repository: str = "", page: str = "1") -> Response:
    """List runs, newest first."""
    number = min(max(1, _number(page) or 1), _LAST_PAGE)
    found = app.store.records.runs(repository or None, number * RUNS_A_PAGE + 1)
    values = {"runs": found[(number - 1) * RUNS_A_PAGE : number * RUNS_A_PAGE], "more": len(found) > number * RUNS_A_PAGE}
    return _show(request, "runs.html", app, caller, page=number, repository=repository, **values)


@router.get("/run/{run}")
def run_page(request: Request, app: App, caller: Caller, run: str, task: str = "", after: str | None = None) -> Response:
    """Show a run: waterfall, tasks, artifacts, evidence, and the log of one task."""
    report = app.runs.report(run)
    chosen = task or views.opened_task(report.tasks)
    row = next((row for row in report.tasks if row.task == chosen), None)
    if task and row is None:
        fix = f"tasks: {', '.join(row.task for row in report.tasks)}"
        raise NotFoundError("SP705", f"run {report.run.run} has no task `{task}`", where=request.url.path, fix=fix)
    log = None
    if row is not None:
        start = _number(after)
        failed = row.state in ("failed", "timed-out", "lost")
        log = logs.page(_reader(app, report.run.run, row), start if start is not None or (failed and not task) else -1)
    chart = views.waterfall(report, app.store.clock.now())
    may_act = caller.kind == "operator" or caller.email == report.run.pusher
    return _show(request, "run.html", app, caller, report=report, chart=chart, row=row, log=log, may_act=may_act)


def _reader(app: Application, run: str, row: Any) -> logs.Read:
    """Return how a task's log is read; what was reused has its log in the run that really executed it."""
    origin = row.origin_run or run

    def read(after: int, limit: int) -> list[LogRecord]:
        return app.store.logs.read(origin, row.task, after, limit)

    return read


@router.get("/run/{run}/raw/{task}")
def raw_log(app: App, _caller: Caller, run: str, task: str) -> Response:
    """Stream a whole log as plain text."""
    report = app.runs.report(run)
    row = next((row for row in report.tasks if row.task == task), None)
    if row is None:
        raise NotFoundError("SP705", f"run {report.run.run} has no task `{task}`", fix=f"open /run/{report.run.run} for its tasks")
    read = _reader(app, report.run.run, row)

    def text() -> Any:
        after = -1
        while found := read(after, 5000):
            after = found[-1].seq
            yield "".join(record.text if record.text.endswith("\n") else record.text + "\n" for record in found)

    return StreamingResponse(text(), media_type="text/plain; charset=utf-8", headers={"Cache-Control": "no-store"})


@router.get("/why/{application}/{environment}")
def why_page(request: Request, app: App, caller: Caller, application: str, environment: str) -> Response:
    """Show every reason, with the buttons that make sense and who may press them."""
    why = app.status.why(application, environment)
    delivery = app.delivery.load()
    may = rights(delivery, environment, caller, why.approvals, app.store.clock.now()) if delivery is not None else None
    history = app.store.records.promotions(application, environment, 10)
    barred = app.store.records.quarantines(application, environment)
    drifts, held = app.store.records.drifts(application, environment, limit=20), app.prune.held(application, environment)
    asked = app.store.records.command_runs(why.promotion.promotion) if why.promotion is not None else []
    values = {"why": why, "rights": may, "history": history, "barred": barred, "drifts": drifts, "held": held, "checks": asked}
    return _show(request, "why.html", app, caller, **values)


@router.get("/plan/{application}/{environment}")
def plan_page(request: Request, app: App, caller: Caller, application: str, environment: str) -> Response:
    """Show what the next promotion of a place would change."""
    found = app.plan.plan(application, environment)
    values = {"title": f"Plan of {application} in {environment}", "says": f"setpoint plan {application} {environment}"}
    return _show(request, "plan.html", app, caller, found=found, plans=[found], **values)


@router.get("/plans")
def plans_page(request: Request, app: App, caller: Caller, ref: str = "") -> Response:
    """Show what a branch or commit would change in every place, once it is merged; without one, ask for it."""
    wanted = ref.strip()[:500]
    found: Any = app.branches.of(wanted) if wanted else {"ref": "", "sentence": "Name a branch or commit.", "notes": (), "more": 0}
    values = {"title": f"Plan of {wanted}" if wanted else "Plan of a branch", "says": f"setpoint plan {wanted or 'REF'}"}
    return _show(request, "plan.html", app, caller, found=found, plans=found.plans if wanted else (), **values)


@router.get("/promotion/{promotion}")
def promotion_page(app: App, _caller: Caller, promotion: str) -> Response:
    """Lead to the place where a promotion is explained."""
    candidate = app.promotions.find(promotion).candidate
    return RedirectResponse(why_path(candidate.app, candidate.environment), 303)


@router.get("/events")
def events(  # noqa: PLR0913 - a filter each
    request: Request,
    app: App,
    caller: Caller,
    *,
    before: str | None = None,
    check: str | None = None,
    kind: str = "",
    subject: str = "",
    actor: str = "",
) -> Response:
    """Show the journal, newest first, all of it or what fits the filters; asked for it, walk its whole chain and say whether it holds."""
    checked = app.store.journal.check() if check is not None else None
    asked = {name: text for name, text in (("kind", kind.strip()), ("subject", subject.strip()), ("actor", actor.strip())) if text}
    length = len(app.store.journal)
    found = journal.page(app.store.journal.entries, length, Wanted(**asked), _number(before), EVENTS_A_PAGE)
    values = {"entries": [as_event(entry) for entry in found.entries], "asked": asked, "query": urlencode(asked)}
    return _show(request, "events.html", app, caller, found=found, length=length, checked=checked, **values)


class _LostRoute(PageRoute):
    """Takes every path that no page has; the API keeps its own 404 and 405."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match all but the API's paths."""
        if scope.get("path", "").startswith(("/api/", "/metrics", "/healthz")):
            return Match.NONE, {}
        return super().matches(scope)


def lost(request: Request, _caller: Caller) -> Response:
    """Say that there is no such page.

    Raises:
        NotFoundError: always (SP862).
    """
    fix = "go to / for the matrix, /runs for the runs, /events for the journal"
    raise NotFoundError("SP862", "there is no such page", where=request.url.path, fix=fix)


@router.get("/favicon.ico")
def icon() -> Response:
    """Lead browsers that do not read the page's link to the icon."""
    return RedirectResponse(assets.asset("icon.svg"), 302)


router.include_router(assets.router)
router.include_router(entrance.router)
router.include_router(deeds.router)
router.include_router(checks.router)
router.include_router(generators.router)
router.routes.append(_LostRoute("/{path:path}", lost, methods=["GET"], response_class=PlainTextResponse))

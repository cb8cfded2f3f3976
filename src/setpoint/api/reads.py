"""The reading half of the API: status, why, runs, logs, trace, verify, promotions, events; answers are `observe`'s own records."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse

from setpoint.adapters.host import replica_log as replica_logs
from setpoint.api import streams
from setpoint.api.auth import App, Caller
from setpoint.app.application import Application
from setpoint.core import records
from setpoint.core.errors import NotFoundError
from setpoint.observe.attachments import EvidenceReport
from setpoint.observe.executors import ExecutorReport
from setpoint.observe.model import Diff, Journey, Plan, RefPlan, RolloutReport, RunReport, Status, Trace, Verification, Why
from setpoint.pipeline.model import LogRecord, Run
from setpoint.promotion.checks.model import CommandRun
from setpoint.promotion.checks.service import LOG
from setpoint.promotion.model import Promotion
from setpoint.reconcile.drift.model import Drift
from setpoint.reconcile.prune.model import Prunable

router = APIRouter(prefix="/api/v1", tags=["read"])

Ref = Annotated[str, Query(min_length=1, max_length=500)]
Limit = Annotated[int, Query(ge=1, le=1000)]
PodPlace = Annotated[str, Query(max_length=63, pattern="^([a-z0-9]([a-z0-9-]*[a-z0-9])?)?$")]


@router.get("/whoami")
def whoami(caller: Caller) -> dict[str, str]:
    """Return who the token belongs to."""
    return {"kind": caller.kind, "email": caller.email, "token": caller.token_id}


@router.get("/status")
def status(app: App, _caller: Caller, application: str | None = None) -> Status:
    """Return the matrix: every application in every environment, what waits, and what people can do."""
    return app.status.status(application)


@router.get("/why/{application}/{environment}")
def why(app: App, _caller: Caller, application: str, environment: str) -> Why:
    """Return every reason for what an environment has, and the next command."""
    return app.status.why(application, environment)


@router.get("/rollouts/{application}/{environment}")
def rollout(app: App, _caller: Caller, application: str, environment: str) -> RolloutReport:
    """Return where the newest rollout is: steps, weights, evidence, what each step can find out."""
    return app.status.rollout(application, environment)


@router.get("/executors")
async def executors(app: App, _caller: Caller) -> list[ExecutorReport]:
    """Return the executors on clusters that tasks may name, and what keeps tasks from running there."""
    return await app.executors.reports()


@router.get("/runs")
def runs(app: App, _caller: Caller, repository: str | None = None, limit: Limit = 50) -> list[Run]:
    """Return runs, newest first."""
    return app.store.records.runs(repository, limit)


@router.get("/runs/{run}")
def run(app: App, _caller: Caller, run: str) -> RunReport:
    """Return a run by id, beginning of an id, commit, or `latest`."""
    return app.runs.report(run)


@router.get("/runs/{run}/tasks/{task}/log")
def task_log(
    app: App, _caller: Caller, run: str, task: str, after: int = -1, limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000
) -> list[LogRecord]:
    """Return log records with seq > after."""
    return app.store.logs.read(_run_of_task(app, run, task), task, after, limit)


def _run_of_task(app: Application, run: str, task: str) -> str:
    """Return the whole id of a run that has this task, or refuse."""
    found = app.runs.report(run)
    if task not in {row.task for row in found.tasks}:
        fix = f"tasks: {', '.join(row.task for row in found.tasks)}"
        raise NotFoundError("SP705", f"run {found.run.run} has no task `{task}`", fix=fix)
    return found.run.run


@router.get("/runs/{run}/tasks/{task}/log/stream", response_class=StreamingResponse)
async def follow_log(request: Request, app: App, _caller: Caller, run: str, task: str, after: int = -1) -> StreamingResponse:
    """Follow a log as server-sent events: `log` with a record each, then `end` with the task's row."""
    start = streams.last_event_id(request, after)
    whole = await asyncio.to_thread(_run_of_task, app, run, task)
    return streams.respond(streams.log(app, whole, task, start))


@router.get("/runs/{run}/stream", response_class=StreamingResponse)
async def follow_run(app: App, _caller: Caller, run: str) -> StreamingResponse:
    """Follow a run: `run` events with the whole report at every change, the last one when it has ended."""
    await asyncio.to_thread(app.runs.find, run)
    return streams.respond(streams.run(app, run))


@router.get("/checks")
def checks(app: App, _caller: Caller, promotion: str | None = None) -> list[CommandRun]:
    """Return the commands of gates that were asked for a promotion; left out: those that run now."""
    return app.store.records.command_runs(app.promotions.find(promotion).promotion if promotion is not None else "")


@router.get("/checks/{check}")
def check(app: App, _caller: Caller, check: str) -> CommandRun:
    """Return what became of a gate's command the last time it was asked."""
    return app.checks.find(check)


@router.get("/checks/{check}/log")
def check_log(
    app: App, _caller: Caller, check: str, after: int = -1, limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000
) -> list[LogRecord]:
    """Return the log records with seq > after of a command's last attempt."""
    return app.store.logs.read(app.checks.find(check).check, LOG, after, limit)


@router.get("/checks/{check}/log/stream", response_class=StreamingResponse)
async def follow_check(request: Request, app: App, _caller: Caller, check: str, after: int = -1) -> StreamingResponse:
    """Follow the log of a gate's command as server-sent events: `log` with a record each, then `end` with what became of it."""
    await asyncio.to_thread(app.checks.find, check)
    return streams.respond(streams.check_log(app, check, streams.last_event_id(request, after)))


@router.get("/replicas")
def replicas(app: App, _caller: Caller) -> list[dict[str, Any]]:
    """Return every replica on this host: spec, labels, process id, restarts, last exit."""
    return [{**records.encode(replica), "labels": replica.spec.identity.labels()} for replica in app.runtime.replicas()]


@router.get("/secret-key")
def secret_key(app: App, _caller: Caller) -> dict[str, list[str]]:
    """Return the age recipients of this home: what Secrets of delivery repositories are encrypted to."""
    return {"recipients": list(app.vault.recipients())}


@router.get("/replicas/{replica}/log")
def replica_log(
    app: App, _caller: Caller, replica: str, tail_bytes: Annotated[int, Query(ge=1, le=4 << 20)] = 65536, *, previous: bool = False
) -> dict[str, str]:
    """Return the end of a replica's log, or with `previous` what the process before its last restart wrote."""
    _known_replica(app, replica)
    paths = app.runtime.log(replica)
    if previous:
        return {"replica": replica, "text": replica_logs.previous(replica_logs.tail(paths, 32 << 20))[-tail_bytes:]}
    return {"replica": replica, "text": replica_logs.tail(paths, tail_bytes)}


def _known_replica(app: Application, replica: str) -> None:
    if replica not in {status.spec.replica for status in app.runtime.replicas()}:
        raise NotFoundError("SP706", f"there is no replica `{replica}`", fix="setpoint status --json lists them")


@router.get("/replicas/{replica}/log/stream", response_class=StreamingResponse)
async def follow_replica(app: App, _caller: Caller, replica: str) -> StreamingResponse:
    """Follow a replica's log from now on: `log` events with text, `end` when its shim is gone and all was sent."""
    await asyncio.to_thread(_known_replica, app, replica)
    return streams.respond(streams.replica(app, replica))


@router.get("/trace")
def trace(
    app: App, _caller: Caller, thing: Annotated[str, Query(min_length=1, max_length=2000)], cluster: PodPlace = "", namespace: PodPlace = ""
) -> Trace:
    """Return the chain behind a URL, pid, replica, pod (`pod/NAME`, its address or uid), digest, promotion, run or commit.

    Cluster and namespace say which pod is meant; with both of them a pod of any namespace is found.
    """
    return app.trace.trace(thing, cluster, namespace)


@router.get("/changes/{commit}")
def change(app: App, _caller: Caller, commit: str) -> Journey:
    """Return one commit's way from push to serving."""
    return app.trace.journey(commit)


@router.get("/verify")
def verify(
    app: App, _caller: Caller, thing: Annotated[str, Query(min_length=1, max_length=500)], environment: str | None = None
) -> Verification:
    """Verify an application's pin in an environment, or a bare digest, from bytes: no record of the database is believed."""
    return app.verifier.verify(thing, environment)


@router.get("/plan/{application}/{environment}")
def plan(app: App, _caller: Caller, application: str, environment: str, *, live: bool = True) -> Plan:
    """Return what promoting the current candidate would change: objects, fields, replicas, images, commits; what looks secret is masked.

    With `live`, an environment on Kubernetes is asked too: every object is tried as a dry run.
    """
    return app.plan.plan(application, environment, live=live)


@router.get("/plans")
def plans(app: App, _caller: Caller, ref: Ref, application: str = "", environment: str = "", *, live: bool = True) -> RefPlan:
    """Return what a branch or commit of the delivery repository would change once it is merged, in every place that it touches."""
    return app.branches.of(ref, app=application, environment=environment, live=live)


@router.get("/diff/{application}/{environment}")
def diff(app: App, _caller: Caller, application: str, environment: str) -> Diff:
    """Return how live replicas, routes and images differ from what is pinned."""
    return app.plan.diff(application, environment)


@router.get("/drift")
def drift(
    app: App, _caller: Caller, application: str | None = None, environment: str | None = None, *, history: bool = False, limit: Limit = 100
) -> list[Drift]:
    """Return the open cases of drift, newest first; with `history` those that ended too. `app` is empty for an environment's proxy."""
    return app.store.records.drifts(application, environment, ended=history, limit=limit)


@router.get("/prunes/{application}/{environment}")
def prunable(app: App, _caller: Caller, application: str, environment: str) -> Prunable:
    """Return what waits there for a person before it is removed: objects over the deletion budget, or an application that is gone."""
    return app.prune.prunable(app.delivery.require_environment(environment), application, environment)


Thing = Annotated[str, Query(min_length=1, max_length=500)]


@router.get("/evidence")
def evidence(app: App, _caller: Caller, thing: Thing, environment: str | None = None) -> EvidenceReport:
    """Return the signed bundles attached to an application's pin in an environment, or to a digest, run or promotion."""
    return app.evidence.evidence(thing, environment)


@router.get("/evidence/export", response_class=Response, responses={200: {"content": {"application/x-tar": {}}}})
def evidence_export(app: App, _caller: Caller, thing: Thing, environment: str | None = None) -> Response:
    """Return the same as a deterministic tar for offline verification: bundles, manifests, public keys, and the commands."""
    return Response(app.evidence.export(thing, environment), media_type="application/x-tar")


@router.get("/evidence/original", response_class=Response, responses={200: {"content": {"application/octet-stream": {}}}})
def evidence_original(app: App, _caller: Caller, thing: Thing, name: Thing, environment: str | None = None) -> Response:
    """Return a scanner's report as its tool wrote it, by the name that its task declares or by its digest."""
    found = app.evidence.original(thing, environment, name)
    quoted = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in found.name) or "report"
    # As a file, never shown: a task wrote these bytes.
    headers = {"Content-Disposition": f'attachment; filename="{quoted}"', "X-Content-Type-Options": "nosniff"}
    return Response(found.data, media_type=found.media_type, headers=headers)


@router.get("/promotions")
def promotions(
    app: App, _caller: Caller, application: str | None = None, environment: str | None = None, limit: Limit = 50
) -> list[Promotion]:
    """Return promotions, newest first."""
    return app.store.records.promotions(application, environment, limit)


@router.get("/promotions/{promotion}")
def promotion(app: App, _caller: Caller, promotion: str) -> Promotion:
    """Return a promotion by id or beginning."""
    return app.promotions.find(promotion)


@router.get("/events")
def events(
    app: App, _caller: Caller, wanted: Annotated[streams.Wanted, Depends()], after: int = -1, limit: Limit = 100
) -> list[dict[str, Any]]:
    """Return journal entries with index > after (or the newest `limit` when after is -1), oldest first, that fit every filter."""
    return streams.entries(app, after, limit, wanted)


@router.get("/events/stream", response_class=StreamingResponse)
async def follow_events(request: Request, app: App, _caller: Caller, after: int = -1) -> StreamingResponse:
    """Follow the journal: an `entry` event each, with the index as id."""
    return streams.respond(streams.events(app, streams.last_event_id(request, after)))


@router.get("/journal/check")
def journal_check(app: App, _caller: Caller) -> dict[str, Any]:
    """Walk the whole journal and say whether its chain holds."""
    found = app.store.journal.check()
    shown = {"entries": found.entries, "head": found.head, "fault": found.fault, "where": found.where, "fix": found.fix}
    return {**shown, "holds": not found.fault}

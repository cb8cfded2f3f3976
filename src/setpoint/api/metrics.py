"""Prometheus metrics: what is deployed where (`setpoint_deployment_info`), health, replicas, canaries, drift, runs, journal."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

from setpoint.api.auth import App, Caller
from setpoint.app.application import Application
from setpoint.core import clock
from setpoint.ground.hold.model import Hold
from setpoint.reconcile.drift.model import DriftState, DriftSum, DriftWriter
from setpoint.rollout.judge import decide as judging
from setpoint.rollout.model import Rollout

router = APIRouter()
_TYPE = "text/plain; version=0.0.4; charset=utf-8"
WRITERS: Final = 200
"""Series of fields and writers."""
_LONGEST: Final = 120
_ITEM: Final = re.compile(r"\[[^\]]*\]")


@router.get("/metrics", response_class=PlainTextResponse, tags=["read"])
def metrics(app: App, _caller: Caller) -> PlainTextResponse:
    """Return the metrics in Prometheus' text format."""
    lines = ["# HELP setpoint_deployment_info Which build runs where.", "# TYPE setpoint_deployment_info gauge"]
    health = ["# HELP setpoint_deployment_healthy 1 when the deployment is healthy.", "# TYPE setpoint_deployment_healthy gauge"]
    for seen in app.store.records.deployments():
        place = {"app": seen.app, "environment": seen.environment}
        for digest in seen.artifacts.values() or ("",):
            build = {"revision": seen.revision, "digest": digest, "promotion": seen.promotion, "version": seen.version}
            lines.append(f"setpoint_deployment_info{_labels({**place, **build})} 1")
        health.append(f"setpoint_deployment_healthy{_labels(place)} {int(seen.health == 'healthy')}")
    restarts = ["# HELP setpoint_replica_restarts_total Restarts of a replica's process.", "# TYPE setpoint_replica_restarts_total counter"]
    for replica in app.runtime.replicas():
        who = replica.spec.identity
        label = {
            "app": who.app,
            "environment": who.environment,
            "replica": replica.spec.replica,
            "digest": who.digest,
            "promotion": who.promotion,
        }
        restarts.append(f"setpoint_replica_restarts_total{_labels(label)} {replica.restarts}")
    rest = [
        *drift_lines(app.store.records.drift_sums()),
        *writer_lines(app.store.records.drift_writers()),
        *lease_lines(app.store.records.holds(ended=True), app.store.holds.leases_everywhere()),
        *_rollouts(app),
        *_pods(app),
        *_reconciling(app),
        "# HELP setpoint_runs_open Runs that have not ended.",
        "# TYPE setpoint_runs_open gauge",
        f"setpoint_runs_open {len(app.store.records.open_runs())}",
        "# HELP setpoint_renders_total Candidates rendered since the server started.",
        "# TYPE setpoint_renders_total counter",
        f"setpoint_renders_total {app.rendering.rendered}",
        "# HELP setpoint_journal_entries_total Entries of the journal.",
        "# TYPE setpoint_journal_entries_total counter",
        f"setpoint_journal_entries_total {len(app.store.journal)}",
    ]
    return PlainTextResponse("\n".join([*lines, *health, *restarts, *rest, ""]), media_type=_TYPE)


def drift_lines(sums: Iterable[DriftSum]) -> list[str]:
    """Return the counters of drift: cases by place, kind and state, and how long those took that Setpoint corrected."""
    total = ["# HELP setpoint_drift_total Cases of drift.", "# TYPE setpoint_drift_total counter"]
    took = ["# HELP setpoint_drift_heal_seconds From found to healed.", "# TYPE setpoint_drift_heal_seconds summary"]
    for one in sums:
        label = {"app": one.app, "environment": one.environment, "kind": one.kind}
        total.append(f"setpoint_drift_total{_labels({**label, 'state': one.state})} {one.count}")
        if one.state == DriftState.HEALED:
            took.append(f"setpoint_drift_heal_seconds_sum{_labels(label)} {one.seconds:.3f}")
            took.append(f"setpoint_drift_heal_seconds_count{_labels(label)} {one.count}")
    return [*total, *took]


def _pods(app: Application) -> list[str]:
    """Return how many pods there are in each environment's namespace, by what they are to its pins; `app` is empty where nobody's."""
    lines = ["# HELP setpoint_pods Pods in namespaces of environments, by state.", "# TYPE setpoint_pods gauge"]
    for (name, environment, state), count in sorted(app.pods.counts().items()):
        lines.append(f"setpoint_pods{_labels({'app': name, 'environment': environment, 'state': state})} {count}")
    return lines


def writer_lines(found: Iterable[DriftWriter]) -> list[str]:
    """Return who changed what: cases by field and writer, items of lists as `[]`.

    Fields and writers are anybody's words, so there are at most WRITERS series: what was seen first keeps its own, and all that came after
    is `other`. None of them ever goes back.
    """
    lines = ["# HELP setpoint_drift_writers_total Cases of drift by field and writer.", "# TYPE setpoint_drift_writers_total counter"]
    counts: dict[tuple[str, ...], int] = {}
    for one in found:
        key: tuple[str, ...] = (one.environment, one.kind, _ITEM.sub("[]", one.field)[:_LONGEST], one.writer[:_LONGEST])
        if key not in counts and len(counts) >= WRITERS:
            key = ("other", "other", "other", "other")
        counts[key] = counts.get(key, 0) + one.count
    names = ("environment", "kind", "field", "writer")
    return [
        *lines,
        *(f"setpoint_drift_writers_total{_labels(dict(zip(names, key, strict=True)))} {count}" for key, count in counts.items()),
    ]


def lease_lines(every: Iterable[Hold], open_ones: Iterable[Hold]) -> list[str]:
    """Return when the break-glass leases in force end, and how many there ever were, by place; an empty app is all of them."""
    ends = ["# HELP setpoint_break_glass_end_seconds When a lease ends, in Unix time.", "# TYPE setpoint_break_glass_end_seconds gauge"]
    for lease in open_ones:
        label = {"app": lease.app, "environment": lease.environment, "hold": lease.hold}
        ends.append(f"setpoint_break_glass_end_seconds{_labels(label)} {clock.from_text(lease.until or lease.since).timestamp():.0f}")
    total = ["# HELP setpoint_break_glass_total Leases that were opened.", "# TYPE setpoint_break_glass_total counter"]
    counts = Counter((one.app, one.environment) for one in every if one.kind == "break-glass")
    total += [
        f"setpoint_break_glass_total{_labels({'app': app, 'environment': place})} {count}" for (app, place), count in sorted(counts.items())
    ]
    return [*ends, *total]


def _reconciling(app: Application) -> list[str]:
    """Return how often and how long environments were passed, and the calls that were made to clusters, since the server started."""
    lines = ["# HELP setpoint_reconcile_pass_seconds Passes over an environment.", "# TYPE setpoint_reconcile_pass_seconds summary"]
    for environment, passes in sorted(app.reconcile.passes.items()):
        label = _labels({"environment": environment})
        lines += [f"setpoint_reconcile_pass_seconds_sum{label} {passes.seconds:.3f}"]
        lines += [f"setpoint_reconcile_pass_seconds_count{label} {passes.count}"]
    lines += ["# HELP setpoint_cluster_calls_total Calls to a cluster.", "# TYPE setpoint_cluster_calls_total counter"]
    for cluster, sent in sorted(app.connections.sent().items()):
        lines += [f"setpoint_cluster_calls_total{_labels({'cluster': cluster, 'kind': kind})} {count}" for kind, count in sent.items()]
    return lines


def _rollouts(app: Application) -> list[str]:
    """Return where canaries are, as the journal has it: weight, evidence, requests and failures of both sides."""
    found = [rollout for rollout in app.store.records.rollouts() if rollout.strategy == "canary"]
    kinds = (
        ("weight_percent", "gauge", "Share of the traffic that the new revision has."),
        ("evidence", "gauge", "Evidence against the canary; 1/alpha sends it back."),
        ("requests_total", "counter", "Requests answered since the canary began."),
        ("errors_total", "counter", "Requests failed since the canary began."),
    )
    lines: list[str] = []
    for name, kind, text in kinds:
        lines += [f"# HELP setpoint_rollout_{name} {text}", f"# TYPE setpoint_rollout_{name} {kind}"]
        for rollout in found:
            place = {
                "app": rollout.app,
                "environment": rollout.environment,
                "promotion": rollout.new.promotion,
                "phase": rollout.phase.value,
            }
            lines += [f"setpoint_rollout_{name}{_labels({**place, **side})} {value:g}" for side, value in _values(rollout, name)]
    return lines


def _values(rollout: Rollout, name: str) -> list[tuple[dict[str, str], float]]:
    counts = rollout.counts
    if name == "weight_percent":
        return [({}, rollout.weight)]
    if name == "evidence":
        return [({}, judging.judge(rollout.sums, rollout.rule).evidence)]
    pairs = (counts.canary_requests, counts.stable_requests) if name == "requests_total" else (counts.canary_errors, counts.stable_errors)
    return [({"side": side}, value) for side, value in zip(("canary", "stable"), pairs, strict=True)]


def _labels(values: dict[str, str]) -> str:
    escaped = {name: value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for name, value in values.items()}
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped.items()) + "}"

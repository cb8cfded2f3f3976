"""Who changed what is counted for monitoring: by field and writer, never in more series than a scrape can bear."""

from dataclasses import replace

from setpoint.api.metrics import WRITERS, writer_lines
from setpoint.core.records import encode
from setpoint.reconcile.drift.model import Drift, DriftState, DriftWriter
from unit.builders_home import World

AT = "2026-11-23T06:00:00.000Z"
FIELD = "spec.template.spec.containers[web].image"
CASE = Drift("d-1", "web", "prod", "object", "Deployment/web", FIELD, "x", "y", "kubectl-edit", AT, DriftState.OPEN)


def test_cases_are_counted_by_field_and_by_who_began_them(world: World) -> None:
    """In the order in which pairs were first seen; whoever goes on with a case does not take it from who began it."""
    for case in (CASE, replace(CASE, drift="d-2", field="spec.replicas"), replace(CASE, drift="d-3", app="api")):
        world.recorder.record("drift.found", case.drift, "setpoint", encode(case))
    world.recorder.record("drift.found", "d-1", "setpoint", encode(replace(CASE, writer="helm")))
    found = world.records.drift_writers()
    assert [(one.field, one.writer, one.count) for one in found] == [(FIELD, "kubectl-edit", 2), ("spec.replicas", "kubectl-edit", 1)]
    lines = writer_lines(found)[2:]
    assert lines[0] == (
        'setpoint_drift_writers_total{environment="prod",kind="object",'
        'field="spec.template.spec.containers[].image",writer="kubectl-edit"} 2'
    )


def test_series_are_bounded_and_never_go_back() -> None:
    """What came first keeps its series, all that came later is one, and items of lists are not told apart."""
    many = [DriftWriter("prod", "object", f"data.k{number}", "w", 1) for number in range(WRITERS + 50)]
    lines = writer_lines(many)[2:]
    assert len(lines) == WRITERS + 1
    assert lines[-1].endswith('field="other",writer="other"} 50')
    assert writer_lines([*many, DriftWriter("prod", "object", "data.new", "x", 3)])[2 : WRITERS + 2] == lines[:WRITERS]
    items = [DriftWriter("prod", "object", f'data["k{number}"]', "w" * 500, 1) for number in range(3)]
    (line,) = writer_lines(items)[2:]
    assert 'field="data[]"' in line
    assert line.endswith('"} 3')
    assert len(line) < 400

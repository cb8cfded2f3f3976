"""Health from workloads as a pure function, and renders that are kept without being stale."""
# ruff: noqa: ARG002 - fakes keep the signatures of their ports

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from setpoint.core import clock
from setpoint.core.errors import ConfigError, UserError, WorldError
from setpoint.promotion.model import Candidate
from setpoint.reconcile.allowed import Allowed
from setpoint.reconcile.decide import judge, same_observation
from setpoint.reconcile.model import Deployment, DeployReason, Health
from setpoint.reconcile.ports import ChartRelease, WorkloadStatus
from setpoint.reconcile.render import Renderers
from setpoint.reconcile.rendering import Rendering
from setpoint.reconcile.renders import Renders
from setpoint.reconcile.sources.registry_charts import NoCharts
from unit.builders_home import World

NOW = datetime(2026, 11, 23, 6, tzinfo=UTC)
SEEN = Deployment("web", "prod", "p-1", "c" * 40, Health.PROGRESSING, clock.to_text(NOW))
READY, HALF = WorkloadStatus("web", 2, 2, 0, ()), WorkloadStatus("web", 2, 1, 1, ())
NOT_READY = DeployReason("NOT_READY", "r", "503")
CRASHING = DeployReason("CRASH_LOOP", "r", "restarted 3 times", severity="problem")


@pytest.mark.parametrize(
    ("statuses", "before", "after_s", "health", "code"),
    [
        ([READY], None, 0, Health.HEALTHY, "READY"),
        ([], None, 0, Health.HEALTHY, "READY"),
        ([READY, HALF], None, 0, Health.PROGRESSING, "PROGRESSING"),
        ([replace(READY, old=1)], None, 0, Health.PROGRESSING, "PROGRESSING"),
        ([HALF], SEEN, 600, Health.PROGRESSING, "PROGRESSING"),
        ([HALF], SEEN, 601, Health.DEGRADED, "PROGRESS_DEADLINE"),
        ([HALF], replace(SEEN, health=Health.HEALTHY), 10_000, Health.PROGRESSING, "PROGRESSING"),
        ([replace(HALF, waiting=(CRASHING,))], None, 0, Health.DEGRADED, "PROGRESSING"),
        ([replace(READY, waiting=(CRASHING,))], None, 0, Health.DEGRADED, "CRASH_LOOP"),
        ([READY], replace(SEEN, health=Health.DEGRADED), 10_000, Health.HEALTHY, "READY"),
    ],
)
def test_health_follows_from_the_workloads(
    statuses: list[WorkloadStatus], before: Deployment | None, after_s: int, health: Health, code: str
) -> None:
    """All ready and nothing old is healthy; late or crashing is degraded; the rest is on its way."""
    found, reasons = judge(statuses, before, 600, NOW + timedelta(seconds=after_s))
    assert (found, reasons[0].code) == (health, code)


def test_late_stays_late_until_it_is_ready() -> None:
    """A deadline that passed does not begin anew because the health's name changed."""
    _, reasons = judge([HALF], SEEN, 600, NOW + timedelta(seconds=601))
    late = replace(SEEN, health=Health.DEGRADED, since=clock.to_text(NOW + timedelta(seconds=601)), reasons=reasons)
    assert judge([HALF], late, 600, NOW + timedelta(seconds=602))[0] is Health.DEGRADED


def test_an_observation_is_news_when_it_tells_something_else() -> None:
    """Another pin, health, reason or number of replicas, ready or wanted, is news; another time or wording is not."""
    told = replace(SEEN, reasons=(NOT_READY,), replicas_wanted=2)
    assert same_observation(told, replace(told, since="later", reasons=(replace(NOT_READY, found="502"), NOT_READY)))
    job = DeployReason("JOB_RUNNING", "Job/a", "about to start")
    again = replace(job, found="running, attempt 2 after exit status 1")
    assert not same_observation(replace(told, reasons=(job,)), replace(told, reasons=(again,)))
    for news in (
        {"pin_commit": "d"},
        {"health": Health.HEALTHY},
        {"reasons": (CRASHING,)},
        {"replicas_wanted": 3},
        {"replicas_ready": 1},
        {"url": "http://x/"},
    ):
        assert not same_observation(told, replace(told, **news))


class _Kustomize:
    """Renders nothing: the application has plain manifests."""

    def version(self) -> str:
        """Return any version."""
        return "v1"

    def build(self, root: Path, folder: str) -> bytes:
        """Refuse."""
        raise UserError("SP611", "not here")


class _NoHelm:
    """No application here is a chart."""

    def version(self) -> str:
        """Return any version."""
        return "v1"

    def template(self, root: Path, release: ChartRelease, *, again: bool = False) -> bytes:
        """Refuse."""
        raise UserError("SP614", "not here")


class _Forgets:
    """Keeps nothing."""

    def get(self, key: str) -> bytes | None:
        """Find nothing."""
        return None

    def put(self, key: str, data: bytes) -> None:
        """Drop it."""


def _renders() -> Renders:
    return Renders(Renderers(_Kustomize(), _NoHelm(), NoCharts()), _Forgets())


MANIFEST = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {A: one}\n"


def _candidate(world: World) -> Candidate:
    delivery = world.delivery()
    return Candidate("web", "prod", {}, world.reader.tree(delivery, "apps/web"), None)


def test_the_pinned_tree_is_rendered_not_head(world: World) -> None:
    """Law 1: a candidate renders the same before and after HEAD moved on; another tree renders to another digest."""
    world.register()
    world.commit("delivery", {"apps/web/app.yaml": MANIFEST})
    rendering = Rendering(world.git, _renders(), lambda _app, _environment: Allowed())
    pinned = _candidate(world)
    first = rendering.render_facts(pinned, "delivery")
    assert (first.objects, first.error) == (("ConfigMap/settings",), "")
    world.commit("delivery", {"apps/web/app.yaml": MANIFEST.replace(b"one", b"two")})
    assert Rendering(world.git, _renders(), lambda _app, _environment: Allowed()).render_facts(pinned, "delivery") == first
    assert rendering.render_facts(_candidate(world), "delivery").digest != first.digest


def test_what_an_application_may_render_is_asked_anew(world: World) -> None:
    """A kind that its project may not have is refused to the gate and to the reconciler, until the accepted file allows it."""
    world.register()
    world.commit("delivery", {"apps/web/app.yaml": MANIFEST})
    allowed = {"now": Allowed(project="shop", kinds=("Deployment",))}
    rendering, candidate = Rendering(world.git, _renders(), lambda _app, _environment: allowed["now"]), _candidate(world)
    error = rendering.render_facts(candidate, "delivery").error
    assert "SP628" in error
    assert "apps/web/app.yaml:1" in error
    with pytest.raises(ConfigError, match="SP628"):
        rendering.desired(candidate, "delivery")
    allowed["now"] = Allowed(project="shop", kinds=("Deployment", "ConfigMap"))
    assert rendering.render_facts(candidate, "delivery").error == ""


def test_a_fault_in_the_files_is_text_and_is_kept_without_growing(world: World) -> None:
    """What the user must mend is the reason's text, again and again the same; raising it many times keeps no frames."""
    world.register({**_without_app(), "apps/web/app.yaml": b"kind: [\n"})
    rendering = Rendering(world.git, _renders(), lambda _app, _environment: Allowed())
    candidate = _candidate(world)
    assert "apps/web/app.yaml:" in rendering.render_facts(candidate, "delivery").error
    depths = []
    for _ in range(3):
        with pytest.raises(UserError) as caught:
            rendering.desired(candidate, "delivery")
        depths.append(len(caught.traceback))
    assert len(set(depths)) == 1


def test_a_fault_of_the_machine_decides_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is no fault of the manifests: it is raised, and the next look renders."""
    world.register()
    world.commit("delivery", {"apps/web/app.yaml": MANIFEST})
    rendering, real = Rendering(world.git, _renders(), lambda _app, _environment: Allowed()), world.git.files

    def full(name: str, tree: str) -> None:
        raise WorldError("SP105", "no room")

    candidate = _candidate(world)
    monkeypatch.setattr(world.git, "files", full)
    with pytest.raises(WorldError):
        rendering.render_facts(candidate, "delivery")
    monkeypatch.setattr(world.git, "files", real)
    assert rendering.render_facts(candidate, "delivery").error == ""


def _without_app() -> dict[str, bytes]:
    from unit.builders_home import DELIVERY

    return dict(DELIVERY)

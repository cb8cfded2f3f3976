"""Jobs: each revision runs to its end once, whatever happens in between."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from setpoint.core import records
from setpoint.core.clock import to_text
from setpoint.core.errors import WorldError
from setpoint.ground.journal.model import Entry, Fact
from setpoint.reconcile.model import (
    Container,
    DesiredState,
    Health,
    Identity,
    Job,
    JobRun,
    Probe,
    Release,
    ReplicaSpec,
    ReplicaStatus,
)
from setpoint.reconcile.ports import JobStatus
from setpoint.rollout.jobs import HostJobs
from unit.builders_home import ManualClock

CONTAINER = Container("c", "r@sha256:a", ("x",), None, {}, {}, 0, None, None)


@dataclass
class FakeHost:
    """Runtime, records and recorder in memory; the test decides how a run ends."""

    found: dict[str, ReplicaStatus] = field(default_factory=dict)
    runs: dict[str, JobRun] = field(default_factory=dict)
    kinds: list[str] = field(default_factory=list)
    started: list[ReplicaSpec] = field(default_factory=list)
    refuse: Exception | None = None

    def start(self, spec: ReplicaSpec) -> None:
        """Start a run, or refuse."""
        if self.refuse is not None:
            raise self.refuse
        self.started.append(spec)
        self.found[spec.replica] = ReplicaStatus(spec, True, 1, "2026-11-23T06:00:00.000Z", 0, "")

    def replicas(self) -> list[ReplicaStatus]:
        """Return every folder."""
        return list(self.found.values())

    def stop(self, replica: str, grace_s: float) -> None:  # noqa: ARG002 - the port's signature
        """Ask it to end; it is gone at once."""
        self.found[replica] = replace(self.found[replica], shim_alive=False, pid=None, stopping=True, last_exit="exit status 1")

    def remove(self, replica: str) -> None:
        """Forget a folder."""
        del self.found[replica]

    def ready(self, replica: ReplicaStatus, probe: Probe | None) -> tuple[bool, str]:  # noqa: ARG002 - as above
        """Nobody probes a Job."""
        raise AssertionError

    def free_port(self) -> int:
        """Nobody gives a Job a port."""
        raise AssertionError

    def job_runs(self, app: str, environment: str) -> list[JobRun]:
        """Return what was journalled."""
        return [run for run in self.runs.values() if (run.app, run.environment) == (app, environment)]

    def record(self, kind: str, subject: str, actor: str, body: dict[str, Any]) -> Entry:
        """Journal, and fold."""
        self.kinds.append(kind)
        self.runs[subject] = records.decode(JobRun, body)
        return Entry(0, "", kind, subject, actor, body, "")

    def record_all(self, facts: Sequence[Fact]) -> list[Entry]:
        """Write one after the other."""
        return [self.record(fact.kind, fact.subject, fact.actor, fact.body) for fact in facts]

    def end(self, **changes: Any) -> None:
        """Let the last run's shim end."""
        name = self.started[-1].replica
        self.found[name] = replace(self.found[name], shim_alive=False, pid=None, finished_at="2026-11-23T06:00:05.000Z", **changes)


@pytest.fixture
def host() -> FakeHost:
    """An empty machine."""
    return FakeHost()


@pytest.fixture
def clock() -> ManualClock:
    """A clock that the test moves."""
    return ManualClock()


def advance(host: FakeHost, clock: ManualClock, *jobs: Job) -> list[JobStatus]:
    """One pass of a server that remembers nothing."""
    state = DesiredState("web", "prod", (), (), "d", jobs)
    return HostJobs(host, host, host, clock).advance("prod", [Release(state, Identity("web", "prod", "c", "", "p-1", "1"))]).get("web", [])


def job(revision: str = "1", **changes: Any) -> Job:
    """A Job."""
    return replace(Job("web", "prod", "migrate", CONTAINER, revision * 12), **changes)


def codes(statuses: list[JobStatus]) -> list[tuple[Health, str]]:
    """What health and people see."""
    return [(status.health, status.reason.code) for status in statuses]


def test_a_job_runs_once_and_its_end_is_journalled(host: FakeHost, clock: ManualClock) -> None:
    """The intent is written first; a server that starts again finds the run, then its end, and never runs it again."""
    assert codes(advance(host, clock, job())) == [(Health.PROGRESSING, "JOB_RUNNING")]
    assert host.kinds == ["job.started"]
    advance(host, clock, job())
    assert len(host.started) == 1
    host.end(outcome="succeeded", last_exit="exit status 0")
    (status,) = advance(host, clock, job())
    assert (status.health, status.reason.code) == (Health.HEALTHY, "JOB_COMPLETE")
    assert host.kinds == ["job.started", "job.finished"]
    host.found.clear()
    assert codes(advance(host, clock, job())) == [(Health.HEALTHY, "JOB_COMPLETE")]
    assert len(host.started) == 1


def test_the_spec_says_that_it_is_a_job_and_whose(host: FakeHost, clock: ManualClock) -> None:
    """No port, the limits of the Job, the identity of the promotion."""
    advance(host, clock, job(retries=2, deadline_s=30.0))
    spec = host.started[0]
    assert (spec.port, spec.workload, spec.identity.digest, spec.identity.promotion) == (0, "migrate", "sha256:a", "p-1")
    assert spec.job is not None
    assert (spec.job.retries, spec.job.deadline_s) == (2, 30.0)
    assert spec.replica.startswith("prod-web-migrate-11111111-")


def test_a_crash_between_the_intent_and_the_start_runs_it_under_the_same_name(host: FakeHost, clock: ManualClock) -> None:
    """Journalled and not started, or a folder in which no shim ever ran: it is started, not begun anew."""
    host.refuse = WorldError("SP632", "no", fix="x")
    assert codes(advance(host, clock, job())) == [(Health.DEGRADED, "SP632")]
    host.refuse = None
    advance(host, clock, job())
    name = host.started[0].replica
    assert (list(host.runs), host.kinds) == ([name], ["job.started"])
    host.found[name] = replace(host.found[name], shim_alive=False, pid=None, begun=False)
    advance(host, clock, job())
    assert [spec.replica for spec in host.started] == [name, name]
    assert host.kinds == ["job.started"]


@pytest.mark.parametrize(("outcome", "words"), [("failed", "exit status 3, after 3 attempts"), ("deadline", "not done within 60 s")])
def test_a_failed_job_is_degraded_and_stays(host: FakeHost, clock: ManualClock, outcome: str, words: str) -> None:
    """The exit, the attempts and where the log is are told; nothing starts again for the same revision."""
    wanted = job(deadline_s=60.0)
    advance(host, clock, wanted)
    host.end(outcome=outcome, last_exit="exit status 3", restarts=2)
    (status,) = advance(host, clock, wanted)
    assert (status.health, status.reason.code, status.reason.severity) == (Health.DEGRADED, "JOB_FAILED", "problem")
    assert words in status.reason.found
    assert f"setpoint log {host.started[0].replica}" in status.reason.fix
    advance(host, clock, wanted)
    assert len(host.started) == 1


def test_an_end_that_nobody_saw_counts_as_a_failed_attempt(host: FakeHost, clock: ManualClock) -> None:
    """A killed shim is lost; the Job is tried again with what is left of its attempts, and then it has failed."""
    wanted = job(retries=2)
    advance(host, clock, wanted)
    host.end(restarts=1)
    assert codes(advance(host, clock, wanted)) == [(Health.PROGRESSING, "JOB_RUNNING")]
    assert [run.state for run in host.runs.values()] == ["lost", "started"]
    second = host.started[1]
    assert second.job is not None
    assert second.job.retries == 0
    host.end()
    (status,) = advance(host, clock, wanted)
    assert (status.reason.code, "nobody saw it end" in status.reason.found, len(host.started)) == ("JOB_FAILED", True, 2)


def test_a_job_without_retries_is_started_once_at_most(host: FakeHost, clock: ManualClock) -> None:
    """BackoffLimit 0 and a lost run: it is not guessed."""
    advance(host, clock, job(retries=0))
    host.end()
    assert codes(advance(host, clock, job(retries=0))) == [(Health.DEGRADED, "JOB_FAILED")]
    assert len(host.started) == 1


def test_another_revision_is_another_run_and_ends_the_first(host: FakeHost, clock: ManualClock) -> None:
    """What runs for a revision that nobody wants is stopped, journalled and cleared away; back again, it starts anew."""
    advance(host, clock, job("1"))
    advance(host, clock, job("2"))
    advance(host, clock, job("2"))
    first, second = host.started
    assert (host.runs[first.replica].state, set(host.found)) == ("stopped", {second.replica})
    advance(host, clock, job("1"))
    assert host.started[-1].revision_hash == "1" * 12
    assert len(host.started) == 3


def test_a_revision_that_was_done_is_not_run_again_by_a_rollback(host: FakeHost, clock: ManualClock) -> None:
    """The journal remembers, though the folder is gone."""
    advance(host, clock, job("1"))
    host.end(outcome="succeeded")
    advance(host, clock, job("1"))
    advance(host, clock, job("2"))
    assert host.started[0].replica not in host.found
    assert codes(advance(host, clock, job("1"))) == [(Health.HEALTHY, "JOB_COMPLETE")]
    assert len(host.started) == 2


def test_a_removed_job_is_stopped_and_an_application_that_is_left_alone_keeps_its(host: FakeHost, clock: ManualClock) -> None:
    """Only what an application does not want any more goes."""
    advance(host, clock, job())
    assert HostJobs(host, host, host, clock).advance("prod", []) == {}
    assert host.replicas()[0].shim_alive
    advance(host, clock)
    advance(host, clock)
    assert host.replicas() == []
    assert [run.state for run in host.runs.values()] == ["stopped"]


def test_the_log_goes_after_its_time(host: FakeHost, clock: ManualClock) -> None:
    """TtlSecondsAfterFinished removes the folder and not the fact."""
    wanted = job(ttl_s=3600.0)
    advance(host, clock, wanted)
    host.end(outcome="succeeded")
    run = host.started[0].replica
    host.found[run] = replace(host.found[run], finished_at=to_text(clock.now()))
    advance(host, clock, wanted)
    assert run in host.found
    clock.move(3601)
    assert codes(advance(host, clock, wanted)) == [(Health.HEALTHY, "JOB_COMPLETE")]
    assert run not in host.found

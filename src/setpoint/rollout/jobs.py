"""Jobs on the host: each revision of a Job runs to its end once, whatever becomes of the server meanwhile.

Called by reconcile on every pass. A run is journalled before it starts and when its end is known; the shim keeps the end until then, so a
server that was away still learns it. What nobody can tell (the shim itself was killed, the machine went down) is `lost` and counts as a
failed attempt. A decision (`next_step`) is pure; the class carries it out.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal

from setpoint.core import clock, records
from setpoint.core.errors import SetpointError
from setpoint.core.words import counted
from setpoint.ground.journal.ports import Recorder
from setpoint.reconcile.model import DeployReason, Health, Identity, Job, JobLimits, JobRun, Release, ReplicaSpec, ReplicaStatus
from setpoint.reconcile.ports import JobRecords, JobStatus, ReplicaRuntime

State = Literal["started", "succeeded", "failed", "deadline", "stopped", "lost"]
_ENDED: Final = ("succeeded", "failed", "deadline")


@dataclass(frozen=True, slots=True)
class Step:
    """What to do for a Job now."""

    what: Literal["begin", "start", "wait", "note", "done"]
    """`begin` a new run, `start` the one that is journalled, `wait` for it, `note` its end, or nothing: it is `done`."""
    retries: int = 0
    """Of what is begun or started."""


def next_step(job: Job, runs: Sequence[JobRun], replica: ReplicaStatus | None) -> Step:
    """Return what to do; runs are those of this revision, oldest first, replica is that of the last one, if its folder is there."""
    since = [run for index, run in enumerate(runs) if not any(later.state == "stopped" for later in runs[index:])]
    used = sum(run.attempts for run in since if run.state == "lost")
    last = runs[-1] if runs else None
    if last is None or last.state == "stopped":
        return Step("begin", job.retries)
    if last.state in _ENDED:
        return Step("done")
    if last.state == "lost":
        return Step("begin", job.retries - used) if used <= job.retries else Step("done")
    if replica is None or not replica.begun:  # journalled, and nothing of it has run
        return Step("start", max(0, job.retries - used))
    return Step("wait" if replica.shim_alive else "note")


def ending(run: JobRun, replica: ReplicaStatus, now: datetime) -> JobRun:
    """Return a run with its end, as the folder of its replica tells it."""
    by_its_word: Final[dict[str, State]] = {"succeeded": "succeeded", "failed": "failed", "deadline": "deadline"}
    state = by_its_word.get(replica.outcome, "stopped" if replica.stopping else "lost")
    return replace(
        run,
        state=state,
        finished_at=replica.finished_at or clock.to_text(now),
        exit="nobody saw it end" if state == "lost" else replica.last_exit,
        attempts=replica.restarts + 1,
    )


def status_of(job: Job, run: JobRun | None, replica: ReplicaStatus | None) -> JobStatus:
    """Return how a Job stands, for health and for people."""
    subject = f"Job/{job.name}"
    if run is None or run.state in {"started", "stopped"}:
        again = f", attempt {replica.restarts + 1} after {replica.last_exit}" if replica is not None and replica.restarts else ""
        found = f"running{again}" if replica is not None and replica.shim_alive else "about to start"
        return JobStatus(Health.PROGRESSING, DeployReason("JOB_RUNNING", subject, found, f"setpoint log {run.run}" if run else ""))
    took = f"{clock.seconds_between(run.started_at, run.finished_at):.0f} s"
    if run.state == "succeeded":
        return JobStatus(Health.HEALTHY, DeployReason("JOB_COMPLETE", subject, f"done in {took}"))
    why = f"not done within {job.deadline_s:.0f} s" if run.state == "deadline" and job.deadline_s is not None else run.exit
    times = counted(run.attempts, "attempt")
    fix = f"setpoint log {run.run}; it runs again when its revision changes"
    return JobStatus(Health.DEGRADED, DeployReason("JOB_FAILED", subject, f"{why}, after {times} in {took}", fix, "problem"))


class HostJobs:
    """Runs Jobs on the host runtime."""

    def __init__(self, runtime: ReplicaRuntime, runs: JobRecords, recorder: Recorder, time: clock.Clock) -> None:
        self._runtime = runtime
        self._runs = runs
        self._recorder = recorder
        self._clock = time

    def advance(self, environment: str, releases: Sequence[Release]) -> dict[str, list[JobStatus]]:
        """Take every Job of an environment one step on (see the port)."""
        present: dict[str, dict[str, ReplicaStatus]] = {}
        for replica in self._runtime.replicas():
            if replica.spec.identity.environment == environment and replica.spec.job is not None:
                present.setdefault(replica.spec.identity.app, {})[replica.spec.replica] = replica
        statuses = {}
        for release in releases:
            mine = present.get(release.app, {})
            if not mine and not release.desired.jobs:
                continue
            known = self._runs.job_runs(release.app, environment)
            statuses[release.app] = [self._job(job, release.identity, known, mine) for job in release.desired.jobs]
            wanted = {(job.name, job.revision_hash) for job in release.desired.jobs}
            for replica in mine.values():
                if (replica.spec.workload, replica.spec.revision_hash) not in wanted:
                    self._clear(replica, known)
        return statuses

    def _job(self, job: Job, identity: Identity, known: Sequence[JobRun], replicas: dict[str, ReplicaStatus]) -> JobStatus:
        runs = [run for run in known if (run.job, run.revision_hash) == (job.name, job.revision_hash)]
        last = runs[-1] if runs else None
        replica = replicas.get(last.run) if last is not None else None
        if next_step(job, runs, replica).what == "note" and last is not None and replica is not None:
            last = self._note(ending(last, replica, self._clock.now()))
            runs = [*runs[:-1], last]
        step = next_step(job, runs, replica)
        try:
            if step.what == "begin":
                last, replica = self._begin(job, identity), None
            if step.what in {"begin", "start"} and last is not None:
                self._start(job, identity, last, step.retries)
        except SetpointError as error:
            return JobStatus(Health.DEGRADED, DeployReason(error.code, f"Job/{job.name}", error.what, error.fix, "problem"))
        self._expire(job, runs, replicas)
        return status_of(job, last, replica)

    def _begin(self, job: Job, identity: Identity) -> JobRun:
        name = f"{job.environment}-{job.app}-{job.name}-{job.revision_hash[:8]}-{secrets.token_hex(3)}"
        now = clock.to_text(self._clock.now())
        run = JobRun(name, job.app, job.environment, job.name, job.revision_hash, identity.promotion, "started", now)
        self._recorder.record("job.started", name, "setpoint", records.encode(run))
        return run

    def _start(self, job: Job, identity: Identity, run: JobRun, retries: int) -> None:
        shown = replace(identity, digest=job.container.image.partition("@")[2])
        limits = JobLimits(retries, job.deadline_s)
        self._runtime.start(ReplicaSpec(run.run, job.name, job.revision_hash, 0, job.container, shown, job.grace_s, limits))

    def _note(self, run: JobRun) -> JobRun:
        self._recorder.record("job.finished", run.run, "setpoint", records.encode(run))
        return run

    def _clear(self, replica: ReplicaStatus, known: Sequence[JobRun]) -> None:
        """End and remove the run of a Job or revision that is not wanted any more, once its end is journalled."""
        run = next((run for run in known if run.run == replica.spec.replica), None)
        if replica.shim_alive:
            if not replica.stopping:
                self._runtime.stop(replica.spec.replica, replica.spec.grace_s)
            return
        if run is not None and run.state == "started":
            self._note(ending(run, replica, self._clock.now()))
        self._runtime.remove(replica.spec.replica)

    def _expire(self, job: Job, runs: Sequence[JobRun], replicas: dict[str, ReplicaStatus]) -> None:
        """Remove the folders of runs whose log nobody needs any more: all but the last, and the last after its time."""
        for run in runs:
            replica = replicas.get(run.run)
            if replica is None or replica.shim_alive or run.state == "started":
                continue
            age_s = clock.seconds_between(run.finished_at, clock.to_text(self._clock.now()))
            if run is not runs[-1] or (job.ttl_s is not None and age_s >= job.ttl_s):
                self._runtime.remove(run.run)

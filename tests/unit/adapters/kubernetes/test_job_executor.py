"""What the executor of pods makes of a cluster that does not answer, or does not start a pod; and which paths are its own."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from setpoint.adapters.clock import SystemClock
from setpoint.adapters.kubernetes.jobs import reading
from setpoint.adapters.kubernetes.jobs.calls import JobCalls
from setpoint.adapters.kubernetes.jobs.door import TaskDoor
from setpoint.adapters.kubernetes.jobs.exchange import OpenTask, TaskExchange
from setpoint.adapters.kubernetes.jobs.executor import JobParts, KubernetesExecutor, _Going
from setpoint.adapters.kubernetes.jobs.inputs import Inputs
from setpoint.adapters.kubernetes.jobs.objects import Attempt
from setpoint.core.errors import UserError, WorldError
from setpoint.pipeline.model import LogRecord, NotStartedError, TaskCommand
from setpoint.pipeline.offers import Offer, Resources

DIGEST = "r/i@sha256:" + "1" * 64


def executor() -> KubernetesExecutor:
    """Return an executor that is asked for nothing but its decisions."""

    def access(name: str) -> Any:
        raise AssertionError(name)

    return KubernetesExecutor(JobParts("h-1", access, cast(Inputs, None), TaskExchange(b"k" * 32), SystemClock(), "https://home"))


def going(log: list[LogRecord], start_s: float = 60.0, *, resumed: bool = False) -> _Going:
    """Return an attempt on its way."""
    offer = Offer("cluster", "real", "builds", DIGEST, DIGEST, "amd64", Resources("1", "1Gi"), start_s=start_s)
    command = TaskCommand("r-1-t", ("true",), {}, network=True, timeout_s=60.0, offer=offer, resumed=resumed)
    return _Going(Attempt("h-1", command, offer, "https://home"), cast(JobCalls, None), OpenTask({}, log.extend))


@pytest.mark.parametrize(("resumed", "pod", "sure"), [(False, "", True), (True, "", False), (False, "uid", False)])
def test_a_cluster_that_stays_away_proves_nothing_once_the_task_may_have_begun(
    monkeypatch: pytest.MonkeyPatch, *, resumed: bool, pod: str, sure: bool
) -> None:
    """Taken over, or claimed by its pod: nobody may say that nothing of it ran."""
    far, attempt = executor(), going([], 0.0, resumed=resumed)
    attempt.open.pod = pod

    async def away(_going: _Going) -> None:
        raise WorldError("SP263", "it does not answer")

    monkeypatch.setattr(far, "_make", away)
    with pytest.raises(WorldError, match="SP273") as caught:
        asyncio.run(far._begin(attempt, []))
    assert isinstance(caught.value, NotStartedError) is sure


def test_a_task_that_is_taken_over_is_not_called_unstarted_when_its_jobs_cannot_be_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first question after a restart is the one that a cluster which is away does not answer."""
    far = executor()

    class Away:
        """Answers nothing."""

        async def jobs(self, _task: str) -> None:
            raise WorldError("SP263", "it does not answer")

    async def transport(_cluster: str) -> None:
        return None

    monkeypatch.setattr(far, "_transport", transport)
    monkeypatch.setattr("setpoint.adapters.kubernetes.jobs.executor.JobCalls", lambda *_: Away())
    for resumed in (True, False):
        with pytest.raises(WorldError, match="SP273") as caught:
            asyncio.run(far.execute(going([], 0.0, resumed=resumed).attempt.command, lambda _: None))
        assert isinstance(caught.value, NotStartedError) is not resumed


def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return what sets the loop's time."""
    loop = asyncio.get_running_loop()

    def to(now_s: float) -> None:
        monkeypatch.setattr(loop, "time", lambda: now_s)

    return to


def test_the_time_to_start_is_counted_from_the_first_wait_whatever_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reason that changes again and again does not begin it anew."""

    async def story() -> None:
        far, attempt, to = executor(), going([]), at(monkeypatch)
        for number in range(6):
            to(100.0 + 10 * number)
            far._tell(attempt, reading.Waits(f"Reason{number}", "no node has room"))
        to(160.0)
        with pytest.raises(UserError, match=r"SP274.*within 60 s"):
            far._tell(attempt, reading.Waits("Other", "no node has room"))

    asyncio.run(story())


def test_what_nothing_here_mends_is_given_up_earlier(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that cannot be pulled has half a minute of its own, however long the pod waited for a node before."""

    async def story() -> None:
        far, attempt, to = executor(), going([], 600.0), at(monkeypatch)
        for now_s, reason in ((100.0, "Unschedulable"), (200.0, "ImagePullBackOff"), (229.0, "ImagePullBackOff")):
            to(now_s)
            far._tell(attempt, reading.Waits(reason, "it waits"))
        to(230.0)
        with pytest.raises(UserError, match=r"SP274.*within 30 s"):
            far._tell(attempt, reading.Waits("ImagePullBackOff", "it waits"))

    asyncio.run(story())


@pytest.mark.parametrize(
    ("path", "ours"),
    [
        (f"/tasks/sp-{'a' * 20}-1", True),
        (f"/v2/tasks/sp-{'a' * 20}-1/blobs/uploads/", True),
        ("/v2/tasks/web/manifests/latest", False),
        ("/v2/tasks/sp-web/blobs/uploads/", False),
        ("/v2/hello/web/manifests/latest", False),
        ("/v2/", False),
    ],
)
def test_images_of_a_repository_called_tasks_are_pulled_like_others(path: str, *, ours: bool) -> None:
    """Only what is named as a Job is a pod's own part of the registry."""
    assert TaskDoor.leads(path) is ours

"""What became of a task's pod: every way that a pod can wait, end or be taken away has its own sentence."""

import json
from typing import Any

import pytest

from setpoint.adapters.kubernetes.jobs.reading import Lost, Over, Runs, Waits, verdict

Status = dict[str, Any]


def pod(phase: str = "Running", **status: Any) -> Status:
    """Return a pod whose containers are in these states."""
    found: Status = {"phase": phase}
    for name, state in status.pop("states", {}).items():
        group = "initContainerStatuses" if name == "inputs" else "containerStatuses"
        found.setdefault(group, []).append({"name": name, "state": state})
    containers = [{"name": "task", "resources": {"limits": {"memory": "64Mi"}}}]
    return {
        "metadata": {"name": "sp-1", "namespace": "builds", **status.pop("meta", {})},
        "spec": {"nodeName": "n1", "containers": containers},
        "status": found | status,
    }


def ended(code: int, reason: str = "Completed", **said: Any) -> Status:
    """Return the state of a container that ended."""
    return {"terminated": {"exitCode": code, "reason": reason, "message": json.dumps(said) if said else ""}}


BROUGHT = ended(0)
RUNNING: Status = {"running": {}}


def test_the_end_is_what_the_keeper_wrote_and_the_exit_status_is_the_tasks() -> None:
    """Both containers are over: the result has how, status and outputs; with one of them missing it still runs."""
    keeper = ended(0, how="exited", detail="", outputs="sha256:1")
    states = {"inputs": BROUGHT, "task": ended(7, "Error"), "keeper": keeper}
    assert verdict(None, [pod("Failed", states=states)], ()) == Over("exited", 7, "", "sha256:1")
    going = verdict(None, [pod(states={**states, "keeper": RUNNING})], ())
    assert going == Runs("pod builds/sp-1 on node n1", began=True, alive=False)
    assert verdict(None, [pod(states={**states, "task": RUNNING, "keeper": RUNNING})], ()) == Runs(
        "pod builds/sp-1 on node n1", began=True, alive=True
    )
    timed = ended(0, how="timed-out", detail="timed out after 2 s", outputs="")
    assert verdict(None, [pod("Failed", states={**states, "keeper": timed})], ()) == Over("timed-out", 7, "timed out after 2 s", "")


def test_an_end_that_was_brought_home_stands_whoever_took_the_pod_then() -> None:
    """A pod that is evicted after its task was over has a result, and is not run again."""
    states = {"inputs": BROUGHT, "task": ended(0), "keeper": ended(0, how="exited", outputs="sha256:1")}
    target = [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "drain"}]
    assert isinstance(verdict(None, [pod("Succeeded", states=states, conditions=target)], ()), Over)


def test_out_of_memory_says_the_limit_with_and_without_the_keepers_end() -> None:
    """The kernel's kill is the task's own end, and names what to change."""
    killed = ended(137, "OOMKilled")
    for keeper in (ended(0, how="exited", outputs=""), ended(1, "Error", refused="the home does not answer")):
        over = verdict(None, [pod("Failed", states={"inputs": BROUGHT, "task": killed, "keeper": keeper})], ())
        assert isinstance(over, Over)
        assert (over.exit_code, "out of memory: its limit is 64Mi" in over.detail) == (137, True)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]}, "higher priority"),
        ({"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]}, "evicted"),
        ({"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}]}, "its node was lost"),
        ({"reason": "Evicted", "message": "The node was low on resource: memory."}, "low on resource"),
        ({"meta": {"deletionTimestamp": "2026-11-25T10:00:00Z"}}, "deleted from outside"),
    ],
)
def test_a_pod_that_was_taken_away_is_lost_and_says_by_whom(status: Status, words: str) -> None:
    """It is no failure of the task, and whether the task had begun is said."""
    cancelled = ended(0, how="cancelled", detail="cancelled")
    taken = verdict(None, [pod("Failed", states={"inputs": BROUGHT, "task": ended(143, "Error"), "keeper": cancelled}, **status)], ())
    assert isinstance(taken, Lost)
    assert (words in taken.text, taken.began, taken.definite) == (True, True, False)
    before = verdict(None, [pod("Failed", states={"inputs": ended(143, "Error")}, **status)], ())
    assert isinstance(before, Lost)
    assert not before.began


def test_an_image_without_a_shell_or_without_python_ends_at_once() -> None:
    """Neither is tried again: another attempt would end the same."""
    start = {"terminated": {"exitCode": 128, "reason": "StartError", "message": 'exec: "/bin/sh": no such file'}}
    shell = verdict(None, [pod(states={"inputs": BROUGHT, "task": start, "keeper": RUNNING})], ())
    python = verdict(None, [pod("Failed", states={"inputs": start})], ())
    assert isinstance(shell, Lost)
    assert isinstance(python, Lost)
    assert (shell.definite, "has /bin/sh" in shell.text) == (True, True)
    assert (python.definite, "has python3" in python.text) == (True, True)


def test_inputs_that_cannot_be_brought_say_why() -> None:
    """The words of the container that tried reach the person, and nothing of the task began."""
    lost = verdict(
        None, [pod("Failed", states={"inputs": ended(1, "Error", refused="the home does not answer at https://x: timed out")})], ()
    )
    assert lost == Lost("the inputs could not be brought: the home does not answer at https://x: timed out", began=False)


@pytest.mark.parametrize(
    ("shown", "reason", "fix"),
    [
        (
            pod("Pending", states={"inputs": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}}),
            "ImagePullBackOff",
            "is the image pushed",
        ),
        (
            pod(
                "Pending",
                conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"}],
            ),
            "Unschedulable",
            "no node has room",
        ),
    ],
)
def test_a_pod_that_waits_says_for_what_and_what_helps(shown: Status, reason: str, fix: str) -> None:
    """The cluster's own words come with a step that helps."""
    waits = verdict(None, [shown], ())
    assert isinstance(waits, Waits)
    assert waits.reason == reason
    assert fix in waits.fix


def test_a_job_that_makes_no_pod_says_what_its_events_say() -> None:
    """A quota, a missing class or a Pod Security level refuse the pod, and only events tell."""
    waits = verdict({"status": {}}, [], ["FailedCreate: pods is forbidden: exceeded quota: none"])
    assert isinstance(waits, Waits)
    assert "ResourceQuota" in waits.fix
    assert verdict({"status": {}}, [], ()) == Waits("", "the cluster makes the pod")
    failed = {"status": {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]}}
    assert verdict(failed, [], ()) == Lost("its pod was deleted from outside", began=True)
    assert verdict(None, [], ()) == Lost("its Job was deleted from outside", began=True)


def test_what_every_pod_goes_through_is_nothing_to_report() -> None:
    """Starting containers wait without a reason; the newest pod speaks."""
    starting = pod("Pending", states={"inputs": {"waiting": {"reason": "PodInitializing"}}})
    assert verdict(None, [starting], ()) == Waits("", "pod builds/sp-1 starts on node n1")
    bringing = pod("Pending", states={"inputs": RUNNING})
    assert verdict(None, [bringing], ()) == Runs("pod builds/sp-1 on node n1 gets its inputs", began=False)

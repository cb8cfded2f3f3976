"""Which tasks of a run may start, which are settled by an earlier result, and when the run has ended: pure functions.

Called by the pipeline service after every change; never reads a file or a clock. A task key is the digest of everything its result may
depend on (design: task key), so "affected" needs no base commit: a task without a trusted green record for its key is affected.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from setpoint.core import canonical, clock, digest, names, records
from setpoint.ground.journal.model import Fact
from setpoint.pipeline.model import KeyManifest, Run, RunState, Taken, TaskResult, TaskState, ToolchainFacts
from setpoint.pipeline.tasks import Task
from setpoint.pipeline.written import TaskConfig
from setpoint.source.model import TreeFile

KEY_VERSION = 2
UNKNOWN = "whether it happened is not known"


def input_root(files: Iterable[TreeFile]) -> str:
    """Return the digest over (path, mode, blob id) of files: the same whatever commit they come from."""
    return digest.sha256(canonical.dumps(sorted([f.path, f.mode, f.blob] for f in files)))


def key_manifest(
    task: TaskConfig,
    inputs: str,
    needs: Mapping[str, TaskResult],
    toolchain: ToolchainFacts,
    trust: str,
    takes: Sequence[Taken] = (),
) -> KeyManifest:
    """Return everything the task's result may depend on.

    Needed tasks enter by their *outputs*, so an equal output cuts off early.
    Of a task that is only taken from (`takes`) nothing but what is taken counts.
    `inputs` is the `input_root` of the declared inputs.
    """
    return KeyManifest(
        version=KEY_VERSION,
        argv=argv(task),
        environment=dict(task.env),
        inputs=inputs,
        needs={name: result.outputs.digest if result.outputs else "" for name, result in needs.items()},
        outputs=(*task.outputs, *(f"{kind}={path}" for kind, path in sorted(task.evidence.items())), *_reports(task)),
        toolchain=toolchain.fingerprint,
        platform=toolchain.platform,
        network=task.network,
        trust=trust,
        takes=tuple(takes),
        sandbox=task.sandbox,
    )


def _reports(task: TaskConfig) -> list[str]:
    """Return what is asked of reports; the schemas' bytes are among the inputs."""
    return [
        f"{name}={report.file} {report.schema_ or f'format:{report.format}'} {report.predicate or ''}"
        for name, report in sorted(task.reports.items())
    ]


def argv(task: TaskConfig) -> tuple[str, ...]:
    """Return the command line of a task."""
    return shell(task.run)


def shell(text: str) -> tuple[str, ...]:
    """Return a text's command line: under a shell that stops at the first failure and at unset variables."""
    return ("/bin/sh", "-euc", text)


def key_of(manifest: KeyManifest) -> str:
    """Return the task key."""
    return digest.sha256(canonical.dumps(records.encode(manifest)))


def reusable(task: TaskConfig, found: TaskResult | None, now: datetime) -> bool:
    """Say whether a recorded green result settles the task.

    A networked one does so within its `valid:` time only (default: never again), one of a `once` task never.
    """
    if task.once or found is None or not found.state.green:
        return False
    if not task.network:
        return True
    if task.valid is None or found.finished_at is None:
        return False
    return now - clock.from_text(found.finished_at) < timedelta(seconds=task.valid)


def startable(needs: Mapping[str, Sequence[str]], states: Mapping[str, TaskState]) -> list[str]:
    """Return the pending tasks whose needs are all green, in the order of `needs`."""
    return [
        name
        for name, wanted in needs.items()
        if states.get(name, TaskState.PENDING) is TaskState.PENDING and all(states.get(need, TaskState.PENDING).green for need in wanted)
    ]


def skipped(needs: Mapping[str, Sequence[str]], states: Mapping[str, TaskState]) -> dict[str, str]:
    """Return {pending task: why} for tasks that can never start because one they need ended without green, directly or by others.

    `needs` lists needed tasks first.
    """
    found: dict[str, str] = {}
    for name, wanted in needs.items():
        if states.get(name, TaskState.PENDING) is not TaskState.PENDING:
            continue
        for need in wanted:
            state = TaskState.SKIPPED if need in found else states.get(need, TaskState.PENDING)
            if state.ended and not state.green:
                found[name] = f"needs {need}, which is {state}"
                break
    return found


def conclusion(states: Iterable[TaskState]) -> RunState | None:
    """Return how a run ended, or None while something may still happen."""
    every = list(states)
    if any(not state.ended for state in every):
        return None
    if any(state is TaskState.CANCELLED for state in every):
        return RunState.CANCELLED
    return RunState.PASSED if all(state.green for state in every) else RunState.FAILED


def to_probe(tasks: Mapping[str, Task], results: Mapping[str, TaskResult], busy: set[str]) -> list[str]:
    """Return the lost tasks whose declared probe was not asked yet."""
    return [
        name
        for name, result in results.items()
        if result.state is TaskState.LOST and not result.probed and name not in busy and name in tasks and tasks[name].probe is not None
    ]


def superseded(runs: Sequence[Run], began: Callable[[Run], bool], supersedes: Callable[[Run], bool]) -> Iterator[tuple[Run, Run]]:
    """Yield (old, new) of open runs, oldest first, that a newer one of the same branch takes the place of: declared, and nothing began."""
    newest = {(run.repository, run.ref): run for run in runs}
    for run in runs:
        new = newest[run.repository, run.ref]
        if new.run != run.run and not run.cancelling and supersedes(new) and not began(run):
            yield run, new


def retried(run: Run, red: Sequence[TaskResult], once: Collection[str], by: tuple[str, str]) -> list[Fact]:
    """Return what is journalled when a person (actor, why) lets an ended run go on; red are its results that are not green.

    A task of `once` that was begun may have happened, whether it was stopped, ran out of time or failed: it is lost, and begun again only
    when its probe or a person says that it did not happen. To ask for a retry is not to say that.
    """
    actor, why = by
    unknown = [result for result in red if result.task in once and result.state.ended and result.started_at]
    lost = [replace(one, state=TaskState.LOST, finished_at=None, exit_code=None, probed=False, reason=_unknown(one)) for one in unknown]
    return [
        Fact("run.retried", run.run, actor, {"why": why}),
        *(Fact("task.lost", run.run, "setpoint", records.encode(one)) for one in lost),
    ]


def _unknown(result: TaskResult) -> str:
    failed = f"it failed ({result.reason})" if result.reason else "it failed"
    how = {TaskState.FAILED: failed, TaskState.TIMED_OUT: "it ran out of time"}.get(result.state, "it was stopped in its middle")
    return f"{how}: {UNKNOWN}"


def unprepared(run: str, task: str, why: str, begun: str | None, *, once: bool) -> TaskResult:
    """Return what becomes of a task that cannot be prepared; begun is when an earlier server began it, None when none did.

    Begun and of `once`, it may have happened: a person has to say, for its probe cannot be prepared either.
    """
    failed = TaskResult(run, task, TaskState.FAILED, "", empty_manifest(), started_at=begun, reason=why)
    return replace(failed, state=TaskState.LOST, probed=True, reason=f"{why}: {UNKNOWN}") if once and begun is not None else failed


def cancelled_text(actor: str, why: str) -> str:
    """Return what a cancelled run or task says: by whom, and why if they said so."""
    return f"cancelled by {names.actor(actor)}" + (f": {why}" if why else "")


def empty_manifest() -> KeyManifest:
    """Return the manifest of a task whose key is not computed (yet): it was skipped or has not begun."""
    return KeyManifest(KEY_VERSION, (), {}, "", {}, (), "", "", network=False, trust="")

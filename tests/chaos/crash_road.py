"""The road in one process, pass by pass: real journal, projection, Git, registry, content and signer code; tasks and the host are a model.

`Road` plays one person's script from an empty home to a rollback. The fate it is given ends the process at a write; then the whole object
graph is thrown away and built anew from disk by app.wiring, and the person looks what is there before asking again.
"""

import asyncio
import copy
import functools
import inspect
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pygit2
import pytest

from chaos import last_steps, later_steps
from chaos.fate import CrashError, Fate, mortal
from chaos.kept import Kept
from chaos.world import PORTS, Runtime, World
from live_home import ENVIRONMENT, MANIFESTS, PRODUCTION, SETPOINT_FILE
from setpoint.adapters.age import KeyFile
from setpoint.adapters.content import ContentFolder
from setpoint.adapters.git.store import GitRepositories
from setpoint.adapters.journal_folder import JournalFolder
from setpoint.adapters.json_schema import JsonSchemaProcess
from setpoint.adapters.keys import KeyFolder
from setpoint.adapters.oci import durable
from setpoint.adapters.oci.client import RegistryClient
from setpoint.adapters.oci.store import OciStoreFolder
from setpoint.adapters.scans import ScanProcess
from setpoint.adapters.signer import protocol
from setpoint.adapters.signer.ledger import Ledger
from setpoint.adapters.signer.process import SigningDesk
from setpoint.adapters.signer.runs import Sources
from setpoint.api import actions
from setpoint.app import wiring
from setpoint.app.application import Application, Processes, Store
from setpoint.app.home import Home
from setpoint.core.errors import SetpointError
from setpoint.evidence.ports import Signed, SigningKind
from setpoint.ground.identity.model import Principal
from setpoint.pipeline.model import LogRecord, TaskCommand, TaskExit
from setpoint.source.model import RefUpdate

KEPT = Kept()
PASSES = 40
STEPS = 32
OPERATOR = Principal("operator")
DANA = Principal("person", "dana@example.com")
SAM = Principal("person", "sam@example.com")
ZERO = "0" * 40
PIPELINE = """
apiVersion: setpoint.dev/v1alpha1
kind: Pipeline
on: {push: {branches: [main]}}
tasks:
  build:
    inputs: [app.py]
    run: make
    outputs: [dist/]
  test:
    needs: [build]
    inputs: [app.py]
    run: test
    evidence: {tests: report.xml}
artifacts:
  web:
    needs: [test]
    image:
      base: host
      copy: {"app.py": /app/, "build:dist/": /app/dist/}
      command: [python3, app.py]
"""
REPORT = '<testsuite name="t" tests="1"><testcase classname="t" name="one"/></testsuite>'
DELIVERY = {
    "setpoint.yaml": SETPOINT_FILE,
    "environments/staging/environment.yaml": ENVIRONMENT % PORTS["staging"],
    "environments/production/environment.yaml": PRODUCTION % PORTS["production"],
    "apps/hello/hello.yaml": MANIFESTS,
}


class Tasks:
    """The executor: a task leaves its report or output in its workspace."""

    def __init__(self, workspaces: Path, fate: Fate) -> None:
        self._workspaces, self._fate = workspaces, fate

    async def execute(self, command: TaskCommand, on_log: Callable[[Sequence[LogRecord]], None]) -> TaskExit:
        """Do the work of a task."""
        on_log([LogRecord(0, "2026-11-23T06:00:00.000Z", "out", " ".join(command.argv))])
        self._fate.pass_through("Tasks.execute", lambda: self._work(self._workspaces / command.task_id))
        return TaskExit("exited", 0)

    @staticmethod
    def _work(folder: Path) -> None:
        (folder / "report.xml").write_text(REPORT)
        (folder / "dist").mkdir(exist_ok=True)
        (folder / "dist" / "built.txt").write_bytes((folder / "app.py").read_bytes())

    def close(self) -> None:
        """Nothing to end."""


class Desk:
    """The signer's code, asked in process through its own wire format; it dies with the server and reads everything anew."""

    def __init__(self, home: Home, fate: Fate) -> None:
        git = mortal(GitRepositories(home.repositories), fate)
        ledger = Ledger(JournalFolder(home.journal, writable=False))
        sources = Sources(ledger, git, OciStoreFolder(home.registry), ContentFolder(home.content), JsonSchemaProcess(), ScanProcess())
        self._desk = SigningDesk(mortal(KeyFolder(home.keys), fate), sources)

    def public_keys(self) -> dict[str, str]:
        """Return the role keys, made when the home is new."""
        return dict(protocol.parse_answer(protocol.answer(self._desk.answer("public_keys", {}))))

    def check_keys(self) -> dict[str, str]:
        """Return the public keys of the files as they are now; damaged ones are an error."""
        return dict(protocol.parse_answer(protocol.answer(self._desk.answer("check_keys", {}))))

    def sign(self, kind: SigningKind, subject_id: str, context: str = "") -> list[Signed]:
        """Return what was signed."""
        line = protocol.request("sign", {"kind": kind, "subject": subject_id, "context": context})
        answer = protocol.answer(self._desk.answer(*protocol.parse_request(line)))
        return [protocol.decode_signed(item) for item in protocol.parse_answer(answer)]

    def close(self) -> None:
        """Nothing to end."""


class TornJournal(JournalFolder):
    """A journal folder that a power cut may catch in the middle of a line."""

    fate: Fate

    def append(self, first_index: int, lines: list[bytes]) -> None:
        """Append, or leave all but the last bytes of it."""
        whole = super().append
        self.fate.pass_through("JournalFolder.append", lambda: whole(first_index, lines), lambda: self._tear(first_index, lines))

    def _tear(self, first_index: int, lines: list[bytes]) -> None:
        segments = self._segments() or [self._folder / f"{first_index:012d}.log"]
        with segments[-1].open("ab") as file:
            file.write(b"\n".join(lines)[:-2])


PLACES = tuple(module for name, module in sorted(sys.modules.items()) if name.startswith("setpoint.app."))
"""The modules that wiring brings along: whichever of them makes adapters."""
MODELLED = frozenset({"HostRuntime", "HaProxy", "HostToolchain", "HttpProbe", "SteadyClock", "SystemClock"})
"""The adapters that the world stands for: they start processes, listen or tell the time."""


def adapters() -> list[tuple[str, type]]:
    """Return every adapter that the server builds, by its name there; one that is added is found here and may die like all others."""
    found = {(name, value) for place in PLACES for name, value in vars(place).items() if isinstance(value, type)}
    return [
        (name, value)
        for name, value in sorted(found, key=lambda one: one[0])
        if value.__module__.startswith("setpoint.adapters.") and not is_dataclass(value)
    ]


def _files(folder: str) -> Iterator[tuple[object, ...]]:
    """Yield what the kernel says of all that lies in a folder, but for SQLite's index in shared memory, which readers write as well."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            facts = entry.stat(follow_symlinks=False)
            if not entry.name.endswith("-shm"):
                yield entry.path, facts.st_ino, facts.st_size, facts.st_mtime_ns
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path)


def _everywhere(patch: pytest.MonkeyPatch, name: str, value: object) -> None:
    """Replace a name in every module that makes adapters and has it."""
    for place in PLACES:
        if hasattr(place, name):
            patch.setattr(place, name, value)


def _always() -> bool:
    return True


def leftovers(home: Home) -> list[Path]:
    """Return the folders in which a process that is killed leaves what it was at."""
    return [home.content / "scratch", home.registry / "scratch", home.workspaces]


@dataclass
class Moment:
    """A road between two steps of its script: the number of the next step, a copy of the disk, and the world."""

    step: int
    folder: Path
    world: World


class Road:
    """One home, one world and one fate; `play` goes through steps of the script in any number of lives."""

    def __init__(self, root: Path, fate: Fate, start: Moment | None = None) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root
        self.home = Home(root / "home")
        self.fate = fate
        self.world = copy.deepcopy(start.world) if start is not None else World()
        self.step = start.step if start is not None else 0
        self.faults: list[str] = []
        """What the loop would have logged and tried again."""
        self.store: Store | None = None
        if start is not None:
            shutil.copytree(start.folder, root, dirs_exist_ok=True)
            for folder in leftovers(self.home):
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "half-done").mkdir() if folder == self.home.workspaces else (folder / "half-done").write_text("half")

    person = SAM
    """Who may approve, and is responsible."""

    def moment(self, folder: Path) -> Moment:
        """Keep where the road stands now."""
        shutil.copytree(self.root, folder)
        return Moment(self.step, folder, copy.deepcopy(self.world))

    def look(self) -> object:
        """Return what outlives the process, for telling whether it changed: every file by what the kernel says of it, and the world."""
        return list(_files(str(self.home.root))), self.world.kept()

    def patches(self, patch: pytest.MonkeyPatch) -> None:
        """Have app.wiring build with mortal adapters, and with the world in place of the host."""
        fate, world, create_key = self.fate, self.world, KeyFile.create
        TornJournal.fate = fate

        for name, made in adapters():
            if name == "HostRuntime":
                _everywhere(patch, name, lambda *_args, vault, name=name: mortal(Runtime(world, vault), fate, name))
            elif name in MODELLED:
                _everywhere(patch, name, lambda *_args, name=name, **_named: mortal(world, fate, name))
            elif name == "JournalFolder":
                _everywhere(patch, name, TornJournal)
            elif name == "KeyFile":  # made by a class method, and only read once it is there
                patch.setattr(KeyFile, "create", lambda file: fate.pass_through("KeyFile.create", lambda: create_key(file)))
            else:
                _everywhere(patch, name, lambda *args, made=made, **named: mortal(made(*args, **named), fate))
        patch.setattr(wiring, "open_database", KEPT.open_database)
        patch.setattr(RegistryClient, "greet", lambda _client: None)
        patch.setattr(pygit2, "Repository", KEPT.repository)
        _everywhere(patch, "dedicated_uid", lambda: None)
        patch.setattr(Home, "_make_reachable", lambda _home: None)
        patch.setattr(os, "fsync", lambda _descriptor: None)
        for name in ("write", "move_in"):
            real = getattr(durable, name)
            patch.setattr(durable, name, lambda *args, n=name, real=real: fate.pass_through(f"durable.{n}", lambda: real(*args)))

    def play(self, until: int) -> None:
        """Live until this many steps are done; every death is followed by another life."""
        while self.step < until:
            try:
                asyncio.run(self._live(until))
            except CrashError:
                self.fate.reborn()
            finally:
                self.close()

    def application(self) -> Application:
        """Open the home as a server would."""
        self.home.prepare()
        self.store = wiring.open_store(self.home)
        desk = mortal(Desk(self.home, self.fate), self.fate)
        processes = Processes(cast(Any, Tasks(self.home.workspaces, self.fate)), cast(Any, desk))
        return wiring.build(self.store, processes)

    def close(self) -> None:
        """Let go of database and repositories."""
        KEPT.let_go()

    async def _live(self, until: int) -> None:
        app = self.application()
        script = list(self._script(app))
        while self.step < until:
            act, done = script[self.step]
            asked = act()
            if inspect.isawaitable(asked):
                await asked
            await self._settle(app, done)
            self.step += 1

    async def _settle(self, app: Application, done: Callable[[], bool]) -> None:
        """Run passes until nothing changes any more, and look whether what was wanted is there."""
        for _ in range(PASSES):
            seen = len(app.store.journal)
            settled = await self._pass(app)
            if settled and len(app.store.journal) == seen and done():
                return
        pytest.fail(f"step {self.step} did not settle: {self.faults[-3:]} {[e.kind for e in app.store.journal.entries()][-12:]}")

    async def _pass(self, app: Application) -> bool:
        """Do what the control loop does, once, one thing after the other."""
        self.world.tick()
        self._guarded(app.loop._sources)
        app.pipeline.resume()
        for ended in await asyncio.gather(*app.pipeline._active.values(), return_exceptions=True):
            if isinstance(ended, BaseException):
                raise ended
        self._guarded(app.promotions.advance)
        advance = app.loop._parts.reconcile.advance
        # A list: no environment waits for another one to settle.
        return all([self._guarded(functools.partial(advance, environment)) for environment in app.loop._environments()])  # noqa: C419

    def _guarded(self, work: Callable[[], object]) -> object:
        try:
            return work()
        except SetpointError as error:
            self.faults.append(error.render())
            return False

    # The script: (what a person does, having looked; what is there in the end)

    def _script(self, app: Application) -> Iterator[tuple[Callable[[], object], Callable[[], bool]]]:
        where = cast(Any, app)
        for name in ("hello", "delivery"):
            yield functools.partial(actions.create_repository, where, OPERATOR, actions.RepositoryBody(name=name)), _always
        yield functools.partial(self.push, app, "delivery", DELIVERY, "desired"), _always
        body = actions.DeliveryBody(repository="delivery")
        yield functools.partial(actions.register_delivery, where, OPERATOR, body), _always
        yield functools.partial(self._token, app), _always
        for text, number in (("one", 1), ("two", 2)):
            files = {"app.py": f"print({text!r})\n", ".setpoint/pipeline.yaml": PIPELINE}
            yield functools.partial(self.push, app, "hello", files, text), functools.partial(self.approvable, app, number)
            yield functools.partial(self._approve, app, number), functools.partial(self.runs, app, "production", number)
        yield functools.partial(self._rollback, app), functools.partial(self.runs, app, "production", 1)
        yield functools.partial(self.world.strike, "production"), functools.partial(self.runs, app, "production", 1)
        yield functools.partial(self._lift, app), functools.partial(self.approvable, app, 2)
        yield functools.partial(self._approve, app, 2), functools.partial(self.runs, app, "production", 2)
        yield functools.partial(self._revoke, app), _always
        yield functools.partial(self._hold, app), lambda: len(self._held(app)) == 1
        yield functools.partial(self._release, app), lambda: not self._held(app)
        yield from later_steps.steps(self, app)
        yield from last_steps.steps(self, app)

    def _token(self, app: Application) -> None:
        """Ask for a token; one that a crash left without an entry was never shown to anybody, and is asked for again."""
        if not any(entry.kind == "token.created" for entry in app.store.journal.entries()):
            actions.create_token(cast(Any, app), OPERATOR, actions.TokenBody(kind="person", email=SAM.email, name="test"))

    def push(self, app: Application, repository: str, files: dict[str, str], message: str) -> None:
        """Push as the Git endpoint takes it, unless it has arrived: it is noted, Git moves the branch, the server journals who pushed."""
        at = int(datetime(2026, 11, 23, 5, tzinfo=UTC).timestamp())
        hand = pygit2.Signature("Dana", "dana@example.com", at, 0)
        bare = pygit2.Repository(str(self.home.repositories / f"{repository}.git"))
        old, ref = app.store.git.heads(repository).get("main"), "refs/heads/main"
        line = app.store.git.first_parents(repository, old) if old is not None else []
        new = next((commit for commit in line if app.store.git.revision(repository, commit).title == message), None)
        if new is None:  # looked for in the whole line: it may lie under pins that Setpoint has committed since
            tree = app.store.git.write_tree(repository, old, {path: text.encode() for path, text in files.items()})
            new = str(bare.create_commit(None, hand, hand, message, tree, [old] if old else []))
            who, update = DANA if repository == "hello" else SAM, RefUpdate(ref, old or ZERO, new)
            noted = app.pushes.spool.begin(repository, who.actor, who.email, [update])
            self.fate.pass_through("git.receive-pack", functools.partial(bare.references.create, ref, new, force=True))
            app.pushes.received(repository, who.actor, who.email, [update])
            app.pushes.spool.settle(noted)

    def runs(self, app: Application, environment: str, number: int) -> bool:
        """Say whether an environment is healthy with a build."""
        seen = app.store.records.deployment("hello", environment)
        return seen is not None and seen.health == "healthy" and seen.version.startswith(f"{number}-")

    def approvable(self, app: Application, number: int) -> bool:
        """Say whether a build serves in staging, and production lacks only an approval."""
        if not self.runs(app, "staging", number):
            return False
        found = app.promotions.explain("hello", "production")
        return found.promotion is not None and [reason.code for reason in found.verdict.blocking()] == ["APPROVAL_MISSING"]

    def _approve(self, app: Application, number: int) -> None:
        """Approve what waits, unless it is approved already."""
        found = [p for p in app.store.records.promotions("hello", "production") if p.version.startswith(f"{number}-") and p.state == "open"]
        if found and not app.store.records.approvals(found[0].promotion):
            actions.approve(cast(Any, app), SAM, found[0].promotion, actions.ApproveBody(message="good"))

    def _lift(self, app: Application) -> None:
        """End the quarantine that the rollback set, unless it has ended."""
        if app.store.records.quarantines("hello", "production"):
            actions.promote(cast(Any, app), SAM, actions.PromoteBody(app="hello", environment="production", lift=True))

    def _held(self, app: Application) -> list[Any]:
        return list(app.stops.listed("hello", "staging", ended=False))

    def _hold(self, app: Application) -> None:
        """Stop the line in staging, unless it is stopped or was stopped before."""
        if not app.stops.listed("hello", "staging", ended=True):
            actions.hold(cast(Any, app), SAM, actions.HoldBody(app="hello", environment="staging", message="wait"))

    def _release(self, app: Application) -> None:
        """Let the line go on, unless it goes."""
        if self._held(app):
            actions.release(cast(Any, app), SAM, actions.ReleaseBody(app="hello", environment="staging", message="go"))

    def _revoke(self, app: Application) -> None:
        """Take back every token that is still good."""
        revoked = {entry.subject for entry in app.store.journal.entries() if entry.kind == "token.revoked"}
        for token in app.store.tokens.list():
            if token.token_id not in revoked:
                actions.revoke_token(cast(Any, app), OPERATOR, token.token_id)

    def _rollback(self, app: Application) -> None:
        """Ask for a rollback, unless one is there already."""
        if not any(p.kind == "rollback" for p in app.store.records.promotions("hello", "production")):
            body = actions.RollbackBody(app="hello", environment="production", message="worse")
            actions.rollback(cast(Any, app), SAM, body)

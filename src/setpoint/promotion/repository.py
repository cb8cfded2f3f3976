"""The delivery repository as Setpoint sees it: the accepted version that judges, the head that is judged, and the pins (laws 3 and 9).

Called by the promotion and reconcile services; it reads Git objects and records, and writes nothing but `baseline.accepted` entries.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from setpoint.core.documents import Document
from setpoint.core.errors import ConfigError, Finding, NotFoundError
from setpoint.core.reasons import Outcome, Reason
from setpoint.ground.identity.model import Directory
from setpoint.ground.journal.ports import Recorder
from setpoint.promotion.config import EnvironmentFile, SetpointFile, parse_environment, parse_setpoint
from setpoint.promotion.delivery import validate_delivery
from setpoint.promotion.model import Pin
from setpoint.promotion.pin import parse_pin, pin_path
from setpoint.promotion.ports import PolicyEngine
from setpoint.source.ports import GitStore

SETPOINT_PATH = "setpoint.yaml"
BY_PATH = "somebody by path"
"""How a pusher is named when nobody authenticated: the push was made into the bare repository by path."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One look at a delivery repository."""

    repository: str
    branch: str
    head: str
    accepted: str
    """The commit whose setpoint.yaml and environment.yaml files judge."""
    setpoint: SetpointFile
    environments: Mapping[str, EnvironmentFile]
    pending: tuple[Reason, ...] = ()
    """Why HEAD's governed files are not in force (law 9); empty when they are."""

    @property
    def directory(self) -> Directory:
        """The people and teams that count."""
        return self.setpoint.directory()

    def environment(self, name: str) -> EnvironmentFile:
        """Return an accepted environment.

        Raises:
            NotFoundError: there is none of that name (SP505).
        """
        if name not in self.environments:
            known = ", ".join(sorted(self.environments)) or "none yet"
            raise NotFoundError("SP505", f"there is no environment `{name}`", fix=f"environments: {known}")
        return self.environments[name]

    def check_app(self, name: str) -> None:
        """Refuse an application that setpoint.yaml does not name.

        Raises:
            NotFoundError: SP506.
        """
        if name not in self.setpoint.apps:
            known = ", ".join(sorted(self.setpoint.apps)) or "none yet"
            raise NotFoundError("SP506", f"there is no application `{name}`", fix=f"applications: {known}")

    def ordered(self) -> list[str]:
        """Return the environments, each after those of its `after:`, otherwise by name."""
        done: list[str] = []
        waiting = sorted(self.environments)
        while waiting:
            ready = [
                name for name in waiting if all(need in done or need not in self.environments for need in self.environments[name].after)
            ]
            done += ready or waiting
            waiting = [name for name in waiting if name not in done]
        return done


@dataclass(frozen=True, slots=True)
class Governed:
    """The parsed files that judge, of one commit."""

    setpoint: Document[SetpointFile]
    environments: Mapping[str, Document[EnvironmentFile]]


class DeliveryRecords(Protocol):
    """What the journal knows of delivery repositories."""

    def deliveries(self) -> Mapping[str, str]:
        """Return {delivery repository: branch}."""
        ...

    def accepted(self, repository: str) -> str | None:
        """Return the last accepted commit."""
        ...

    def pushes(self, repository: str, ref: str) -> Sequence[tuple[str, str, str, str]]:
        """Return (old, new, pusher, at) of every push to a ref, oldest first."""
        ...


class DeliveryReader:
    """Loads the delivery repository of a home."""

    def __init__(self, git: GitStore, records: DeliveryRecords, recorder: Recorder, policy: PolicyEngine) -> None:
        self._git = git
        self._records = records
        self._recorder = recorder
        self._policy = policy
        self._files: dict[tuple[str, str], Governed] = {}
        self._judged: dict[tuple[str, str, str], tuple[Reason, ...]] = {}

    def load(self) -> Delivery | None:
        """Return the delivery repository as of now, accepting what its owners changed; None when none is registered.

        Raises:
            ConfigError: the *accepted* version has faults (it was accepted by its commit id, unread).
        """
        for repository, branch in self._records.deliveries().items():
            head = self._git.heads(repository).get(branch)
            accepted = self._records.accepted(repository)
            if head is None or accepted is None:
                continue
            pending: tuple[Reason, ...] = ()
            if head != accepted and self._governed(repository, head) != self._governed(repository, accepted):
                key = (repository, accepted, head)
                if key not in self._judged:
                    self._judged[key] = self._judge_change(repository, branch, accepted, head)
                pending = self._judged[key]
                accepted = accepted if pending else head
            governed = self.governed(repository, accepted)
            environments = {name: document.model for name, document in governed.environments.items()}
            return Delivery(repository, branch, head, accepted, governed.setpoint.model, environments, pending)
        return None

    def tree(self, delivery: Delivery, path: str) -> str | None:
        """Return the tree id of a folder at HEAD."""
        return self._git.tree_id(delivery.repository, delivery.head, path)

    def pin(self, delivery: Delivery, environment: str, app: str) -> Pin | None:
        """Return the pin at HEAD with the commit that last touched it; None when nothing is pinned.

        Raises:
            UserError: the file is not a pin (a hand edit); its place is named.
        """
        return self.pin_at(delivery.repository, delivery.head, environment, app)

    def pin_at(self, repository: str, commit: str, environment: str, app: str) -> Pin | None:
        """Return the pin as it stood at a commit (see `pin`)."""
        path = pin_path(environment, app)
        data = self._git.read(repository, commit, path)
        if data is None:
            return None
        return parse_pin(data, path, self._git.last_change(repository, commit, path) or "")

    def policy_id(self, delivery: Delivery, environment: str) -> str:
        """Return the blob id of the environment.yaml in force."""
        return self._git.tree_id(delivery.repository, delivery.accepted, f"environments/{environment}/environment.yaml") or ""

    def governed(self, repository: str, commit: str) -> Governed:
        """Return the parsed files that judge at a commit.

        Raises:
            ConfigError: every finding of every file at once.
        """
        key = (repository, commit)
        if key in self._files:
            return self._files[key]
        findings: list[Finding] = []
        setpoint: Document[SetpointFile] | None = None
        environments: dict[str, Document[EnvironmentFile]] = {}
        for path in sorted(self._governed(repository, commit)):
            data = self._git.read(repository, commit, path) or b""
            try:
                if path == SETPOINT_PATH:
                    setpoint = parse_setpoint(data, path)
                else:
                    environments[path.split("/")[1]] = parse_environment(data, path)
            except ConfigError as error:
                findings += error.findings
        if setpoint is None and not findings:
            fix = "add setpoint.yaml with apps, people, teams and owners"
            findings.append(Finding("SP501", "the delivery repository has no setpoint.yaml", SETPOINT_PATH, fix=fix))
        if setpoint is not None and not findings:
            findings += validate_delivery(setpoint, environments, self._apps(repository, commit), self._policy.compile_error)
        if findings or setpoint is None:
            raise ConfigError(findings)
        self._files[key] = Governed(setpoint, environments)
        return self._files[key]

    def _apps(self, repository: str, commit: str) -> set[str]:
        tree = self._git.tree_id(repository, commit, "apps")
        return {file.path.partition("/")[0] for file in self._git.files(repository, tree)} if tree is not None else set()

    def _governed(self, repository: str, commit: str) -> dict[str, str]:
        """Return {path: blob id} of the files that judge: setpoint.yaml and every environment.yaml."""
        found = {}
        root = self._git.tree_id(repository, commit, SETPOINT_PATH)
        if root is not None:
            found[SETPOINT_PATH] = root
        tree = self._git.tree_id(repository, commit, "environments")
        if tree is not None:
            for file in self._git.files(repository, tree):
                folder, _, name = file.path.partition("/")
                if name == "environment.yaml":
                    found[f"environments/{folder}/environment.yaml"] = file.blob
        return found

    def _judge_change(self, repository: str, branch: str, accepted: str, head: str) -> tuple[Reason, ...]:
        """Accept a change of governed files when owners under the last accepted version pushed it; else say why not (law 9)."""
        current = self.governed(repository, accepted)
        setpoint, environments = current.setpoint.model, current.environments
        before, after = self._governed(repository, accepted), self._governed(repository, head)
        pushers = self._pushers_since(repository, branch, accepted, head)
        reasons: list[Reason] = []
        for path in sorted(path for path in {*before, *after} if before.get(path) != after.get(path)):
            known = environments[path.split("/")[1]].model if path != SETPOINT_PATH and path in before else None
            owners = known.owners if known is not None and known.owners else setpoint.owners
            allowed = setpoint.directory().members(owners)
            strangers = sorted(pusher for pusher in pushers if not _owns(setpoint.directory(), pusher, allowed))
            if strangers:
                fix = (
                    f"an owner ({', '.join(owners) or 'none is named'}) pushes it, or the operator runs: setpoint init --accept {head[:12]}"
                )
                found = f"changed by {', '.join(strangers)}"
                reasons.append(Reason("NOT_ACCEPTED", Outcome.WAIT, path, found, "a change pushed by its owners", fix))
        try:
            self.governed(repository, head)
        except ConfigError as error:
            reasons += [
                Reason("FAULTY", Outcome.WAIT, f"{f.path}:{f.line}:{f.column}", f.what, "no findings", f.fix) for f in error.findings
            ]
        if not reasons:
            body = {"commit": head, "why": f"changed by owners: {', '.join(sorted(pushers))}"}
            self._recorder.record("baseline.accepted", repository, "setpoint", body)
        return tuple(reasons)

    def _pushers_since(self, repository: str, branch: str, accepted: str, head: str) -> set[str]:
        """Return who pushed the commits between accepted and head that touch governed files."""
        parents = set(self._git.first_parents(repository, head))
        pusher_of: dict[str, str] = {}
        for old, new, pusher, _at in self._records.pushes(repository, f"refs/heads/{branch}"):
            if new in parents:
                base = None if set(old) == {"0"} else old
                for revision in self._git.history(repository, new, base):
                    pusher_of.setdefault(revision.commit, pusher)
        pushers = set()
        for revision in self._git.history(repository, head, accepted):
            paths = self._git.changed_paths(repository, revision.commit)
            if any(path == SETPOINT_PATH or path.endswith("/environment.yaml") for path in paths):
                pushers.add(pusher_of.get(revision.commit, BY_PATH))
        return pushers


def _owns(directory: Directory, email: str, allowed: frozenset[str]) -> bool:
    person = directory.person(email)
    return person is not None and person.name in allowed

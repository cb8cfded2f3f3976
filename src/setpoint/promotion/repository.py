"""The delivery repository as Setpoint sees it: the accepted version that judges, the head that is judged, and the pins (laws 3 and 9).

Called by the promotion and reconcile services; it reads Git objects and records, and writes nothing but `baseline.accepted` entries.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from setpoint.core.errors import ConfigError, NotFoundError, UserError
from setpoint.core.reasons import Outcome, Reason
from setpoint.core.recent import Recent
from setpoint.ground.identity.model import Directory
from setpoint.ground.journal.ports import Recorder
from setpoint.promotion.checks.written import scripts_path
from setpoint.promotion.config import EnvironmentFile, SetpointFile
from setpoint.promotion.delivery import policy_name_findings
from setpoint.promotion.judging import SETPOINT_PATH, Governed, JudgingFiles
from setpoint.promotion.lines import Lines, is_unit
from setpoint.promotion.model import Pin
from setpoint.promotion.pin import parse_pin, pin_path
from setpoint.promotion.ports import PolicyEngine
from setpoint.source.ports import GitStore

_PINS = 8192
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
        self._judges = JudgingFiles(git, policy)
        self._judged: dict[tuple[str, str, str, int], tuple[Reason, ...]] = {}
        self._trees: dict[str, bool] = {}
        """Object id of an included path -> whether it is a folder."""
        self._pins: Recent[tuple[str, str, str, str], Pin] = Recent(_PINS)
        """(repository, path, blob, the commit that changed it) -> the pin in it"""
        self._ids: Recent[tuple[str, str, str], str] = Recent(_PINS)
        """(repository, commit, path that lines do not know of) -> its id there"""
        self.lines = Lines(git)
        """Which commit put what where; shared with who asks about commits."""
        self._lock = threading.Lock()

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
            if head != accepted and self._changed(repository, accepted, head):
                accepted, pending = self._accept(repository, branch, head)
            governed = self.governed(repository, accepted)
            environments = {name: document.model for name, document in governed.environments.items()}
            return Delivery(repository, branch, head, accepted, governed.setpoint.model, environments, pending)
        return None

    def _changed(self, repository: str, accepted: str, head: str) -> bool:
        """Say whether what judges changed since it was accepted; a head that cannot be read counts as changed, and is judged."""
        try:
            return self._judges.ids(repository, head) != self._judges.ids(repository, accepted)
        except UserError:
            return True

    def _accept(self, repository: str, branch: str, head: str) -> tuple[str, tuple[Reason, ...]]:
        """Judge a change of governed files once; returns the commit that is in force and what stands against head."""
        with self._lock:
            accepted = self._records.accepted(repository) or head
            if accepted == head:
                return head, ()
            # The branch moves before its push is journalled: a push that becomes known is a reason to judge again.
            known = len(self._records.pushes(repository, f"refs/heads/{branch}"))
            key = (repository, accepted, head, known)
            if key not in self._judged:
                self._judged[key] = self._judge_change(repository, branch, accepted, head)
            pending = self._judged[key]
            return (accepted if pending else head), pending

    def require(self, app: str, environment: str) -> Delivery:
        """Return the delivery repository for a question about an application in an environment.

        Raises:
            NotFoundError: none is registered (SP504), or it knows no such application or environment (SP505, SP506).
            ConfigError: see `load`.
        """
        delivery = self.require_environment(environment)
        delivery.check_app(app)
        return delivery

    def require_environment(self, environment: str) -> Delivery:
        """Return the delivery repository for a question about a whole environment (see `require`)."""
        delivery = self.load()
        if delivery is None:
            raise NotFoundError("SP504", "no delivery repository is registered", fix="setpoint init --delivery NAME")
        delivery.environment(environment)
        return delivery

    def tree(self, delivery: Delivery, path: str) -> str | None:
        """Return the tree id of a folder at HEAD."""
        if is_unit(path):
            return self.lines.of(delivery.repository, delivery.head).id_at(delivery.head, path)
        found = self._ids.of(
            (delivery.repository, delivery.head, path), lambda: self._git.tree_id(delivery.repository, delivery.head, path) or ""
        )
        return found or None

    def includes(self, delivery: Delivery, app: str) -> dict[str, str | None]:
        """Return {folder of the application's `includes:`, as accepted: its tree at HEAD}; None when there is no such folder."""
        found = {path: self.tree(delivery, path) for path in delivery.setpoint.apps[app].includes}
        return {path: tree if tree is not None and self._is_tree(delivery.repository, tree) else None for path, tree in found.items()}

    def _is_tree(self, repository: str, object_id: str) -> bool:
        """Say whether an object is a folder; asked once for each, for an id never means something else."""
        if object_id not in self._trees:
            try:
                self._git.files(repository, object_id)
                self._trees[object_id] = True
            except NotFoundError:
                self._trees[object_id] = False
        return self._trees[object_id]

    def is_older_tree(self, delivery: Delivery, path: str, tree: str | None, than: str | None) -> bool:
        """Say whether the newest commit of the branch where a folder had one tree comes before the newest where it had another.

        False when the branch's first parents do not have both.
        """
        if is_unit(path):
            return self.lines.of(delivery.repository, delivery.head).is_older(delivery.head, path, tree, than)
        for commit in (line := iter(self._git.first_parents(delivery.repository, delivery.head))):
            found = self._git.tree_id(delivery.repository, commit, path)
            if found == tree:
                return False
            if found == than:
                return any(self._git.tree_id(delivery.repository, older, path) == tree for older in line)
        return False

    def changed_at(self, delivery: Delivery, path: str, tree: str | None) -> str:
        """Return the newest commit of the branch that gave a folder this tree; empty when its first parents never had it."""
        line = self._git.first_parents(delivery.repository, delivery.head)
        at = next((commit for commit in line if self._git.tree_id(delivery.repository, commit, path) == tree), None)
        return (self._git.last_change(delivery.repository, at, path) or "") if at is not None else ""

    def pin(self, delivery: Delivery, environment: str, app: str) -> Pin | None:
        """Return the pin at HEAD with the commit that last touched it; None when nothing is pinned.

        Raises:
            UserError: the file is not a pin (a hand edit); its place is named.
        """
        self.lines.of(delivery.repository, delivery.head)
        return self.pin_at(delivery.repository, delivery.head, environment, app)

    def pin_at(self, repository: str, commit: str, environment: str, app: str) -> Pin | None:
        """Return the pin as it stood at a commit (see `pin`)."""
        path = pin_path(environment, app)
        line = self.lines.find(repository, commit)
        blob = line.id_at(commit, path) if line is not None else None
        changed = line.changed_by(commit, path) if line is not None else None
        if line is not None and blob is None:
            return None
        if blob and changed and (kept := self._pins.get((repository, path, blob, changed))) is not None:
            return kept
        data = self._git.read(repository, commit, path)
        if data is None:
            return None
        found = parse_pin(data, path, changed or self._git.last_change(repository, commit, path) or "")
        return self._pins.put((repository, path, blob, changed), found) if blob and changed else found

    def pin_commit(self, delivery: Delivery, environment: str, app: str) -> str:
        """Return the commit that last touched the pin's file, whoever wrote it; empty when there is no such file at HEAD."""
        path = pin_path(environment, app)
        changed = self.lines.of(delivery.repository, delivery.head).changed_by(delivery.head, path)
        return changed or (self._git.last_change(delivery.repository, delivery.head, path) or "" if changed is not None else "")

    def policy_id(self, delivery: Delivery, environment: str) -> str:
        """Return the blob id of the environment.yaml in force."""
        return self._judges.ids(delivery.repository, delivery.accepted).get(f"environments/{environment}/environment.yaml", "")

    def scripts_id(self, delivery: Delivery, environment: str) -> str:
        """Return the tree id of the accepted scripts that an environment's checks run with; empty when there are none."""
        return self._judges.ids(delivery.repository, delivery.accepted).get(scripts_path(environment), "")

    def governed(self, repository: str, commit: str) -> Governed:
        """Return the parsed files that judge at a commit.

        Raises:
            ConfigError: every finding of every file at once.
        """
        return self._judges.parsed(repository, commit)

    def _judge_change(self, repository: str, branch: str, accepted: str, head: str) -> tuple[Reason, ...]:
        """Accept a change of governed files when owners under the last accepted version pushed it; else say why not (law 9)."""
        current = self.governed(repository, accepted)
        setpoint, environments = current.setpoint.model, current.environments
        try:
            before, after = self._judges.ids(repository, accepted), self._judges.ids(repository, head)
        except UserError as error:
            return (_faulty(error),)
        changed_by = self._changed_by(repository, branch, accepted, head)
        reasons: list[Reason] = []
        for path in sorted(path for path in {*before, *after} if before.get(path) != after.get(path)):
            known = environments.get(path.split("/")[1]) if path != SETPOINT_PATH else None
            owners = known.model.owners if known is not None and known.model.owners else setpoint.owners
            allowed = setpoint.directory().members(owners)
            strangers = sorted(pusher for pusher in changed_by.get(path, {BY_PATH}) if not _owns(setpoint.directory(), pusher, allowed))
            if strangers:
                fix = (
                    f"an owner ({', '.join(owners) or 'none is named'}) pushes it, or the operator runs: setpoint init --accept {head[:12]}"
                )
                found = f"changed by {', '.join(strangers)}"
                reasons.append(Reason("NOT_ACCEPTED", Outcome.WAIT, path, found, "a change pushed by its owners", fix))
        try:
            now = self.governed(repository, head).environments
            changed = (
                now[path.split("/")[1]]
                for path in after
                if path.endswith(".yaml") and path != SETPOINT_PATH and before.get(path) != after[path]
            )
            new = [finding for document in changed for finding in policy_name_findings(document)]
            reasons += [Reason("FAULTY", Outcome.WAIT, f.place, f.what, "no findings", f.fix) for f in new]
        except ConfigError as error:
            reasons += [Reason("FAULTY", Outcome.WAIT, f.place, f.what, "no findings", f.fix) for f in error.findings]
        except UserError as error:
            reasons.append(_faulty(error))
        if not reasons:
            pushers = {pusher for path, names in changed_by.items() if before.get(path) != after.get(path) for pusher in names}
            body = {"commit": head, "why": f"changed by owners: {', '.join(sorted(pushers))}"}
            self._recorder.record("baseline.accepted", repository, "setpoint", body)
        return tuple(reasons)

    def _changed_by(self, repository: str, branch: str, accepted: str, head: str) -> dict[str, set[str]]:
        """Return {governed path: who changed it}, push by push from head back to where the accepted files stood.

        What counts is which files a push found and which it left, never the commits in between: a merge can hide a change from every
        commit's own list of changes. A change that no push explains was made by path.
        """
        wanted, now = self._judges.ids(repository, accepted), self._judges.ids(repository, head)
        found: dict[str, set[str]] = {}

        def note(before: Mapping[str, str], after: Mapping[str, str], who: str) -> None:
            for path in {*before, *after}:
                if before.get(path) != after.get(path):
                    found.setdefault(path, set()).add(who)

        for old, new, pusher, _at in reversed(self._records.pushes(repository, f"refs/heads/{branch}")):
            if now == wanted:
                break
            before, left = self._judges.then(repository, old), self._judges.then(repository, new)
            note(left, now, BY_PATH)
            note(before, left, pusher)
            now = before
        note(wanted, now, BY_PATH)
        return found


def _faulty(error: UserError) -> Reason:
    return Reason("FAULTY", Outcome.WAIT, error.where or "the delivery repository", error.what, "no findings", error.fix)


def _owns(directory: Directory, email: str, allowed: frozenset[str]) -> bool:
    person = directory.person(email)
    return person is not None and person.name in allowed

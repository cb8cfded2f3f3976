"""The delivery repository as Setpoint sees it: the accepted version that judges, the head that is judged, and the pins (laws 3 and 9).

Called by the promotion and reconcile services; it reads Git objects and records, and writes nothing but `baseline.accepted` entries.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from setpoint.core.documents import Document
from setpoint.core.errors import NotFoundError, UserError
from setpoint.core.reasons import Reason
from setpoint.core.recent import Recent
from setpoint.ground.identity.model import Directory
from setpoint.ground.journal.ports import Recorder
from setpoint.promotion.acceptance import Acceptance, AcceptanceRecords
from setpoint.promotion.checks.written import scripts_path
from setpoint.promotion.config import AppConfig, EnvironmentFile, SetpointFile
from setpoint.promotion.generators.config import GeneratorFile, environment_path
from setpoint.promotion.generators.merging import Merged, merge
from setpoint.promotion.generators.model import Expansion, Generated
from setpoint.promotion.judging import Governed, JudgingFiles
from setpoint.promotion.lines import Lines, is_unit
from setpoint.promotion.model import Pin
from setpoint.promotion.pin import parse_pin, pin_path
from setpoint.promotion.ports import PolicyEngine
from setpoint.source.ports import GitStore

_MERGED: Final = 8
_PINS: Final = 8192


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
    generated: Generated = field(default_factory=Generated)
    """What of the applications and environments nobody wrote down, and which generator made it."""

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

    def runs(self, app: str, environment: str) -> bool:
        """Say whether an application is to run in an environment: both are there, and it says so."""
        config = self.setpoint.apps.get(app)
        if config is None or environment not in self.environments:
            return False
        only = self.generated.only.get(environment)
        return app in only if only is not None else config.runs_in(environment)

    def apps_in(self, environment: str) -> list[str]:
        """Return the applications that are to run in an environment, in the order of setpoint.yaml."""
        return [app for app in self.setpoint.apps if self.runs(app, environment)]

    def app_in(self, app: str, environment: str) -> AppConfig:
        """Return an application as it is in an environment.

        In a preview its source is the preview's branch, and what it depends on is the template's where the preview does not have it.
        """
        config, preview = self.setpoint.apps[app], self.generated.previews.get(environment)
        if preview is None:
            return config
        like = self.template(environment)
        depends = tuple(one if "@" in one or self.runs(one, environment) else f"{one}@{like}" for one in config.dependsOn)
        branch = preview.life.branch if config.source == preview.repository else config.branch
        return config.model_copy(update={"branch": branch, "dependsOn": depends})

    def revision_in(self, app: str, environment: str) -> str:
        """Return the only commit of its source that an application is taken from in an environment; empty: the newest that was built."""
        preview = self.generated.previews.get(environment)
        return preview.life.commit if preview is not None and self.setpoint.apps[app].source == preview.repository else ""

    def template(self, environment: str) -> str:
        """Return whose file and folder an environment has: its own, or its template's when a generator made it."""
        return self.generated.like.get(environment, environment)

    def overlay(self, environment: str, app: str) -> str:
        """Return the folder of the delivery repository with an environment's own manifests of an application."""
        return f"environments/{self.template(environment)}/{app}"

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


class DeliveryRecords(AcceptanceRecords, Protocol):
    """What the journal knows of delivery repositories."""

    def deliveries(self) -> Mapping[str, str]:
        """Return {delivery repository: branch}."""
        ...

    def expansions(self) -> tuple[int, Sequence[Expansion]]:
        """Return (what grows with every change of them, what every generator makes)."""
        ...


class DeliveryReader:
    """Loads the delivery repository of a home."""

    def __init__(self, git: GitStore, records: DeliveryRecords, recorder: Recorder, policy: PolicyEngine) -> None:
        self._git = git
        self._records = records
        self.files = JudgingFiles(git, policy)
        """What judges, at any commit."""
        self._acceptance = Acceptance(git, records, recorder, self.files)
        self._merged: Recent[tuple[str, str, int], Merged] = Recent(_MERGED)
        """(repository, accepted commit, state of the expansions) -> all that is there"""
        self._trees: dict[str, bool] = {}
        """Object id of an included path -> whether it is a folder."""
        self._pins: Recent[tuple[str, str, str, str], Pin] = Recent(_PINS)
        """(repository, path, blob, the commit that changed it) -> the pin in it"""
        self._ids: Recent[tuple[str, str, str], str] = Recent(_PINS)
        """(repository, commit, path that lines do not know of) -> its id there"""
        self.lines = Lines(git)
        """Which commit put what where; shared with who asks about commits."""

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
            if head != accepted and self._acceptance.changed(repository, accepted, head):
                accepted, pending = self._acceptance.accept(repository, branch, head)
            merged = self._merge(repository, accepted)
            return Delivery(repository, branch, head, accepted, merged.setpoint, merged.environments, pending, merged.generated)
        return None

    def governed(self, repository: str, commit: str) -> Governed:
        """Return the parsed files that judge at a commit.

        Raises:
            ConfigError: every finding of every file at once.
        """
        return self.files.parsed(repository, commit)

    def _merge(self, repository: str, accepted: str) -> Merged:
        """Return what is accepted together with what generators made, each by the file that was in force when it did."""
        version, expansions = self._records.expansions()
        kept = self._merged.get((repository, accepted, version))
        if kept is not None:
            return kept

        def then(commit: str, generator: str) -> tuple[Document[GeneratorFile] | None, Mapping[str, EnvironmentFile]]:
            try:
                governed = self.governed(repository, commit)
            except UserError:
                return None, {}
            return governed.generators.get(generator), {name: document.model for name, document in governed.environments.items()}

        governed = self.governed(repository, accepted)
        environments = {name: document.model for name, document in governed.environments.items()}
        merged = merge(governed.setpoint.model, environments, expansions, then)
        return self._merged.put((repository, accepted, version), merged)

    def require(self, app: str, environment: str) -> Delivery:
        """Return the delivery repository for a question about an application in an environment.

        Raises:
            NotFoundError: none is registered (SP504), or it knows no such application or environment (SP505, SP506, SP591).
            ConfigError: see `load`.
        """
        delivery = self.require_environment(environment)
        delivery.check_app(app)
        if not delivery.runs(app, environment):
            places = ", ".join(name for name in delivery.ordered() if delivery.runs(app, name)) or "nowhere"
            raise NotFoundError("SP591", f"`{app}` does not run in {environment}", fix=f"it runs in: {places}")
        return delivery

    def require_environment(self, environment: str) -> Delivery:
        """Return the delivery repository for a question about a whole environment (see `require`)."""
        delivery = self.require_delivery()
        delivery.environment(environment)
        return delivery

    def require_delivery(self) -> Delivery:
        """Return the delivery repository; NotFoundError when none is registered (SP504), or its branch is gone (SP574)."""
        delivery = self.load()
        if delivery is None:
            raise self.absent()
        return delivery

    def absent(self) -> NotFoundError:
        """Return why there is no delivery repository to look at, with the way to one."""
        for repository, branch in self._records.deliveries().items():
            others = sorted(self._git.heads(repository))
            fix = "push it again" + (f", or name another: setpoint init --delivery {repository} --branch {others[0]}" if others else "")
            what = f"`{repository}` has no branch `{branch}` any more; what runs stays as it is"
            return NotFoundError("SP574", what, where=repository, fix=fix)
        return NotFoundError("SP504", "no delivery repository is registered", fix="setpoint init --delivery NAME")

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
        """Return the blob id of the environment.yaml in force; of an environment that a generator made, its template's."""
        path = environment_path(delivery.template(environment))
        return self.files.ids(delivery.repository, delivery.accepted).get(path, "")

    def scripts_id(self, delivery: Delivery, environment: str) -> str:
        """Return the tree id of the accepted scripts that an environment's checks run with; empty when there are none."""
        path = scripts_path(delivery.template(environment))
        return self.files.ids(delivery.repository, delivery.accepted).get(path, "")

"""Registers the delivery repository and accepts versions of it by commit id (law 9); called by the API and for `init`'s inbox.

It never reads what it accepts: the operator names a commit, and that is journalled; faults in it are shown by `status` and `check`.
"""

import json
import logging
import re
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final, Protocol

from setpoint.core.errors import ConflictError, NotFoundError, SetpointError, UserError
from setpoint.ground.identity.model import Principal
from setpoint.ground.journal.model import Fact
from setpoint.ground.journal.ports import Recorder
from setpoint.promotion.repository import DeliveryReader, DeliveryRecords
from setpoint.source.ports import GitStore

log = logging.getLogger(__name__)

_COMMIT: Final = re.compile(r"[0-9a-f]{7,64}")


class RegistrationRecords(DeliveryRecords, Protocol):
    """What the journal knows of repositories (adapters.database.records)."""

    def hosted(self) -> AbstractSet[str]:
        """Return the repositories whose creation is journalled."""
        ...


class Registration:
    """The operator's word about the delivery repository."""

    def __init__(self, git: GitStore, records: RegistrationRecords, recorder: Recorder, reader: DeliveryReader) -> None:
        self._git = git
        self._records = records
        self._recorder = recorder
        self._reader = reader

    def register(self, repository: str, branch: str, commit: str, caller: Principal) -> dict[str, str]:
        """Register and accept a commit; returns {repository, branch, commit}. An empty branch is the one that is registered, else main.

        Raises:
            NotFoundError: no such repository or commit (SP502).
            ConflictError: another delivery repository is registered (SP503).
            ConfigError: the version to accept has faults, all of them named.
        """
        others = [name for name in self._records.deliveries() if name != repository]
        if others:
            raise ConflictError("SP503", f"`{others[0]}` is this home's delivery repository", fix="one home has one; use another --home")
        if repository not in self._git.names():
            raise NotFoundError("SP502", f"there is no repository `{repository}`", fix=f"known: {', '.join(self._git.names()) or 'none'}")
        if commit and not _COMMIT.fullmatch(commit):
            fix = "give the commit id: what is accepted must not move (law 9)"
            raise UserError("SP502", f"`{commit}` is no commit id", where=repository, fix=fix)
        registered = self._records.deliveries().get(repository, "")
        branch = branch or registered or "main"
        found = self._git.resolve(repository, commit or branch)
        if found is None:
            raise NotFoundError("SP502", f"`{repository}` has no commit `{commit or branch}`", fix="push it first")
        self._reader.governed(repository, found)
        facts: list[Fact] = []
        if registered != branch:
            facts.append(Fact("delivery.registered", repository, caller.actor, {"branch": branch}))
        if self._records.accepted(repository) != found:
            body = {"commit": found, "why": "accepted by the operator by its commit id"}
            facts.append(Fact("baseline.accepted", repository, caller.actor, body))
        self._recorder.record_all(facts)
        return {"repository": repository, "branch": branch, "commit": found}

    def host(self, name: str, actor: str) -> bool:
        """Create a repository and journal that, each unless it is done; returns whether it is new.

        Raises:
            UserError: no valid name (SP101).
        """
        self._git.create(name)
        fresh = name not in self._records.hosted()
        if fresh:
            self._recorder.record("repository.created", name, actor, {})
        return fresh

    def drain(self, inbox: Path) -> None:
        """Do what `setpoint init` left while no server ran; a request that cannot be done is kept and logged."""
        for request in sorted(inbox.glob("*.json")):
            try:
                wanted = json.loads(request.read_text())
                for name in wanted.get("repositories", []):
                    self.host(name, "operator")
                self.register(wanted["delivery"], wanted.get("branch", "main"), wanted.get("commit", ""), Principal("operator"))
            except (SetpointError, ValueError, KeyError) as error:
                log.error("init request %s: %s", request.name, error)  # noqa: TRY400 - the text says it; a traceback helps nobody
                continue
            request.unlink()

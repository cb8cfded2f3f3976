"""Law 9: whose change of the files that judge takes effect. Judged once for each head, by the version that is in force.

Used by the delivery reader; it reads Git objects and records, and writes nothing but `baseline.accepted` entries.
"""

import threading
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from setpoint.core.errors import ConfigError, UserError
from setpoint.core.reasons import Outcome, Reason
from setpoint.ground.identity.model import Directory
from setpoint.ground.journal.ports import Recorder
from setpoint.promotion.delivery import policy_name_findings
from setpoint.promotion.judging import JudgingFiles, environment_of
from setpoint.source.ports import GitStore

BY_PATH: Final = "somebody by path"
"""How a pusher is named when nobody authenticated: the push was made into the bare repository by path."""


class AcceptanceRecords(Protocol):
    """What the journal knows of what was accepted and pushed."""

    def accepted(self, repository: str) -> str | None:
        """Return the last accepted commit."""
        ...

    def pushes(self, repository: str, ref: str) -> Sequence[tuple[str, str, str, str]]:
        """Return (old, new, pusher, at) of every push to a ref, oldest first."""
        ...


class Acceptance:
    """Says what is in force; safe to call from several threads."""

    def __init__(self, git: GitStore, records: AcceptanceRecords, recorder: Recorder, files: JudgingFiles) -> None:
        self._git = git
        self._records = records
        self._recorder = recorder
        self._files = files
        self._judged: dict[tuple[str, str, str, int], tuple[Reason, ...]] = {}
        self._lock = threading.Lock()

    def changed(self, repository: str, accepted: str, head: str) -> bool:
        """Say whether what judges changed since it was accepted; a head that cannot be read counts as changed, and is judged."""
        try:
            return self._files.ids(repository, head) != self._files.ids(repository, accepted)
        except UserError:
            return True

    def accept(self, repository: str, branch: str, head: str) -> tuple[str, tuple[Reason, ...]]:
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

    def _judge_change(self, repository: str, branch: str, accepted: str, head: str) -> tuple[Reason, ...]:
        """Accept a change of governed files when owners under the last accepted version pushed it; else say why not (law 9)."""
        current = self._files.parsed(repository, accepted)
        setpoint, environments = current.setpoint.model, current.environments
        try:
            before, after = self._files.ids(repository, accepted), self._files.ids(repository, head)
        except UserError as error:
            return (_faulty(error),)
        changed_by = self._changed_by(repository, branch, accepted, head)
        reasons: list[Reason] = []
        for path in sorted(path for path in {*before, *after} if before.get(path) != after.get(path)):
            known = environments.get(path.split("/")[1]) if path.startswith("environments/") else None
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
            now = self._files.parsed(repository, head).environments
            changed = (now[name] for path in after if (name := environment_of(path)) and before.get(path) != after[path])
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
        wanted, now = self._files.ids(repository, accepted), self._files.ids(repository, head)
        found: dict[str, set[str]] = {}

        def note(before: Mapping[str, str], after: Mapping[str, str], who: str) -> None:
            for path in {*before, *after}:
                if before.get(path) != after.get(path):
                    found.setdefault(path, set()).add(who)

        for old, new, pusher, _at in reversed(self._records.pushes(repository, f"refs/heads/{branch}")):
            if now == wanted:
                break
            before, left = self._files.then(repository, old), self._files.then(repository, new)
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

"""Sets, lists and removes secrets, and hands a value to whoever is to give it to a task; called by the API and by the pipeline's source.

The value is on the disk before the journal says that there is a version, so an entry always has its value; a crash in between leaves a
file that the next `set` overwrites. A value goes after the entry that ends it, or at the next start (`sweep`). Nothing here logs, returns
or raises a value.
"""

import re
from typing import Final

from setpoint.core.errors import NotFoundError, UserError
from setpoint.ground.journal.ports import Recorder
from setpoint.ground.secrets.model import Secret
from setpoint.ground.secrets.ports import SecretRecords, SecretValues

SHORTEST: Final = 8
"""Characters. A shorter value would be masked in half of every log, or guessed from what is masked."""
LONGEST_BYTES: Final = 64 << 10
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_REPOSITORY: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
"""As the repositories of a home are named: a secret may be set before the first push."""
_KEPT: Final = 2
"""Versions whose values stay: a task that was prepared before a change is still given what its key says."""


class Secrets:
    """The secrets of one home."""

    def __init__(self, records: SecretRecords, values: SecretValues, recorder: Recorder) -> None:
        self._records = records
        self._values = values
        self._recorder = recorder

    def listed(self, repository: str | None = None) -> list[Secret]:
        """Return the secrets in force."""
        return self._records.secrets(repository)

    def waits(self, repository: str) -> bool:
        """Say whether a repository is not there yet: its secrets are given to tasks from its first push on."""
        return repository not in self._records.hosted()

    def set(self, repository: str, name: str, value: str, actor: str) -> Secret:
        """Store a value as the next version and journal it.

        Raises:
            UserError: nothing that a repository or secret can be called (SP250), or no value that can be kept secret (SP251).
        """
        self._check_place(repository, name)
        _check_value(value)
        version = self._records.last_version(repository, name) + 1
        self._values.write(repository, name, version, value)
        body = {"repository": repository, "name": name, "version": version}
        entry = self._recorder.record("secret.set", f"{repository}/{name}", actor, body)
        self._values.forget(repository, name, version - _KEPT + 1)
        return Secret(repository, name, version, entry.at, actor)

    def remove(self, repository: str, name: str, actor: str) -> Secret:
        """Journal that a secret is gone, and delete its values.

        Raises:
            NotFoundError: there is none of this name (SP252).
        """
        found = self.find(repository, name)
        body = {"repository": repository, "name": name, "version": found.version}
        self._recorder.record("secret.removed", f"{repository}/{name}", actor, body)
        self._values.forget(repository, name, found.version + 1)
        return found

    def sweep(self) -> None:
        """Delete the values that the journal has ended, which a crash may have kept; called at the start, before anybody reads one.

        What the journal has never heard of stays: it may be younger than a journal that was restored (law 7).
        """
        for repository, name in self._values.names():
            found = next((secret for secret in self.listed(repository) if secret.name == name), None)
            last = self._records.last_version(repository, name)
            self._values.forget(repository, name, found.version - _KEPT + 1 if found is not None else last + 1)

    def find(self, repository: str, name: str) -> Secret:
        """Return the version in force.

        Raises:
            NotFoundError: there is none of this name (SP252).
        """
        found = next((secret for secret in self._records.secrets(repository) if secret.name == name), None)
        if found is None:
            fix = f"setpoint secret set {name} --repository {repository}"
            raise NotFoundError("SP252", f"`{repository}` has no secret `{name}`", where=repository, fix=fix)
        return found

    def value(self, repository: str, name: str, version: int) -> str:
        """Return the value of a version.

        Raises:
            UserError: the value is not in this home (SP253): the home was restored without it, or it was replaced twice.
        """
        value = self._values.read(repository, name, version)
        if value is None:
            fix = f"setpoint secret set {name} --repository {repository}"
            raise UserError("SP253", f"the value of `{name}@{version}` is not in this home", where=repository, fix=fix)
        return value

    def _check_place(self, repository: str, name: str) -> None:
        if not _REPOSITORY.fullmatch(repository) or repository.endswith((".git", ".lock")):
            hosted = ", ".join(sorted(self._records.hosted())) or "none"
            raise UserError("SP250", f"`{repository[:80]}` can be no repository", fix=f"repositories: {hosted}")
        if not _NAME.fullmatch(name):
            fix = "letters, digits and underscores, no digit first, at most 64"
            raise UserError("SP250", f"`{name[:80]}` is no name of a secret", fix=fix)


def _check_value(value: str) -> None:
    size = len(value.encode(errors="replace"))
    if len(value.strip()) < SHORTEST:
        why = "so short a value can be guessed, and masking it would blot out half of every log"
        raise UserError("SP251", f"the value has fewer than {SHORTEST} characters: {why}", fix="use a longer one")
    if size > LONGEST_BYTES:
        raise UserError("SP251", f"the value has {size} bytes, more than {LONGEST_BYTES}", fix="keep a key to it here, and it elsewhere")
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise UserError("SP251", "the value holds a character that no environment variable can hold", fix="encode it, as base64")

"""What secrets need from outside: the journal's projection of names and versions, and a place for the values."""

from typing import Protocol

from setpoint.ground.secrets.model import Secret


class SecretRecords(Protocol):
    """Secrets as the journal tells them."""

    def secrets(self, repository: str | None = None) -> list[Secret]:
        """Return the secrets in force, of one repository or of all, by repository and name."""
        ...

    def last_version(self, repository: str, name: str) -> int:
        """Return the last version that a name had, also when it was removed; 0 when it never had a value."""
        ...

    def hosted(self) -> set[str]:
        """Return the repositories of this home."""
        ...


class SecretValues(Protocol):
    """Keeps values at rest, outside of journal and database."""

    def write(self, repository: str, name: str, version: int, value: str) -> None:
        """Store a value durably; WorldError SP254 when the disk refuses."""
        ...

    def read(self, repository: str, name: str, version: int) -> str | None:
        """Return a value; None when it is not here."""
        ...

    def names(self) -> list[tuple[str, str]]:
        """Return every (repository, name) that has a value here."""
        ...

    def forget(self, repository: str, name: str, below: int) -> None:
        """Delete the values of all versions below a number."""
        ...

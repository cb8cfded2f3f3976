"""What registries need from outside: the journal's projection of logins, a place for what is secret of them, and someone to try one."""

from typing import Protocol

from setpoint.ground.registries.model import Registry, RegistryAccess


class RegistryRecords(Protocol):
    """Logins as the journal tells them."""

    def registries(self) -> list[Registry]:
        """Return the logins in force, by host."""
        ...

    def last_login(self, host: str) -> int:
        """Return the version of the last login that a host had, also when it was ended; 0 when it never had one."""
        ...


class RegistryGreeting(Protocol):
    """Speaks to a registry for the first time (adapters.oci.client)."""

    def __call__(self, access: RegistryAccess) -> None:
        """Return when the registry knows this user; UserError SP331 when it does not, WorldError SP307 when it gives no usable answer."""
        ...

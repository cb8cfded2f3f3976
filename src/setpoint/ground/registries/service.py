"""Keeps the logins of a home to other registries; called by the API, and by who fetches from or copies to them.

What is secret of a login lies on the disk before the journal tells of it, as with secrets of repositories. Nothing here logs, returns to
people, or raises a password.
"""

import json
import re
from dataclasses import replace
from typing import Final

from setpoint.core.errors import NotFoundError, UserError, WorldError
from setpoint.ground.journal.ports import Recorder
from setpoint.ground.registries.model import Registry, RegistryAccess
from setpoint.ground.registries.ports import RegistryGreeting, RegistryRecords
from setpoint.ground.secrets.ports import SecretValues

_HOST: Final = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,253}[A-Za-z0-9])?|\[[0-9a-fA-F:]{2,45}\])(?::[0-9]{1,5})?")
_LONGEST: Final = 64 << 10
_NAME: Final = "login"


class Registries:
    """The logins of one home."""

    def __init__(self, records: RegistryRecords, values: SecretValues, recorder: Recorder, greet: RegistryGreeting) -> None:
        self._records = records
        self._values = values
        self._recorder = recorder
        self._greet = greet

    def listed(self) -> list[Registry]:
        """Return the logins in force, by host."""
        return self._records.registries()

    def login(self, access: RegistryAccess, actor: str) -> Registry:
        """Try a login and keep it as the next version for its host.

        Raises:
            UserError: no such host, user or authorities can be (SP330), the registry does not know the user (SP331), or nothing there
                answers as a registry does (SP332); nothing is kept.
        """
        access = replace(access, host=access.host.lower())
        _check(access)
        try:
            self._greet(access)
        except WorldError as error:
            fix = "check host and port, and that it is up; --ca for a certificate of your own authority"
            raise UserError(
                "SP332", f"the login is not kept, for it could not be tried: {error.what}", where=error.where, fix=fix
            ) from error
        version = self._records.last_login(access.host) + 1
        secret = {"password": access.password, "authorities": access.authorities}
        self._values.write(access.host, _NAME, version, json.dumps(secret))
        body = {
            "host": access.host,
            "user": access.user,
            "plain_http": access.plain_http,
            "own_authorities": bool(access.authorities),
            "version": version,
        }
        entry = self._recorder.record("registry.login", access.host, actor, body)
        self._values.forget(access.host, _NAME, version)
        return Registry(access.host, access.user, access.plain_http, bool(access.authorities), version, entry.at, actor)

    def logout(self, host: str, actor: str) -> Registry:
        """Journal that a login is ended, and delete what was secret of it.

        Raises:
            NotFoundError: there is none for this host (SP334).
        """
        found = self._find(host)
        if found is None:
            hosts = ", ".join(registry.host for registry in self.listed()) or "none"
            raise NotFoundError("SP334", f"this home has no login to {host[:300]}", where=host[:300], fix=f"logins: {hosts}")
        self._recorder.record("registry.logout", found.host, actor, {"host": found.host, "version": found.version})
        self._values.forget(found.host, _NAME, found.version + 1)
        return found

    def sweep(self) -> None:
        """Delete what was secret of logins that the journal has ended, which a crash may have kept; called at the start."""
        for host, name in self._values.names():
            found, last = self._find(host), self._records.last_login(host)
            self._values.forget(host, name, found.version if found is not None else last + 1)

    def access(self, host: str) -> RegistryAccess:
        """Return how a host is spoken to: by its login, or as anybody when there is none.

        Raises:
            UserError: what was secret of its login is not in this home (SP335).
        """
        found = self._find(host)
        if found is None:
            return RegistryAccess(host.lower())
        kept = self._values.read(found.host, _NAME, found.version)
        if kept is None:
            fix = f"setpoint registry login {host} --user {found.user or 'USER'}"
            raise UserError("SP335", f"the password for {host} is not in this home: it was restored without it", where=host, fix=fix)
        secret = json.loads(kept)
        return RegistryAccess(host.lower(), found.user, secret["password"], found.plain_http, secret["authorities"])

    def _find(self, host: str) -> Registry | None:
        """Return the login in force for a host; case is nothing in names of hosts (RFC 4343), and one kept in small letters comes first."""
        folded = host.lower()
        same = [registry for registry in self._records.registries() if registry.host.lower() == folded]
        return max(same, key=lambda registry: registry.host == folded, default=None)


def _check(access: RegistryAccess) -> None:
    if _HOST.fullmatch(access.host) is None:
        fix = "name it as in references, without scheme and path: registry.example.com:5000"
        raise UserError("SP330", f"`{access.host[:300]}` is no host of a registry", where=access.host[:300], fix=fix)
    if bool(access.user) != bool(access.password):
        raise UserError("SP330", "a user needs a password, and a password a user", where=access.host, fix="give both, or none of them")
    if ":" in access.user or not (access.user + access.password).isprintable():
        what = "the user has a colon, or user or password a character that HTTP Basic cannot carry"
        raise UserError("SP330", what, where=access.host, fix="ask the registry for another one (RFC 7617)")
    if len(access.password) > _LONGEST or len(access.authorities) > _LONGEST:
        raise UserError("SP330", f"the password or the certificates have more than {_LONGEST} characters", where=access.host)
    if access.authorities and "-----BEGIN CERTIFICATE-----" not in access.authorities:
        raise UserError("SP330", "the authorities hold no certificate", where=access.host, fix="give them as PEM")
    if access.plain_http and access.authorities:
        raise UserError("SP330", "without TLS there is no certificate to check", where=access.host, fix="leave one of the two out")

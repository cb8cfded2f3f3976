"""Turns a `Credential` into what a request carries: a bearer token, a client certificate; renewed when it runs out.

Called by the transport, in its event loop; plugins and files are read in threads. A token is never logged and never an argument.
"""

import asyncio
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from setpoint.adapters.kubernetes.kubeconfig import Credential, ExecPlugin
from setpoint.core.errors import CredentialError

_PLUGIN_S: Final = 30.0
_LIMIT_BYTES: Final = 1 << 20
_EARLY: Final = timedelta(seconds=30)
"""A credential is renewed so long before it ends."""
_FILE_AGE: Final = timedelta(seconds=60)
"""A token file is read again after this: kubelet rotates bound tokens well before they end."""
_PASSED: Final = ("PATH", "HOME", "USER", "LANG", "TMPDIR", "HTTPS_PROXY", "NO_PROXY", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")


@dataclass(frozen=True, slots=True)
class Proof:
    """What requests carry now."""

    token: str = field(default="", repr=False)
    certificate: bytes = b""
    key: bytes = field(default=b"", repr=False)
    until: datetime | None = None
    """None: it does not run out by itself."""


class Credentials:
    """The proof of one user, renewed when it is due; one renewal at a time."""

    def __init__(self, credential: Credential, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._credential = credential
        self._now = now
        self._lock = asyncio.Lock()
        self._proof: Proof | None = None

    async def proof(self) -> Proof:
        """Return the proof to use now.

        Raises:
            CredentialError: a plugin failed, or a token file cannot be read (SP681).
        """
        async with self._lock:
            if self._proof is None or (self._proof.until is not None and self._now() >= self._proof.until):
                self._proof = await asyncio.to_thread(self._renew)
            return self._proof

    def refused(self) -> None:
        """Forget the proof: the server refused it, so that the next call asks anew."""
        self._proof = None

    def _renew(self) -> Proof:
        credential = self._credential
        if credential.token:
            return Proof(credential.token, credential.certificate, credential.key)
        if credential.token_file is not None:
            try:
                with credential.token_file.open("rb") as file:
                    token = file.read(_LIMIT_BYTES).decode(errors="replace").strip()
            except OSError as error:
                where, fix = str(credential.token_file), "is the account mounted, and may the server read it?"
                raise CredentialError("SP681", f"the token cannot be read: {error.strerror}", where=where, fix=fix) from error
            return Proof(token, credential.certificate, credential.key, self._now() + _FILE_AGE)
        if credential.plugin is not None:
            return self._ask(credential.plugin)
        return Proof("", credential.certificate, credential.key)

    def _ask(self, plugin: ExecPlugin) -> Proof:
        """Run a plugin (client-go's exec credential protocol): it prints an ExecCredential with a token or a certificate, and its end."""
        spec: dict[str, Any] = {"interactive": False}
        if plugin.cluster is not None:
            spec["cluster"] = plugin.cluster
        info = json.dumps({"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec})
        environment = {name: os.environ[name] for name in _PASSED if name in os.environ} | dict(plugin.environment)
        environment["KUBERNETES_EXEC_INFO"] = info
        try:
            done = subprocess.run(
                [plugin.command, *plugin.args],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=environment,
                timeout=_PLUGIN_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _plugin_fault(plugin, f"it cannot be run: {error}") from error
        if done.returncode:
            raise _plugin_fault(plugin, f"exit status {done.returncode}: {done.stderr[-300:].decode(errors='replace').strip()}")
        return self._read(plugin, done.stdout[:_LIMIT_BYTES])

    def _read(self, plugin: ExecPlugin, answer: bytes) -> Proof:
        try:
            status = json.loads(answer)["status"]
            ends = status.get("expirationTimestamp")
            until = datetime.fromisoformat(ends) - _EARLY if ends else None
            proof = Proof(
                str(status.get("token") or ""),
                str(status.get("clientCertificateData") or "").encode(),
                str(status.get("clientKeyData") or "").encode(),
                until,
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _plugin_fault(plugin, "what it printed is no ExecCredential") from error
        if not proof.token and not proof.certificate:
            raise _plugin_fault(plugin, "it gave neither a token nor a certificate")
        return proof


def _plugin_fault(plugin: ExecPlugin, what: str) -> CredentialError:
    return CredentialError(
        "SP681", f"the credential plugin failed: {what}", where=plugin.command, fix="run it by hand as the server's user", retry_after_s=15
    )

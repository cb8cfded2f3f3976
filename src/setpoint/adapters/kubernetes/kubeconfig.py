"""Reads kubeconfig files and a pod's own account into `Access`: where a cluster is and who calls it.

Called by wiring for targets. Relative paths are the file's own, as kubectl reads them; what would make a call less safe than it looks (no
verification of the server, a password) is refused. Never connects to anything.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from setpoint.core import suggest
from setpoint.core.errors import UserError

_LIMIT_BYTES: Final = 1 << 20
_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_EXEC_API: Final = "client.authentication.k8s.io/v1"
_REFUSED_USER: Final = {
    "username": "use a token, a client certificate or an exec plugin",
    "password": "use a token, a client certificate or an exec plugin",
    "auth-provider": "use the provider's exec plugin: auth-provider left Kubernetes with 1.26",
}


@dataclass(frozen=True, slots=True)
class ExecPlugin:
    """A program that prints a credential (client.authentication.k8s.io)."""

    command: str
    args: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    api_version: str = _EXEC_API
    cluster: Mapping[str, Any] | None = None
    """What the plugin is told of the cluster, when the file says `provideClusterInfo`."""


@dataclass(frozen=True, slots=True)
class Credential:
    """How a user proves who it is; the first that is set counts, certificates beside any."""

    token: str = field(default="", repr=False)
    token_file: Path | None = None
    """Read again when it changes: bound account tokens are rotated."""
    plugin: ExecPlugin | None = None
    certificate: bytes = b""
    """Client certificate as PEM."""
    key: bytes = field(default=b"", repr=False)
    """Its key as PEM."""


@dataclass(frozen=True, slots=True)
class Access:
    """A cluster and a user of it."""

    server: str
    """`https://host:port`, with a path when the server lies behind one."""
    authority: bytes
    """CA certificates as PEM; empty: the system's."""
    credential: Credential
    server_name: str = ""
    """The name in the server's certificate, when it is not the host's."""
    namespace: str = "default"
    impersonate: str = ""
    """User to act as (RBAC `impersonate`), empty for oneself."""
    impersonate_groups: tuple[str, ...] = ()


def read(path: Path, context: str = "") -> Access:
    """Return the access that a kubeconfig file's context names; empty is its current one.

    Raises:
        UserError: no such file or context, or something in it that is not understood or not accepted (SP680).
    """
    try:
        data = _bounded(path)
    except OSError as error:
        raise _fault(path, f"cannot be read: {error.strerror}", "name a kubeconfig file that the server may read") from error
    return parse(data, path, context)


def parse(data: bytes, path: Path, context: str = "", *, alone: bool = False) -> Access:
    """Return the access that a kubeconfig's content gives; path is where it came from: relative names in it are beside that.

    Content that came alone, from another machine, has no files beside it: certificates and keys that it names are not read, but refused.

    Raises:
        UserError: no such context, or something that is not understood or not accepted (SP680).
    """
    if len(data) > _LIMIT_BYTES:
        raise _fault(path, "is larger than 1 MiB", "is it a kubeconfig file?")
    try:
        content = yaml.safe_load(data)
    except yaml.YAMLError as error:
        # The parser's own words carry the line, and a token may stand there.
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        raise _fault(path, f"is no YAML{place}", "kubectl config view shows it") from None
    if not isinstance(content, dict):
        raise _fault(path, "is no kubeconfig", "it has clusters, users and contexts")
    return _File(path, content, alone=alone).access(context)


class _File:
    """One kubeconfig file."""

    def __init__(self, path: Path, content: dict[str, Any], *, alone: bool) -> None:
        self._path = path
        self._content = content
        self._alone = alone

    def access(self, context: str) -> Access:
        name = context or str(self._content.get("current-context") or "")
        if not name:
            raise _fault(self._path, "has no current context", "name one: `context:`")
        chosen = self._named("contexts", "context", name)
        cluster = self._named("clusters", "cluster", str(chosen.get("cluster", "")))
        user = self._named("users", "user", str(chosen.get("user", "")))
        server = str(cluster.get("server", "")).rstrip("/")
        if not server.startswith("https://"):
            raise _fault(self._path, f"the server `{server}` is not https", "tokens travel over TLS only")
        if cluster.get("insecure-skip-tls-verify"):
            raise _fault(
                self._path, f"cluster `{chosen.get('cluster')}` skips the check of its certificate", "give its certificate-authority"
            )
        if cluster.get("proxy-url"):
            raise _fault(self._path, "`proxy-url` is not supported", "reach the server directly, or set HTTPS_PROXY for kubectl only")
        groups = user.get("as-groups") or ()
        return Access(
            server=server,
            authority=self._data(cluster, "certificate-authority"),
            credential=self._credential(user, cluster),
            server_name=str(cluster.get("tls-server-name", "")),
            namespace=str(chosen.get("namespace") or "default"),
            impersonate=str(user.get("as", "")),
            impersonate_groups=tuple(map(str, groups)),
        )

    def _credential(self, user: dict[str, Any], cluster: dict[str, Any]) -> Credential:
        for word, fix in _REFUSED_USER.items():
            if user.get(word):
                raise _fault(self._path, f"a user has `{word}`, which is not supported", fix)
        certificate, key = self._data(user, "client-certificate"), self._data(user, "client-key")
        if bool(certificate) != bool(key):
            raise _fault(self._path, "a client certificate without its key, or the other way round", "give both")
        file = user.get("tokenFile")
        if file and self._alone and not Path(str(file)).is_absolute():
            raise _fault(self._path, f"`tokenFile` {file} is not absolute", "name a file of the server's machine from / on")
        return Credential(
            token=str(user.get("token") or ""),
            token_file=self._beside(str(file)) if file else None,
            plugin=self._plugin(user["exec"], cluster) if user.get("exec") else None,
            certificate=certificate,
            key=key,
        )

    def _plugin(self, exec_: dict[str, Any], cluster: dict[str, Any]) -> ExecPlugin:
        command = str(exec_.get("command") or "")
        if not command:
            raise _fault(self._path, "an exec plugin without a command", "name the program")
        if "/" in command:
            command = str(self._beside(command))
        if exec_.get("interactiveMode") == "Always":
            raise _fault(self._path, f"the exec plugin {command} wants a terminal", "use a user that a server can be")
        told: dict[str, Any] | None = None
        if exec_.get("provideClusterInfo"):
            authority = base64.b64encode(self._data(cluster, "certificate-authority")).decode()
            told = {"server": cluster.get("server"), "certificate-authority-data": authority}
        return ExecPlugin(
            command=command,
            args=tuple(map(str, exec_.get("args") or ())),
            environment={str(row["name"]): str(row["value"]) for row in exec_.get("env") or ()},
            api_version=str(exec_.get("apiVersion") or _EXEC_API),
            cluster=told,
        )

    def _named(self, section: str, key: str, name: str) -> dict[str, Any]:
        rows = {str(row.get("name")): row.get(key) for row in self._content.get(section) or () if isinstance(row, dict)}
        found = rows.get(name)
        if not isinstance(found, dict):
            raise _fault(self._path, f"has no {key} `{name}`", suggest.help_text(name, rows, section))
        return found

    def _data(self, row: dict[str, Any], name: str) -> bytes:
        """Return what `NAME-data` holds, else the file that `NAME` names; empty without either."""
        inline = row.get(f"{name}-data")
        if inline:
            try:
                return base64.b64decode(str(inline), validate=True)
            except binascii.Error as error:
                raise _fault(self._path, f"`{name}-data` is no base64", "write the file again with kubectl config") from error
        file = row.get(name)
        if not file:
            return b""
        if self._alone:
            what = f"`{name}` names a file, and a kubeconfig that is sent has none beside it"
            raise _fault(self._path, what, "kubectl config view --minify --flatten puts certificates and keys into it")
        try:
            return _bounded(self._beside(str(file)))
        except OSError as error:
            raise _fault(
                self._path, f"`{name}` {file} cannot be read: {error.strerror}", "give the server's user the right to read it"
            ) from error

    def _beside(self, name: str) -> Path:
        return self._path.parent / Path(name).expanduser()


def in_cluster(environment: Mapping[str, str], account: Path = _ACCOUNT) -> Access:
    """Return the access of the pod that this server runs in, by its ServiceAccount.

    Raises:
        UserError: this is no pod (SP680).
    """
    host, port = environment.get("KUBERNETES_SERVICE_HOST", ""), environment.get("KUBERNETES_SERVICE_PORT", "443")
    try:
        authority = _bounded(account / "ca.crt")
        namespace = (account / "namespace").read_text(encoding="utf-8").strip()
    except OSError as error:
        raise _fault(account, "this server runs in no pod", "name a kubeconfig file and a context") from error
    if not host:
        raise _fault(account, "KUBERNETES_SERVICE_HOST is not set", "name a kubeconfig file and a context")
    address = f"[{host}]" if ":" in host else host
    return Access(f"https://{address}:{port}", authority, Credential(token_file=account / "token"), namespace=namespace)


def _bounded(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LIMIT_BYTES + 1)


def _fault(path: Path, what: str, fix: str) -> UserError:
    return UserError("SP680", what, where=str(path), fix=fix)

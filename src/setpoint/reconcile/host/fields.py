"""Reading a manifest so that nothing is ignored: what nobody asked for is a finding.

Called by the modules of this folder. Reading a field is what accepts it; values that are wrong are replaced by harmless ones, so that every
finding is reported at once. Null means left out, as in Kubernetes.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from setpoint.core import suggest
from setpoint.core.errors import Finding
from setpoint.reconcile.model import identity

UNSUPPORTED: Final = "SP622"
BAD_VALUE: Final = "SP623"
MISSING: Final = "SP624"
REFERENCE: Final = "SP625"
HOOKS: Final = ("setpoint.dev/hook", "argocd.argoproj.io/hook", "helm.sh/hook")

_HINTS: Final = {
    "initContainers": "do this work in a task of the pipeline, or at the start of the command",
    "exec": "use httpGet or tcpSocket: nothing but the replica's own command runs in its sandbox",
    "grpc": "use httpGet or tcpSocket",
    "postStart": "do it at the start of the command",
    "stopSignal": "remove it: a replica is asked to end by TERM",
    "projected": "write a configMap or secret volume for each of its sources",
    "persistentVolumeClaim": "keep state outside; emptyDir lives as long as the replica",
    "hostPath": "put the files into an artifact, a ConfigMap or a Secret",
    "resourceFieldRef": "write the value",
    "fileKeyRef": "write the value, or take it from a ConfigMap or a Secret",
    "ephemeral-storage": "remove it: the host bounds /tmp and emptyDir volumes in memory only",
    "seccompProfile": "remove it: the host sets no seccomp filter",
    "hostAliases": "use names that resolve on the host",
    "suspend": "remove the Job from the environment until it should run",
    "podFailurePolicy": "use backoffLimit",
    "sops": "encrypt Secrets only, in files of their own",
    "parentRefs": "remove it: the route binds to the environment's listen address",
    "serviceAccountName": "remove it: there is no Kubernetes API to talk to",
    "hostPort": "remove it: the environment's listen address is the way in",
    "nodePort": "remove it: the environment's listen address is the way in",
    "filters": "remove it: routes choose backends and change nothing",
    "matchExpressions": "use matchLabels",
}
_LABEL_VALUE: Final = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")


class Report:
    """The findings about one object."""

    def __init__(self, value: Mapping[str, Any], sources: Mapping[str, str]) -> None:
        self.identity = identity(dict(value))
        self._path = sources.get(self.identity, self.identity)
        self.findings: list[Finding] = []

    def add(self, code: str, field: str, what: str, fix: str = "") -> None:
        """Note a finding about a field, named by its path."""
        self.findings.append(Finding(code, f"{self.identity}: `{field}` {what}", self._path, fix=fix))


class Fields:
    """One mapping of a manifest, read field by field; call `close` when all that is known was read."""

    def __init__(self, value: Any, path: str, report: Report) -> None:
        self.path = path
        self.report = report
        self._seen: set[str] = set()
        self._value: dict[str, Any] = value if isinstance(value, dict) else {}
        if value is not None and not isinstance(value, dict):
            report.add(BAD_VALUE, path, f"must be a mapping, not {_shown(value)}")

    def at(self, name: str) -> str:
        """Return the path of a field."""
        return f"{self.path}.{name}" if self.path else name

    def has(self, name: str) -> bool:
        """Say whether a field is written and not null; does not accept it."""
        return self._value.get(name) is not None

    def raw(self, name: str) -> Any:
        """Accept a field of any type."""
        self._seen.add(name)
        return self._value.get(name)

    def bad(self, name: str, what: str, fix: str = "", code: str = BAD_VALUE) -> None:
        """Note a finding about a field."""
        self.report.add(code, self.at(name), what, fix)

    def text(self, name: str, default: str | None = None) -> str:
        """Return a text without zero bytes; without a default it has to be there."""
        value = self.raw(name)
        if value is None:
            if default is None:
                self.bad(name, "is missing", f"add `{name}:`", MISSING)
            return default or ""
        if not isinstance(value, str) or "\0" in value:
            fix = "put it in quotes" if isinstance(value, bool | int | float) else ""
            self.bad(name, f"must be text, not {_shown(value)}", fix)
            return default or ""
        return value

    def number(self, name: str, default: int | None, low: int, high: int) -> int:
        """Return a whole number in a range; without a default it has to be there."""
        value = self.raw(name)
        if value is None:
            if default is None:
                self.bad(name, "is missing", f"add `{name}:`", MISSING)
            return low if default is None else default
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.bad(name, f"must be a whole number from {low} to {high}, not {_shown(value)}")
            return low if default is None else default
        return value

    def flag(self, name: str) -> bool:
        """Return true or false; left out is false."""
        value = self.raw(name)
        if value is not None and not isinstance(value, bool):
            self.bad(name, f"must be true or false, not {_shown(value)}")
        return value is True

    def mapping(self, name: str) -> "Fields":
        """Return a nested mapping, empty when it is left out."""
        return Fields(self.raw(name), self.at(name), self.report)

    def entries(self, name: str) -> "list[Fields]":
        """Return a list of mappings, empty when it is left out."""
        return [
            Fields(item if item is not None else {}, f"{self.at(name)}[{index}]", self.report)
            for index, item in enumerate(self._list(name))
        ]

    def texts(self, name: str) -> tuple[str, ...] | None:
        """Return a list of texts, None when it is left out."""
        if not self.has(name):
            self.raw(name)
            return None
        values = self._list(name)
        for index, value in enumerate(values):
            if not isinstance(value, str) or "\0" in value:
                self.bad(f"{name}[{index}]", f"must be text, not {_shown(value)}", "put it in quotes")
        return tuple(value for value in values if isinstance(value, str))

    def _list(self, name: str) -> list[Any]:
        value = self.raw(name)
        if value is not None and not isinstance(value, list):
            self.bad(name, f"must be a list, not {_shown(value)}")
        return value if isinstance(value, list) else []

    def labels(self, name: str, *, values_free: bool = False) -> dict[str, str]:
        """Return a mapping of text to text; label values are short words, annotations (`values_free`) any text."""
        value = self.raw(name)
        if value is not None and not isinstance(value, dict):
            self.bad(name, f"must be a mapping, not {_shown(value)}")
            return {}
        result = {}
        for key, item in (value or {}).items():
            if not isinstance(item, str) or not (values_free or _LABEL_VALUE.fullmatch(item)):
                fix = "put it in quotes" if isinstance(item, bool | int | float) else ""
                self.bad(f"{name}.{key}", f"must be text{'' if values_free else ' that a label can hold'}, not {_shown(item)}", fix)
            else:
                result[key] = item
        return result

    def without_effect(self, name: str, *values: Any) -> None:
        """Accept a field that changes nothing on the host, for these values only."""
        value = self.raw(name)
        if value is not None and not any(value == known and type(value) is type(known) for known in values):
            shown = " or ".join(_shown(known) for known in values)
            self.bad(name, f"may only be {shown} on the host, not {_shown(value)}", "remove it, or write that value", UNSUPPORTED)

    def close(self) -> None:
        """Note every field that nobody read."""
        for name, value in self._value.items():
            if name in self._seen or value is None:
                continue
            near = suggest.nearest(name, self._seen)
            hint = _HINTS.get(name) or (f"did you mean `{near}`?" if near else "remove it; docs/host-subset.md lists what is")
            self.bad(name, "is not supported on the host", hint, UNSUPPORTED)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"`{value[:60]}`" if "\0" not in value else "text with a zero byte"
    if isinstance(value, int | float):
        return str(value)
    return "null" if value is None else "a list" if isinstance(value, list) else "a mapping"


def metadata(top: Fields) -> str:
    """Read apiVersion, kind, metadata and an empty status, and return the name."""
    top.raw("apiVersion")
    top.raw("kind")
    top.without_effect("status", {})
    meta = top.mapping("metadata")
    name = meta.text("name")
    meta.raw("namespace")  # judged when rendering: absent or the environment
    meta.labels("labels")
    annotations = meta.labels("annotations", values_free=True)
    for key in HOOKS:
        if key in annotations:
            fix = "a Job without the annotation runs once for each revision, before its workloads"
            meta.bad(f"annotations.{key}", f"is a hook ({annotations[key]}), and the host has none", fix, UNSUPPORTED)
    meta.close()
    return name

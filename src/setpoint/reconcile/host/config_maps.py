"""ConfigMaps on the host, and the variables that containers take from them; `volumes` takes the files.

Called by the workload reader; a reference to a map or key that is not rendered is a finding, unless it says `optional`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from setpoint.reconcile.host.fields import REFERENCE, Fields, Report, metadata

_MAX_BYTES: Final = 1 << 20
_KEY: Final = re.compile(r"[-._A-Za-z0-9]{1,253}")
_VARIABLE: Final = re.compile(r"[^=\x00-\x1f\x7f]{1,1000}")


@dataclass(slots=True)
class ConfigMaps:
    """The data of every rendered ConfigMap by name."""

    data: dict[str, dict[str, str]] = field(default_factory=dict)

    def read(self, value: Mapping[str, Any], report: Report) -> None:
        """Read one ConfigMap."""
        top = Fields(value, "", report)
        name = metadata(top)
        top.flag("immutable")
        data = top.labels("data", values_free=True)
        if any(not _KEY.fullmatch(key) or key in {".", ".."} for key in data):
            top.bad("data", "has a key that is no file name", "letters, digits, dots, dashes and underscores")
        if sum(len(key) + len(text.encode()) for key, text in data.items()) > _MAX_BYTES:
            top.bad("data", "is larger than 1 MiB, more than Kubernetes takes")
        top.close()
        self.data[name] = data

    def take(self, reference: Fields) -> dict[str, str] | None:
        """Return the map that `name` refers to; None when it is missing (a finding, unless optional)."""
        name, optional = reference.text("name"), reference.flag("optional")
        if name in self.data:
            return self.data[name]
        if name and not optional:
            known = ", ".join(sorted(self.data)) or "none"
            reference.bad("name", f"refers to ConfigMap `{name}`, which is not rendered", f"rendered ConfigMaps: {known}", REFERENCE)
        return None


def environment(container: Fields, maps: ConfigMaps, port: int) -> dict[str, str]:
    """Return a container's variables: `envFrom` first, `env` over it, as in Kubernetes.

    `PORT` may be written for Kubernetes' sake when it equals the containerPort; the runtime sets it, so it is left out here.
    """
    result: dict[str, str] = {}
    for entry in container.entries("envFrom"):
        prefix = entry.text("prefix", "")
        reference = entry.mapping("configMapRef")
        if not entry.has("configMapRef"):
            entry.close()
            continue
        result.update({prefix + key: text for key, text in (maps.take(reference) or {}).items()})
        reference.close()
        entry.close()
    for entry in container.entries("env"):
        _variable(entry, maps, result)
    for name, text in result.items():
        if not _VARIABLE.fullmatch(name) or "\0" in text:
            container.bad("env", f"holds `{name[:60]}`, which no program can be given")
    if "PORT" in result and result.pop("PORT") != str(port):
        fix = f"remove it, or write the containerPort, {port}: the host sets PORT to where the replica must listen"
        container.bad("env", "sets PORT to something else than the containerPort", fix)
    return result


def _variable(entry: Fields, maps: ConfigMaps, result: dict[str, str]) -> None:
    name = entry.text("name")
    if not entry.has("valueFrom"):
        result[name] = entry.text("value", "")
        entry.raw("valueFrom")
        entry.close()
        return
    source = entry.mapping("valueFrom")
    entry.close()
    if source.has("configMapKeyRef"):
        reference = source.mapping("configMapKeyRef")
        key, data = reference.text("key"), maps.take(reference)
        if data is not None and key in data:
            result[name] = data[key]
        elif data is not None and key and not reference.flag("optional"):
            reference.bad(
                "key", f"refers to key `{key}`, which that ConfigMap does not have", f"its keys: {', '.join(sorted(data))}", REFERENCE
            )
        reference.close()
    source.close()

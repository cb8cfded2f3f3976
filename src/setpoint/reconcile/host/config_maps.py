"""ConfigMaps on the host, and what containers take from them: variables and files.

Called by the workload reader; a reference to a map or key that is not rendered is a finding, unless it says `optional`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from setpoint.reconcile.host.fields import BAD_VALUE, REFERENCE, Fields, Report, metadata

_MAX_BYTES: Final = 1 << 20
_KEY: Final = re.compile(r"[-._A-Za-z0-9]{1,253}")
_VARIABLE: Final = re.compile(r"[^=\x00-\x1f\x7f]{1,1000}")
_OF_THE_HOST: Final = ("/proc", "/dev", "/sys", "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")


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


def volumes(pod: Fields, maps: ConfigMaps) -> dict[str, dict[str, str]]:
    """Return {volume name: {relative path: content}} of the pod's ConfigMap volumes."""
    result: dict[str, dict[str, str]] = {}
    for volume in pod.entries("volumes"):
        name = volume.text("name")
        if name in result:
            volume.bad("name", f"`{name}` is used twice")
        result[name] = {}
        if volume.has("configMap"):
            source = volume.mapping("configMap")
            data = maps.take(source)
            result[name] = _items(source, data or {}, known=data is not None)
            source.close()
        volume.close()
    return result


def _items(source: Fields, data: dict[str, str], *, known: bool) -> dict[str, str]:
    """Return the files of a volume: all keys, or the listed ones under their paths."""
    if not source.has("items"):
        source.raw("items")
        return dict(data)
    result = {}
    for item in source.entries("items"):
        key, path = item.text("key"), item.text("path")
        if known and key not in data:
            item.bad("key", f"refers to key `{key}`, which that ConfigMap does not have", f"its keys: {', '.join(sorted(data))}", REFERENCE)
        if path and not _relative(path):
            item.bad("path", f"`{path}` leaves the volume", "write a path without a leading slash and without `..`")
        elif key in data:
            result[path] = data[key]
        item.close()
    return result


def _relative(path: str) -> bool:
    parts = path.split("/")
    return not path.startswith("/") and not {"", ".", ".."} & set(parts) and "\0" not in path


def files(container: Fields, pod_volumes: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return {absolute path: content} of a container's volume mounts."""
    result: dict[str, str] = {}
    for mount in container.entries("volumeMounts"):
        name, target, part = mount.text("name"), mount.text("mountPath").rstrip("/"), mount.text("subPath", "")
        mount.flag("readOnly")  # ConfigMap volumes are read-only anyway, here and in Kubernetes
        mount.close()
        if name not in pod_volumes:
            mount.bad("name", f"`{name}` is no volume of this pod", f"volumes: {', '.join(sorted(pod_volumes)) or 'none'}", REFERENCE)
            continue
        if not target.startswith("/") or not _relative(target[1:]):
            mount.bad("mountPath", f"`{target}` is no absolute path below /")
            continue
        if any(target == folder or target.startswith(folder + "/") for folder in _OF_THE_HOST):
            mount.bad("mountPath", f"`{target}` belongs to the host's own system", "mount below /etc, /app or another folder of yours")
            continue
        content = pod_volumes[name]
        if part and part not in content:
            mount.bad("subPath", f"`{part}` is no file of volume `{name}`", f"its files: {', '.join(sorted(content)) or 'none'}", REFERENCE)
        mounted = (
            {target: content[part]} if part in content else {f"{target}/{path}": text for path, text in content.items()} if not part else {}
        )
        for path, text in mounted.items():
            if path in result:
                container.report.add(BAD_VALUE, container.at("volumeMounts"), f"put two files at `{path}`")
            result[path] = text
    return result

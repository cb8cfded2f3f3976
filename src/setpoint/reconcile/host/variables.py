"""The variables of a container: written, from ConfigMaps, from Secrets (by name only), and about the replica itself.

Called by the pod reader. `$(NAME)` is expanded when a replica starts, for only then all values are known; a Secret is never expanded.
"""

import re
from collections.abc import Mapping
from typing import Final

from setpoint.reconcile.host.fields import BAD_VALUE, REFERENCE, UNSUPPORTED, Fields
from setpoint.reconcile.host.secrets import keys_of
from setpoint.reconcile.host.sources import Sources
from setpoint.reconcile.model import SecretKey

_VARIABLE: Final = re.compile(r"[^=\x00-\x1f\x7f]{1,1000}")
_REFERENCE: Final = re.compile(r"\$\$|\$\(([^)]*)\)")
_ABOUT: Final = re.compile(r"metadata\.(labels|annotations)\['([^']{1,317})'\]")

Value = str | SecretKey


def variables(container: Fields, sources: Sources, meta: Mapping[str, Mapping[str, str]], port: int) -> dict[str, Value]:
    """Return a container's variables: `envFrom` first, `env` over it, as in Kubernetes; meta is the pod's labels and annotations.

    `PORT` may be written for Kubernetes' sake when it equals the containerPort; the runtime sets it, so it is left out here.
    """
    result: dict[str, Value] = {}
    for entry in container.entries("envFrom"):
        result.update(_all_of(entry, sources))
    for entry in container.entries("env"):
        _variable(entry, sources, meta, result)
    for name, value in result.items():
        if not _VARIABLE.fullmatch(name) or (isinstance(value, str) and "\0" in value):
            container.bad("env", f"holds `{name[:60]}`, which no program can be given")
    if "PORT" in result and result.pop("PORT") != str(port):
        fix = f"remove it, or write the containerPort, {port}: the host sets PORT to where the replica must listen"
        container.bad("env", "sets PORT to something else than the containerPort", fix)
    return result


def refuse_secret_words(container: Fields, texts: Mapping[str, str], secret: Mapping[str, SecretKey]) -> None:
    """Note every text (by its field) that would put a Secret on a command line or into another variable."""
    for place, text in texts.items():
        named = [name for name in _REFERENCE.findall(text) if name in secret]
        if named:
            what = f"would put the Secret in `{named[0]}` where everybody can read it"
            container.report.add(BAD_VALUE, container.at(place), what, f"let the program read the variable {named[0]} itself")


def _all_of(entry: Fields, sources: Sources) -> dict[str, Value]:
    prefix = entry.text("prefix", "")
    found: Mapping[str, Value] = {}
    if entry.has("configMapRef"):
        reference = entry.mapping("configMapRef")
        found = dict(sources.maps.take(reference) or {})
        reference.close()
    elif entry.has("secretRef"):
        reference = entry.mapping("secretRef")
        secret = sources.secrets.take(reference)
        found = dict(keys_of(secret)) if secret is not None else {}
        reference.close()
    entry.close()
    return {prefix + key: value for key, value in found.items()}


def _variable(entry: Fields, sources: Sources, meta: Mapping[str, Mapping[str, str]], result: dict[str, Value]) -> None:
    name = entry.text("name")
    if not entry.has("valueFrom"):
        result[name] = entry.text("value", "")
        entry.raw("valueFrom")
        entry.close()
        return
    source = entry.mapping("valueFrom")
    entry.close()
    value: Value | None = None
    if source.has("configMapKeyRef"):
        reference = source.mapping("configMapKeyRef")
        value = _key(reference, sources.maps.take(reference), "ConfigMap")
    elif source.has("secretKeyRef"):
        reference = source.mapping("secretKeyRef")
        secret = sources.secrets.take(reference)
        value = _key(reference, keys_of(secret) if secret is not None else None, "Secret")
    elif source.has("fieldRef"):
        value = _about(source.mapping("fieldRef"), sources.environment, meta)
    source.close()
    if value is not None:
        result[name] = value


def _key(reference: Fields, data: Mapping[str, Value] | None, kind: str) -> Value | None:
    """Return what a key of a ConfigMap or Secret holds; None when it is not there, which only `optional` allows."""
    key, optional = reference.text("key"), reference.flag("optional")
    reference.close()
    if data is None or key in data:
        return None if data is None else data[key]
    if key and not optional:
        known = f"its keys: {', '.join(sorted(data)) or 'none'}"
        reference.bad("key", f"refers to key `{key}`, which that {kind} does not have", known, REFERENCE)
    return None


def _about(reference: Fields, environment: str, meta: Mapping[str, Mapping[str, str]]) -> str:
    """Return a `fieldRef`: the replica's name is known when it starts, the rest now."""
    path = reference.text("fieldPath")
    reference.without_effect("apiVersion", "v1")
    reference.close()
    match = _ABOUT.fullmatch(path)
    if match is not None:
        return meta[match[1]].get(match[2], "").replace("$", "$$")
    if path == "metadata.name":
        return "$(SETPOINT_REPLICA)"
    if path == "metadata.namespace":
        return environment
    fix = "metadata.name, metadata.namespace, metadata.labels['KEY'] and metadata.annotations['KEY'] are known on the host"
    reference.bad("fieldPath", f"`{path[:100]}` is not known on the host", fix, UNSUPPORTED)
    return ""

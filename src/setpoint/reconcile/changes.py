"""What differs between two versions of one rendered object, field by field: defaults hidden, lists by their merge keys, secrets masked.

Called by `reconcile.plan`, and by `reconcile.cluster` for how paths are written and what is masked; pure. Merge keys and defaults are those
of the Kubernetes API for the kinds that the host accepts.
"""

import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from setpoint.core import canonical

MASK: Final = "***"
_CHANGED: Final = " (changed)"

_KEYS: Final = {"ports": ("containerPort", "port"), "volumeMounts": ("mountPath",), "items": ("key",)}
"""List -> its merge keys; every other list of mappings is told apart by `name`, else by position."""
_KEY_NAMES: Final = frozenset({"name", *(key for keys in _KEYS.values() for key in keys)})

_PROBE: Final = {
    "periodSeconds": 10,
    "timeoutSeconds": 1,
    "failureThreshold": 3,
    "successThreshold": 1,
    "initialDelaySeconds": 0,
    "httpGet.scheme": "HTTP",
}
_POD: Final = "spec.template.spec"
_CONTAINER: Final = f"{_POD}.containers[]"
_DEFAULTS: Final[dict[str, dict[str, Any]]] = {
    "Deployment": {
        "spec.replicas": 1,
        "spec.strategy.type": "RollingUpdate",
        "spec.strategy.rollingUpdate.maxSurge": "25%",
        "spec.strategy.rollingUpdate.maxUnavailable": "25%",
        "spec.progressDeadlineSeconds": 600,
        "spec.minReadySeconds": 0,
        "spec.paused": False,
        "spec.revisionHistoryLimit": 10,
        f"{_POD}.terminationGracePeriodSeconds": 30,
        f"{_POD}.restartPolicy": "Always",
        f"{_POD}.dnsPolicy": "ClusterFirst",
        f"{_CONTAINER}.imagePullPolicy": "IfNotPresent",
        f"{_CONTAINER}.ports[].protocol": "TCP",
        **{
            f"{_CONTAINER}.{probe}.{field}": value
            for probe in ("readinessProbe", "livenessProbe", "startupProbe")
            for field, value in _PROBE.items()
        },
    },
    "Job": {
        "spec.backoffLimit": 6,
        "spec.completions": 1,
        "spec.parallelism": 1,
        "spec.suspend": False,
        f"{_POD}.terminationGracePeriodSeconds": 30,
        f"{_POD}.dnsPolicy": "ClusterFirst",
        f"{_CONTAINER}.imagePullPolicy": "IfNotPresent",
    },
    "Secret": {"type": "Opaque", "immutable": False},
    "Service": {"spec.type": "ClusterIP", "spec.sessionAffinity": "None", "spec.ports[].protocol": "TCP"},
    "HTTPRoute": {
        "spec.rules[].matches[].path.type": "PathPrefix",
        "spec.rules[].matches[].path.value": "/",
        "spec.rules[].backendRefs[].weight": 1,
        "spec.rules[].backendRefs[].kind": "Service",
        "spec.rules[].backendRefs[].group": "",
    },
}

_WORDS: Final = r"(?:TOKEN|PASSWORD|PASSWD|PASSPHRASE|SECRET|CREDENTIAL|API[_-]?KEY|PRIVATE[_-]?KEY|ACCESS[_-]?KEY|(?<![A-Z])AUTH(?![A-Z]))"
_SECRET_NAME: Final = re.compile(_WORDS, re.IGNORECASE)
_SECRET_LINE: Final = re.compile(rf"^([ \t]*(?:export )?[\w.\"'-]*{_WORDS}[\w.\"'-]*[ \t]*[:=][ \t]*)\S.*$", re.IGNORECASE | re.MULTILINE)
_SECRET_FLAG: Final = re.compile(rf"^(--?[\w-]*{_WORDS}[\w-]*)(=.*)?$", re.IGNORECASE | re.DOTALL)
_IN_URL: Final = re.compile(r"(://)[^/\s@]+(@)")
_BARE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field that differs; None means that it is not there. What looks secret is `***`, with `(changed)` behind the new value."""

    path: str
    """`spec.template.spec.containers[web].env[LOG].value`, `data["app.conf"]`"""
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A value of an object that is no mapping of its own."""

    value: Any
    pattern: str
    """The path with every list's item as `[]`."""
    parent: str
    secret: bool


def field_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[FieldChange, ...]:
    """Return what differs between two versions of an object, in the order of the fields."""
    kind = str(after.get("kind", ""))
    old, new = _leaves(before, kind), _leaves(after, kind)
    found = []
    for path in dict.fromkeys([*new, *old]):
        left, right = _value(path, old, new, kind), _value(path, new, old, kind)
        if left != right or type(left) is not type(right):
            secret = any(path in leaves and leaves[path].secret for leaves in (old, new))
            found.append(FieldChange(path, *shown(left, right, secret=secret)))
    return tuple(change for change in found if not is_only_its_key(change, found))


def is_only_its_key(change: FieldChange, found: Sequence[FieldChange]) -> bool:
    """Say whether a change is only the merge key of an item that came or went, whose other fields are listed: the path has it already."""
    parent, _, name = change.path.rpartition(".")
    value = change.before if change.after is None else change.after if change.before is None else None
    others = (other.path for other in found if other is not change)
    return value is not None and parent.endswith(f"[{value}]") and name in _KEY_NAMES and any(o.startswith(f"{parent}.") for o in others)


def _value(path: str, mine: Mapping[str, _Leaf], other: Mapping[str, _Leaf], kind: str) -> Any:
    """Return a side's value: where it is left out in something that is there, the default."""
    if path in mine:
        return mine[path].value
    leaf = other[path]
    inside = not leaf.parent or any(name.startswith((f"{leaf.parent}.", f"{leaf.parent}[")) for name in mine)
    default = _DEFAULTS.get(kind, {}).get(leaf.pattern)
    return default if inside or default == leaf.value else None


def _leaves(value: Mapping[str, Any], kind: str) -> dict[str, _Leaf]:
    # What sops notes beside the values (keys, dates, its MAC) changes with them and tells nobody anything.
    unsaid = ("apiVersion", "kind", "status", *(("sops",) if kind == "Secret" else ()))
    content = {key: item for key, item in value.items() if key not in unsaid}
    return dict(_walk(content, "", "", secret=False, kind=kind))


def _walk(value: Any, path: str, pattern: str, *, secret: bool, kind: str) -> Iterator[tuple[str, _Leaf]]:
    """Yield (path, leaf) below a value; null counts as left out, and a list of plain values is one leaf."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            name = str(key)
            inner = joined(path, name)
            hidden = secret or is_secret(kind, path, name)
            yield from _walk(item, inner, f"{pattern}.{name}" if pattern else name, secret=hidden, kind=kind)
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        for label, item in labelled(path.rpartition(".")[2], value):
            hidden = secret or is_secret_item(path, label)
            yield from _walk(item, f"{path}[{label}]", f"{pattern}[]", secret=hidden, kind=kind)
    elif value is not None:
        yield path, _Leaf(value, pattern, path.rpartition(".")[0], secret and not is_reference(kind, pattern))


@lru_cache(maxsize=4096)
def joined(path: str, name: str) -> str:
    """Return the path of a field below a path; a name with other characters than a word's is put in brackets."""
    return (f"{path}.{name}" if path else name) if _BARE.fullmatch(name) else f'{path}["{name}"]'


def is_reference(kind: str, path: str) -> bool:
    """Say whether a field below something secret only names it: `env[TOKEN].name`, `secretKeyRef.key`; in a Secret itself nothing does."""
    return kind != "Secret" and path.endswith((".name", ".key"))


def is_secret_item(path: str, label: str) -> bool:
    """Say whether an item of a list holds something that is not for every reader: a variable called like a secret."""
    return path.endswith(".env") and bool(_SECRET_NAME.search(label))


def is_secret(kind: str, path: str, key: str) -> bool:
    """Say whether a field of an object holds something that is not for every reader."""
    if kind == "Secret":
        return path in ("", "data", "stringData") and key not in ("metadata", "type", "immutable")
    return path in ("data", "binaryData", "metadata.annotations") and bool(_SECRET_NAME.search(key))


def labelled(name: str, items: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Return the items of a list under their merge key, or under their position when it does not tell them apart."""
    for key in (*_KEYS.get(name, ()), "name"):
        labels = [str(item[key]) for item in items if key in item]
        if len(set(labels)) == len(items):
            return list(zip(labels, items, strict=True))
    return [(str(position), item) for position, item in enumerate(items)]


def shown(before: Any, after: Any, *, secret: bool, key: bytes = b"") -> tuple[Any, Any]:
    """Return both sides as people may see them; a secret that changed says so without showing anything of it.

    With a key a secret is shown as `***#` and eight digits of its HMAC-SHA-256: equal values look equal wherever the same key is used.
    """
    left, right = (None if value is None else _veiled(value, key) if secret else _masked(value) for value in (before, after))
    if left is not None and left == right:
        return left, f"{right}{_CHANGED}"
    return left, right


def _veiled(value: Any, key: bytes) -> str:
    return f"{MASK}#{hmac.new(key, canonical.dumps(value), hashlib.sha256).hexdigest()[:8]}" if key else MASK


def _masked(value: Any) -> Any:
    """Return a value without the credentials that texts and command lines carry."""
    if isinstance(value, list):
        return [_masked_word(word, value[position - 1] if position else None) for position, word in enumerate(value)]
    return _masked_text(value) if isinstance(value, str) else value


def _masked_word(word: Any, before: Any) -> Any:
    if not isinstance(word, str):
        return word
    flag = _SECRET_FLAG.fullmatch(word)
    if flag is not None and flag[2]:
        return f"{flag[1]}={MASK}"
    earlier = _SECRET_FLAG.fullmatch(before) if isinstance(before, str) else None
    if earlier is not None and not earlier[2] and not word.startswith("-"):
        return MASK
    return _masked_text(word)


def _masked_text(text: str) -> str:
    return _SECRET_LINE.sub(rf"\g<1>{MASK}", _IN_URL.sub(rf"\g<1>{MASK}\g<2>", text))

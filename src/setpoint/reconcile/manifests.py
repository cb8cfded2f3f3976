"""Kubernetes manifests from YAML or JSON bytes, typed exactly as `kubectl` types them.

Called by rendering; no Python loader agrees with Kubernetes' own (go-yaml in sigs.k8s.io/yaml), so scalars follow its resolve.go here and a
contract test holds them to kubectl. Stricter than kubectl in one thing: a key written twice is an error. Never reads a file.
"""

import base64
import binascii
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from setpoint.core import yaml_nodes
from setpoint.core.errors import ConfigError
from setpoint.core.yaml_nodes import COLLECTION, PLAIN, TEXT, Source, SyntaxFaultError

SYNTAX: Final = "SP601"
DUPLICATE: Final = "SP602"
BAD_OBJECT: Final = "SP603"
LIMIT_BYTES: Final = 16 << 20
"""Of one file, or of what one renderer wrote: etcd takes objects of 1.5 MiB at most."""
_MAX_LINES: Final = 500_000
"""Lines and entries of one file: what is composed before anything can be counted takes about 1 KB each."""
_MAX_NODES: Final = 1_000_000
_CORE: Final = "tag:yaml.org,2002:"
_FLOAT: Final = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_GO_FLOAT: Final = re.compile(r"^\.[0-9]+(_[0-9]+)*([eE][-+]?[0-9]+(_[0-9]+)*)?$")
_INT: Final = re.compile(r"^[-+]?(0[bB][01]+|0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[0-7]*|[1-9][0-9]*)$")
_PREFIXES: Final = {"0b": 2, "0x": 16, "0o": 8}
_INT64: Final = 1 << 63
_UINT64: Final = 1 << 64

_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_NO_NUMBERS: Final = frozenset(sign + dot for sign in ("", "+", "-") for dot in (".inf", ".Inf", ".INF")) | {".nan", ".NaN", ".NAN"}
_HINT: Final = frozenset("0123456789+-.")


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object and where it begins."""

    value: dict[str, Any]
    path: str
    line: int


def load(data: bytes, path: str) -> list[Manifest]:
    """Return the objects of all documents; lists (`kind: List`, `ConfigMapList`) are taken apart, empty documents skipped.

    Raises:
        ConfigError: what is no YAML (SP601), a key written twice (SP602), what is no object (SP603); the first of its kind, with its place.
    """
    try:
        source = _source(data, path)
        reader = _Reader(source)
        found: list[Manifest] = []
        for root in yaml_nodes.compose_all(source, SYNTAX):
            found += _objects(source, reader.value(root), root)
    except SyntaxFaultError as fault:
        raise ConfigError([fault.finding]) from fault
    return found


def values(data: bytes, path: str) -> list[Any]:
    """Return the value of every document of a file that need not hold objects: values of a chart, a kustomization.

    Raises:
        ConfigError: what is no YAML (SP601), a key written twice (SP602).
    """
    try:
        source = _source(data, path)
        reader = _Reader(source)
        return [reader.value(root) for root in yaml_nodes.compose_all(source, SYNTAX)]
    except SyntaxFaultError as fault:
        raise ConfigError([fault.finding]) from fault


def _source(data: bytes, path: str) -> Source:
    """Return the text of a file that is not too much to look at."""
    if len(data) > LIMIT_BYTES:
        fix = "Kubernetes takes objects of about 1 MiB: mount large data from a file artifact, or split the file"
        raise _fault(Source(path, ""), SYNTAX, f"larger than {LIMIT_BYTES >> 20} MiB", None, fix)
    if data.count(b"\n") + data.count(b",") > _MAX_LINES:
        raise _fault(Source(path, ""), SYNTAX, f"more than {_MAX_LINES} lines and entries", None, "split the file, or render fewer objects")
    return yaml_nodes.decode(data, path, SYNTAX)


def _objects(source: Source, value: Any, node: yaml.Node) -> Iterator[Manifest]:
    if value is None:
        return
    if not isinstance(value, dict):
        raise _fault(source, BAD_OBJECT, "a manifest is a mapping with apiVersion and kind", node)
    kind = value.get("kind")
    if isinstance(kind, str) and kind.endswith("List") and isinstance(value.get("items"), list):
        items = next((item for key, item in node.value if key.value == "items"), node)
        for item, child in zip(value["items"], items.value, strict=False):
            yield from _objects(source, item, child)
        return
    for name in ("apiVersion", "kind"):
        if not isinstance(value.get(name), str) or not value[name]:
            raise _fault(source, BAD_OBJECT, f"this object has no `{name}`", node, f"add `{name}:`")
    meta = value.get("metadata")
    if not isinstance(meta, dict) or not isinstance(meta.get("name"), str) or not meta["name"]:
        raise _fault(source, BAD_OBJECT, f"this {kind} has no `metadata.name`", node, "give it a name, as text")
    yield Manifest(value, source.path, node.start_mark.line + 1)


def _fault(source: Source, code: str, what: str, node: yaml.Node | None, fix: str = "") -> SyntaxFaultError:
    return SyntaxFaultError(source.finding(code, what, yaml_nodes.span(node) if node else (0, 0, 1), fix))


def plain_scalar(text: str) -> str | int | float | bool | None:
    """Return an unquoted scalar as go-yaml resolves it (resolve.go of sigs.k8s.io/yaml/goyaml.v2), and JSON then carries it.

    Raises:
        ValueError: an infinity or no number, which JSON cannot carry.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _HINT:
        return text
    if text in _NO_NUMBERS:
        raise ValueError(text)
    if text[0] == ".":
        # Here go-yaml asks strconv alone, which takes single underscores between digits.
        return _float(text.replace("_", ""), text) if _GO_FLOAT.match(text) else text
    plain = text.replace("_", "")
    if _INT.match(plain):
        number = _int(plain)
        if number is not None:
            return number
    return _float(plain, text) if _FLOAT.match(plain) else text


def _int(text: str) -> int | float | None:
    """Return strconv.ParseInt/ParseUint(text, 0, 64); beyond int64 JSON readers of Kubernetes see a float."""
    digits = text.lstrip("+-")
    base = _PREFIXES.get(digits[:2].lower(), 8 if len(digits) > 1 and digits[0] == "0" else 10)
    if len(digits) > 70:
        return None
    number = int(digits[2:] if base != 10 and digits[:2].lower() in _PREFIXES else digits, base)
    number = -number if text[0] == "-" else number
    if -_INT64 <= number < _INT64:
        return number
    return float(number) if 0 < number < _UINT64 and text[0] != "+" else None


def _float(text: str, original: str) -> str | int | float:
    """Return strconv.ParseFloat as Kubernetes sees it after JSON: whole numbers are integers; out of range stays text."""
    number = float(text)
    if math.isinf(number):
        return original
    return int(number) if number.is_integer() and -_INT64 <= number < _INT64 else number


class _Reader:
    """Turns nodes into what JSON would carry, bounded over all documents of a file."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._nodes = 0

    def value(self, node: yaml.Node, depth: int = 0) -> Any:
        self._nodes += 1
        if self._nodes > _MAX_NODES or depth > yaml_nodes.MAX_DEPTH:
            raise _fault(
                self._source,
                SYNTAX,
                "too many values or levels, counted with aliases expanded",
                node,
                "write less of it; an alias counts each time",
            )
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, depth)
        if isinstance(node, yaml.SequenceNode):
            self._collection(node)
            return [self.value(item, depth + 1) for item in node.value]
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Any]:
        self._collection(node)
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, item in node.value:
            if key.tag == PLAIN and key.value == "<<":
                merged = {**self._merge(item, depth), **merged}
                continue
            name = self._key(key)
            if name in own:
                raise _fault(self._source, DUPLICATE, f"`{name}` is written twice", key, "keep one of them")
            own[name] = self.value(item, depth + 1)
        return {**merged, **own} if merged else own

    def _merge(self, node: yaml.Node, depth: int) -> dict[str, Any]:
        """Return what `<<` brings: one mapping, or several of which the first wins."""
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        result: dict[str, Any] = {}
        for part in parts:
            if not isinstance(part, yaml.MappingNode):
                raise _fault(self._source, SYNTAX, "`<<` merges mappings only", part)
            result = {**self._mapping(part, depth + 1), **result}
        return result

    def _key(self, node: yaml.Node) -> str:
        """Return a key as JSON carries it: numbers and booleans by their value."""
        value = self._scalar(node) if isinstance(node, yaml.ScalarNode) else None
        if isinstance(value, bool):
            return "true" if value else "false"
        if value is None:
            raise _fault(self._source, SYNTAX, "a key must be text", node)
        return value if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)

    def _scalar(self, node: yaml.Node) -> Any:
        tag = node.tag
        if tag == TEXT:
            return node.value
        try:
            return plain_scalar(node.value) if tag == PLAIN else self._tagged(node)
        except (ValueError, binascii.Error) as error:
            shown = tag.replace(_CORE, "!!") + " " if tag != PLAIN else ""
            fix = "put it in quotes when text is meant"
            raise _fault(self._source, SYNTAX, f"`{shown}{node.value}` is no value that Kubernetes can hold", node, fix) from error

    def _tagged(self, node: yaml.Node) -> Any:
        """Return a scalar with an explicit core tag.

        Raises:
            ValueError: the tag is unknown, or the text does not fit it.
        """
        name = node.tag.removeprefix(_CORE)
        if name == "str":
            return node.value
        if name == "binary":
            return base64.b64decode(node.value, validate=False).decode()
        value = plain_scalar(node.value)
        wanted: dict[str, type | tuple[type, ...]] = {"int": int, "float": (int, float), "bool": bool, "null": type(None)}
        if name not in wanted or not isinstance(value, wanted[name]) or (name != "bool" and isinstance(value, bool)):
            raise ValueError(node.value)
        return value

    def _collection(self, node: yaml.Node) -> None:
        if node.tag not in {COLLECTION, _CORE + "map", _CORE + "seq"}:
            raise _fault(self._source, SYNTAX, f"tags such as `{node.tag}` are not understood", node, "remove the tag")

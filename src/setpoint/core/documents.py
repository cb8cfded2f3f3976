"""Files that people write, as typed models: every fault at once, each with path, line, column, caret and a way out.

Called by the configuration modules of pipeline and promotion. YAML 1.2 core schema (so `on`, `yes` and `012` are what they look like);
anything that is not understood is a finding; never reads a file itself and never guesses.
"""

import json
import re
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Generic, Literal, NoReturn, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from setpoint.core import suggest, yaml_nodes
from setpoint.core.errors import ConfigError, Finding
from setpoint.core.yaml_nodes import PLAIN, TEXT, Source, SyntaxFaultError

API_VERSION: Final = "setpoint.dev/v1alpha1"
LIMIT_BYTES: Final = 1 << 20
_MAX_NODES: Final = 100_000

UNREADABLE: Final = "SP010"
SYNTAX: Final = "SP011"
DUPLICATE: Final = "SP012"
UNKNOWN_KEY: Final = "SP013"
MISSING_KEY: Final = "SP014"
BAD_VALUE: Final = "SP015"
NO_VALUE: Final = "SP016"
TOO_COMPLEX: Final = "SP017"

Loc = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)


class FileModel(BaseModel):
    """The base of every model of a file: strict, frozen, and no key is ignored; Python may use field names, files only the written keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_by_name=True, validate_by_alias=True)


class InvalidError(ValueError):
    """What a validator of a model raises to say what is wrong and how to mend it."""

    def __init__(self, what: str, fix: str = "", code: str = BAD_VALUE) -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.fix = fix


@dataclass(frozen=True)
class Document(Generic[M]):
    """A file's model together with its text, so that later checks can point into it."""

    model: M
    source: Source = field(repr=False)
    root: yaml.Node = field(repr=False)

    @property
    def path(self) -> str:
        """The file's path, as findings name it."""
        return self.source.path

    def finding(self, loc: Loc, code: str, what: str, fix: str = "", *, at: Literal["value", "key"] = "value") -> Finding:
        """Return a finding at a location of the model (`("tasks", "test", "needs", 0)`), or at its nearest parent that is written."""
        return self.source.finding(code, what, _place(self.root, loc, at), fix)

    def text_finding(self, loc: Loc, offset: int, code: str, what: str, fix: str = "") -> Finding:
        """Return a finding `offset` characters into a scalar when that is one plain line, else at the scalar."""
        line, column, length = _place(self.root, loc, "value")
        _key, node = _find(self.root, loc)
        if isinstance(node, yaml.ScalarNode) and node.tag == PLAIN and 0 <= offset < length == len(node.value):
            return self.source.finding(code, what, (line, column + offset, 1), fix)
        return self.source.finding(code, what, (line, column, length), fix)


def load(data: bytes, path: str, model: type[M]) -> M:
    """Return a file as its model.

    Raises:
        ConfigError: with every finding.
    """
    return read(data, path, model).model


def read(data: bytes, path: str, model: type[M]) -> Document[M]:
    """Return a file as its model with places for later findings.

    Raises:
        ConfigError: with every finding.
    """
    source, root = _compose(data, path)
    reader = _Reader(source)
    value = reader.value(root)
    findings = list(reader.findings)
    try:
        built = model.model_validate_json(json.dumps(value), by_alias=True, by_name=False)
    except ValidationError as error:
        findings += _explain(error, model, source, root)
    if findings:
        raise ConfigError(_once(findings))
    return Document(built, source, root)


def _compose(data: bytes, path: str) -> tuple[Source, yaml.Node]:
    if len(data) > LIMIT_BYTES:
        fix = f"keep it under {LIMIT_BYTES >> 10} KiB"
        raise ConfigError([Finding(UNREADABLE, f"the file is too large ({len(data) >> 10} KiB)", path, fix=fix)])
    try:
        source = yaml_nodes.decode(data, path, UNREADABLE)
        roots = list(yaml_nodes.compose_all(source, SYNTAX))
    except SyntaxFaultError as fault:
        raise ConfigError([fault.finding]) from fault
    if not roots:
        raise ConfigError([Finding(NO_VALUE, "the file is empty", path, fix="see docs/ten-minutes.md for an example")])
    if len(roots) > 1:
        what = "a second document begins here; this file holds one"
        raise ConfigError([source.finding(SYNTAX, what, yaml_nodes.span(roots[1]), "remove the line `---` and what follows")])
    if not isinstance(roots[0], yaml.MappingNode):
        what = "the file must be a mapping of keys to values"
        raise ConfigError([source.finding(BAD_VALUE, what, yaml_nodes.span(roots[0]), f"begin with `apiVersion: {API_VERSION}`")])
    return source, roots[0]


_NULL: Final = frozenset(("", "~", "null", "Null", "NULL"))
_BOOL: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_DECIMAL: Final = re.compile(r"^[-+]?[0-9]{1,18}$")
_OTHER_INT: Final = re.compile(r"^(0o[0-7]{1,20}|0x[0-9a-fA-F]{1,15})$")
_FLOAT: Final = re.compile(r"^[-+]?(\.[0-9]{1,40}|[0-9]{1,40}(\.[0-9]{0,40})?)([eE][-+]?[0-9]{1,2})?$")


def core_scalar(text: str) -> str | int | float | bool | None:
    """Return a plain scalar by the core schema of YAML 1.2.2 (section 10.3.2); infinities and absurd lengths stay text."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _DECIMAL.match(text):
        return int(text)
    if _OTHER_INT.match(text):
        return int(text, 0)
    return float(text) if _FLOAT.match(text) else text


class _Reader:
    """Turns nodes into JSON values, bounded, and notes what is no JSON."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._nodes = 0
        self.findings: list[Finding] = []

    def value(self, node: yaml.Node, depth: int = 0) -> Any:
        self._nodes += 1
        if self._nodes > _MAX_NODES or depth > yaml_nodes.MAX_DEPTH:
            what = f"the file expands to more than {_MAX_NODES} values or {yaml_nodes.MAX_DEPTH} levels"
            fix = "write it flatter, and without anchors and aliases"
            raise ConfigError([*self.findings, self._source.finding(TOO_COMPLEX, what, yaml_nodes.span(node), fix)])
        if isinstance(node, yaml.MappingNode):
            self._untagged(node, yaml_nodes.COLLECTION)
            return self._mapping(node, depth)
        if isinstance(node, yaml.SequenceNode):
            self._untagged(node, yaml_nodes.COLLECTION)
            return [self._present(item, item, depth) for item in node.value]
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._note(BAD_VALUE, "a key must be one word, not a list or a mapping", key, "write `name: value`")
            elif key.value in result:
                self._note(DUPLICATE, f"`{key.value}` is written twice", key, "keep one of them")
            else:
                result[key.value] = self._present(value, key, depth)
        return result

    def _present(self, node: yaml.Node, place: yaml.Node, depth: int) -> Any:
        """Return a value that must not be null: a key without a value is nearly always a line that was forgotten."""
        value = self.value(node, depth + 1)
        if value is None:
            name = f"`{place.value}`" if isinstance(place, yaml.ScalarNode) and place is not node else "this item"
            self._note(NO_VALUE, f"{name} has no value", place, 'give it one, remove the line, or write "" for empty text')
        return value

    def _scalar(self, node: yaml.Node) -> Any:
        if node.tag == PLAIN:
            return core_scalar(node.value)
        if node.tag != "tag:yaml.org,2002:str":
            self._untagged(node, TEXT)
        return node.value

    def _untagged(self, node: yaml.Node, tag: str) -> None:
        if node.tag != tag:
            self._note(
                BAD_VALUE, f"tags such as `{node.tag.replace('tag:yaml.org,2002:', '!!')}` are not understood", node, "remove the tag"
            )

    def _note(self, code: str, what: str, node: yaml.Node, fix: str = "") -> None:
        self.findings.append(self._source.finding(code, what, yaml_nodes.span(node), fix))


def _once(findings: Sequence[Finding]) -> list[Finding]:
    """Return findings in the order of the file, the first for each place."""
    seen: dict[tuple[int, int], Finding] = {}
    for finding in findings:
        seen.setdefault((finding.line, finding.column), finding)
    return [seen[place] for place in sorted(seen)]


def _find(root: yaml.Node, loc: Loc) -> tuple[yaml.Node, yaml.Node]:
    """Return (key node, value node) at a location; the deepest written parent when there is no such place."""
    key, node = root, root
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            hit = next(((k, v) for k, v in node.value if isinstance(k, yaml.ScalarNode) and k.value == str(part)), None)
            if hit is None:
                return key, node
            key, node = hit
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            key = node = node.value[part]
        else:
            return key, node
    return key, node


def _place(root: yaml.Node, loc: Loc, at: Literal["value", "key"]) -> tuple[int, int, int]:
    """Return (line, column, length) of a value on one line, else of the key it belongs to."""
    key, node = _find(root, loc)
    if key is root:
        line, column, _length = yaml_nodes.span(root)
        return line, column, 1
    one_line = node.start_mark.line == node.end_mark.line and node.end_mark.column > node.start_mark.column
    return yaml_nodes.span(node if at == "value" and one_line else key)


_TYPES: Final = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
}


def _explain(error: ValidationError, model: type[BaseModel], source: Source, root: yaml.Node) -> Iterator[Finding]:
    faults = error.errors(include_url=False)
    deepest = {loc[:length] for loc in (tuple(fault["loc"]) for fault in faults) for length in range(len(loc))}
    for fault in faults:
        # A list that is "too short" only because its items are faulty is no second fault.
        if fault["type"] != "too_short" or tuple(fault["loc"]) not in deepest:
            yield _explain_one(fault, model, source, root)


def _explain_one(fault: Any, model: type[BaseModel], source: Source, root: yaml.Node) -> Finding:
    """Return one fault that pydantic found in our words."""
    loc: Loc = tuple(fault["loc"])
    kind: str = fault["type"]
    of_key = bool(loc) and loc[-1] == "[key]"
    loc = loc[:-1] if of_key else loc
    place = _place(root, loc, "key" if of_key or kind == "extra_forbidden" else "value")
    where = _dotted(loc)
    if kind == "extra_forbidden":
        known = _known_keys(model, loc[:-1])
        return source.finding(UNKNOWN_KEY, f"unknown key `{loc[-1]}`", place, suggest.help_text(str(loc[-1]), known, "keys here"))
    if kind == "missing":
        parent = f"`{_dotted(loc[:-1])}`" if loc[:-1] else "the file"
        return source.finding(MISSING_KEY, f"{parent} has no `{loc[-1]}`", _place(root, loc[:-1], "key"), f"add `{loc[-1]}:`")
    if kind == "literal_error":
        wanted = re.findall(r"'([^']*)'", fault["ctx"]["expected"])
        what = f"`{where}` must be {' or '.join(f'`{word}`' for word in wanted)}"
        near = suggest.nearest(str(fault["input"]), wanted)
        return source.finding(BAD_VALUE, what, place, f"did you mean `{near}`?" if near else f"write `{wanted[0]}`")
    if kind == "value_error":
        cause = fault["ctx"]["error"]
        if isinstance(cause, InvalidError):
            return source.finding(cause.code, cause.what, place, cause.fix)
        what, colon, fix = str(cause).rpartition(": ")
        return source.finding(BAD_VALUE, f"`{where}`: {what if colon else fix}", place, fix if colon else _SEE)
    if kind in _TYPES:
        fix = _typed(_TYPES[kind], str(loc[-1]) if loc else "", _find(root, loc)[1])
        return source.finding(BAD_VALUE, f"`{where}` must be {_TYPES[kind]}, not {_named(fault['input'])}", place, fix)
    what, fix = _bounds(kind, fault.get("ctx") or {})
    if what:
        return source.finding(BAD_VALUE, f"`{where}` {what}", place, fix)
    message = str(fault["msg"]).replace("Input should", "must")
    return source.finding(BAD_VALUE, f"`{where}` {message[0].lower()}{message[1:]}", place, _SEE)


_SEE: Final = "the schema of this file says what may stand here: docs/schemas/"


def _typed(wanted: str, name: str, node: yaml.Node) -> str:
    """Return how a value of the wanted type is written under its key."""
    text = node.value if isinstance(node, yaml.ScalarNode) else ""
    if wanted == "text":
        return f'put it in quotes: "{text}"' if text else "write one word or sentence, in quotes"
    if wanted == "a list":
        return f"write `{name}: [{text or 'one, two'}]`"
    if wanted == "a mapping of keys to values":
        return f"write `{name}:` and below it, indented, `key: value`"
    return f"write {wanted}, without quotes"


def _bounds(kind: str, limits: dict[str, Any]) -> tuple[str, str]:
    """Return (what is wrong, the way out) for a value of the right type that is too small, too large, too short or too long."""
    if kind in ("too_short", "string_too_short"):
        least = limits.get("min_length", 1)
        if least == 1:
            return "is empty, and needs at least 1", "write what belongs here, or remove the key if it may be left out"
        return f"is too short: it needs {least}", "add what is missing"
    if kind in ("too_long", "string_too_long"):
        unit = " letters" if kind == "string_too_long" else ""
        return f"is too long: at most {limits.get('max_length')}{unit}", "shorten it"
    for name, words in (("ge", "at least"), ("gt", "more than"), ("le", "at most"), ("lt", "less than")):
        if name in limits:
            return f"must be {words} {limits[name]}", f"write a number that is {words} {limits[name]}"
    return "", ""


def _named(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    names: tuple[tuple[type, str], ...] = ((str, "text"), (int, "a number"), (float, "a number"), (list, "a list"), (dict, "a mapping"))
    return next((name for kind, name in names if isinstance(value, kind)), "nothing")


def _dotted(loc: Loc) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    return text.removeprefix(".") or "the file"


def _known_keys(model: type[BaseModel], loc: Loc) -> list[str]:
    """Return the keys that the model knows at a location."""
    annotation: Any = model
    for part in loc:
        annotation = _step(_bare(annotation), part)
    bare = _bare(annotation)
    if isinstance(bare, type) and issubclass(bare, BaseModel):
        return [info.alias or name for name, info in bare.model_fields.items()]
    return []


def _step(annotation: Any, part: str | int) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = {info.alias or name: info.annotation for name, info in annotation.model_fields.items()}
        return fields.get(str(part))
    args = get_args(annotation)
    return args[1] if get_origin(annotation) is dict and len(args) > 1 else (args[0] if args else None)


def _bare(annotation: Any) -> Any:
    """Return a type without Annotated and without `| None`."""
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation = get_args(annotation)[0]
        elif origin is Union or origin is types.UnionType:
            annotation = next(arg for arg in get_args(annotation) if arg is not type(None))
        else:
            return annotation


def refuse(findings: Sequence[Finding]) -> NoReturn:
    """Raise findings as one error, in the order of files and lines."""
    raise ConfigError(sorted(findings, key=lambda finding: (finding.path, finding.line, finding.column)))

"""The kinds of words that a pipeline file holds, each checked where it stands: names, variables, patterns, paths, times, bases.

Called by the models in `written`; a word that passed can be used without looking at it again. Never looks at two words together.
"""

import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from setpoint.core import plain_names
from setpoint.core.documents import InvalidError
from setpoint.core.durations import Duration, to_text
from setpoint.pipeline import patterns, quantities

MAX_TIMEOUT_S: Final = 24 * 3600
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_SECRET: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_REPORT: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_TAKEN: Final = frozenset(
    (
        *("tests", "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let"),
        *("loop", "package", "namespace", "return", "var", "void", "while"),
    )
)
"""`tests`, and the words that CEL reserves (cel-spec, langdef.md)."""
_PREDICATE: Final = re.compile(r"https://[a-z0-9.-]{1,100}/[!-~]{1,150}")
_OWN_PREDICATES: Final = (
    *("https://slsa.dev/", "https://setpoint.dev/", "https://in-toto.io/attestation/test-result/"),
    "https://cyclonedx.org/bom",
)
"""What Setpoint itself says under these types must not be said by a task."""
_REFERENCE: Final = re.compile(r"[a-z0-9][a-z0-9._/:-]{0,254}(@sha256:[0-9a-f]{64})?")


def _name(text: str) -> str:
    return plain_names.checked(text, "SP220")


def _variable(text: str) -> str:
    if not _VARIABLE.fullmatch(text):
        raise InvalidError(f"`{text}` is no name of an environment variable", "letters, digits and underscores, no digit first", "SP220")
    return text


def _plain_text(text: str) -> str:
    if "\0" in text:
        raise InvalidError("a zero byte cannot be passed to a program", "remove it")
    return text


def _quantity(text: str) -> str:
    if not quantities.is_positive(text):
        raise InvalidError(f"`{text}` is no amount", 'write it as Kubernetes does, in quotes: "500m", "2", "512Mi"', "SP281")
    return text


def _pattern(text: str) -> str:
    why = patterns.fault(text)
    if why:
        raise InvalidError(f"the pattern `{text}` is not accepted: {why}", "write a path, `folder/`, `src/**` or `*.py`", "SP221")
    return text


def _plain_path(text: str) -> str:
    why = patterns.fault(text) or ("it is a folder or a pattern" if text.endswith("/") or set("*?[") & set(text) else "")
    if why:
        raise InvalidError(f"the path `{text}` is not accepted: {why}", "write the path of one file inside the task's folder", "SP225")
    return text


def _report_name(text: str) -> str:
    if not _REPORT.fullmatch(text) or text in _TAKEN:
        fix = "lower-case letters, digits and underscores, a letter first, at most 40; no word of CEL, and not `tests`"
        raise InvalidError(f"`{text}` is no name of a report", fix, "SP220")
    return text


def _predicate(text: str) -> str:
    if not _PREDICATE.fullmatch(text) or text.startswith(_OWN_PREDICATES):
        fix = "write an https address that names the kind of report, none of SLSA's or Setpoint's: https://example.com/lint/v1"
        fix = "write `format: cyclonedx` in place of schema and predicate" if "cyclonedx.org" in text else fix
        raise InvalidError(f"`{text[:80]}` is no type for a report", fix, "SP261")
    return text


def _target_path(text: str) -> str:
    parts = text.split("/")
    if not text.startswith("/") or ".." in parts or "." in parts or "" in parts[1:-1] or re.search(r"[\x00-\x1f\x7f]", text):
        raise InvalidError(f"`{text}` is no absolute path", "write where it goes in the image, such as /app/", "SP223")
    return text


def _timeout(seconds: int) -> int:
    if seconds > MAX_TIMEOUT_S:
        raise InvalidError(f"a timeout of {to_text(seconds)} is too long", f"at most {to_text(MAX_TIMEOUT_S)}", "SP226")
    return seconds


def _place(text: str) -> str:
    why = patterns.fault(text) if text != "./" else ""
    if why or set("*?[") & set(text):
        fix = "write a folder with a slash (`lib/`), a file, or `./` for the workspace itself"
        raise InvalidError(f"`{text}` is no place in the workspace: {why or 'it is a pattern'}", fix, "SP234")
    return text


def _secret_name(text: str) -> str:
    if not _SECRET.fullmatch(text):
        raise InvalidError(f"`{text}` is no name of a secret", "letters, digits and underscores, no digit first, at most 64", "SP220")
    return text


def _by_variable(value: Any) -> Any:
    """Return a list of names as {variable: name}: every secret under its own name."""
    return {name: name for name in value} if isinstance(value, list) and all(isinstance(name, str) for name in value) else value


def _base(text: str) -> str:
    if not _REFERENCE.fullmatch(text):
        fix = "write `host`, or a reference such as registry.example/python@sha256:…"
        raise InvalidError(f"`{text}` is no base", fix, "SP227")
    return text


Name = Annotated[str, AfterValidator(_name)]
Variables = dict[Annotated[str, AfterValidator(_variable)], Annotated[str, AfterValidator(_plain_text)]]
Secrets = Annotated[
    dict[Annotated[str, AfterValidator(_variable)], Annotated[str, AfterValidator(_secret_name)]],
    BeforeValidator(_by_variable),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"type": "string"}},
                {"type": "object", "additionalProperties": {"type": "string"}},
            ]
        }
    ),
]
"""A list of names, or {variable: name}; always the latter in the model."""
Pattern = Annotated[str, AfterValidator(_pattern)]
PlainText = Annotated[str, AfterValidator(_plain_text)]
Place = Annotated[str, AfterValidator(_place)]
PlainPath = Annotated[str, AfterValidator(_plain_path)]
TargetPath = Annotated[str, AfterValidator(_target_path)]
Base = Annotated[str, AfterValidator(_base)]
Quantity = Annotated[str, AfterValidator(_quantity)]
Timeout = Annotated[Duration, AfterValidator(_timeout)]
ReportName = Annotated[str, AfterValidator(_report_name)]
PredicateType = Annotated[str, AfterValidator(_predicate)]

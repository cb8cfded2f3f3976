"""YAML text to nodes with places, safely: bounded nesting, clear syntax errors, no interpretation of scalars.

Called by `core.documents` for our own files and by `reconcile.manifests` for Kubernetes'; it never constructs a value, so that both can
type scalars by their own rules. libyaml composes recursively in C: unbounded nesting would end the process, so depth is checked before.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml
from yaml.cyaml import CParser  # type: ignore[attr-defined]

from setpoint.core.errors import Finding

PLAIN: Final = "plain"
"""Tag of an unquoted scalar without an explicit tag: the only kind that may be something else than a string."""
TEXT: Final = "text"
"""Tag of a quoted or block scalar."""
COLLECTION: Final = "collection"
MAX_DEPTH: Final = 100
"""Deepest nesting that is accepted."""
_COMPOSE_DEPTH: Final = 500
_MAYBE_DEEP: Final = re.compile(rf"^[ \-?:]{{{_COMPOSE_DEPTH}}}", re.MULTILINE)
_SHOWN_COLUMNS: Final = 160
_CLIPPED_COLUMNS: Final = 60
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class SyntaxFaultError(Exception):
    """The text is no YAML; carries the finding."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.what)
        self.finding = finding


class Source:
    """The text of one file, for places and carets."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self._lines: list[str] | None = None

    def line(self, number: int) -> str:
        """Return a line (1-based) without its end, empty when there is none."""
        if self._lines is None:
            self._lines = re.split("\r\n|[\n\r\x85\u2028\u2029]", self.text)
        return self._lines[number - 1] if 0 < number <= len(self._lines) else ""

    def finding(self, code: str, what: str, place: tuple[int, int, int], fix: str = "") -> Finding:
        """Return a finding at (line, column, length), 1-based, with its source line clipped and made safe for a terminal."""
        number, column, length = place
        line = self.line(number)
        length = max(1, min(length, len(line) - column + 1))
        if column + length > _SHOWN_COLUMNS:
            # A caret far to the right helps nobody: the text there is shown from its start, and the column is said in words.
            clip = _CONTROL.sub("\ufffd", line[column - 1 : column - 1 + _CLIPPED_COLUMNS])
            return Finding(code, f"{what} (column {column})", self.path, number, 1, min(length, max(1, len(clip))), clip, fix)
        return Finding(code, what, self.path, number, column, length, _CONTROL.sub("\ufffd", line[:_SHOWN_COLUMNS]), fix)


def span(node: yaml.Node) -> tuple[int, int, int]:
    """Return a node's (line, column, length), 1-based; length 1 when it ends on another line."""
    start, end = node.start_mark, node.end_mark
    return start.line + 1, start.column + 1, end.column - start.column if end.line == start.line else 1


class _Nodes(CParser):
    """libyaml's parser and composer with a resolver that only tells plain scalars from the rest."""

    def __init__(self, stream: str) -> None:
        CParser.__init__(self, stream)

    def resolve(self, kind: type[yaml.Node], _value: Any, implicit: Any) -> str:
        """Return the tag of a node that has none."""
        if kind is not yaml.ScalarNode:
            return COLLECTION
        return PLAIN if implicit[0] else TEXT

    def descend_resolver(self, _parent: Any, _index: Any) -> None:
        """Do nothing: there are no path resolvers."""

    def ascend_resolver(self) -> None:
        """Do nothing."""


def decode(data: bytes, path: str, code: str) -> Source:
    """Return UTF-8 bytes (a byte order mark is dropped) as a source.

    Raises:
        SyntaxFaultError: with `code`, at the first byte that is not UTF-8.
    """
    try:
        return Source(path, data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        head = data[: error.start].decode("utf-8-sig", errors="replace")
        source = Source(path, head)
        place = head.count("\n") + 1, len(head) - head.rfind("\n"), 1
        raise SyntaxFaultError(
            source.finding(code, f"byte {data[error.start]:#04x} is not UTF-8", place, "save the file as UTF-8")
        ) from error


def compose_all(source: Source, code: str) -> Iterator[yaml.Node]:
    """Yield the root node of every document that is not empty.

    Raises:
        SyntaxFaultError: with `code`, at the place where YAML ends.
    """
    _refuse_deep(source, code)
    try:
        parser = _Nodes(source.text)
        try:
            while parser.check_node():
                node = parser.get_node()
                if node is not None:
                    yield node
        finally:
            parser.dispose()
    except yaml.YAMLError as error:
        raise SyntaxFaultError(_syntax_finding(source, code, error)) from error


def _refuse_deep(source: Source, code: str) -> None:
    """Count real nesting by events, but only when the text could be deep at all."""
    text = source.text
    if text.count("[") + text.count("{") < _COMPOSE_DEPTH and not _MAYBE_DEEP.search(text):
        return
    depth = 0
    try:
        for event in yaml.parse(text, Loader=yaml.CBaseLoader):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > _COMPOSE_DEPTH and event.start_mark is not None:
                place = event.start_mark.line + 1, event.start_mark.column + 1, 1
                raise SyntaxFaultError(source.finding(code, f"nested deeper than {MAX_DEPTH} levels", place, "write it flatter"))
    except yaml.YAMLError as error:
        raise SyntaxFaultError(_syntax_finding(source, code, error)) from error


_HINTS: Final = (
    ("cannot start any token", "put text that begins with @, `, % or & in quotes"),
    ("mapping values are not allowed", "a value that contains `: ` goes in quotes; check the indentation of this line"),
    ("undefined alias", "text that begins with * goes in quotes"),
    ("did not find expected key", "check the indentation of this line against the lines above"),
    ("did not find expected '-'", "check the indentation of this line against the list above"),
    ("did not find expected ',' or", "close the bracket"),
    ("found unexpected end of stream", "close the quote"),
)


def _syntax_finding(source: Source, code: str, error: yaml.YAMLError) -> Finding:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        problem = error.problem or "is no YAML"
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        what = f"{error.context}: {problem}" if error.context and "next token" not in error.context else problem
        if error.context_mark and error.context_mark.line + 1 != line:
            what += f" (begun on line {error.context_mark.line + 1})"
        fix = next((hint for words, hint in _HINTS if words in problem), "check indentation, colons and quotes near here")
        if source.line(line)[: max(column, 1)].lstrip(" ").startswith("\t"):
            what, fix = "a tab cannot indent YAML", "indent with spaces"
        return source.finding(code, what, (line, column, 1), fix)
    position = int(getattr(error, "position", 0))
    head = source.text[:position]
    what = f"character U+{int(getattr(error, 'character', 0)):04X} is not allowed in YAML"
    fix = "remove it, or write it as an escape in double quotes"
    return source.finding(code, what, (head.count("\n") + 1, position - head.rfind("\n"), 1), fix)

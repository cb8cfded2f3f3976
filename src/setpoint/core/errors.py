"""Errors that say what happened, where, and how to go on; three families, so that retry is decided by type.

Raised by every layer, rendered by the CLI (caret block), the API (RFC 9457 problem) and the pages; a text never embeds its cause.
Codes are SP0xx core, 1xx source, 2xx pipeline, 3xx artifact, 4xx evidence, 5xx promotion, 6xx reconcile, 7xx rollout and observe,
8xx server, API and command line; docs/errors.md lists them all and a test holds it to the code.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass


def _columns(letter: str) -> int:
    """Return how many columns of a terminal a letter takes: 2 when it is wide (Unicode annex 11), 0 when it combines."""
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault in a file that a person wrote, with the place and the way out."""

    code: str
    what: str
    path: str
    line: int = 0
    """1-based; 0 when the fault has no line."""
    column: int = 0
    length: int = 1
    source: str = ""
    """The text of that line, for the caret."""
    fix: str = ""

    @property
    def place(self) -> str:
        """path:line:column, or the path alone when the fault has no line."""
        return f"{self.path}:{self.line}:{self.column}" if self.line else self.path

    def render(self) -> str:
        """Return the finding as a caret block: code, path:line:column, the line, a caret, help."""
        head = f"error[{self.code}]: {self.what}"
        if not self.line:
            return "\n".join([head, f"  --> {self.path}", *([f"  = help: {self.fix}"] if self.fix else [])])
        number = str(self.line)
        pad = " " * len(number)
        lines = [head, f"{pad}--> {self.path}:{self.line}:{self.column}", f"{pad} |", f"{number} | {self.source}"]
        before, marked = self.source[: self.column - 1], self.source[self.column - 1 : self.column - 1 + self.length]
        indent = "".join("\t" if letter == "\t" else " " * _columns(letter) for letter in before)
        lines.append(f"{pad} | {indent}{'^' * max(1, sum(map(_columns, marked)))}")
        if self.fix:
            lines.append(f"{pad} = help: {self.fix}")
        return "\n".join(lines)


class SetpointError(Exception):
    """The base of every error that Setpoint raises on purpose."""

    def __init__(self, code: str, what: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(f"{code}: {what}")
        self.code = code
        self.what = what
        self.where = where
        """path:line:column, an object such as `Deployment/web`, a run and task, or a URL."""
        self.fix = fix

    def render(self) -> str:
        """Return the error for a terminal: what, where and help, one line each."""
        lines = [f"error[{self.code}]: {self.what}"]
        if self.where:
            lines.append(f"  --> {self.where}")
        if self.fix:
            lines.append(f"  = help: {self.fix}")
        return "\n".join(lines)


class UserError(SetpointError):
    """Something the caller has to mend; retrying the same words cannot help."""


class NotFoundError(UserError):
    """The caller named something that is not there."""


class NotAllowedError(UserError):
    """The caller may not do this; the text says who may."""


class ConflictError(UserError):
    """The world moved on, or the request contradicts what is already decided."""


class ConfigError(UserError):
    """Files that people wrote hold faults: all of them at once."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        first = findings[0]
        more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
        super().__init__(first.code, first.what + more, where=first.place, fix=first.fix)
        self.findings = tuple(findings)

    def render(self) -> str:
        """Return every finding as its caret block, an empty line between them."""
        return "\n\n".join(finding.render() for finding in self.findings)


class WorldError(SetpointError):
    """Something outside failed and may work later; the loop tries again after `retry_after_s`."""

    def __init__(self, code: str, what: str, *, where: str = "", fix: str = "", retry_after_s: float = 5.0) -> None:
        super().__init__(code, what, where=where, fix=fix)
        self.retry_after_s = retry_after_s


class UnreachableError(WorldError):
    """Nobody answers there at all: whatever else would be asked fails too, so who works on many things stops at once."""

    since = ""
    """Since when; empty while it is the first time."""


class CredentialError(UnreachableError):
    """Somebody answers there, and does not take us for who we say we are."""


class BugError(SetpointError):
    """Setpoint contradicts itself: report it; what ran keeps running."""

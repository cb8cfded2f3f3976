"""Whether a task's test result says anything about an artifact: only if what the task saw covers what the artifact is made of.

Pure; called by the signer when it composes a test-result statement, which then carries the verdict, so that a verifier needs no Git.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_NAMED: Final = 20
"""How many examples a statement names; the count is always exact."""


@dataclass(frozen=True, slots=True)
class Made:
    """What an artifact consists of, or what a task was given."""

    files: Mapping[str, str]
    """path in the source tree -> blob id"""
    outputs: Mapping[str, str]
    """task -> digest of its outputs"""


@dataclass(frozen=True, slots=True)
class Coverage:
    """The verdict: complete when nothing is missing."""

    missing: tuple[str, ...]
    """Paths (`src/a.py`) and task outputs (`deps:`) that are in the artifact and were not what the task saw; at most 20."""
    missing_count: int

    @property
    def covers(self) -> bool:
        """Whether the result counts for the artifact."""
        return self.missing_count == 0

    def content(self) -> dict[str, Any]:
        """Return the JSON value that goes into the statement."""
        return {"covers": self.covers, "missing": list(self.missing), "missingCount": self.missing_count}

    @property
    def text(self) -> str:
        """Return the fault as a sentence with an example; empty when it covers."""
        if self.covers:
            return ""
        more = f" and {self.missing_count - 1} more" if self.missing_count > 1 else ""
        return f"EVIDENCE_DOES_NOT_COVER: {self.missing[0]}{more} is in the artifact and was not an input of the task"


def judge(artifact: Made, task: Made) -> Coverage:
    """Return whether every source file and every task output in the artifact is, byte for byte, what the task was given."""
    missing = [path for path, blob in sorted(artifact.files.items()) if task.files.get(path) != blob]
    missing += [f"{name}:" for name, output in sorted(artifact.outputs.items()) if task.outputs.get(name) != output]
    return Coverage(tuple(missing[:_NAMED]), len(missing))

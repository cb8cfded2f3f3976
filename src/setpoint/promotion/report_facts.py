"""Reports as policies see them: of each artifact and of all together, and why one that a policy names is not there; pure.

Called by `facts`. A name under `evidence` speaks for every artifact of the candidate, so an artifact without it makes it FAILED: no scan
passes for what it never looked at. A policy that means one artifact names it under `artifacts`.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from setpoint.core import suggest
from setpoint.evidence.facts import agreed
from setpoint.evidence.model import ArtifactEvidence, ReportFacts
from setpoint.evidence.scans.freshness import aged
from setpoint.promotion import policy_names

_SHOWN: Final = 3
_OF_ARTIFACT: Final = re.compile(r"\.reports\.([a-z][a-z0-9_]*)")


def seen(facts: ReportFacts, now: datetime | None) -> dict[str, Any]:
    """Return a report as a policy sees it: `result` and `report`; of a scan with the ages of its times."""
    report = aged(facts.report, now) if facts.format and now is not None else facts.report
    return {"result": facts.result, "report": report}


def of_all(evidence: Sequence[ArtifactEvidence], now: datetime | None) -> dict[str, dict[str, Any]]:
    """Return {name: what the reports of all artifacts say together}, with the artifacts that have none as `missing`."""
    found = {}
    for name in sorted({name for artifact in evidence for name in artifact.reports}):
        missing = [artifact.name for artifact in evidence if name not in artifact.reports]
        present = [artifact.reports[name] for artifact in evidence if name in artifact.reports]
        together = agreed([*present, *(ReportFacts("FAILED") for _ in missing)])
        found[name] = {**seen(together, now), "missing": missing}
    return found


def faults(expression: str, evidence: Sequence[ArtifactEvidence]) -> list[str]:
    """Return why reports that a policy names do not count, a sentence each; nothing about those that do."""
    return [fault for name in _named(expression) for fault in _faults(name, evidence)][:_SHOWN]


def _named(expression: str) -> list[str]:
    paths = (path.split(".") for _, path in policy_names.paths(expression))
    names = [parts[1] for parts in paths if len(parts) > 1 and parts[0] == "evidence"]
    return [name for name in dict.fromkeys([*names, *_OF_ARTIFACT.findall(expression)]) if name != "tests"]


def _faults(name: str, evidence: Sequence[ArtifactEvidence]) -> Iterator[str]:
    known = sorted({known for artifact in evidence for known in artifact.reports})
    if name not in known:
        told = [fault for artifact in evidence for fault in artifact.faults if f" {name} " in fault]
        yield told[0] if told else f"there is no report `{name}`; {suggest.help_text(name, known, 'reports')}"
        return
    for artifact in evidence:
        facts = artifact.reports.get(name)
        if facts is None:
            told = [fault for fault in artifact.faults if f" {name} " in fault]
            yield told[0] if told else f"{artifact.name} has no report `{name}`"
        elif facts.result != "PASSED":
            yield f"{name} of {artifact.name} is {facts.result}: {facts.says}"

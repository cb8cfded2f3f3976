"""The vulnerabilities that a CycloneDX document lists, counted by how severe they are, with what somebody has decided about them; pure.

Called by `cyclonedx`. One id counts once, however many components have it: with its highest rating, and as open while any entry of it is
open. So no rating and no analysis of another component can make a finding smaller. Source: CycloneDX 1.4 to 1.7, `vulnerabilities`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from setpoint.evidence.scans import cvss
from setpoint.evidence.scans.reading import Place, child, listed, number, objects, text, word

SEVERITIES: Final = ("critical", "high", "medium", "low", "info", "none", "unknown")
"""From worst to best; `unknown` is what no rating says anything about, and is counted by itself."""
_STATES: Final = ("resolved", "resolved_with_pedigree", "exploitable", "in_triage", "false_positive", "not_affected")
_SET_ASIDE: Final = {
    "resolved": "resolved",
    "resolved_with_pedigree": "resolved",
    "false_positive": "false_positive",
    "not_affected": "not_affected",
}
_THIRD: Final = ("CVSSv3", "CVSSv31", "CVSSv4")
_VECTORS: Final = ("CVSSv2", "CVSSv3", "CVSSv31", "")


@dataclass(slots=True)
class _Vulnerability:
    """All entries of one id."""

    severity: str
    open: bool
    set_aside: str
    """What was decided about it, when all of its entries are decided."""


def facts_of(bom: dict[str, Any]) -> dict[str, Any] | None:
    """Return the counts; None when the document says nothing about vulnerabilities, which is not the same as none."""
    if bom.get("vulnerabilities") is None:
        return None
    found: dict[str, _Vulnerability] = {}
    for entry, here in objects(bom, "vulnerabilities", None):
        name = text(entry, "id", here) or text(entry, "bom-ref", here) or str(here)
        severity = _severity(entry, here)
        state = word(child(entry, "analysis", here), "state", Place(here, "analysis"), _STATES)
        decided = _SET_ASIDE.get(state, "")
        known = found.setdefault(name, _Vulnerability(severity, not decided, decided))
        known.severity = min(known.severity, severity, key=SEVERITIES.index)
        known.open = known.open or not decided
    return _facts(found)


def _facts(found: dict[str, _Vulnerability]) -> dict[str, Any]:
    still = {name: one for name, one in found.items() if one.open}
    aside = {name: one for name, one in found.items() if not one.open}
    facts: dict[str, Any] = {severity: sum(one.severity == severity for one in still.values()) for severity in SEVERITIES}
    facts["total"] = len(still)
    facts["set_aside"] = {word: sum(one.set_aside == word for one in aside.values()) for word in sorted(set(_SET_ASIDE.values()))}
    facts["set_aside"]["total"] = len(aside)
    by_severity = {severity: listed([n for n, one in still.items() if one.severity == severity]) for severity in SEVERITIES}
    facts["ids"] = {severity: names for severity, names in by_severity.items() if names is not None}
    if (names := listed(list(aside))) is not None:
        facts["set_aside"]["ids"] = names
    return facts


def _severity(entry: dict[str, Any], at: Place) -> str:
    """Return the highest of an entry's ratings: whoever rates lower may know less."""
    return worst(_rated(rating, here) for rating, here in objects(entry, "ratings", at))


def worst(severities: Iterable[str]) -> str:
    """Return the highest of several severities, `unknown` when there is none."""
    return min((*severities, "unknown"), key=SEVERITIES.index)


def _rated(rating: dict[str, Any], at: Place) -> str:
    written = word(rating, "severity", at, SEVERITIES)
    if written and written != "unknown":
        return written
    method, score = text(rating, "method", at), number(rating.get("score"))
    if score is not None and method in (*_THIRD, "CVSSv2", ""):
        return cvss.severity(score, second=method == "CVSSv2")
    return cvss.of_vector(text(rating, "vector", at)) if method in _VECTORS else "unknown"

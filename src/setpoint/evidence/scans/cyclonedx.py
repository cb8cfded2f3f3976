"""CycloneDX JSON made small: what is in it, under which licences, who says so, and which vulnerabilities are known; pure.

Called in a process of its own (`adapters.scans`), for the bytes are a task's. An inventory that says nothing about vulnerabilities has no
counts of them, so that no policy takes silence for none. Source: CycloneDX 1.4 to 1.7 (ECMA-424).
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from setpoint.core import canonical
from setpoint.core.words import counted
from setpoint.evidence.scans import freshness, vulnerabilities
from setpoint.evidence.scans.licenses import Licenses
from setpoint.evidence.scans.reading import TEXT, Place, child, document, fault, instant, objects, short, text, tools_of
from setpoint.pipeline.model import SCAN_REPORT_BYTES, ScanSummary

VERSIONS: Final = ("1.4", "1.5", "1.6", "1.7")
_TYPES: Final = (
    *("application", "framework", "library", "container", "platform", "operating-system", "device", "device-driver", "firmware", "file"),
    *("machine-learning-model", "data", "cryptographic-asset"),
)
_PARTS: Final = ("components", "services", "vulnerabilities")
_INCOMPLETE: Final = ("incomplete", "incomplete_first_party_only", "incomplete_first_party_proprietary_only")
_INCOMPLETE_MORE: Final = ("incomplete_first_party_opensource_only", "incomplete_third_party_only")
_INCOMPLETE_THIRD: Final = ("incomplete_third_party_proprietary_only", "incomplete_third_party_opensource_only", "unknown")
_PREDICATE_BYTES: Final = 11 << 20
"""A bundle has at most 16 MiB, and base64 makes four bytes of three."""


def summarize(data: bytes) -> ScanSummary:
    """Return the summary of a CycloneDX document.

    Raises:
        UserError: it is XML, no CycloneDX of a version that is known here, or lists nothing (SP415; where is a JSON pointer).
    """
    bom = document(data, SCAN_REPORT_BYTES["cyclonedx"])
    if bom.get("bomFormat") != "CycloneDX":
        raise fault('it is no CycloneDX: `bomFormat` is not "CycloneDX"')
    if bom.get("specVersion") not in VERSIONS:
        raise fault(f"specVersion {str(bom.get('specVersion'))[:40]!r} is none of {', '.join(VERSIONS)}", Place(None, "specVersion"))
    if all(bom.get(part) is None for part in _PARTS):
        raise fault(f"it lists nothing: none of {', '.join(_PARTS)} is there")
    if len(canonical.dumps(bom)) > _PREDICATE_BYTES:
        raise fault(f"as canonical JSON it has more than {_PREDICATE_BYTES >> 20} MiB", fix="let the tool write numbers as they are")
    facts = _facts(bom)
    return ScanSummary(facts, _says(facts))


def _facts(bom: dict[str, Any]) -> dict[str, Any]:
    metadata, at = child(bom, "metadata", None), Place(None, "metadata")
    facts: dict[str, Any] = {
        "spec_version": bom["specVersion"],
        "tools": list(_tools(metadata, at))[:20],
        "subject": _subject(child(metadata, "component", at), Place(at, "component")),
        **_components(bom, metadata, at),
        "services": sum(1 for _ in objects(bom, "services", None)),
        "dependencies": sum(1 for _ in objects(bom, "dependencies", None)),
        "incomplete": sum(
            text(item, "aggregate", here) in (*_INCOMPLETE, *_INCOMPLETE_MORE, *_INCOMPLETE_THIRD)
            for item, here in objects(bom, "compositions", None)
        ),
        "database": freshness.database(_databases(bom, metadata, at)),
    }
    if (listed := vulnerabilities.facts_of(bom)) is not None:
        facts["vulnerabilities"] = listed
    if made := instant(text(metadata, "timestamp", at)):
        facts["made"] = made
    return facts


def _tools(metadata: dict[str, Any], at: Place) -> Iterator[dict[str, str]]:
    """Yield the tools, in the old form (a list) or the one since 1.5 (components and services)."""
    written = metadata.get("tools")
    place = Place(at, "tools")
    sources = [(metadata, "tools", at)] if isinstance(written, list) else []
    if not isinstance(written, list):
        holder = child(metadata, "tools", at)
        sources = [(holder, key, place) for key in ("components", "services")]
    for holder, key, where in sources:
        for tool, here in objects(holder, key, where):
            yield {"name": short(tool, "name", here), "version": short(tool, "version", here)}


def _subject(component: dict[str, Any], at: Place) -> dict[str, str]:
    return {key: found for key in ("type", "name", "version", "purl") if (found := short(component, key, at))}


def walk(holder: dict[str, Any], at: Place | None) -> Iterator[tuple[dict[str, Any], Place]]:
    """Yield every component below, those inside of others too."""
    todo = list(objects(holder, "components", at))
    while todo:
        component, here = todo.pop()
        yield component, here
        todo.extend(objects(component, "components", here))


def _components(bom: dict[str, Any], metadata: dict[str, Any], at: Place) -> dict[str, Any]:
    types: Counter[str] = Counter()
    licenses = Licenses()
    unidentified = excluded = 0
    inside = child(metadata, "component", at)
    for component, here in (*walk(bom, None), *walk(inside, Place(at, "component"))):
        kind = text(component, "type", here)
        if kind not in _TYPES:
            raise fault(f"{kind[:TEXT]!r} is no type of a component" if kind else "the component has no type", Place(here, "type"))
        types[kind] += 1
        licenses.take(component, here)
        excluded += text(component, "scope", here) == "excluded"
        unidentified += not any(component.get(key) for key in ("purl", "cpe", "swid", "hashes", "omniborId", "swhid"))
    counts = {kind.replace("-", "_"): types[kind] for kind in _TYPES}
    total = {"total": types.total(), "excluded": excluded, "unidentified": unidentified, "types": counts}
    return {"components": total, "licenses": licenses.facts()}


def _databases(bom: dict[str, Any], metadata: dict[str, Any], at: Place) -> Iterator[str]:
    yield from freshness.named_properties(bom, None)
    yield from freshness.named_properties(metadata, at)
    tools = metadata.get("tools")
    if isinstance(tools, dict):
        for tool, here in objects(tools, "components", Place(at, "tools")):
            yield from freshness.named_properties(tool, here)


def _says(facts: dict[str, Any]) -> str:
    parts = [counted(facts["components"]["total"], "component")]
    known = facts.get("vulnerabilities")
    if known is not None:
        rated = [f"{known[word]:,} {word}" for word in vulnerabilities.SEVERITIES if known[word]]
        count = counted(known["total"], "vulnerability", "vulnerabilities") if known["total"] else "no vulnerabilities"
        parts.append(f"{count} ({', '.join(rated)})" if rated else count)
    by = tools_of(facts["tools"])
    tail = [f"{known['set_aside']['total']:,} set aside"] if known is not None and known["set_aside"]["total"] else []
    tail += ["nothing said about vulnerabilities"] if known is None else []
    if known is not None:
        base = facts["database"]
        tail += [f"vulnerability database of {base['updated'][:10]}" if base["known"] else "age of the vulnerability database not known"]
    tail += ["says of itself that it is incomplete"] if facts["incomplete"] else []
    return "; ".join([", ".join(parts) + (f" by {by}" if by else ""), *tail])

"""SARIF 2.1.0 made small: what was found, by whom, what is suppressed, and what the scanner did not get done; pure.

Called in a process of its own (`adapters.scans`), for the bytes are a task's. A finding is a result of kind `fail` that is neither
suppressed nor gone since the baseline. A run that failed, or whose results lie elsewhere, is refused: nothing found is no news then.
Source: SARIF 2.1.0 errata 01, sections 3.13, 3.14, 3.20, 3.27, 3.35.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from setpoint.core.words import counted
from setpoint.evidence.scans import freshness, rules
from setpoint.evidence.scans.reading import Place, child, document, fault, flag, instant, listed, objects, short, text, tools_of, word
from setpoint.pipeline.model import SCAN_REPORT_BYTES, ScanSummary

VERSION: Final = "2.1.0"
_KINDS: Final = ("fail", "pass", "open", "review", "informational", "notApplicable")
_STATES: Final = ("new", "unchanged", "updated", "absent")
_STATUSES: Final = ("accepted", "underReview", "rejected")
_SECURITY: Final = ("critical", "high", "medium", "low", "unrated")
_NOTES: Final = ("toolExecutionNotifications", "toolConfigurationNotifications")


@dataclass(slots=True)
class _Found:
    """What the runs of a file say together."""

    tools: list[dict[str, str]] = field(default_factory=list)
    findings: Counter[str] = field(default_factory=Counter)
    new: Counter[str] = field(default_factory=Counter)
    security: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    notifications: Counter[str] = field(default_factory=Counter)
    rules: set[str] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)
    """Messages of notifications of level `error`."""
    suppressed: int = 0
    absent: int = 0
    compared: bool = False
    """Whether the results were compared with a baseline."""
    times: list[str] = field(default_factory=list)
    databases: list[str] = field(default_factory=list)


def summarize(data: bytes) -> ScanSummary:
    """Return the summary of a SARIF file.

    Raises:
        UserError: it is no SARIF 2.1.0, a run of it failed, or its results are not in it (SP415; where is a JSON pointer).
    """
    log = document(data, SCAN_REPORT_BYTES["sarif"])
    if "version" not in log or "runs" not in log:
        raise fault("it is no SARIF: `version` or `runs` is missing")
    if log["version"] != VERSION:
        raise fault(f"its version is {str(log['version'])[:40]!r}, not {VERSION}", Place(None, "version"))
    if any(item.get("results") for item, _ in objects(log, "inlineExternalProperties", None)):
        raise fault("results lie outside of their runs", Place(None, "inlineExternalProperties"), "let the tool write them into the runs")
    found = _Found()
    for run, place in objects(log, "runs", None):
        _run(found, run, place)
    if not found.tools:
        raise fault("it holds no run, so nothing was looked at", Place(None, "runs"))
    return ScanSummary(_facts(found), _says(found), _incomplete(found))


def _run(found: _Found, run: dict[str, Any], at: Place) -> None:
    tool, place = child(run, "tool", at), Place(Place(at, "tool"), "driver")
    driver = child(tool, "driver", Place(at, "tool"))
    name = short(driver, "name", place)
    if not name:
        raise fault("the tool has no name", place)
    version = short(driver, "semanticVersion", place) or short(driver, "version", place)
    one = {"name": name, "version": version}
    found.tools += [one] if one not in found.tools else []
    _invocations(found, run, at, name)
    if child(run, "externalPropertyFileReferences", at).get("results"):
        raise fault("the results lie in other files", Place(at, "externalPropertyFileReferences"), "let the tool write one file")
    if run.get("results") is None:
        raise fault(f"{name} lists no results, not even none: it looked at nothing", Place(at, "results"))
    described = rules.rules_of(run, at)
    for result, here in objects(run, "results", at):
        _result(found, described, result, here)
    found.databases += _databases(run, driver, tool, at)


def _invocations(found: _Found, run: dict[str, Any], at: Place, name: str) -> None:
    for invocation, here in objects(run, "invocations", at):
        if flag(invocation, "executionSuccessful", here) is False:
            why = short(invocation, "exitCodeDescription", here) or short(invocation, "processStartFailureMessage", here)
            raise fault(f"{name} did not end well{': ' if why else ''}{why}", Place(here, "executionSuccessful"), "mend the scan")
        for key in _NOTES:
            for note, place in objects(invocation, key, here):
                level = word(note, "level", place, rules.LEVELS) or "warning"
                found.notifications[level] += 1
                if level == "error":
                    message = child(note, "message", place)
                    found.failures.append(short(message, "text", place) or short(message, "id", place) or "no message")
        ended = instant(text(invocation, "endTimeUtc", here)) or instant(text(invocation, "startTimeUtc", here))
        found.times += [ended] if ended else []


def _result(found: _Found, described: rules.Rules, result: dict[str, Any], at: Place) -> None:
    kind = word(result, "kind", at, _KINDS) or "fail"
    state = word(result, "baselineState", at, _STATES)
    found.compared = found.compared or bool(state)
    if kind != "fail":
        found.others[kind] += 1
        return
    if state == "absent":
        found.absent += 1
        return
    rule = described.of(result, at)
    level = described.level(result, rule, at)
    if _suppressed(result, at):
        found.suppressed += 1
        return
    found.findings[level] += 1
    found.security[rules.security(rule)] += 1
    found.rules.add(str(rule.get("id") or "") if rule is not None else text(result, "ruleId", at))
    # What was compared with nothing may be new.
    if state in ("", "new"):
        found.new[level] += 1


def _suppressed(result: dict[str, Any], at: Place) -> bool:
    """Say whether a result is suppressed: somebody asked for it, and no such request is open or refused (section 3.35.3)."""
    statuses = [word(item, "status", here, _STATUSES) or "accepted" for item, here in objects(result, "suppressions", at)]
    return bool(statuses) and all(status == "accepted" for status in statuses)


def _databases(run: dict[str, Any], driver: dict[str, Any], tool: dict[str, Any], at: Place) -> Iterator[str]:
    yield from freshness.bag_properties(run.get("properties"))
    yield from freshness.bag_properties(driver.get("properties"))
    for extension, here in objects(tool, "extensions", Place(at, "tool")):
        name = short(extension, "name", here)
        yield from freshness.bag_properties(extension.get("properties"), name)
        if "database" in name.casefold() and extension.get("releaseDateUtc") is not None:
            yield text(extension, "releaseDateUtc", here)


def _levels(counts: Counter[str]) -> dict[str, int]:
    return {**{level: counts[level] for level in rules.LEVELS}, "total": counts.total()}


def _facts(found: _Found) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "tools": found.tools[:20],
        "findings": _levels(found.findings),
        "new": _levels(found.new),
        "security": {word: found.security[word] for word in _SECURITY},
        "suppressed": found.suppressed,
        "absent": found.absent,
        "others": {"not_applicable" if kind == "notApplicable" else kind: found.others[kind] for kind in _KINDS[1:]},
        "notifications": {level: found.notifications[level] for level in rules.LEVELS},
        "database": freshness.database(found.databases),
    }
    if (names := listed(list(found.rules - {""}))) is not None:
        facts["rules"] = names
    if found.times:
        facts["made"] = min(found.times)
    return facts


def _says(found: _Found) -> str:
    counts = found.findings
    parts = [counted(counts[level], level) for level in rules.LEVELS[:3] if counts[level]]
    parts += [f"{counts['none']:,} without a level"] if counts["none"] else []
    rated = [f"{found.security[word]:,} {word}" for word in _SECURITY[:-1] if found.security[word]]
    head = ", ".join(parts) or "no findings"
    tail = [f"{found.suppressed:,} suppressed"] if found.suppressed else []
    tail += [f"{found.new.total():,} new"] if found.compared else []
    undecided = found.others["open"] + found.others["review"]
    tail += [f"{undecided:,} for a person to decide"] if undecided else []
    head += f" ({', '.join(rated)})" if rated else ""
    return "; ".join([f"{head} by {tools_of(found.tools)}", *tail])


def _incomplete(found: _Found) -> str:
    """Return what the scanner itself says it did not get done; empty when it says nothing."""
    if not found.failures:
        return ""
    more = f", and {len(found.failures) - 1:,} more" if len(found.failures) > 1 else ""
    return f"{tools_of(found.tools)} did not do all of its work: {found.failures[0]}{more}"

"""SARIF: what is a finding, how severe it is by the specification's own procedure, and what is refused or told as not done."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setpoint.evidence.scans.summary import summarize
from setpoint.pipeline.model import SCAN_REPORT_BYTES, ScanSummary

quick = settings(database=None, derandomize=True, deadline=None, max_examples=300)
RULES = [
    {"id": "E1", "defaultConfiguration": {"level": "error"}, "properties": {"security-severity": "9.8"}},
    {"id": "N1", "defaultConfiguration": {"level": "note"}, "properties": {"security-severity": 5}},
    {"id": "W1", "guid": "11111111-1111-4111-8111-111111111111"},
]
EXTENSION = {
    "name": "pack",
    "guid": "22222222-2222-4222-8222-222222222222",
    "rules": [{"id": "X1", "defaultConfiguration": {"level": "none"}}],
}


def run(*results: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a run of one tool with three rules and an extension."""
    driver = {"name": "semgrep", "semanticVersion": "1.2", "rules": RULES}
    return {"tool": {"driver": driver, "extensions": [EXTENSION]}, "results": list(results), **more}


def read(*runs: dict[str, Any], **more: Any) -> ScanSummary:
    """Return what a log of these runs says."""
    return summarize("sarif", json.dumps({"version": "2.1.0", "runs": list(runs), **more}).encode())


def findings(*results: dict[str, Any], **more: Any) -> dict[str, int]:
    """Return the levels that are counted, those of zero left out."""
    found = read(run(*results, **more))
    assert found.fault == ""
    return {level: count for level, count in found.facts["findings"].items() if count and level != "total"}


@pytest.mark.parametrize(
    ("result", "level"),
    [
        ({"level": "note", "ruleId": "E1"}, "note"),
        ({"ruleId": "E1"}, "error"),
        ({"ruleIndex": 0}, "error"),
        ({"ruleId": "E1/a/b"}, "error"),
        ({"ruleId": "E1", "ruleIndex": -1}, "error"),
        ({"ruleId": "E1", "ruleIndex": 99}, "error"),
        ({"ruleId": "E1", "ruleIndex": 1}, "error"),
        ({"rule": {"id": "N1"}}, "note"),
        ({"rule": {"index": 0}, "ruleId": "E1"}, "error"),
        ({"rule": {"index": 0, "toolComponent": {"index": 0}}, "ruleId": "X1"}, "none"),
        ({"rule": {"index": 0, "toolComponent": {"name": "pack"}}}, "none"),
        ({"ruleId": "X1"}, "none"),
        ({"rule": {"guid": "11111111-1111-4111-8111-111111111111"}}, "warning"),
        ({"ruleId": "W1"}, "warning"),
        ({"ruleId": "nobody's"}, "warning"),
        ({}, "warning"),
        ({"ruleId": "E1", "kind": "fail", "level": None}, "error"),
    ],
)
def test_the_level_comes_from_the_result_else_its_rule_else_it_is_a_warning(result: dict[str, Any], level: str) -> None:
    """However the rule is named: by id, below an id, by index, by guid, in the driver or in an extension; a wrong index never wins."""
    assert findings(result) == {level: 1}


def test_an_invocation_overrides_the_level_of_a_rule() -> None:
    """Only for results that name this invocation, as the specification's procedure has it."""
    override = {"descriptor": {"id": "N1"}, "configuration": {"level": "error"}}
    invocations = [{"executionSuccessful": True}, {"executionSuccessful": True, "ruleConfigurationOverrides": [override]}]
    assert findings({"ruleId": "N1", "provenance": {"invocationIndex": 1}}, invocations=invocations) == {"error": 1}
    assert findings({"ruleId": "N1", "provenance": {"invocationIndex": 0}}, invocations=invocations) == {"note": 1}
    assert findings({"ruleId": "N1"}, invocations=invocations) == {"note": 1}


def test_only_failures_are_findings() -> None:
    """Results of another kind are counted apart, whatever level they claim."""
    kinds = ["pass", "open", "review", "informational", "notApplicable"]
    found = read(run(*({"ruleId": "E1", "kind": kind} for kind in kinds), {"ruleId": "E1", "kind": "open", "level": "error"}))
    assert found.facts["findings"]["total"] == 0
    assert found.facts["others"] == {"pass": 1, "open": 2, "review": 1, "informational": 1, "not_applicable": 1}
    assert found.says == "no findings by semgrep 1.2; 3 for a person to decide"


@pytest.mark.parametrize(
    ("suppressions", "suppressed"),
    [
        (None, False),
        ([], False),
        ([{"kind": "inSource"}], True),
        ([{"kind": "external", "status": "accepted"}], True),
        ([{"kind": "external", "status": "underReview"}], False),
        ([{"kind": "external", "status": "rejected"}], False),
        ([{"kind": "inSource"}, {"kind": "external", "status": "rejected"}], False),
    ],
)
def test_a_result_is_suppressed_when_nothing_speaks_against_it(suppressions: Any, suppressed: bool) -> None:  # noqa: FBT001
    """An open or a refused request suppresses nothing; what is suppressed is counted apart."""
    found = read(run({"ruleId": "E1", "suppressions": suppressions})).facts
    assert (found["suppressed"], found["findings"]["error"]) == (int(suppressed), int(not suppressed))


def test_a_baseline_tells_what_is_new_and_what_is_gone() -> None:
    """What is gone is no finding; what was compared with nothing may be new."""
    states = ["new", "unchanged", "updated", "absent"]
    found = read(run(*({"ruleId": "E1", "baselineState": state} for state in states)))
    assert (found.facts["findings"]["error"], found.facts["new"]["error"], found.facts["absent"]) == (3, 1, 1)
    assert found.says.endswith("; 1 new")
    plain = read(run({"ruleId": "E1"}))
    assert plain.facts["new"]["error"] == 1
    assert "new" not in plain.says


def test_security_severity_of_the_rule_is_put_into_buckets() -> None:
    """By the scale of CVSS 3; what has no usable number is unrated, and no finding is lost."""
    scores = ["10.0", "9.0", 8.9, "7.0", "6.9", "4", "3.9", "0.1", "0.0", "-1", "11", "x", "NaN", True, None]
    rules = [{"id": f"R{n}", "properties": {"security-severity": score}} for n, score in enumerate(scores)]
    log = {"tool": {"driver": {"name": "t", "rules": rules}}, "results": [{"ruleIndex": n} for n in range(len(scores))]}
    assert read(log).facts["security"] == {"critical": 2, "high": 2, "medium": 2, "low": 2, "unrated": 7}


def test_what_a_scanner_did_not_get_done_is_told() -> None:
    """A notification of level error, of the execution or the configuration, makes the scan incomplete; lesser ones are counted."""
    notes = [{"message": {"text": "Timeout\nin a.py"}, "level": "error"}, {"message": {"text": "hm"}}]
    invocation = {
        "executionSuccessful": True,
        "toolExecutionNotifications": notes,
        "toolConfigurationNotifications": [{"message": {"id": "bad"}, "level": "error"}],
        "endTimeUtc": "2026-11-24T10:00:00.123456789Z",
    }
    found = read(run(invocations=[invocation]))
    assert found.fault == ""
    assert found.incomplete == "semgrep 1.2 did not do all of its work: Timeout in a.py, and 1 more"
    assert found.facts["notifications"] == {"error": 2, "warning": 1, "note": 0, "none": 0}
    assert found.facts["made"] == "2026-11-24T10:00:00.123Z"


def test_several_runs_are_added_and_their_tools_named() -> None:
    """The words name each tool once."""
    other = {"tool": {"driver": {"name": "gitleaks", "version": "8.30"}}, "results": [{"level": "error"}, {"level": "warning"}]}
    found = read(run({"ruleId": "E1"}), run({"ruleId": "N1"}), other)
    assert found.facts["tools"] == [{"name": "semgrep", "version": "1.2"}, {"name": "gitleaks", "version": "8.30"}]
    assert found.says == "2 errors, 1 warning, 1 note (1 critical, 1 medium) by semgrep 1.2 and gitleaks 8.30"
    assert found.facts["rules"] == ["E1", "N1"]


def test_the_age_of_a_database_is_known_only_when_the_file_says_it() -> None:
    """In a property bag, however deep, or as the release date of an extension that is a database; unreadable is not known."""
    bags: list[tuple[dict[str, Any], str]] = [
        ({"properties": {"vulnerabilityDb": {"updatedAt": "2026-11-20T00:00:00Z"}}}, "2026-11-20T00:00:00.000Z"),
        ({"properties": {"db:built": "2026-11-20"}}, "2026-11-20T00:00:00.000Z"),
        ({"properties": {"db:built": "yesterday"}}, ""),
        ({"properties": {"built": "2026-11-20"}}, ""),
    ]
    for more, updated in bags:
        assert read(run(**more)).facts["database"] == ({"known": True, "updated": updated} if updated else {"known": False})
    extended = run()
    extended["tool"] = {**extended["tool"], "extensions": [{"name": "advisory database", "releaseDateUtc": "2026-11-01"}]}
    assert read(extended).facts["database"]["updated"] == "2026-11-01T00:00:00.000Z"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not JSON"),
        (b'{"version": "2.1.0"', "not JSON"),
        (b"<xml/>", "it is XML"),
        (b"[]", "no object"),
        (b"{}", "no SARIF"),
        (b'{"version": "2.1.0", "runs": null}', "no run"),
        (b'{"version": "2.1.0", "runs": []}', "no run"),
        (b'{"version": "2.0.0", "runs": []}', "its version is '2.0.0', not 2.1.0, at /version"),
        (b'{"version": "2.1.0", "runs": {}}', "a list is wanted here, at /runs"),
        (b'{"version": "2.1.0", "version": "2.1.0", "runs": []}', "stands twice"),
        (b'{"version": "2.1.0", "runs": [3]}', "an object is wanted here, at /runs/0"),
        (b'{"version": "2.1.0", "runs": [{"tool": {"driver": {}}}]}', "the tool has no name, at /runs/0/tool/driver"),
        (b'{"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "t"}}}]}', "lists no results"),
        (b'{"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "t"}}, "results": null}]}', "at /runs/0/results"),
        (b'{"version": "2.1.0", "runs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "deeper"),
        (b'{"version": "2.1.0", "runs": "\xff"}', "not UTF-8"),
    ],
)
def test_what_is_no_sarif_is_refused_with_words_and_place(data: bytes, words: str) -> None:
    """Broken, of another version, without a run or without results: nothing found is no news then."""
    found = summarize("sarif", data)
    assert words in found.fault
    assert found.facts == {}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"invocations": [{"executionSuccessful": False, "exitCodeDescription": "out of\nmemory"}]},
            "semgrep did not end well: out of memory",
        ),
        ({"invocations": [{"executionSuccessful": False}]}, "semgrep did not end well, at /runs/0/invocations/0/executionSuccessful"),
        ({"results": [{"level": "fatal"}]}, "'fatal' is none of error, warning, note, none, at /runs/0/results/0/level"),
        ({"results": [{"kind": "bad"}]}, "at /runs/0/results/0/kind"),
        ({"results": [{}, {"suppressions": [{"status": "maybe"}]}]}, "at /runs/0/results/1/suppressions/0/status"),
        ({"results": [{"ruleIndex": "0"}]}, "a whole number is wanted here, at /runs/0/results/0/ruleIndex"),
        ({"externalPropertyFileReferences": {"results": [{"location": {}}]}}, "the results lie in other files"),
        (
            {"tool": {"driver": {"name": "t", "rules": [{"id": "a/b~c", "defaultConfiguration": {"level": 3}}]}}},
            "at /runs/0/tool/driver/rules/0",
        ),
    ],
)
def test_a_run_that_cannot_be_counted_is_refused_with_its_place(changed: dict[str, Any], words: str) -> None:
    """A scan that failed, results that lie elsewhere, and words that nobody knows."""
    assert words in read({**run(), **changed}).fault


def test_results_outside_of_their_runs_are_refused() -> None:
    """They would not be counted."""
    assert "results lie outside" in read(run(), inlineExternalProperties=[{"results": [{"level": "error"}]}]).fault


def test_a_byte_order_mark_is_taken_off_and_size_is_bounded() -> None:
    """Tools on some systems write a mark; a file over the limit is refused unread."""
    data = b"\xef\xbb\xbf" + json.dumps({"version": "2.1.0", "runs": [run()]}).encode()
    assert summarize("sarif", data).says == "no findings by semgrep 1.2"
    assert "more than 16777216 bytes" in summarize("sarif", b" " * (SCAN_REPORT_BYTES["sarif"] + 1)).fault


def test_more_rules_than_are_listed_are_left_out_and_not_cut() -> None:
    """A policy that looks for one cannot miss it in a list that is short of it."""
    assert len(read(run(*({"ruleId": f"R{n}"} for n in range(100)))).facts["rules"]) == 100
    assert "rules" not in read(run(*({"ruleId": f"R{n}"} for n in range(101)))).facts


RESULTS = st.fixed_dictionaries(
    {},
    optional={
        "level": st.sampled_from(["error", "warning", "note", "none"]),
        "kind": st.sampled_from(["fail", "pass", "open", "review", "informational", "notApplicable"]),
        "ruleId": st.sampled_from(["E1", "N1/x", "W1", "X1", "?"]),
        "ruleIndex": st.integers(-2, 5),
        "baselineState": st.sampled_from(["new", "unchanged", "updated", "absent"]),
        "suppressions": st.lists(st.fixed_dictionaries({}, optional={"status": st.sampled_from(["accepted", "underReview", "rejected"])})),
    },
)


@quick
@given(st.lists(RESULTS, max_size=30))
def test_every_result_is_counted_exactly_once(results: list[dict[str, Any]]) -> None:
    """As a finding, as suppressed, as gone or as another kind: the sum is the number of results, and no new finding is not a finding."""
    facts = read(run(*results)).facts
    assert facts["findings"]["total"] + facts["suppressed"] + facts["absent"] + sum(facts["others"].values()) == len(results)
    assert (
        sum(facts["security"].values())
        == facts["findings"]["total"]
        == sum(facts["findings"][level] for level in ("error", "warning", "note", "none"))
    )
    assert all(facts["new"][level] <= facts["findings"][level] for level in facts["new"])


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=5) | st.sampled_from(["2.1.0", "CycloneDX", "1.6"]),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["version", "runs", "tool", "driver", "name", "rules", "results", "invocations", "level", "suppressions", "properties"]
            ),
            below,
            max_size=4,
        )
    ),
    max_leaves=30,
)


@quick
@given(ANYTHING, ANYTHING)
def test_no_shape_of_a_file_is_anything_but_counted_or_refused(top: Any, inner: Any) -> None:
    """Whatever stands where something else is wanted: a fault, never a traceback."""
    for value in (top, {"version": "2.1.0", "runs": [inner]}, {"version": "2.1.0", "runs": [{**run(), "results": inner}]}):
        found = summarize("sarif", json.dumps(value).encode())
        assert bool(found.fault) != bool(found.facts)

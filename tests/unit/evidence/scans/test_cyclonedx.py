"""CycloneDX: what is counted as a component, a licence and a vulnerability, and what is refused or never taken for none."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setpoint.evidence.scans.licenses import ids_in
from setpoint.evidence.scans.reading import TEXT
from setpoint.evidence.scans.summary import cyclonedx_document, summarize
from setpoint.pipeline.model import SCAN_REPORT_BYTES, ScanSummary

quick = settings(database=None, derandomize=True, deadline=None, max_examples=300)
LIBRARY = {"type": "library", "name": "jinja2", "version": "3.1", "purl": "pkg:pypi/jinja2@3.1"}


def read(**more: Any) -> ScanSummary:
    """Return what a document with these parts says."""
    return summarize("cyclonedx", json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [], **more}).encode())


def facts(**more: Any) -> dict[str, Any]:
    """Return the facts of a document that can be used."""
    found = read(**more)
    assert found.fault == ""
    return found.facts


def counted(*vulnerabilities: dict[str, Any]) -> dict[str, Any]:
    """Return the severities of open vulnerabilities, those of zero left out."""
    found = facts(vulnerabilities=list(vulnerabilities))["vulnerabilities"]
    return {word: count for word, count in found.items() if isinstance(count, int) and count and word != "total"}


def rated(*ratings: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a vulnerability."""
    return {"id": "CVE-2026-1", "ratings": list(ratings), **more}


@pytest.mark.parametrize("version", ["1.4", "1.5", "1.6", "1.7"])
def test_components_are_counted_inside_of_others_too(version: str) -> None:
    """Nested, below the subject, of every type; the subject itself is what it is about."""
    nested = {
        "type": "framework",
        "name": "a",
        "components": [{"type": "file", "name": "b", "hashes": [{"alg": "SHA-256", "content": "00"}]}],
    }
    subject = {
        "type": "container",
        "name": "web",
        "version": "7",
        "purl": "pkg:oci/web",
        "components": [{"type": "operating-system", "name": "debian"}],
    }
    found = facts(specVersion=version, components=[LIBRARY, nested], metadata={"component": subject})
    assert found["components"]["total"] == 4
    assert {kind: count for kind, count in found["components"]["types"].items() if count} == {
        "library": 1,
        "framework": 1,
        "file": 1,
        "operating_system": 1,
    }
    assert found["components"]["unidentified"] == 2
    assert found["subject"] == {"type": "container", "name": "web", "version": "7", "purl": "pkg:oci/web"}


def test_deep_nesting_is_counted_to_the_bound_and_refused_beyond_it() -> None:
    """A chain of components is no trap."""
    chain: dict[str, Any] = {"type": "library", "name": "last"}
    for _ in range(29):
        chain = {"type": "library", "name": "x", "components": [chain]}
    assert facts(components=[chain])["components"]["total"] == 30
    for _ in range(29):
        chain = {"type": "library", "name": "x", "components": [chain]}
    assert "deeper than 64" in read(components=[chain]).fault


def test_tools_of_both_forms_are_named() -> None:
    """A list before version 1.5, components and services since."""
    old = facts(metadata={"tools": [{"vendor": "anchore", "name": "syft", "version": "1.4"}]})
    new = facts(
        metadata={"tools": {"components": [{"type": "application", "name": "trivy", "version": "0.57"}], "services": [{"name": "api"}]}}
    )
    assert old["tools"] == [{"name": "syft", "version": "1.4"}]
    assert new["tools"] == [{"name": "trivy", "version": "0.57"}, {"name": "api", "version": ""}]


def test_licences_are_told_by_id_name_and_expression() -> None:
    """Every id in an expression is among the ids, so that a list of unwanted ones misses none; an exception is none."""
    licences = [
        [{"license": {"id": "MIT"}}],
        [{"license": {"name": "Our own"}}],
        [{"expression": "Apache-2.0 OR (GPL-2.0-only WITH Classpath-exception-2.0)"}],
        [],
        [{"license": {}}],
    ]
    found = facts(components=[{**LIBRARY, "licenses": one} for one in licences])["licenses"]
    assert found == {
        "none": 2,
        "ids": ["Apache-2.0", "GPL-2.0-only", "MIT"],
        "names": ["Our own"],
        "expressions": ["Apache-2.0 OR (GPL-2.0-only WITH Classpath-exception-2.0)"],
    }
    assert list(ids_in("(mit and LicenseRef-x+) or BSD-3-Clause")) == ["mit", "LicenseRef-x+", "BSD-3-Clause"]


def test_a_list_of_licences_with_a_text_that_is_too_long_is_left_out() -> None:
    """It is never cut, and the other lists stay: a policy that names what is not there is denied."""
    licences = [[{"license": {"name": "x" * (TEXT + 1)}}], [{"license": {"name": "Our own"}}], [{"expression": "MIT OR " + "y" * TEXT}]]
    found = facts(components=[{**LIBRARY, "licenses": one} for one in licences])["licenses"]
    assert found == {"none": 0, "ids": ["MIT", "y" * TEXT]}


def test_an_inventory_that_says_nothing_of_vulnerabilities_has_no_counts_of_them() -> None:
    """A policy that names one is denied; an empty list is an answer."""
    silent, clean = read(), read(vulnerabilities=[])
    assert "vulnerabilities" not in silent.facts
    assert silent.says == "0 components; nothing said about vulnerabilities"
    assert clean.facts["vulnerabilities"]["total"] == 0
    assert clean.says == "0 components, no vulnerabilities; age of the vulnerability database not known"


@pytest.mark.parametrize(
    ("ratings", "severity"),
    [
        ([], "unknown"),
        ([{"severity": "unknown"}], "unknown"),
        ([{"severity": "low"}, {"severity": "critical"}, {"severity": "none"}], "critical"),
        ([{"severity": "unknown"}, {"severity": "info"}], "info"),
        ([{"score": 9.8, "method": "CVSSv31"}], "critical"),
        ([{"score": 9.8, "method": "CVSSv2"}], "high"),
        ([{"score": 9.8, "method": "OWASP"}], "unknown"),
        ([{"score": 5}], "medium"),
        ([{"score": 0, "method": "CVSSv3"}], "none"),
        ([{"score": 1e300, "method": "CVSSv3"}], "unknown"),
        ([{"vector": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", "method": "CVSSv31"}], "critical"),
        ([{"vector": "AV:N/AC:L/Au:N/C:P/I:P/A:P", "method": "CVSSv2"}], "high"),
        ([{"vector": "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", "method": "CVSSv4"}], "unknown"),
        ([{"vector": "nonsense", "method": "CVSSv3"}], "unknown"),
    ],
)
def test_the_highest_rating_counts(ratings: list[dict[str, Any]], severity: str) -> None:
    """By word, by score or by the vector alone; what nobody rates is unknown, and is never lost."""
    assert counted(rated(*ratings)) == {severity: 1}


def test_what_was_decided_is_counted_apart_with_its_ids() -> None:
    """Not affected, false or resolved are set aside; exploitable and in triage stay open."""
    states = ["not_affected", "false_positive", "resolved", "resolved_with_pedigree", "exploitable", "in_triage"]
    entries = [{**rated({"severity": "high"}), "id": f"CVE-{n}", "analysis": {"state": state}} for n, state in enumerate(states)]
    found = facts(vulnerabilities=entries)["vulnerabilities"]
    assert (found["high"], found["ids"]["high"]) == (2, ["CVE-4", "CVE-5"])
    assert found["set_aside"] == {
        "false_positive": 1,
        "not_affected": 1,
        "resolved": 2,
        "total": 4,
        "ids": ["CVE-0", "CVE-1", "CVE-2", "CVE-3"],
    }


def test_one_id_counts_once_and_is_open_while_any_component_is_affected() -> None:
    """Scanners list an id for each component; an analysis of one speaks for no other, and the highest rating stands."""
    entries = [
        rated({"severity": "low"}, affects=[{"ref": "a"}], analysis={"state": "not_affected"}),
        rated({"severity": "high"}, affects=[{"ref": "b"}]),
    ]
    assert counted(*entries) == {"high": 1} == counted(*reversed(entries))


def test_many_ids_are_left_out_and_still_counted() -> None:
    """No list is cut."""
    found = facts(vulnerabilities=[{**rated({"severity": "low"}), "id": f"CVE-{n}"} for n in range(101)])["vulnerabilities"]
    assert found["low"] == 101
    assert "low" not in found["ids"]
    assert found["ids"]["high"] == []


def test_the_age_of_the_database_is_known_only_when_the_file_says_it() -> None:
    """In a property of the metadata or of a tool; the oldest of several counts, and an unreadable one makes all unknown."""
    tool = {"type": "application", "name": "grype", "properties": [{"name": "grype:db:built", "value": "2026-11-20T01:02:03Z"}]}
    about = {"tools": {"components": [tool]}, "properties": [{"name": "x:DB updated_at", "value": "2026-11-21T00:00:00+01:00"}]}
    found = read(metadata={**about, "timestamp": "2026-11-24T10:00:00Z"}, vulnerabilities=[])
    assert found.facts["database"] == {"known": True, "updated": "2026-11-20T01:02:03.000Z"}
    assert found.facts["made"] == "2026-11-24T10:00:00.000Z"
    assert found.says.endswith("vulnerability database of 2026-11-20")
    broken = {**about, "properties": [{"name": "db:updated", "value": "soon"}]}
    assert facts(metadata=broken)["database"] == {"known": False}
    assert facts(metadata={"properties": [{"name": "updated", "value": "2026-11-21"}]})["database"] == {"known": False}


def test_a_document_that_says_it_is_incomplete_is_told() -> None:
    """Compositions say whether all is listed."""
    found = read(compositions=[{"aggregate": "complete"}, {"aggregate": "incomplete"}, {"aggregate": "unknown"}])
    assert found.facts["incomplete"] == 2
    assert found.says.endswith("says of itself that it is incomplete")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'<?xml version="1.0"?><bom xmlns="http://cyclonedx.org/schema/bom/1.6"/>', "it is XML"),
        (b'\xef\xbb\xbf<bom xmlns="http://cyclonedx.org/schema/bom/1.6"/>', "it is XML"),
        (b"{", "not JSON"),
        (b'{"bomFormat": "SPDX"}', "no CycloneDX"),
        (b'{"spdxVersion": "SPDX-2.3"}', "no CycloneDX"),
        (b'{"bomFormat": "CycloneDX", "specVersion": "1.3", "components": []}', "'1.3' is none of 1.4, 1.5, 1.6, 1.7, at /specVersion"),
        (b'{"bomFormat": "CycloneDX", "specVersion": 1.6, "components": []}', "specVersion"),
        (b'{"bomFormat": "CycloneDX", "specVersion": "1.6"}', "it lists nothing"),
        (b'{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{"name": "a"}]}', "no type, at /components/0/type"),
        (b'{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [], "components": []}', "stands twice"),
        (
            b'{"bomFormat": "CycloneDX", "specVersion": "1.6", "vulnerabilities": [{"ratings": [{"severity": "bad"}]}]}',
            "/vulnerabilities/0/ratings/0",
        ),
        (
            b'{"bomFormat": "CycloneDX", "specVersion": "1.6", "vulnerabilities": [{"analysis": {"state": "ok"}}]}',
            "/vulnerabilities/0/analysis/state",
        ),
    ],
)
def test_what_is_no_cyclonedx_is_refused_with_words_and_place(data: bytes, words: str) -> None:
    """XML, another format, another version, nothing in it, or words that nobody knows."""
    assert words in summarize("cyclonedx", data).fault


def test_a_document_is_bounded_by_the_bundle_that_carries_it() -> None:
    """By its bytes, and by those of its canonical form: numbers in it may be written longer than they were."""
    assert "more than 8388608 bytes" in summarize("cyclonedx", b" " * (SCAN_REPORT_BYTES["cyclonedx"] + 1)).fault
    grown = b'{"bomFormat":"CycloneDX","specVersion":"1.6","components":[],"x":[' + b",".join([b"1E15"] * 1_000_000) + b"]}"
    assert "as canonical JSON" in summarize("cyclonedx", grown).fault


def test_the_document_to_be_signed_is_the_one_that_was_read() -> None:
    """Nothing is added or left out, and a byte order mark is no part of it."""
    bom = {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [LIBRARY], "$schema": "x", "own": [1, None]}
    assert cyclonedx_document(b"\xef\xbb\xbf" + json.dumps(bom).encode()) == bom


ENTRIES = st.fixed_dictionaries(
    {"id": st.sampled_from(["CVE-1", "CVE-2", "CVE-3"])},
    optional={
        "ratings": st.lists(
            st.fixed_dictionaries({}, optional={"severity": st.sampled_from(["critical", "high", "low", "none", "unknown"])}), max_size=3
        ),
        "analysis": st.fixed_dictionaries({"state": st.sampled_from(["not_affected", "resolved", "in_triage", "exploitable"])}),
    },
)


@quick
@given(st.lists(ENTRIES, max_size=12), st.randoms())
def test_every_id_is_open_or_set_aside_in_whatever_order_it_is_listed(entries: list[dict[str, Any]], chance: Any) -> None:
    """The order of entries decides nothing, and no id is lost."""
    found = facts(vulnerabilities=entries)["vulnerabilities"]
    assert found["total"] + found["set_aside"]["total"] == len({entry["id"] for entry in entries})
    assert sum(found[word] for word in ("critical", "high", "medium", "low", "info", "none", "unknown")) == found["total"]
    mixed = list(entries)
    chance.shuffle(mixed)
    again = facts(vulnerabilities=mixed)["vulnerabilities"]
    assert {word: again[word] for word in ("critical", "high", "low", "unknown", "total")} == {
        word: found[word] for word in ("critical", "high", "low", "unknown", "total")
    }

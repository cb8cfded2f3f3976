"""Scores of CVSS as the specification computes them, ages as of a decision, and several summaries taken together."""

import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setpoint.evidence.scans import cvss
from setpoint.evidence.scans.combined import combined
from setpoint.evidence.scans.freshness import aged, speaks_of_database
from setpoint.evidence.scans.reading import instant

quick = settings(database=None, derandomize=True, deadline=None, max_examples=300)
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("vector", "score"),
    [
        ("AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8),
        ("AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", 10.0),
        ("AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 6.1),
        ("AV:L/AC:H/PR:L/UI:N/S:U/C:H/I:N/A:N", 4.7),
        ("AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N", 6.4),
        ("AV:P/AC:L/PR:N/UI:N/S:U/C:N/I:L/A:N", 2.4),
        ("AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", 0.0),
        ("AV:N/AC:H/PR:N/UI:N/S:U/C:H/I:H/A:H", 8.1),
    ],
)
def test_base_scores_of_version_3_are_those_of_the_specification(vector: str, score: float) -> None:
    """Published examples of first.org."""
    metrics = dict(part.split(":") for part in vector.split("/"))
    assert cvss._third(metrics, "3.1") == score
    assert cvss.of_vector(f"CVSS:3.1/{vector}") == cvss.severity(score)


@pytest.mark.parametrize(
    ("vector", "score"),
    [
        ("AV:N/AC:L/Au:N/C:N/I:N/A:C", 7.8),
        ("AV:N/AC:L/Au:N/C:C/I:C/A:C", 10.0),
        ("AV:L/AC:H/Au:N/C:C/I:C/A:C", 6.2),
        ("AV:N/AC:L/Au:N/C:N/I:N/A:N", 0),
    ],
)
def test_base_scores_of_version_2_are_those_of_the_guide(vector: str, score: float) -> None:
    """The three examples of the guide, and no impact at all."""
    assert cvss._second(dict(part.split(":") for part in vector.split("/"))) == score
    assert cvss.of_vector(f"({vector})") == cvss.severity(score, second=True)


@pytest.mark.parametrize("vector", ["", "CVSS:3.1/AV:N", "CVSS:9/AV:N", "x" * 600, "CVSS:3.1/AV:Q/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"])
def test_what_is_no_whole_vector_is_unknown(vector: str) -> None:
    """It never becomes a low score."""
    assert cvss.of_vector(vector) == "unknown"


@quick
@given(st.floats(allow_nan=True, allow_infinity=True))
def test_every_number_has_a_word(score: float) -> None:
    """Only 0 to 10 are scores."""
    word = cvss.severity(score)
    assert (word == "unknown") == (math.isnan(score) or not 0 <= score <= 10)


@pytest.mark.parametrize(
    ("written", "at"),
    [
        ("2026-11-24T10:00:00Z", "2026-11-24T10:00:00.000Z"),
        ("2026-11-24T10:00:00.123456789+02:00", "2026-11-24T08:00:00.123Z"),
        ("2026-11-24", "2026-11-24T00:00:00.000Z"),
        ("2026-11-24T10:00:00", "2026-11-24T10:00:00.000Z"),
        ("0001-01-01T00:00:00+14:00", ""),
        ("yesterday", ""),
        ("x" * 400, ""),
        (5, ""),
        ("", ""),
    ],
)
def test_times_are_read_as_tools_write_them(written: object, at: str) -> None:
    """Nanoseconds, offsets and dates; anything else is no time."""
    assert instant(written) == at


@pytest.mark.parametrize(
    ("name", "speaks"),
    [
        ("db:updated", True),
        ("grype:db:built", True),
        ("aquasecurity:trivy:VulnerabilityDB:UpdatedAt", True),
        ("vulnerability-database last_updated", True),
        ("updated", False),
        ("db:updated:by", False),
        ("feedback:built", False),
    ],
)
def test_which_properties_speak_of_a_database(name: str, speaks: bool) -> None:  # noqa: FBT001
    """Documented, so that a task can write one itself."""
    assert speaks_of_database(name) is speaks


def test_ages_are_as_of_the_decision_and_nothing_in_the_future_is_fresh() -> None:
    """Hours, rounded up; a database of tomorrow is not known, for it would stay fresh for ever."""
    report = {"made": "2026-11-25T10:30:00.000Z", "database": {"known": True, "updated": "2026-11-24T12:00:00.000Z"}}
    assert aged(report, NOW) == {**report, "age_h": 2, "database": {**report["database"], "age_h": 24}}  # type: ignore[dict-item]
    future = {"made": "2027-01-01T00:00:00.000Z", "database": {"known": True, "updated": "2027-01-01T00:00:00.000Z"}}
    assert aged(future, NOW) == {**future, "database": {"known": False}}
    skewed = {"database": {"known": True, "updated": "2026-11-25T12:30:00.000Z"}}
    assert aged(skewed, NOW)["database"]["age_h"] == 0
    assert aged({"database": {"known": False}}, NOW) == {"database": {"known": False}}


def test_several_summaries_are_added_and_say_only_what_all_say() -> None:
    """Counts are summed, lists joined, times the oldest, and what one does not say they do not say together."""
    one: dict[str, Any] = {
        "n": 1,
        "ids": ["a", "b"],
        "made": "2026-02",
        "database": {"known": True, "updated": "2026-01"},
        "v": {"high": 1},
        "s": "1.6",
    }
    two = {"n": 2, "ids": ["b", "c"], "made": "2026-01", "database": {"known": False}, "s": "1.5"}
    assert combined([one]) == one
    assert combined([one, two]) == {"n": 3, "ids": ["a", "b", "c"], "made": "2026-01", "database": {"known": False}}
    assert "ids" not in combined([{"ids": [str(n) for n in range(60)]}, {"ids": [str(n) for n in range(50, 120)]}])

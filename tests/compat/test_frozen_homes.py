"""Homes of earlier versions open with today's code, and say the same as their own version said."""

import json
from pathlib import Path

import pytest

from compat.frozen import HERE, answers, missing, names


@pytest.mark.parametrize("name", names())
def test_a_frozen_home_says_what_it_said(name: str, tmp_path: Path) -> None:
    """Status, why, trace, evidence, runs, approvals and holds hold every value that they held; an answer may only have more."""
    then = json.loads((HERE / name / "answers.json").read_text())
    assert missing(answers(HERE / name, tmp_path / "home"), then) == []


def test_there_is_a_frozen_home_with_a_whole_story() -> None:
    """The newest frozen home has gone the whole road: its journal has every kind that the road makes."""
    kinds = {json.loads(line)["kind"] for line in (HERE / names()[-1] / "journal.log").read_text().splitlines()}
    assert {"home.created", "run.created", "artifact.built", "evidence.attached", "approval.given", "promotion.pinned"} <= kinds
    assert {"quarantine.set", "quarantine.lifted", "hold.opened", "hold.closed", "token.revoked", "deployment.observed"} <= kinds


def test_a_difference_is_seen() -> None:
    """The comparison itself: another value, a missing key and a shorter list are told, an added key is not."""
    assert missing({"a": [{"b": 1, "new": 2}]}, {"a": [{"b": 1}]}) == []
    assert missing({"a": [{"b": 2}]}, {"a": [{"b": 1}]}) == ["/a/0/b: 2 instead of 1"]
    assert missing({"a": []}, {"a": [1], "c": 3}) == ["/a: [] instead of [1]", "/c: nothing instead of 3"]

"""Homes of earlier versions open with today's code, and say the same as their own version said."""

import json
import lzma
from pathlib import Path

import pytest

from chaos.later_steps import SECRET, VALUE
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
    assert {"secret.set", "job.started", "job.finished", "rollout.begun", "rollout.judged", "rollout.stepped"} <= kinds
    assert {"rollout.finished", "rollout.returned", "inventory.written"} <= kinds


@pytest.mark.parametrize("name", names())
def test_a_frozen_home_is_small_and_holds_no_secret_value(name: str) -> None:
    """The name of the road's secret is in the journal; its value is nowhere, also not in what is packed."""
    files = [*(HERE / name).iterdir()]
    assert sum(path.stat().st_size for path in files) < 300_000
    whole = b"".join(path.read_bytes() for path in files) + lzma.decompress((HERE / name / "rest.tar.xz").read_bytes())
    assert SECRET.encode() in whole
    assert VALUE.encode() not in whole


def test_a_difference_is_seen() -> None:
    """The comparison itself: another value, a missing key and a shorter list are told, an added key is not."""
    assert missing({"a": [{"b": 1, "new": 2}]}, {"a": [{"b": 1}]}) == []
    assert missing({"a": [{"b": 2}]}, {"a": [{"b": 1}]}) == ["/a/0/b: 2 instead of 1"]
    assert missing({"a": []}, {"a": [1], "c": 3}) == ["/a: [] instead of [1]", "/c: nothing instead of 3"]

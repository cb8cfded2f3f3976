"""The verb `rollout`, and where a canary shows in `why`, `status` and `watch`."""

import json
from typing import Any

import pytest

from setpoint.cli.main import run

REPORT: dict[str, Any] = {
    "app": "shop",
    "environment": "production",
    "rollout": "ro-abc",
    "strategy": "canary",
    "phase": "held",
    "sentence": "shop in production: canary of 7, step 1 of 2: 5 % of the traffic, held",
    "weight": 5,
    "version": "7",
    "promotion": "p-7",
    "stable": "6",
    "found": "evidence against it: 1 of 100 needed; 0 of 3 requests failed in the canary, 0 of 60 in the stable one",
    "steps": [{"weight": 5, "hold_s": 120, "state": "now", "detects": 4.1, "note": "detects >= 4.1x"}],
    "reasons": [
        {"code": "CANARY", "subject": "canary", "found": "step 1", "fix": "", "severity": "info"},
        {"code": "NODATA", "subject": "canary", "found": "the canary answered 3 requests", "fix": "", "severity": "info"},
    ],
    "kept": [],
    "coming": "",
    "next": "setpoint rollout shop production --resume",
}


def test_it_shows_steps_numbers_and_what_next(fake_api: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Text for people, the API's answer with --json; a decision is posted with its words."""
    fake_api.answers["GET", "rollouts/shop/production"] = REPORT
    assert run(["rollout", "shop", "production"]) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[0].endswith("5 % of the traffic, held")
    assert "evidence against it: 1 of 100 needed" in text
    assert "detects >= 4.1x" in text
    assert "NODATA: the canary answered 3 requests" in text
    assert run(["rollout", "shop", "production", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == REPORT
    fake_api.answers["POST", "rollouts/shop/production"] = {"rollout": "ro-abc", "phase": "preparing"}
    assert run(["rollout", "shop", "production", "--resume", "-m", "quiet"]) == 0
    posted = [body for method, path, body in fake_api.asked if method == "POST"]
    assert posted == [{"verb": "resume", "message": "quiet"}]


@pytest.mark.parametrize(("phase", "code"), [("finished", 0), ("returned", 1), ("held", 3), ("sent back", 1)])
def test_following_ends_with_the_rollout(fake_api: Any, capsys: pytest.CaptureFixture[str], phase: str, code: int) -> None:
    """The exit code is the rollout's result, by `rollout --follow` and by `watch APP/ENVIRONMENT`."""
    known = {**REPORT, "phase": "finished", "sent_back": "7"} if phase == "sent back" else {**REPORT, "phase": phase}
    fake_api.answers["GET", "rollouts/shop/production"] = known
    assert run(["rollout", "shop", "production", "--follow"]) == code
    assert REPORT["sentence"] in capsys.readouterr().out
    assert run(["watch", "shop/production"]) == code


def test_following_waits_for_a_rollout_that_is_about_to_begin(
    fake_api: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Right after an approval the newest rollout is the one before: its end is not the answer."""
    before = {**REPORT, "phase": "finished", "version": "6", "sentence": "shop in production: 6 is rolled out", "coming": "7"}
    after = {**REPORT, "phase": "returned", "sentence": "shop in production: 7 was sent back by its canary"}
    fake_api.answers["GET", "rollouts/shop/production"] = before

    def later(_seconds: float) -> None:
        fake_api.answers["GET", "rollouts/shop/production"] = after

    monkeypatch.setattr("setpoint.cli.rollout.time.sleep", later)
    assert run(["watch", "shop/production"]) == 1
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "shop in production: 7 is about to be rolled out"
    assert shown[1].startswith("shop in production: 7 was sent back by its canary")

"""Somebody sets the machine's clock under a running server: releases go on at their pace, and only what judges time waits."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from live_home import LiveHome, running_home, wait_for

MOVED = """
import datetime, os
from datetime import timedelta, timezone
from setpoint.adapters import clock

def now(_clock):
    with open(os.environ["SETPOINT_TEST_OFFSET"]) as file:
        return datetime.datetime.now(timezone.utc) + timedelta(seconds=float(file.read()))

clock.SystemClock.now = now
"""


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveHome, Path]]:
    """A home, and the file that says by how many seconds its server's wall clock is off."""
    folder = tmp_path_factory.mktemp("clock")
    (folder / "sitecustomize.py").write_text(MOVED)
    offset = folder / "offset"
    offset.write_text("0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SETPOINT_TEST_OFFSET", str(offset))
        patch.setenv("PYTHONPATH", f"{folder}:{os.environ.get('PYTHONPATH', '')}".rstrip(":"))
        with running_home() as live:
            yield live, offset


def _by(offset: Path, seconds: int) -> None:
    scratch = offset.with_suffix(".new")
    scratch.write_text(str(seconds))
    scratch.rename(offset)


def test_a_clock_that_is_set_back_stops_no_release(moved: tuple[LiveHome, Path]) -> None:
    """Probes, drains and rollouts go on; the journal stays in order; gates that judge time say `CLOCK`, also after a restart."""
    live, offset = moved
    live.release("one")
    live.serves("staging", "one")
    _by(offset, -3600)
    live.release("two")
    live.serves("staging", "two")
    wait_for("the end of the old replica", lambda: len(live.api().get("/api/v1/replicas")) == 1)
    wait_for("the gate's word", lambda: "CLOCK" in live.codes("production"))
    assert live.api("sam").get("/api/v1/whoami")["email"] == "sam@example.com"
    live.stop()
    live.start()
    live.release("three")
    live.serves("staging", "three")
    assert "CLOCK" in live.codes("production")
    times = [entry["at"] for entry in live.journal()]
    assert times == sorted(times)


def test_a_clock_that_is_set_forward_stops_no_release(moved: tuple[LiveHome, Path]) -> None:
    """A day is gone at once: what runs stays healthy, and the next release goes through."""
    live, offset = moved
    _by(offset, 86_400)
    live.release("four")
    live.serves("staging", "four")
    wait_for("the gate's other words", lambda: "APPROVAL_MISSING" in live.codes("production") and "CLOCK" not in live.codes("production"))
    live.release("five")
    live.serves("staging", "five")

"""The road once more in another skin: the flow tests that a root CI ran as root are played by a freshly made user, from the same clone."""

import os

import pytest

from newcomer import Newcomer

SUITES = "tests/flow/test_road.py tests/flow/test_laws.py tests/flow/test_home_closed.py tests/flow/test_drift.py"


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="INCOMPLETE: needs root for both: the flow tests ran unprivileged, nothing ran as root")
def test_the_road_and_the_laws_hold_for_an_unprivileged_user(newcomer: Newcomer) -> None:
    """Releases, gates, approvals, rollbacks, every law and closed files: the same for somebody who is nobody, with nothing skipped."""
    done = newcomer.run(f"cd setpoint && tools/setup --test && .venv/bin/python -m pytest -q -p no:cacheprovider {SUITES} 2>&1", 900)
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-2000:]}"
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout, done.stdout[-2000:]

"""What of a cell needs a person."""

import pytest

from setpoint.observe import status
from setpoint.observe.model import Cell
from setpoint.reconcile.model import DeployReason


@pytest.mark.parametrize(("code", "needed"), [("NODATA", True), ("PRUNE_OVER_BUDGET", True), ("CANARY", False)])
def test_what_waits_for_a_person_is_a_need_although_nothing_is_wrong(code: str, needed: bool) -> None:  # noqa: FBT001 - a case
    """A canary held for want of traffic and removals over budget are listed with their commands; a canary that goes on is not."""
    reason = DeployReason(code, "canary", "found", "setpoint rollout shop staging --resume")
    needs = status._needs(Cell("shop", "staging", "suspended", reasons=(reason,)))
    assert [need.command for need in needs] == ([reason.fix] if needed else [])

"""Steps of many applications side by side: each is taken once, the quiet ones first, and a failure waits for the others."""

from functools import partial

import pytest

from setpoint.core.errors import WorldError
from setpoint.reconcile.cluster.at_once import at_once


def test_every_step_is_taken_once_and_quiet_ones_come_first() -> None:
    """What makes no calls is done before anything is sent; everything comes back under its name."""
    order: list[str] = []

    def step(name: str) -> str:
        order.append(name)
        return name.upper()

    steps = {name: partial(step, name) for name in ("a", "b", "c", "d")}
    into: dict[str, str] = {"before": "stays"}
    at_once(steps, {"c", "d"}, into)
    assert into == {"before": "stays", "a": "A", "b": "B", "c": "C", "d": "D"}
    assert set(order[:2]) == {"a", "b"}
    assert sorted(order) == ["a", "b", "c", "d"]


def test_a_step_that_fails_is_raised_after_the_others_ended() -> None:
    """Who got an answer keeps it, whoever failed beside it."""

    def fails() -> str:
        raise WorldError("SP682", "gone", where="x", fix="wait")

    into: dict[str, str] = {}
    with pytest.raises(WorldError, match="gone"):
        at_once({"bad": fails, "good": lambda: "done"}, {"bad", "good"}, into)
    assert into == {"good": "done"}

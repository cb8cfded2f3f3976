"""How many tokens a pull secret takes: one, however often the cluster refuses to take it."""
# ruff: noqa: ARG002 - fakes keep the signatures of their ports

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, cast

import pytest

from setpoint.core import clock
from setpoint.core.errors import SetpointError, WorldError
from setpoint.reconcile.cluster.decide import Seen
from setpoint.reconcile.cluster.model import Object, ObjectKey
from setpoint.reconcile.pulls import decide
from setpoint.reconcile.pulls.model import PullPlace, PullToken
from setpoint.reconcile.pulls.service import PullParts, PullService
from unit.builders_home import ManualClock

PLACE = PullPlace("prod", "shop", "registry.example.com:5000", own=True)


class World:
    """A cluster and the tokens of a home, in memory."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.refuses = True
        self.lost = False
        """It takes an object, and its answer does not come through."""
        self.live: Object | None = None
        self.tokens: dict[str, PullToken] = {}
        self.issued = 0
        self.service = PullService(
            PullParts(
                "h-0123456789", cast("Any", self), cast("Any", self), cast("Any", self), cast("Any", self), self.clock, lambda _host: True
            )
        )

    def of(self, name: str) -> "World":
        """Return the cluster."""
        assert name == "prod"
        return self

    def follow(self, place: str, objects: Mapping[ObjectKey, str]) -> None:
        """Look at everything."""

    def seen(self, keys: Sequence[ObjectKey]) -> dict[ObjectKey, Seen]:
        """Return the secret."""
        return {key: Seen(self.live, known=True) for key in keys}

    def apply(self, manifests: Sequence[Object]) -> dict[ObjectKey, Object | SetpointError]:
        """Take the secret, or refuse it."""
        if not self.refuses:
            (self.live,) = manifests
        failed = self.refuses or self.lost
        return {ObjectKey.of(one): WorldError("SP682", "it is too busy") if failed else one for one in manifests}

    def record(self, kind: str, subject: str, actor: str, body: Mapping[str, Any]) -> None:
        """Take a journal entry."""
        assert not any(text in str(body) for text in self.tokens)

    def issue(self, name: str) -> str:
        """Make a token."""
        self.issued += 1
        text = f"sp_{self.issued}"
        self.tokens[text] = PullToken(f"{name} {self.issued}", clock.to_text(self.clock.now()))
        return text

    def find(self, text: str) -> PullToken | None:
        """Return a token that is let in."""
        return self.tokens.get(text)

    def living(self) -> dict[str, Sequence[PullToken]]:
        """Return what is let in."""
        return {PLACE.token_name: [*self.tokens.values()]}

    def shown(self) -> str:
        """Return the text that the secret carries."""
        found = decide.credential_of(self.live, PLACE) if self.live is not None else None
        return found.password if found is not None else ""

    def fails(self) -> None:
        """Take a pass that the cluster refuses."""
        with pytest.raises(WorldError):
            self.service.keep(PLACE)


def test_a_secret_that_cannot_be_written_takes_one_token() -> None:
    """Every pass tries the same one until it is there; the next exchange has a new one."""
    world = World()
    for _ in range(5):
        world.fails()
    assert world.issued == 1
    world.refuses = False
    assert world.service.keep(PLACE)
    assert (world.issued, world.shown()) == (1, "sp_1")
    world.clock.move(timedelta(days=1).total_seconds())
    assert world.service.keep(PLACE)
    assert (world.issued, world.shown()) == (2, "sp_2")


def test_one_that_is_let_in_no_more_or_was_written_after_all_is_not_used_again() -> None:
    """Somebody took the token away meanwhile: a new one is made. So it is when only the answer of the cluster was lost."""
    world = World()
    world.fails()
    world.tokens.clear()
    world.fails()
    assert world.issued == 2
    world.refuses, world.lost = False, True
    world.fails()
    world.lost = False
    world.clock.move(timedelta(days=1).total_seconds())
    assert world.service.keep(PLACE)
    assert (world.issued, world.shown()) == (3, "sp_3")

"""`rollout:` of an environment.yaml: how a new revision gets its traffic, and what makes a step worth its time.

Part of `promotion.config`; read by reconcile as a plan for the rollout, by `check` and by `plan`. Never reads a file.
"""

import itertools
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from setpoint.core.documents import FileModel, InvalidError
from setpoint.core.durations import Duration


def _rising(weights: tuple[int, ...]) -> tuple[int, ...]:
    if any(later <= earlier for earlier, later in itertools.pairwise(weights)):
        raise InvalidError("the weights of a canary must rise", "write them like [5, 25, 50]; all traffic follows by itself", "SP548")
    return weights


Weight = Annotated[int, Field(ge=1, le=99)]


class CanaryErrors(FileModel):
    """What the judge of a canary counts, and when it acts."""

    ratio: Annotated[float, Field(ge=1.0, le=10.0)] = 1.1
    """The canary's error share may be this many times the stable revision's."""
    alpha: Annotated[float, Field(ge=0.00001, le=0.2)] = 0.01
    """How often, at most, a canary that keeps within `ratio` is sent back, over its whole rollout."""
    responses: Annotated[tuple[Literal["4xx", "5xx"], ...], Field(min_length=1, max_length=2)] = ("5xx",)
    """Classes of responses that count as failed; no or a broken response always does."""
    requests: Annotated[int, Field(ge=1, le=1_000_000)] = 20
    """A step in which the canary answered fewer is not judged: it is held until more come or a person goes on."""


class CanaryTraffic(FileModel):
    """What the application serves, as its owners know it: what a step can find out is planned with it."""

    rate: Annotated[float, Field(gt=0, le=10_000_000)]
    """Requests a second."""
    errors: Annotated[float, Field(gt=0, le=1)]
    """Share of them that fails while nothing is wrong."""


class CanaryConfig(FileModel):
    """Steps by weight, each held and judged; all traffic follows after the last."""

    weights: Annotated[tuple[Weight, ...], Field(min_length=1, max_length=20), AfterValidator(_rising)]
    """Percent of the traffic for the new revision, rising."""
    hold: Duration
    """How long each weight is held."""
    look: Duration = 5
    """How often the judge looks."""
    keep: Duration = 300
    """How long the revision that lost its traffic stays."""
    errors: CanaryErrors = CanaryErrors()
    traffic: CanaryTraffic | None = None
    unjudged: bool = False
    """Steps go on by time and health where the traffic is too little to judge; evidence still sends the release back."""


class RolloutConfig(FileModel):
    """How a new revision takes over; left out: replica by replica."""

    canary: CanaryConfig | None = None

"""From `rollout:` of an environment.yaml to the plan that the rollout carries out; called by reconcile, `check` and `plan`, pure."""

from setpoint.promotion.strategy import CanaryConfig
from setpoint.reconcile.model import CanaryPlan


def canary_plan(config: CanaryConfig) -> CanaryPlan:
    """Return a canary's plan, durations in seconds."""
    errors, traffic = config.errors, config.traffic
    return CanaryPlan(
        weights=config.weights,
        hold_s=float(config.hold),
        look_s=float(config.look),
        keep_s=float(config.keep),
        ratio=errors.ratio,
        alpha=errors.alpha,
        responses=errors.responses,
        least_requests=errors.requests,
        unjudged=config.unjudged,
        traffic_rate=traffic.rate if traffic is not None else None,
        traffic_errors=traffic.errors if traffic is not None else None,
    )

"""What an environment should get next: loads what `propose` looks at from Git, the build records and the quarantines.

Called by the promotion service on every pass and before every explanation; it proposes and writes nothing.
"""

from setpoint.promotion import propose
from setpoint.promotion.model import Candidate, Pin, Promotion
from setpoint.promotion.parts import PromotionParts
from setpoint.promotion.repository import Delivery
from setpoint.promotion.standing import Pins


class Candidates:
    """Finds the next candidate of an application in an environment."""

    def __init__(self, parts: PromotionParts) -> None:
        self._parts = parts
        self._pins = Pins(parts.delivery, parts.records)

    def next(self, delivery: Delivery, app: str, environment: str) -> propose.Proposal:
        """Return what this environment should get next, or why there is nothing."""
        parts = self._parts
        config = delivery.environment(environment)
        pin = self._pins.own(delivery, environment, app)
        upstreams = [self._upstream(delivery, app, name) for name in config.after]
        facts = propose.ProposalFacts(
            app=app,
            environment=environment,
            wants_artifacts=delivery.app_in(app, environment).source is not None,
            build=self._build(delivery, app, environment),
            upstreams=upstreams,
            pinned=pin.candidate if pin else None,
            pinned_build=_build_of(pin),
            app_tree=parts.delivery.tree(delivery, f"apps/{app}"),
            environment_tree=parts.delivery.tree(delivery, delivery.overlay(environment, app)),
            includes=parts.delivery.includes(delivery, app),
            quarantines=parts.records.quarantines(app, environment),
            older=self._older(delivery, app, upstreams[0], pin) if upstreams and pin is not None else "",
        )
        return propose.propose(facts)

    def _build(self, delivery: Delivery, app: str, environment: str) -> propose.Build | None:
        config, commit = delivery.app_in(app, environment), delivery.revision_in(app, environment)
        return self._parts.builds.at(config, commit) if commit else self._parts.builds.newest(config)

    def _upstream(self, delivery: Delivery, app: str, environment: str) -> propose.Upstream:
        pin = self._pins.last(delivery, environment, app)
        return propose.Upstream(environment, pin.candidate if pin else None, _build_of(pin))

    def _older(self, delivery: Delivery, app: str, upstream: propose.Upstream, pin: Pin) -> str:
        """Return which part of an upstream's candidate is older than what is pinned; empty: none, or the branches cannot tell.

        Each part is ordered in its own repository by the first-parent position of the newest commit that has it, never by its digest or
        tree: a `git revert` is a new commit, and deploys.
        """
        theirs, build = upstream.candidate, upstream.build
        if theirs is None or build is None:
            return ""
        config = delivery.setpoint.apps[app]
        if config.source and theirs.artifacts != pin.candidate.artifacts and pin.source_revision:
            older = self._parts.builds.is_older(config, build.revision, pin.source_revision)
            if older:
                return f"{build.version}, which is older than {pin.version}"
        if theirs.app_tree != pin.candidate.app_tree:
            older = self._parts.delivery.is_older_tree(delivery, f"apps/{app}", theirs.app_tree, pin.candidate.app_tree)
            if older:
                return f"a configuration of apps/{app}/ that is older than the one pinned here"
        for path, tree in theirs.includes.items():
            pinned = pin.candidate.includes.get(path)
            if pinned not in (None, tree) and self._parts.delivery.is_older_tree(delivery, path, tree, pinned):
                return f"a configuration of {path}/ that is older than the one pinned here"
        return ""

    def configuration(self, delivery: Delivery, candidate: Candidate) -> str:
        """Return the delivery repository's commit that a candidate is about when only its configuration is new; else nothing."""
        pin = self._pins.own(delivery, candidate.environment, candidate.app)
        if candidate.artifacts and (pin is None or pin.candidate.artifacts != candidate.artifacts):
            return ""
        before = pin.candidate if pin is not None else None
        folder = delivery.overlay(candidate.environment, candidate.app)
        if candidate.environment_tree is not None and (before is None or before.environment_tree != candidate.environment_tree):
            return self._parts.delivery.changed_at(delivery, folder, candidate.environment_tree)
        return self._parts.delivery.changed_at(delivery, f"apps/{candidate.app}", candidate.app_tree)

    def is_current(self, promotion: Promotion, delivery: Delivery) -> bool:
        """Say whether HEAD and the policy in force still are what a promotion was decided on (law 3)."""
        candidate, reader = promotion.candidate, self._parts.delivery
        folder = delivery.overlay(candidate.environment, candidate.app)
        if reader.tree(delivery, folder) != candidate.environment_tree:
            return False
        root = not delivery.environment(candidate.environment).after
        if root and reader.tree(delivery, f"apps/{candidate.app}") != candidate.app_tree:
            return False
        if root and reader.includes(delivery, candidate.app) != candidate.includes:
            return False
        if self._parts.gatherer.scripts(candidate, delivery) != promotion.scripts:
            return False
        return reader.policy_id(delivery, candidate.environment) == promotion.policy


def _build_of(pin: Pin | None) -> propose.Build | None:
    return propose.Build(dict(pin.candidate.artifacts), pin.source_revision, pin.version) if pin else None

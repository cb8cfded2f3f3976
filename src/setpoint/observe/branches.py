"""What a branch or commit of the delivery repository would change once it is merged: a plan for each place that it touches.

Called by the API for `plan REF`, before a merge request is merged. The candidate is what is pinned with the trees that a merge gives, so it
shows the effect of the branch alone. What judges stays what is in force (law 9), and the notes say so where the branch changes it.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from setpoint.core import digest
from setpoint.core.errors import NotFoundError, SetpointError, UserError
from setpoint.core.words import counted
from setpoint.observe.model import Plan, RefPlan
from setpoint.observe.plan import Coming, PlanView
from setpoint.promotion.model import Candidate
from setpoint.promotion.repository import Delivery, DeliveryReader
from setpoint.promotion.service import PromotionService
from setpoint.source.ports import GitStore

PLACES: Final = 50
"""Places of one answer; more are counted."""
_LIVE_S: Final = 60.0
"""How long clusters are asked for one answer, all places together."""


@dataclass(frozen=True, slots=True)
class BranchParts:
    """What branch plans are made with."""

    reader: DeliveryReader
    promotions: PromotionService
    git: GitStore
    view: PlanView
    elapsed: Callable[[], float] = time.monotonic


@dataclass(frozen=True, slots=True)
class _Ref:
    """A branch or commit, and the ids of everything that plans may be about."""

    text: str
    commit: str
    here: Mapping[str, str | None]
    """path -> object id at HEAD"""
    there: Mapping[str, str | None]
    """path -> object id once it is merged"""

    @property
    def name(self) -> str:
        """What sentences call it: `feature/x (41d2e0b)`, or the commit alone."""
        short = digest.short(self.commit)[:7]
        return short if self.commit.startswith(self.text.lower()) else f"{self.text} ({short})"

    def differs(self, *paths: str) -> bool:
        """Say whether the ref changes one of some paths."""
        return any(self.here[path] != self.there[path] for path in paths)


class BranchPlans:
    """Answers `plan REF`."""

    def __init__(self, parts: BranchParts) -> None:
        self._parts = parts

    def of(self, text: str, *, app: str = "", environment: str = "", live: bool = True) -> RefPlan:
        """Return a plan for every place that a ref touches, or for the given application and environment alone.

        Raises:
            NotFoundError: no delivery repository, application or environment; or the ref is none of the delivery repository (SP711).
            ConflictError: it does not merge by itself (SP116).
        """
        delivery = self._delivery(app, environment)
        ref = self._ref(delivery, text)
        places = [place for place in _places(delivery) if place[0] == (app or place[0]) and place[1] == (environment or place[1])]
        touched = [place for place in places if (app and environment) or ref.differs(*_folders(delivery, *place))]
        until = self._parts.elapsed() + _LIVE_S
        plans = tuple(self._plan(delivery, ref, place, until if live else 0.0) for place in touched[:PLACES])
        more = len(touched) - len(plans)
        sentence = f"{ref.name} changes {counted(len(touched), 'place') if touched else 'nothing'}"
        return RefPlan(text, delivery.repository, ref.commit, sentence, tuple(_notes(delivery, ref)), plans, more)

    def _delivery(self, app: str, environment: str) -> Delivery:
        reader = self._parts.reader
        delivery = (None if environment else reader.load()) or reader.require_environment(environment)
        if app:
            delivery.check_app(app)
        return delivery

    def _ref(self, delivery: Delivery, text: str) -> _Ref:
        git, name = self._parts.git, delivery.repository
        commit = git.resolve(name, text)
        if commit is None:
            others = [other for other in git.names() if other != name and git.resolve(other, text) is not None]
            fix = "name a branch, or a commit that was pushed; a plan of code needs the artifact that its run builds"
            where = f"; it is one of {others[0]}, which holds code" if others else ""
            raise NotFoundError("SP711", f"`{text[:200]}` is no branch or commit of {name}{where}", where=name, fix=fix)
        paths = set(_judging(delivery)) | {path for place in _places(delivery) for path in _folders(delivery, *place)}
        here = git.merged(name, delivery.head, delivery.head, sorted(paths))
        return _Ref(text, commit, here, git.merged(name, delivery.head, commit, sorted(paths)))

    def _plan(self, delivery: Delivery, ref: _Ref, place: tuple[str, str], until: float) -> Plan:
        app, environment = place
        try:
            explanation = self._parts.promotions.explain(app, environment)
            pin, proposed = explanation.pin, explanation.proposal.candidate
            basis = pin.candidate if pin is not None else proposed
            includes = {path: ref.there[path] for path in delivery.setpoint.apps[app].includes}
            lacking = [path for path, tree in includes.items() if tree is None]
            if lacking:
                fix = f"add it, or take it out of `includes:` of `{app}` in setpoint.yaml"
                raise UserError("SP712", f"there is no folder {', '.join(lacking)} in {ref.text}", where=app, fix=fix)
            candidate = Candidate(
                app=app,
                environment=environment,
                artifacts=basis.artifacts if basis is not None else {},
                app_tree=ref.there[f"apps/{app}"],
                environment_tree=ref.there[delivery.overlay(environment, app)],
                includes={path: tree for path, tree in includes.items() if tree is not None},
            )
            source = (pin.source_repository, pin.source_revision, pin.version) if pin is not None else ("", "", "")
            coming = Coming(candidate, "", *source, called=f"the configuration of {ref.name}")
            return self._parts.view.of(delivery, pin, coming, max(0.0, until - self._parts.elapsed()))
        except SetpointError as error:
            return Plan(app, environment, f"{app} in {environment}: {ref.name} cannot be planned", "", "", ref.name, error=error.render())


def _places(delivery: Delivery) -> list[tuple[str, str]]:
    return [(app, environment) for environment in delivery.ordered() for app in delivery.apps_in(environment)]


def _folders(delivery: Delivery, app: str, environment: str) -> list[str]:
    """Return every folder that a render of a place may read."""
    return [f"apps/{app}", delivery.overlay(environment, app), *delivery.setpoint.apps[app].includes]


def _judging(delivery: Delivery) -> list[str]:
    """Return the files that judge: of environments that a generator makes, their template's."""
    return ["setpoint.yaml", *sorted({f"environments/{delivery.template(one)}/environment.yaml" for one in delivery.environments})]


def _notes(delivery: Delivery, ref: _Ref) -> Iterator[str]:
    """Yield what of the ref is judged first: until its owners accept it, plans go by what is in force."""
    changed = [path for path in _judging(delivery) if ref.differs(path)]
    if changed:
        theirs = "it changes" if len(changed) == 1 else "they change"
        yield f"{', '.join(changed)}: {theirs} what judges, which counts once it is accepted; these plans go by what is in force"

"""Previews: environments of branches, from the push that makes one to its end; pure, with every reason (laws 6, 7 and 8).

Used by the generators' service. A preview ends by its own rule only: its time is over, its branch is gone, or a person says so. Branches
that cannot be read end nothing. What a branch holds says nothing about its gates, its owners or its life.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Final

from setpoint.core import clock, digest
from setpoint.core.documents import InvalidError
from setpoint.core.reasons import Outcome, Reason
from setpoint.promotion.generators.config import FromBranches
from setpoint.promotion.generators.decide import Now, told
from setpoint.promotion.generators.model import Element, Expansion, Life, environment_name

_STRANGE: Final = re.compile(r"[^a-z0-9]+")
_LONGEST: Final = 40
"""Characters; a label of a host name and a namespace have 63 (RFC 1123), and `each` writes something around it."""

Make = Callable[[Element], object]
"""What becomes of an element; raises InvalidError where that is not sound."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch of the source repository, as of one moment."""

    head: str
    trusted: str = ""
    """The newest head that somebody trusted pushed; empty: none."""
    pushed_at: str = ""
    """When that was."""
    pusher: str = ""
    """Who pushed the head that is there now; empty: nobody knows."""


def matches(spec: FromBranches, branch: str) -> bool:
    """Say whether a branch is to have a preview; `*` stands for any part of its name, slashes too."""
    return any(fnmatchcase(branch, one) for one in spec.branches) and not any(fnmatchcase(branch, one) for one in spec.exclude)


def part_of(branch: str) -> str:
    """Return a branch as a part of names: at most 40 lower-case letters, digits and dashes; what that loses is told apart by a digest."""
    found = _STRANGE.sub("-", branch.lower()).strip("-") or "x"
    if found == branch.replace("/", "-") and len(found) <= _LONGEST:
        return found
    return f"{found[:24].rstrip('-')}-{digest.sha256(branch.encode()).rpartition(':')[2][:6]}"


def expires_at(spec: FromBranches, life: Life) -> str:
    """Return when a preview ends if nobody pushes: the time to live after the last push, or what a person said, or its branch's grace."""
    end = max(clock.from_text(life.pushed_at) + timedelta(seconds=spec.ttl), clock.from_text(life.until or life.pushed_at))
    if life.deleted_at:
        end = min(end, clock.from_text(life.deleted_at) + timedelta(seconds=spec.grace))
    return clock.to_text(end)


def settle(before: Expansion | None, spec: FromBranches, most: int, branches: Mapping[str, Branch], now: Now, make: Make) -> Expansion:
    """Return the previews from now on; who is there is never sent away for who comes, and what cannot be made takes no room."""
    old = before if before is not None else Expansion(now.generator, "", "")
    living: dict[str, Element] = {}
    ending = {one.name: one for one in old.leaving}
    reasons: list[Reason] = []
    for element in old.elements:
        life = _moved(spec, element, branches, now, reasons)
        if life.ended:
            ending[element.name] = replace(element, life=life)
        else:
            living[element.name] = replace(element, life=life)
            reasons += _unsound(spec, element, make)
    ending = {name: one for name, one in ending.items() if environment_name(now.generator, name) in now.occupied}
    ended = {branch: commit for branch, commit in old.ended.items() if branch in branches and branches[branch].trusted == commit}
    known = {element.life.branch for element in living.values() if element.life is not None}
    coming = sorted((one for one in branches if one not in known and matches(spec, one)), key=lambda one: (branches[one].pushed_at, one))
    for name in coming:
        found = _begin(spec, (name, branches[name]), (living, ending), (most, ended), now)
        if isinstance(found, Reason):
            reasons.append(found)
        elif found is not None:
            unsound = _unsound(spec, found, make)
            reasons += unsound
            living.update({} if unsound else {found.name: found})
    still = tuple(ending[name] for name in sorted(ending))
    elements = tuple(living[name] for name in sorted(living))
    return told(old, Expansion(now.generator, now.commit, now.file, elements, still, tuple(reasons), ended=ended), now.at)


def changes(before: Expansion | None, after: Expansion | None) -> Iterator[str]:
    """Yield what became of previews, a sentence each, for the journal."""
    old = {one.name: one for one in before.elements} if before is not None else {}
    new = {one.name: one for one in after.elements} if after is not None else {}
    leaving = {one.name: one for one in after.leaving} if after is not None else {}
    for name in sorted({*old, *new}):
        was, now = old.get(name), new.get(name)
        if now is not None and now.life is not None and (was is None or was.life is None):
            yield f"{name} begins: {now.source} at {digest.short(now.life.commit)}"
        elif now is None and was is not None and was.life is not None:
            gone = leaving.get(name)
            yield f"{name} ends: {gone.life.ended if gone is not None and gone.life is not None else 'nothing of it is there'}"
        elif now is not None and was is not None and now.life is not None and was.life is not None and now.life.commit != was.life.commit:
            yield f"{name} moves to {digest.short(now.life.commit)}"


def next_s(expansions: Sequence[tuple[FromBranches, Expansion]], at: str) -> float | None:
    """Return the seconds until the next preview ends by itself; None without any."""
    ends = [expires_at(spec, one.life) for spec, expansion in expansions for one in expansion.elements if one.life is not None]
    return max(0.0, clock.seconds_between(at, min(ends))) if ends else None


def _moved(spec: FromBranches, element: Element, branches: Mapping[str, Branch], now: Now, reasons: list[Reason]) -> Life:
    """Return a preview's life as of now; an untrusted push moves it nowhere and is told."""
    life = element.life
    assert life is not None, "an element of another generator"  # noqa: S101 - one generator makes one sort of thing
    branch = branches.get(life.branch)
    if branch is None:
        life = replace(life, deleted_at=life.deleted_at or now.at)
    else:
        life = replace(life, deleted_at="")
        if branch.trusted and branch.pushed_at >= life.pushed_at:
            life = replace(life, commit=branch.trusted, pushed_at=branch.pushed_at)
        if branch.head != life.commit:
            reasons.append(_untrusted(spec, life.branch, branch, f"the preview stays at {digest.short(life.commit)}"))
    if not matches(spec, life.branch):
        return replace(life, ended="its branch is not asked for any more")
    if clock.seconds_between(now.at, expires_at(spec, life)) <= 0:
        return replace(life, ended="its branch was deleted" if life.deleted_at else f"no push since {clock.spoken(life.pushed_at)}")
    return life


def _begin(
    spec: FromBranches,
    what: tuple[str, Branch],
    there: tuple[Mapping[str, Element], Mapping[str, Element]],
    limits: tuple[int, Mapping[str, str]],
    now: Now,
) -> Element | Reason | None:
    """Return a new preview, or why there is none; None where nothing is to be said: its time is over, or a person ended it."""
    (name, branch), (living, ending), (most, ended) = what, there, limits
    part = part_of(name)
    subject = f"branch {name} of {spec.repository}"
    if not branch.trusted:
        return _untrusted(spec, name, branch, "it makes no preview")
    life = Life(name, branch.trusted, branch.pushed_at, now.at)
    if branch.trusted == ended.get(name) or clock.seconds_between(now.at, expires_at(spec, life)) <= 0:
        return None
    if part in ending:
        return Reason("PREVIEW_WAITS", Outcome.WAIT, subject, "what ran there before is still being removed", "an empty place")
    if part in living:
        other = living[part].source
        return Reason("NAME_TAKEN", Outcome.DENY, subject, f"`{part}` is the preview of {other}", "a name of its own", "rename the branch")
    there_are = len(living) + len(ending)
    if there_are >= most:
        ends = min((expires_at(spec, one.life) for one in living.values() if one.life is not None), default="")
        found = f"there are {there_are} previews, and `max` is {most}"
        fix = f"setpoint preview end {environment_name(now.generator, min(living))}, or raise `max`" if living else ""
        return Reason("PREVIEW_WAITS", Outcome.WAIT, subject, found, "room", fix, ends or None)
    port = 0
    if spec.ports is not None:
        taken = {one.life.port for one in (*living.values(), *ending.values()) if one.life is not None}
        free = next((one for one in spec.range if one not in taken), None)
        if free is None:
            return Reason("PREVIEW_WAITS", Outcome.WAIT, subject, f"no port of {spec.ports} is free", "a port", "widen `ports`")
        port = free
    return Element(part, f"branch {name}", {"name": part}, replace(life, port=port))


def _unsound(spec: FromBranches, element: Element, make: Make) -> list[Reason]:
    """Return why a preview cannot be made; nothing where it can."""
    try:
        make(element)
    except InvalidError as error:
        subject = f"{element.source} of {spec.repository}"
        return [Reason("ELEMENT_INVALID", Outcome.DENY, subject, error.what, "what a person could have written", error.fix)]
    return []


def _untrusted(spec: FromBranches, name: str, branch: Branch, so: str) -> Reason:
    who = branch.pusher or "somebody by path"
    wanted = f"a push by {', '.join(spec.pushers)}" if spec.pushers is not None else f"a push by an owner of {spec.like}"
    found = f"{digest.short(branch.head)} was pushed by {who}: {so}"
    return Reason("PREVIEW_UNTRUSTED", Outcome.DENY, f"branch {name} of {spec.repository}", found, wanted, "one of them pushes it")

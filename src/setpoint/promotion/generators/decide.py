"""What a generator makes, and what stays when it finds less than before or nothing at all: pure (laws 6 and 7).

Called by the generators' service on every pass, and by whoever shows an expansion before it is in force. What was made is never taken away
by a fault: the last good expansion stays, and says since when.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from setpoint.core import plain_names
from setpoint.core.documents import Document, InvalidError
from setpoint.core.reasons import Outcome, Reason
from setpoint.core.words import counted
from setpoint.promotion.config import EnvironmentFile
from setpoint.promotion.generators import products
from setpoint.promotion.generators.config import FromClusters, FromFolders, GeneratorFile, environment_path
from setpoint.promotion.generators.model import Element, Expansion, environment_name, shrink_of
from setpoint.promotion.generators.substitution import LABEL


@dataclass(frozen=True, slots=True)
class World:
    """What elements are found in, as of one moment."""

    folders: Sequence[str] = ()
    """`apps/web`, `environments/staging/web`: every folder that could hold an application's manifests."""
    clusters: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """name -> labels"""
    environments: Mapping[str, EnvironmentFile] = field(default_factory=dict)
    """Those that are written down."""
    taken: Mapping[str, str] = field(default_factory=dict)
    """name of an application -> where it is said already, by hand or by another generator"""


@dataclass(frozen=True, slots=True)
class Found:
    """What a generator finds now: sound elements by name, and why others are none."""

    elements: tuple[Element, ...]
    refused: tuple[Reason, ...] = ()
    names: frozenset[str] = frozenset()
    """Of the elements that were refused: they are there, so they have not left."""


def matches(pattern: str, path: str) -> bool:
    """Say whether a path has as many parts as a pattern, and each matches."""
    wanted, parts = pattern.split("/"), path.split("/")
    return len(wanted) == len(parts) and all(fnmatchcase(part, one) for part, one in zip(parts, wanted, strict=True))


def of_folders(spec: FromFolders, folders: Iterable[str]) -> list[str]:
    """Return the folders that a generator matches, sorted."""
    return sorted(
        path for path in set(folders) if any(matches(p, path) for p in spec.folders) and not any(matches(p, path) for p in spec.exclude)
    )


def expand(name: str, document: Document[GeneratorFile], world: World) -> Found:
    """Return what a generator makes of the world; the order of the world's parts does not matter."""
    spec = document.model
    if spec.applications is not None:
        found = list(_of_folders(spec.applications, world.folders))
    else:
        assert spec.environments is not None, "a generator makes one sort of thing"  # noqa: S101 - the file's own check holds it
        found = list(_of_clusters(spec.environments, world.clusters))
    elements: dict[str, Element] = {}
    refused: list[Reason] = []
    names: set[str] = set()
    for element in found:
        fault = _fault(name, document, element, world)
        if fault is not None:
            refused.append(fault)
            names.add(element.name)
        else:
            elements.setdefault(element.name, element)
    return Found(tuple(elements[key] for key in sorted(elements)), tuple(refused), frozenset(names - set(elements)))


def _of_folders(spec: FromFolders, folders: Sequence[str]) -> Iterator[Element]:
    for path in of_folders(spec, folders):
        name = path.rpartition("/")[2]
        yield Element(name, path, {"name": name, "path": path})


def _of_clusters(spec: FromClusters, clusters: Mapping[str, Mapping[str, str]]) -> Iterator[Element]:
    for name in sorted(clusters):
        labels = clusters[name]
        if all(labels.get(key) == value for key, value in spec.clusters.items()):
            yield Element(name, f"cluster {name}", {"name": name, **{f"{LABEL}{key}": value for key, value in labels.items()}})


def _fault(name: str, document: Document[GeneratorFile], element: Element, world: World) -> Reason | None:
    """Return why an element becomes nothing; None when it does."""
    spec, place = document.model, products.each_place(document)
    made = environment_name(name, element.name) if spec.like else element.name
    subject = f"{place}, {element.source}"
    if not plain_names.is_plain(made):
        fix = "rename it, or add it to `exclude`"
        return Reason("NAME_INVALID", Outcome.DENY, subject, f"`{made}` is no name", plain_names.RULE, fix)
    taken = {one: environment_path(one) for one in world.environments} if spec.like else world.taken
    if made in taken:
        found, wanted = f"`{made}` is said by {taken[made]} already", "a name that nobody has: nothing is replaced"
        return Reason("NAME_TAKEN", Outcome.DENY, subject, found, wanted, "exclude one of them")
    try:
        if spec.applications is not None:
            products.application(spec.applications.each, element)
        elif spec.environments is not None:
            products.environment(spec.environments.each, element, world.environments.get(spec.like))
    except InvalidError as error:
        return Reason("ELEMENT_INVALID", Outcome.DENY, subject, error.what, "what a person could have written", error.fix)
    return None


@dataclass(frozen=True, slots=True)
class Now:
    """With what a generator is looked at."""

    generator: str
    commit: str
    file: str
    at: str
    occupied: Collection[str] = ()
    """Environments in which something is."""


def settle(before: Expansion | None, spec: GeneratorFile, found: Found, now: Now) -> Expansion:
    """Return what is made from now on: never less than before, but for what may leave within the budget or by a person's word."""
    old = before if before is not None else Expansion(now.generator, "", "")
    had, has = {one.name: one for one in old.elements}, {one.name: one for one in found.elements}
    if found.names & set(had):  # it is there, and what the file makes of it is not sound: what was made stays as it is
        return told(old, replace(old, reasons=found.refused), now.at)
    gone = tuple(sorted(set(had) - set(has)))
    room = max(0, spec.max - len(had))
    new = sorted(set(has) - set(had))
    waiting = new[room:]
    reasons = list(found.refused)
    if waiting:
        reasons.append(_full(now.generator, spec.max, waiting))
    why = over_budget(len(gone), len(had), spec.budget) if gone else ""
    if old.held is not None and set(gone) & set(old.held.elements):
        why = old.held.why  # what was held once stays so: what is new would allow a little more with each pass
    held = shrink_of(now.generator, gone, why) if why else None
    if held is not None and old.confirmed == held.set:
        held = None
    if held is not None and old.file != now.file:  # the file that made them knows what they are
        return told(old, replace(old, reasons=(*reasons, _shrinks(now.generator, gone, why)), held=held), now.at)
    kept = had if held is not None else {name: had[name] for name in had if name in has}
    elements = {**kept, **{name: has[name] for name in has if name in kept or name in new[:room]}}
    left = {one.name: one for one in (*old.leaving, *(had[name] for name in gone)) if one.name not in elements} if spec.like else {}
    still = tuple(one for one in left.values() if environment_name(now.generator, one.name) in now.occupied)
    if held is not None:
        reasons.append(_shrinks(now.generator, held.elements, held.why))
    return told(
        old,
        Expansion(
            now.generator,
            now.commit,
            now.file,
            tuple(elements[name] for name in sorted(elements)),
            tuple(sorted(still, key=lambda one: one.name)),
            tuple(reasons),
            held=held,
        ),
        now.at,
    )


def failed(before: Expansion | None, generator: str, reason: Reason, at: str) -> Expansion:
    """Return the same expansion as before, with what went wrong."""
    old = before if before is not None else Expansion(generator, "", "")
    return told(old, replace(old, reasons=(reason,)), at)


def withdrawn(before: Expansion, now: Now, *, environments: bool) -> Expansion | None:
    """Return what is left of a generator whose file owners removed; None when nothing is."""
    left = {one.name: _ended(one, "its generator was removed") for one in (*before.leaving, *before.elements)} if environments else {}
    still = tuple(left[name] for name in sorted(left) if environment_name(now.generator, name) in now.occupied)
    return replace(before, elements=(), leaving=still, reasons=(), since="", held=None, confirmed="") if still else None


def _ended(element: Element, why: str) -> Element:
    """Return an element that leaves; a preview ends by that."""
    life = element.life
    return replace(element, life=replace(life, ended=life.ended or why)) if life is not None else element


def over_budget(gone: int, had: int, budget: str) -> str:
    """Return why so many need a person; empty when the budget (`3`, `50%`) lets them leave. All never leave without one."""
    if gone >= had:
        return f"all {had} would leave" if had > 1 else "the only one would leave"
    limit = had * int(budget[:-1]) // 100 if budget.endswith("%") else int(budget)
    return f"{gone} of {had} would leave, the budget is {budget}" if gone > limit else ""


def told(old: Expansion, new: Expansion, at: str) -> Expansion:
    """Return an expansion with since when its reasons stand: for as long as the same codes do."""
    if not new.reasons:
        return replace(new, since="")
    same = old.since and [one.code for one in old.reasons] == [one.code for one in new.reasons]
    return replace(new, since=old.since if same else at)


def _full(generator: str, most: int, waiting: Sequence[str]) -> Reason:
    names = ", ".join(waiting[:10])
    found = f"{counted(len(waiting), 'element')} more than `max: {most}`: {names}"
    return Reason("GENERATOR_FULL", Outcome.WAIT, f"generator {generator}", found, "room", "raise `max`, or exclude some")


def _shrinks(generator: str, elements: Sequence[str], why: str) -> Reason:
    found = f"{why}: {', '.join(elements[:10])}; the last good expansion stays"
    return Reason(
        "GENERATOR_SHRINKS", Outcome.WAIT, f"generator {generator}", found, "a person's word", f"setpoint generator confirm {generator}"
    )

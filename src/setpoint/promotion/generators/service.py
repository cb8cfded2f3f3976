"""Looks what generators find, decides what is made of it, and journals that; called by the control loop, the API and the page.

Level-triggered: every pass reads the accepted files, the folders at HEAD and the clusters anew, and writes an entry only when something
changed. A generator whose elements cannot be read keeps what it made (law 7). It removes nothing: what is no longer made is an orphan.
"""

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from setpoint.core import clock, names, records
from setpoint.core.documents import Document
from setpoint.core.errors import ConflictError, NotFoundError, SetpointError, WorldError
from setpoint.core.reasons import Outcome, Reason
from setpoint.ground.identity.model import Principal
from setpoint.ground.journal.ports import Recorder
from setpoint.promotion.generators import decide, previews, products, words
from setpoint.promotion.generators.branches import branches_of, trusted_people
from setpoint.promotion.generators.config import GeneratorFile, path_of
from setpoint.promotion.generators.model import Expansion, environment_name
from setpoint.promotion.generators.ports import ClusterLabels, Occupied, Previewing
from setpoint.promotion.generators.unpinning import Unpinning
from setpoint.promotion.judging import Governed
from setpoint.promotion.people import require_owner, require_responsible
from setpoint.promotion.repository import Delivery, DeliveryReader, DeliveryRecords
from setpoint.source.ports import GitStore


@dataclass(frozen=True, slots=True)
class GeneratorParts:
    """What generators are looked at with."""

    reader: DeliveryReader
    records: DeliveryRecords
    recorder: Recorder
    clusters: ClusterLabels
    occupied: Occupied
    clock: clock.Clock
    git: GitStore
    previewing: Previewing
    unpinning: Unpinning


@dataclass(frozen=True, slots=True)
class ExpansionAt:
    """What a generator would make by the files of a commit, beside what it makes now."""

    generator: str
    makes: str
    elements: tuple[str, ...]
    new: tuple[str, ...]
    gone: tuple[str, ...]
    reasons: tuple[Reason, ...]


class Generators:
    """The generators of a home; safe to call from several threads."""

    def __init__(self, parts: GeneratorParts) -> None:
        self._parts = parts
        self._lock = threading.Lock()
        self._found: dict[str, tuple[Document[GeneratorFile], decide.World, decide.Found]] = {}
        """generator -> (its file, the world, what it found there)"""

    def advance(self) -> float | None:
        """Look at every generator once, and journal what is made from now on where that changed.

        Returns the seconds until the next preview ends by itself; None without any.
        """
        with self._lock:
            delivery = self._parts.reader.load()
            if delivery is None:
                return None
            governed = self._parts.reader.governed(delivery.repository, delivery.accepted)
            known = self._known()
            if not governed.generators and not known:
                return None
            occupied, refused = self._occupied(delivery)
            for name in sorted({*governed.generators, *known}):
                now, before, document = self._now(delivery, name, occupied), known.get(name), governed.generators.get(name)
                after: Expansion | None
                if document is not None:
                    after = known[name] = self._look(delivery, governed, document, now, known)
                else:
                    after = self._withdrawn(delivery, before, now)
                    known.pop(name)
                if after is not None and name in refused:
                    after = decide.told(before or after, replace(after, reasons=(*after.reasons, *refused[name])), now.at)
                    known.update({name: after} if document is not None else {})
                if after != before:
                    self._tell(before, after, now)
            lives = [(one.model.previews, known[name]) for name, one in governed.generators.items() if one.model.previews is not None]
            return previews.next_s(lives, clock.to_text(self._parts.clock.now()))

    def _occupied(self, delivery: Delivery) -> tuple[set[str], dict[str, list[Reason]]]:
        """Return where something is, and what keeps pins where nothing else is, by generator.

        The pins of previews that have ended are removed once nothing else of them is there. One whose removal is refused keeps its place,
        and neither the other ones nor the generators wait for it.

        Raises:
            WorldError: the signer is gone: nothing can be pinned or removed then, and it is tried again soon.
        """
        made, shown = set(self._parts.occupied()), delivery.generated.previews
        pinned = self._parts.unpinning.pinned(delivery) & set(shown) if shown else set()
        refused: dict[str, list[Reason]] = {}
        for name in sorted(name for name in pinned - made if shown[name].life.ended):
            try:
                self._parts.unpinning.remove(delivery, name)
                break  # the branch has moved then; the others are the next passes'
            except WorldError:
                raise
            except SetpointError as error:
                found = f"the signer does not remove its pins: {error.what} ({error.code})"
                reason = Reason("UNPIN_REFUSED", Outcome.DENY, f"preview {name}", found, "a commit that removes them", error.fix)
                refused.setdefault(delivery.generated.environments[name].generator, []).append(reason)
        return made | pinned, refused

    def confirm(self, generator: str, wanted: str, principal: Principal, message: str) -> Expansion:
        """Let exactly a set of elements leave a generator; what they made stays until it is pruned.

        Raises:
            NotAllowedError: only owners of setpoint.yaml and the operator (SP514).
            NotFoundError: there is no such generator, or nothing waits (SP592).
            ConflictError: it is another set by now (SP593).
        """
        with self._lock:
            delivery = self._parts.reader.load()
            found = self._known().get(generator)
            if delivery is None or found is None or found.held is None:
                raise NotFoundError("SP592", "nothing waits for a word there", where=generator, fix="setpoint generator list")
            require_owner(delivery, principal)
            if found.held.set != wanted:
                what = f"what would leave changed: now {', '.join(found.held.elements)}"
                raise ConflictError("SP593", what, where=generator, fix=f"look again: setpoint generator confirm {generator}")
            after = replace(found, confirmed=wanted)
            body = {"expansion": records.encode(after), "elements": list(found.held.elements), "message": message}
            self._parts.recorder.record("generator.confirmed", generator, principal.actor, body)
            return after

    def extend(self, environment: str, for_s: int, principal: Principal, message: str) -> Expansion:
        """Let a preview live at least so long from now.

        Raises:
            NotAllowedError: only owners, approvers and the operator (SP514).
            NotFoundError: there is no such preview (SP597).
            ConflictError: it ends already (SP598).
            UserError: not so long (SP599).
        """
        with self._lock:
            delivery = self._parts.reader.require_environment(environment)
            expansion, element = words.preview_of(delivery, environment)
            require_responsible(delivery, environment, principal)
            after = words.extended(expansion, element, clock.to_text(self._parts.clock.now()), for_s)
            return self._said("preview.extended", environment, principal, (after, message))

    def end(self, environment: str, principal: Principal, message: str) -> Expansion:
        """End a preview now; raises what `extend` raises."""
        with self._lock:
            delivery = self._parts.reader.require_environment(environment)
            expansion, element = words.preview_of(delivery, environment)
            require_responsible(delivery, environment, principal)
            why = f"ended by {names.actor(principal.actor)}" + (f": {message}" if message else "")
            return self._said("preview.ended", environment, principal, (words.ended(expansion, element, why), message))

    def _said(self, kind: str, environment: str, principal: Principal, what: tuple[Expansion, str]) -> Expansion:
        expansion, message = what
        body = {"expansion": records.encode(expansion), "generator": expansion.generator, "message": message}
        self._parts.recorder.record(kind, environment, principal.actor, body)
        return expansion

    def shown(self, commit: str) -> list[ExpansionAt]:
        """Return what every generator of a commit would make with that commit's folders and the clusters of now; writes nothing.

        Raises:
            ConfigError: the commit's files have faults, all of them named.
            NotFoundError: no delivery repository is registered (SP504).
        """
        delivery = self._parts.reader.require_delivery()
        governed, known = self._parts.reader.governed(delivery.repository, commit), self._known()
        found = []
        for name in sorted({*governed.generators, *known}):
            had = {one.name for one in known[name].elements} if name in known else set()
            document = governed.generators.get(name)
            if document is None:
                found.append(ExpansionAt(name, "", (), (), tuple(sorted(had)), ()))
                continue
            now = decide.Now(name, commit, "", clock.to_text(self._parts.clock.now()))
            if document.model.previews is not None:
                after = self._previews(governed, document, now, known.get(name))
            else:
                world = self._world(delivery.repository, commit, governed, _others(known, name, governed))
                after = decide.settle(known.get(name), document.model, decide.expand(name, document, world), now)
            has = {one.name for one in after.elements}
            makes = tuple(sorted(has))
            found.append(ExpansionAt(name, document.model.makes, makes, tuple(sorted(has - had)), tuple(sorted(had - has)), after.reasons))
        return found

    def _look(
        self, delivery: Delivery, governed: Governed, document: Document[GeneratorFile], now: decide.Now, known: Mapping[str, Expansion]
    ) -> Expansion:
        before = known.get(now.generator)
        try:
            if document.model.previews is not None:
                return self._previews(governed, document, now, before)
            world = self._world(delivery.repository, delivery.head, governed, _others(known, now.generator, governed))
            found = self._expanded(now.generator, document, world)
        except SetpointError as error:
            reason = Reason("GENERATOR_FAILED", Outcome.DENY, error.where or path_of(now.generator), error.what, "its elements", error.fix)
            return decide.failed(before, now.generator, reason, now.at)
        return decide.settle(before, document.model, found, now)

    def _expanded(self, generator: str, document: Document[GeneratorFile], world: decide.World) -> decide.Found:
        """Return what a generator finds; asked again only when its file or the world is another one."""
        kept = self._found.get(generator)
        if kept is not None and kept[0] is document and kept[1] == world:
            return kept[2]
        found = decide.expand(generator, document, world)
        self._found[generator] = (document, world, found)
        return found

    def _previews(self, governed: Governed, document: Document[GeneratorFile], now: decide.Now, before: Expansion | None) -> Expansion:
        """Return the previews from now on."""
        parts = self._parts
        spec, template = document.model.previews, governed.environments[document.model.like].model
        assert spec is not None, "only called for previews"  # noqa: S101 - the caller asks it
        setpoint = governed.setpoint.model
        sources = (parts.git, parts.records.pushes, parts.previewing.unsettled)
        people = trusted_people(spec, setpoint, template.owners)
        branches = branches_of(spec, people, setpoint.directory(), sources)
        return previews.settle(before, spec, document.model.max, branches, now, lambda one: products.made_preview(spec, one, template))

    def _withdrawn(self, delivery: Delivery, before: Expansion | None, now: decide.Now) -> Expansion | None:
        if before is None:
            return None
        try:
            then = self._parts.reader.governed(delivery.repository, before.commit).generators.get(now.generator)
        except SetpointError:
            then = None
        return decide.withdrawn(before, now, environments=then is not None and bool(then.model.like))

    def _world(self, repository: str, commit: str, governed: Governed, taken: Mapping[str, str]) -> decide.World:
        setpoint = governed.setpoint
        apps = {app: setpoint.finding(("apps", app), "", "", at="key").place for app in setpoint.model.apps}
        return decide.World(
            self._parts.reader.files.folders(repository, commit),
            self._parts.clusters(),
            {name: document.model for name, document in governed.environments.items()},
            {**taken, **apps},
        )

    def _now(self, delivery: Delivery, name: str, occupied: Collection[str]) -> decide.Now:
        file = self._parts.reader.files.ids(delivery.repository, delivery.accepted).get(path_of(name), "")
        before = self._known().get(name)
        # The commit is kept while the file stays: every other accepted commit would be an entry that says nothing.
        commit = before.commit if before is not None and before.file == file and before.commit else delivery.accepted
        return decide.Now(name, commit, file, clock.to_text(self._parts.clock.now()), occupied)

    def _known(self) -> dict[str, Expansion]:
        return {one.generator: one for one in self._parts.records.expansions()[1]}

    def _tell(self, before: Expansion | None, after: Expansion | None, now: decide.Now) -> None:
        """Journal an expansion; what served environments that are gone for good ends first, so that a crash in between does it again."""
        had = {one.name for one in before.leaving if one.life is not None} if before is not None else set()
        left = {one.name for one in (*after.leaving, *after.elements)} if after is not None else set()
        for element in sorted(had - left):
            self._parts.previewing.clear(environment_name(now.generator, element))
        body = {"expansion": records.encode(after) if after is not None else None, "changes": list(previews.changes(before, after))}
        self._parts.recorder.record("generator.expanded", now.generator, "setpoint", body)


def _others(known: Mapping[str, Expansion], generator: str, governed: Governed) -> dict[str, str]:
    """Return {name: file} of the applications that other generators make."""
    others = [name for name in known if name != generator and name in governed.generators and not governed.generators[name].model.like]
    return {element.name: path_of(name) for name in others for element in known[name].elements}

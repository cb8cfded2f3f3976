"""Looks what generators find, decides what is made of it, and journals that; called by the control loop, the API and the page.

Level-triggered: every pass reads the accepted files, the folders at HEAD and the clusters anew, and writes an entry only when something
changed. A generator whose elements cannot be read keeps what it made (law 7). It removes nothing: what is no longer made is an orphan.
"""

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from setpoint.core import clock, records
from setpoint.core.documents import Document
from setpoint.core.errors import ConflictError, NotFoundError, SetpointError
from setpoint.core.reasons import Outcome, Reason
from setpoint.ground.identity.model import Principal
from setpoint.ground.journal.ports import Recorder
from setpoint.promotion.generators import decide
from setpoint.promotion.generators.config import GeneratorFile, path_of
from setpoint.promotion.generators.model import Expansion
from setpoint.promotion.generators.ports import ClusterLabels, Occupied
from setpoint.promotion.judging import Governed
from setpoint.promotion.people import require_owner
from setpoint.promotion.repository import Delivery, DeliveryReader, DeliveryRecords


@dataclass(frozen=True, slots=True)
class GeneratorParts:
    """What generators are looked at with."""

    reader: DeliveryReader
    records: DeliveryRecords
    recorder: Recorder
    clusters: ClusterLabels
    occupied: Occupied
    clock: clock.Clock


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

    def advance(self) -> None:
        """Look at every generator once, and journal what is made from now on where that changed."""
        with self._lock:
            delivery = self._parts.reader.load()
            if delivery is None:
                return
            governed = self._parts.reader.governed(delivery.repository, delivery.accepted)
            known = self._known()
            if not governed.generators and not known:
                return
            occupied = self._parts.occupied()
            for name in sorted({*governed.generators, *known}):
                document = governed.generators.get(name)
                now = self._now(delivery, name, occupied)
                before = known.get(name)
                after = (
                    self._look(delivery, governed, document, now, known) if document is not None else self._withdrawn(delivery, before, now)
                )
                if after is not None:
                    known[name] = after
                else:
                    known.pop(name, None)
                if after != before:
                    self._tell("generator.expanded", name, after)

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
            world = self._world(delivery.repository, commit, governed, _others(known, name, governed))
            expanded = decide.expand(name, document, world)
            now = decide.Now(name, commit, "", clock.to_text(self._parts.clock.now()))
            after = decide.settle(known.get(name), document.model, expanded, now)
            has = {one.name for one in after.elements}
            makes = tuple(sorted(has))
            found.append(ExpansionAt(name, document.model.makes, makes, tuple(sorted(has - had)), tuple(sorted(had - has)), after.reasons))
        return found

    def _look(
        self, delivery: Delivery, governed: Governed, document: Document[GeneratorFile], now: decide.Now, known: Mapping[str, Expansion]
    ) -> Expansion:
        before = known.get(now.generator)
        try:
            world = self._world(delivery.repository, delivery.head, governed, _others(known, now.generator, governed))
            found = decide.expand(now.generator, document, world)
        except SetpointError as error:
            reason = Reason("GENERATOR_FAILED", Outcome.DENY, error.where or path_of(now.generator), error.what, "its elements", error.fix)
            return decide.failed(before, now.generator, reason, now.at)
        return decide.settle(before, document.model, found, now)

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

    def _tell(self, kind: str, generator: str, expansion: Expansion | None) -> None:
        body = {"expansion": records.encode(expansion) if expansion is not None else None}
        self._parts.recorder.record(kind, generator, "setpoint", body)


def _others(known: Mapping[str, Expansion], generator: str, governed: Governed) -> dict[str, str]:
    """Return {name: file} of the applications that other generators make."""
    others = [name for name in known if name != generator and name in governed.generators and not governed.generators[name].model.like]
    return {element.name: path_of(name) for name in others for element in known[name].elements}

"""What a look at a place rests on, as one value: while it is equal and no time is due, looking again finds the same.

Used by the promotion service (which places a pass has to look at), by its verdicts and explanations, and through wiring by reconcile. It
names Git's ids and the journal's indices only, so it costs lookups in memory. What none of these tells (a check that begins to fail, bytes
that were damaged in the registry) is found because nothing rests longer than REST_S.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from setpoint.core import clock
from setpoint.core.reasons import Reason
from setpoint.promotion.config import AppConfig
from setpoint.promotion.pin import pin_path
from setpoint.promotion.repository import Delivery, DeliveryReader
from setpoint.source.ports import GitStore

REST_S: Final = 60.0
"""The longest time for which an unchanged place is not looked at."""
OUTSIDE_S: Final = 10.0
"""The same for a verdict that waits and asks what no input tells of: an HTTP check, or programs that check signatures a few at a time."""
RestsOn = tuple[object, ...]


class ChangeRecords(Protocol):
    """How far the journal has come, by what its entries are about (adapters.database.records)."""

    def changed(self, app: str, environment: str) -> object:
        """Return what differs after every entry about an application in an environment, or about all of that environment."""
        ...

    def repository_changed(self, repository: str) -> object:
        """Return what differs after every entry about what was pushed, run or built of a repository."""
        ...


class NothingKnown:
    """Stands in where nobody says how far the journal is: everything may have changed at any time."""

    def changed(self, _app: str, _environment: str) -> object:
        """Return what equals nothing else."""
        return object()

    def repository_changed(self, _repository: str) -> object:
        """Return what equals nothing else."""
        return object()


@dataclass(frozen=True, slots=True)
class Rest:
    """Until when a look need not be repeated."""

    on: RestsOn
    since: datetime
    until: datetime
    recheck_at: str = ""
    """When time alone may change what was found; empty: never."""

    def holds(self, now_on: RestsOn, now: datetime) -> bool:
        """Say whether looking again would find the same; a clock that was set back ends every rest."""
        return self.since <= now < self.until and self.on == now_on


def rest(on: RestsOn, now: datetime, reasons: Iterable[Reason] = (), at_most_s: float = REST_S) -> Rest:
    """Return how long what was found now may stand: until the next instant that a reason names, and never longer than at_most_s."""
    due = [at for reason in reasons if reason.recheck_at and (at := clock.from_text(reason.recheck_at)) > now]
    return Rest(on, now, min([now + timedelta(seconds=at_most_s), *due]), clock.to_text(min(due)) if due else "")


def at_most_s(delivery: Delivery, environment: str) -> float:
    """Return how long a verdict that waits in an environment may stand."""
    gates = delivery.environment(environment).gates
    signers = gates.approvals is not None and "commit-signer" in gates.approvals.excluded
    signed = gates.commits is not None or (signers and any(person.keys for person in delivery.directory.people))
    return OUTSIDE_S if gates.requests or signed else REST_S


class Inputs:
    """What looks at the places of one delivery repository rest on, as of one head; made anew for every pass and every question."""

    def __init__(self, delivery: Delivery, reader: DeliveryReader, git: GitStore, changes: ChangeRecords) -> None:
        self.delivery = delivery
        self._reader = reader
        self._git = git
        self._changes = changes
        self._heads: dict[str, Mapping[str, str]] = {}
        self._line = reader.lines.of(delivery.repository, delivery.head)

    def renewed(self) -> "Inputs":
        """Return the same as of now."""
        return Inputs(self._reader.load() or self.delivery, self._reader, self._git, self._changes)

    def of(self, app: str, environment: str) -> RestsOn:
        """Return what a look at an application in an environment rests on."""
        delivery, line = self.delivery, self._line
        config = delivery.environment(environment)
        found: list[object] = [delivery.accepted, line.id_at(delivery.head, f"apps/{app}")]
        for place in (environment, *config.after):
            path = pin_path(place, app)
            found += (line.id_at(delivery.head, path), line.changed_by(delivery.head, path), self._changes.changed(app, place))
        found.append(line.id_at(delivery.head, delivery.overlay(environment, app)))
        if environment in delivery.generated.like:
            found += [config.target, delivery.revision_in(app, environment) if delivery.runs(app, environment) else ""]
        source = delivery.app_in(app, environment) if delivery.runs(app, environment) else None
        if source is not None and source.includes:
            found += [self._reader.tree(delivery, path) for path in source.includes]
        found.append(self._source(source) if source is not None and source.source is not None else "")
        if config.gates.approvals is not None:  # who pushed the configuration may not approve it
            found.append(self._changes.repository_changed(delivery.repository))
        return tuple(found)

    def _source(self, app: AppConfig) -> object:
        name = app.source or ""
        if name not in self._heads:
            self._heads[name] = self._git.heads(name) if name in self._git.names() else {}
        return (self._heads[name].get(app.branch), self._changes.repository_changed(name))

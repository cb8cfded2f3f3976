"""Folds journal entries into the tables; the only writer of the database.

Called by `app.recorder` after every append and at start-up for what is missing; it never decides anything and never writes the journal.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Connection, Engine, MetaData, delete, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert_insert

from setpoint.adapters.database import tables as t
from setpoint.adapters.database.adoption_folds import ADOPTION_FOLDS
from setpoint.adapters.database.changes import note
from setpoint.adapters.database.generated_folds import GENERATOR_FOLDS
from setpoint.adapters.database.operator_folds import OPERATOR_FOLDS
from setpoint.adapters.database.upsert import patch_body, upsert, upsert_all
from setpoint.core import clock
from setpoint.ground.journal.model import Entry
from setpoint.pipeline.decide import cancelled_text
from setpoint.pipeline.model import RunState, TaskState

_BATCH: Final = 1000


class Projection:
    """Applies entries in order, each with the index of the entry it came from."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        with engine.begin() as connection:
            t.metadata.create_all(connection)
            if self._meta(connection, "schema") not in (None, str(t.SCHEMA)):
                _drop_everything(connection)
                t.metadata.create_all(connection)
            self._set_meta(connection, "schema", str(t.SCHEMA))
            self.folded = int(self._meta(connection, "applied") or "0")
            """How many entries are folded in, as this object knows: grows once their transaction is through."""

    def applied(self) -> int:
        """Return how many entries are folded in: the index of the next one."""
        with self._engine.connect() as connection:
            return int(self._meta(connection, "applied") or "0")

    def apply(self, entries: Iterable[Entry]) -> int:
        """Fold entries in, in transactions of a thousand; returns how many."""
        count = 0
        batch: list[Entry] = []
        for entry in entries:
            batch.append(entry)
            count += 1
            if len(batch) == _BATCH:
                self._apply_batch(batch)
                batch = []
        self._apply_batch(batch)
        return count

    def _apply_batch(self, batch: list[Entry]) -> None:
        if not batch:
            return
        with self._engine.begin() as connection:
            for kind, group in groupby(batch, key=lambda entry: entry.kind):
                if kind == "task.finished":
                    _tasks_finished(connection, list(group))
                elif (fold := _FOLDS.get(kind)) is not None:
                    for entry in group:
                        fold(connection, entry)
            note(connection, batch)
            self._set_meta(connection, "applied", str(batch[-1].index + 1))
        self.folded = batch[-1].index + 1

    @staticmethod
    def _meta(connection: Connection, name: str) -> str | None:
        return connection.execute(select(t.meta.c.value).where(t.meta.c.name == name)).scalar()

    @staticmethod
    def _set_meta(connection: Connection, name: str, value: str) -> None:
        upsert(connection, t.meta, {"name": name}, {"value": value})


def _drop_everything(connection: Connection) -> None:
    """Drop every table that the file has, also those that this release does not know any more; SQLite uses their room again."""
    there = MetaData()
    there.reflect(connection)
    there.drop_all(connection)


def _run_created(connection: Connection, entry: Entry) -> None:
    body = entry.body
    values = {"seq": entry.index, "repository": body["repository"], "revision": body["revision"], "state": body["state"], "body": body}
    upsert(connection, t.runs, {"run": entry.subject}, values)


def _run_finished(connection: Connection, entry: Entry) -> None:
    changes = {"state": entry.body["state"], "error": entry.body.get("error", ""), "finished_at": entry.at, "lost": []}
    patch_body(connection, t.runs, {"run": entry.subject}, changes, {"state": entry.body["state"]})


def _task_started(connection: Connection, entry: Entry) -> None:
    key = {"run": entry.subject, "task": entry.body["task"]}
    upsert(connection, t.tasks, key, {"seq": entry.index, "started_at": entry.at, "body": None})


def _tasks_finished(connection: Connection, entries: Sequence[Entry]) -> None:
    """Fold a wave of results at once: a run of a thousand cached tasks ends them all in one write."""
    rows = [
        {
            "run": entry.subject,
            "task": entry.body["task"],
            "seq": entry.index,
            "started_at": entry.body.get("started_at"),
            "body": entry.body,
        }
        for entry in entries
    ]
    upsert_all(connection, t.tasks, ("run", "task"), rows)


def _run_cancelling(connection: Connection, entry: Entry) -> None:
    text = cancelled_text(entry.actor, str(entry.body.get("why", ""))) if entry.actor != "setpoint" else str(entry.body.get("why", ""))
    patch_body(connection, t.runs, {"run": entry.subject}, {"cancelling": text}, {})


def _run_retried(connection: Connection, entry: Entry) -> None:
    """Open a run again: what is green stays, everything else begins as if it never had been begun."""
    changes: dict[str, Any] = {
        "state": RunState.RUNNING.value,
        "error": "",
        "finished_at": None,
        "lost": [],
        "cancelling": "",
        "retried_at": entry.at,
    }
    patch_body(connection, t.runs, {"run": entry.subject}, changes, {"state": RunState.RUNNING.value})
    rows = connection.execute(select(t.tasks.c.task, t.tasks.c.body).where(t.tasks.c.run == entry.subject)).all()
    again = [task for task, body in rows if body is None or not TaskState(body["state"]).green]
    connection.execute(delete(t.tasks).where(t.tasks.c.run == entry.subject, t.tasks.c.task.in_(again)))


def _task_lost(connection: Connection, entry: Entry) -> None:
    _tasks_finished(connection, [entry])
    _set_lost(connection, entry, lost=True)


def _task_resolved(connection: Connection, entry: Entry) -> None:
    """Take a task off the list of what waits for a person; one that is run again begins as if it never had been begun."""
    _set_lost(connection, entry, lost=False)
    if entry.body["outcome"] == "again":
        connection.execute(delete(t.tasks).where(t.tasks.c.run == entry.subject, t.tasks.c.task == entry.body["task"]))


def _set_lost(connection: Connection, entry: Entry, *, lost: bool) -> None:
    body = connection.execute(select(t.runs.c.body).where(t.runs.c.run == entry.subject)).scalar() or {}
    others = [task for task in body.get("lost", []) if task != entry.body["task"]]
    patch_body(connection, t.runs, {"run": entry.subject}, {"lost": [*others, *([entry.body["task"]] if lost else [])]}, {})


def _artifact_built(connection: Connection, entry: Entry) -> None:
    body = entry.body
    columns = {name: body[name] for name in ("repository", "name", "digest", "run", "revision")}
    connection.execute(insert(t.artifacts).values(seq=entry.index, body=body, **columns))


def _evidence_attached(connection: Connection, entry: Entry) -> None:
    body = entry.body  # its `at` is the statement's own: by it the evidence service knows what is attached already
    values = {"seq": entry.index, "subject": body["subject"], "run": body.get("run", ""), "promotion": body.get("promotion", "")}
    connection.execute(insert(t.evidence).values(body=body, **values))
    if body["predicate_type"].startswith("https://slsa.dev/verification_summary/"):
        patch_body(connection, t.promotions, {"promotion": values["promotion"]}, {"gate_bundle": body["bundle"]}, {"changed": entry.index})


def _promotion_created(connection: Connection, entry: Entry) -> None:
    body = entry.body
    values = {"app": body["candidate"]["app"], "environment": body["candidate"]["environment"], "state": body["state"], "body": body}
    upsert(connection, t.promotions, {"promotion": entry.subject}, {"seq": entry.index, "changed": entry.index, **values})


def _promotion_decided(connection: Connection, entry: Entry) -> None:
    state = entry.body["state"]
    changes = {"state": state, "verdict": entry.body["verdict"], "decided_at": entry.at}
    patch_body(connection, t.promotions, {"promotion": entry.subject}, changes, {"state": state, "changed": entry.index})


def _promotion_superseded(connection: Connection, entry: Entry) -> None:
    changes = {"state": "superseded", "superseded_by": entry.body["superseded_by"]}
    patch_body(connection, t.promotions, {"promotion": entry.subject}, changes, {"state": "superseded", "changed": entry.index})


def _promotion_requested(connection: Connection, entry: Entry) -> None:
    patch_body(
        connection,
        t.promotions,
        {"promotion": entry.subject},
        {"requested_by": entry.actor, "note": entry.body.get("note", "")},
        {"changed": entry.index},
    )


def _promotion_pinned(connection: Connection, entry: Entry) -> None:
    changes = {"state": "pinned", "pin_commit": entry.body["commit"], "pinned_at": entry.at}
    patch_body(connection, t.promotions, {"promotion": entry.subject}, changes, {"state": "pinned", "changed": entry.index})


def _approval_given(connection: Connection, entry: Entry) -> None:
    connection.execute(insert(t.approvals).values(seq=entry.index, promotion=entry.subject, body={**entry.body, "at": entry.at}))


def _quarantine_set(connection: Connection, entry: Entry) -> None:
    body = entry.body
    values = {"app": body["app"], "environment": body["environment"], "candidate": entry.subject, "open": True, "body": body}
    connection.execute(insert(t.quarantines).values(seq=entry.index, changed=entry.index, **values))


def _quarantine_lifted(connection: Connection, entry: Entry) -> None:
    table = t.quarantines
    where = [table.c.candidate == entry.subject, table.c.app == entry.body["app"], table.c.environment == entry.body["environment"]]
    connection.execute(update(table).where(*where).values(open=False, changed=entry.index))


def _hold_opened(connection: Connection, entry: Entry) -> None:
    body = entry.body
    place = {"app": body["app"], "environment": body["environment"]}
    values = {"seq": entry.index, "changed": entry.index, **place, "open": True, "body": body}
    upsert(connection, t.holds, {"hold": entry.subject}, values)


def _hold_closed(connection: Connection, entry: Entry) -> None:
    changes = {"ended_at": entry.at, "ended_by": entry.actor, "ended_why": entry.body["why"]}
    changes |= {"then": entry.body["then"]} if "then" in entry.body else {}
    patch_body(connection, t.holds, {"hold": entry.subject}, changes, {"open": False, "changed": entry.index})


def _hold_extended(connection: Connection, entry: Entry) -> None:
    changes = {name: entry.body[name] for name in ("until", "then")}
    patch_body(connection, t.holds, {"hold": entry.subject}, changes, {"changed": entry.index})


def _repository_created(connection: Connection, entry: Entry) -> None:
    statement = upsert_insert(t.repositories).values(repository=entry.subject)
    connection.execute(statement.on_conflict_do_nothing())


def _delivery_registered(connection: Connection, entry: Entry) -> None:
    upsert(connection, t.repositories, {"repository": entry.subject}, {"delivery_branch": entry.body["branch"]})


def _baseline_accepted(connection: Connection, entry: Entry) -> None:
    upsert(connection, t.repositories, {"repository": entry.subject}, {"accepted": entry.body["commit"]})
    first = t.repositories.c.first_accepted
    chosen = (t.repositories.c.repository == entry.subject) & first.is_(None)
    connection.execute(t.repositories.update().where(chosen).values(first_accepted=entry.body["commit"]))


def _command_run(connection: Connection, entry: Entry) -> None:
    body = entry.body
    values = {"promotion": body["promotion"], "state": body["state"], "seq": entry.index, "body": body}
    upsert(connection, t.command_runs, {"check": entry.subject}, values)


def _command_requested(connection: Connection, entry: Entry) -> None:
    patch_body(connection, t.command_runs, {"check": entry.subject}, {"asked_at": entry.at, "asked_by": entry.actor}, {})


def _deployment_observed(connection: Connection, entry: Entry) -> None:
    key = {"app": entry.body["app"], "environment": entry.body["environment"]}
    if entry.body.get("gone"):
        upsert(connection, t.deployments, key, {"seq": entry.index, "changed": entry.index, "body": None})
        return
    upsert(connection, t.deployments, key, {"seq": entry.index, "changed": entry.index, "body": entry.body})
    if entry.body["health"] == "healthy":
        _served(connection, entry)


def _served(connection: Connection, entry: Entry) -> None:
    """Note when a promotion was healthy for the first time."""
    promotion = entry.body["promotion"]
    body = connection.execute(select(t.promotions.c.body).where(t.promotions.c.promotion == promotion)).scalar()
    if body is not None and body.get("served_at") is None:
        patch_body(connection, t.promotions, {"promotion": promotion}, {"served_at": entry.at}, {"changed": entry.index})


def _replica_exited(connection: Connection, entry: Entry) -> None:
    upsert(connection, t.exits, {"replica": entry.subject}, {"restarts": entry.body["restarts"]})


def _drift_told(connection: Connection, entry: Entry) -> None:
    body = entry.body
    ended = entry.kind == "drift.ended"
    values = {name: body[name] for name in ("app", "environment", "kind", "state", "field", "writer")}
    values |= {"open": not ended, "seconds": clock.seconds_between(body["since"], body["ended_at"]) if ended else 0.0, "body": body}
    statement = upsert_insert(t.drifts).values(drift=entry.subject, seq=entry.index, **values)
    again = {name: value for name, value in values.items() if name != "writer"}  # its place in the list stays, and so does who began it
    connection.execute(statement.on_conflict_do_update(index_elements=["drift"], set_=again))


def _inventory_told(connection: Connection, entry: Entry) -> None:
    body = entry.body["inventory"]
    key = {"app": body["app"], "environment": body["environment"]}
    if body["objects"] or body["confirmed"]:
        upsert(connection, t.inventories, key, {"body": body})
    else:
        connection.execute(delete(t.inventories).where(*(t.inventories.c[name] == value for name, value in key.items())))


def _hook_set(connection: Connection, entry: Entry) -> None:
    key = {"app": entry.body["app"], "environment": entry.body["environment"]}
    upsert(connection, t.hook_sets, key, {"body": entry.body})


def _job_run(connection: Connection, entry: Entry) -> None:
    values = {"app": entry.body["app"], "environment": entry.body["environment"], "seq": entry.index, "body": entry.body}
    upsert(connection, t.job_runs, {"run": entry.subject}, values)


def _rollout(connection: Connection, entry: Entry) -> None:
    key = {"app": entry.body["app"], "environment": entry.body["environment"]}
    upsert(connection, t.rollouts, key, {"seq": entry.index, "changed": entry.index, "body": entry.body})


def _push_received(connection: Connection, entry: Entry) -> None:
    common = {"at": entry.at, "repository": entry.subject, "pusher": entry.body["pusher"]}
    for number, change in enumerate(entry.body["updates"]):
        connection.execute(insert(t.pushes).values(seq=entry.index * 1000 + number, **common, **change))


def _collection(connection: Connection, entry: Entry) -> None:
    upsert(connection, t.collections, {"gc": entry.subject}, {"seq": entry.index, "body": entry.body})


_FOLDS: Final[dict[str, Callable[[Connection, Entry], None]]] = {
    "run.created": _run_created,
    "run.finished": _run_finished,
    "run.cancelling": _run_cancelling,
    "run.retried": _run_retried,
    "task.started": _task_started,
    "task.lost": _task_lost,
    "task.resolved": _task_resolved,
    "artifact.built": _artifact_built,
    "evidence.attached": _evidence_attached,
    "promotion.created": _promotion_created,
    "promotion.requested": _promotion_requested,
    "promotion.decided": _promotion_decided,
    "promotion.superseded": _promotion_superseded,
    "promotion.pinned": _promotion_pinned,
    "approval.given": _approval_given,
    "quarantine.set": _quarantine_set,
    "quarantine.lifted": _quarantine_lifted,
    "hold.opened": _hold_opened,
    "hold.closed": _hold_closed,
    "hold.extended": _hold_extended,
    "repository.created": _repository_created,
    "delivery.registered": _delivery_registered,
    "baseline.accepted": _baseline_accepted,
    "deployment.observed": _deployment_observed,
    "inventory.written": _inventory_told,
    "prune.held": _inventory_told,
    "prune.confirmed": _inventory_told,
    "prune.done": _inventory_told,
    "hooks.begun": _hook_set,
    "hook.started": _hook_set,
    "hook.finished": _hook_set,
    "gc.started": _collection,
    "gc.done": _collection,
    "drift.found": _drift_told,
    "drift.ended": _drift_told,
    "push.received": _push_received,
    "check.started": _command_run,
    "check.finished": _command_run,
    "check.requested": _command_requested,
    "replica.exited": _replica_exited,
    "job.started": _job_run,
    "job.finished": _job_run,
    "rollout.begun": _rollout,
    "rollout.stepped": _rollout,
    "rollout.judged": _rollout,
    "rollout.held": _rollout,
    "rollout.resumed": _rollout,
    "rollout.returned": _rollout,
    "rollout.finished": _rollout,
    **ADOPTION_FOLDS,
    **GENERATOR_FOLDS,
    **OPERATOR_FOLDS,
}

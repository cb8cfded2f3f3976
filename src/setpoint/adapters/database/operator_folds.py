"""Folds of what the operator keeps in the home: versions of secrets, logins to registries, clusters; never a value of any. And of where
clusters refuse images by themselves.

Used by the projection only.
"""

from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection, delete, update

from setpoint.adapters.database import tables as t
from setpoint.adapters.database.upsert import upsert
from setpoint.ground.journal.model import Entry


def _secret_set(connection: Connection, entry: Entry) -> None:
    key = {"repository": entry.body["repository"], "name": entry.body["name"]}
    values = {"version": entry.body["version"], "set_at": entry.at, "set_by": entry.actor, "removed": False}
    upsert(connection, t.secrets, key, values)


def _secret_removed(connection: Connection, entry: Entry) -> None:
    where = [t.secrets.c.repository == entry.body["repository"], t.secrets.c.name == entry.body["name"]]
    connection.execute(update(t.secrets).where(*where).values(removed=True))


def _registry_login(connection: Connection, entry: Entry) -> None:
    body = {name: entry.body[name] for name in ("user", "plain_http", "own_authorities", "version")}
    values = {**body, "set_at": entry.at, "set_by": entry.actor, "removed": False}
    upsert(connection, t.registry_logins, {"host": entry.subject}, values)


def _registry_logout(connection: Connection, entry: Entry) -> None:
    connection.execute(update(t.registry_logins).where(t.registry_logins.c.host == entry.subject).values(removed=True))


def _cluster_added(connection: Connection, entry: Entry) -> None:
    body = {name: entry.body[name] for name in ("server", "context", "runs", "version")}
    body["labels"] = entry.body.get("labels", {})  # entries of earlier releases have none
    upsert(connection, t.clusters, {"name": entry.subject}, {**body, "set_at": entry.at, "set_by": entry.actor, "removed": False})


def _cluster_labelled(connection: Connection, entry: Entry) -> None:
    connection.execute(update(t.clusters).where(t.clusters.c.name == entry.subject).values(labels=entry.body["labels"]))


def _cluster_removed(connection: Connection, entry: Entry) -> None:
    connection.execute(update(t.clusters).where(t.clusters.c.name == entry.subject).values(removed=True))


def _admission_enforced(connection: Connection, entry: Entry) -> None:
    upsert(connection, t.enforcements, {name: entry.body[name] for name in ("cluster", "namespace")}, {"since": entry.at})


def _admission_released(connection: Connection, entry: Entry) -> None:
    columns = t.enforcements.c
    connection.execute(delete(t.enforcements).where(columns.cluster == entry.body["cluster"], columns.namespace == entry.body["namespace"]))


OPERATOR_FOLDS: Final[dict[str, Callable[[Connection, Entry], None]]] = {
    "secret.set": _secret_set,
    "secret.removed": _secret_removed,
    "cluster.added": _cluster_added,
    "cluster.labelled": _cluster_labelled,
    "cluster.removed": _cluster_removed,
    "admission.enforced": _admission_enforced,
    "admission.released": _admission_released,
    "registry.login": _registry_login,
    "registry.logout": _registry_logout,
}

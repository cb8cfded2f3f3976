"""Tables of the projection, one a noun: the columns that are searched by, and the whole record as JSON.

Used by the projection (writes) and by the records (reads); a change of any table raises SCHEMA, and the next start folds the journal anew,
so there are no migrations (docs/decisions/0003-projection.md).
"""

from typing import Final

from sqlalchemy import JSON, Boolean, Column, Float, Integer, MetaData, String, Table

SCHEMA: Final = 18

metadata = MetaData()

meta = Table("meta", metadata, Column("name", String, primary_key=True), Column("value", String, nullable=False))

changes = Table(
    "changes",
    metadata,
    Column("scope", String, primary_key=True),
    Column("changed", Integer, nullable=False, index=True),
)

runs = Table(
    "runs",
    metadata,
    Column("run", String, primary_key=True),
    Column("seq", Integer, nullable=False, index=True),
    Column("repository", String, nullable=False, index=True),
    Column("revision", String, nullable=False, index=True),
    Column("state", String, nullable=False, index=True),
    Column("body", JSON, nullable=False),
)

tasks = Table(
    "tasks",
    metadata,
    Column("run", String, primary_key=True),
    Column("task", String, primary_key=True),
    Column("seq", Integer, nullable=False),
    Column("started_at", String),
    Column("body", JSON),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("repository", String, nullable=False, index=True),
    Column("name", String, nullable=False),
    Column("digest", String, nullable=False, index=True),
    Column("run", String, nullable=False, index=True),
    Column("revision", String, nullable=False, index=True),
    Column("body", JSON, nullable=False),
)

evidence = Table(
    "evidence",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("subject", String, nullable=False, index=True),
    Column("run", String, nullable=False, index=True),
    Column("promotion", String, nullable=False, index=True),
    Column("body", JSON, nullable=False),
)

promotions = Table(
    "promotions",
    metadata,
    Column("promotion", String, primary_key=True),
    Column("seq", Integer, nullable=False, index=True),
    Column("app", String, nullable=False, index=True),
    Column("environment", String, nullable=False),
    Column("state", String, nullable=False, index=True),
    Column("changed", Integer, nullable=False),
    Column("body", JSON, nullable=False),
)

approvals = Table(
    "approvals",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("promotion", String, nullable=False, index=True),
    Column("body", JSON, nullable=False),
)

quarantines = Table(
    "quarantines",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("app", String, nullable=False, index=True),
    Column("environment", String, nullable=False),
    Column("candidate", String, nullable=False),
    Column("open", Boolean, nullable=False),
    Column("changed", Integer, nullable=False),
    Column("body", JSON, nullable=False),
)

holds = Table(
    "holds",
    metadata,
    Column("hold", String, primary_key=True),
    Column("seq", Integer, nullable=False, index=True),
    Column("app", String, nullable=False),
    Column("environment", String, nullable=False, index=True),
    Column("open", Boolean, nullable=False, index=True),
    Column("changed", Integer, nullable=False),
    Column("body", JSON, nullable=False),
)

generators = Table(
    "generators",
    metadata,
    Column("name", String, primary_key=True),
    Column("body", JSON, nullable=False),
)

repositories = Table(
    "repositories",
    metadata,
    Column("repository", String, primary_key=True),
    Column("delivery_branch", String),
    Column("accepted", String),
    Column("first_accepted", String),
)

exits = Table(
    "exits",
    metadata,
    Column("replica", String, primary_key=True),
    Column("restarts", Integer, nullable=False),
)

job_runs = Table(
    "job_runs",
    metadata,
    Column("run", String, primary_key=True),
    Column("app", String, nullable=False, index=True),
    Column("environment", String, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("body", JSON, nullable=False),
)

command_runs = Table(
    "command_runs",
    metadata,
    Column("check", String, primary_key=True),
    Column("promotion", String, nullable=False, index=True),
    Column("state", String, nullable=False, index=True),
    Column("seq", Integer, nullable=False),
    Column("body", JSON, nullable=False),
)

deployments = Table(
    "deployments",
    metadata,
    Column("app", String, primary_key=True),
    Column("environment", String, primary_key=True),
    Column("seq", Integer, nullable=False),
    Column("changed", Integer, nullable=False),
    Column("body", JSON, nullable=False),
)

inventories = Table(
    "inventories",
    metadata,
    Column("app", String, primary_key=True),
    Column("environment", String, primary_key=True),
    Column("body", JSON, nullable=False),
)

hook_sets = Table(
    "hook_sets",
    metadata,
    Column("app", String, primary_key=True),
    Column("environment", String, primary_key=True),
    Column("body", JSON, nullable=False),
)

drifts = Table(
    "drifts",
    metadata,
    Column("drift", String, primary_key=True),
    Column("seq", Integer, nullable=False, index=True),
    Column("app", String, nullable=False),
    Column("environment", String, nullable=False, index=True),
    Column("kind", String, nullable=False),
    Column("state", String, nullable=False),
    Column("open", Boolean, nullable=False, index=True),
    Column("seconds", Float, nullable=False),
    Column("field", String, nullable=False),
    Column("writer", String, nullable=False),
    Column("body", JSON, nullable=False),
)

adoptions = Table(
    "adoptions",
    metadata,
    Column("adoption", String, primary_key=True),
    Column("seq", Integer, nullable=False, index=True),
    Column("app", String, nullable=False),
    Column("environment", String, nullable=False, index=True),
    Column("open", Boolean, nullable=False, index=True),
    Column("changed", Integer, nullable=False),
    Column("body", JSON, nullable=False),
)

rollouts = Table(
    "rollouts",
    metadata,
    Column("app", String, primary_key=True),
    Column("environment", String, primary_key=True),
    Column("seq", Integer, nullable=False),
    Column("changed", Integer, nullable=False),
    Column("body", JSON, nullable=False),
)

pushes = Table(
    "pushes",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("at", String, nullable=False),
    Column("repository", String, nullable=False, index=True),
    Column("ref", String, nullable=False),
    Column("old", String, nullable=False),
    Column("new", String, nullable=False, index=True),
    Column("pusher", String, nullable=False),
)

secrets = Table(
    "secrets",
    metadata,
    Column("repository", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("set_at", String, nullable=False),
    Column("set_by", String, nullable=False),
    Column("removed", Boolean, nullable=False),
)

registry_logins = Table(
    "registry_logins",
    metadata,
    Column("host", String, primary_key=True),
    Column("user", String, nullable=False),
    Column("plain_http", Boolean, nullable=False),
    Column("own_authorities", Boolean, nullable=False),
    Column("version", Integer, nullable=False),
    Column("set_at", String, nullable=False),
    Column("set_by", String, nullable=False),
    Column("removed", Boolean, nullable=False),
)

collections = Table(
    "collections",
    metadata,
    Column("gc", String, primary_key=True),
    Column("seq", Integer, nullable=False, index=True),
    Column("body", JSON, nullable=False),
)

clusters = Table(
    "clusters",
    metadata,
    Column("name", String, primary_key=True),
    Column("server", String, nullable=False),
    Column("context", String, nullable=False),
    Column("runs", String, nullable=False),
    Column("version", Integer, nullable=False),
    Column("set_at", String, nullable=False),
    Column("set_by", String, nullable=False),
    Column("labels", JSON, nullable=False),
    Column("removed", Boolean, nullable=False),
)

enforcements = Table(
    "enforcements",
    metadata,
    Column("cluster", String, primary_key=True),
    Column("namespace", String, primary_key=True),
    Column("since", String, nullable=False),
)
"""Where clusters refuse images by themselves."""

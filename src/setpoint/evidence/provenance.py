"""SLSA provenance v1 of one artifact from journalled facts, and reading it back; pure, called by the signer and the verifier.

Source: slsa.dev/provenance/v1. A networked task is marked, for its output is not a function of what is listed here.
"""

from dataclasses import dataclass
from typing import Any, Final

from setpoint import __version__
from setpoint.artifact.model import ArtifactRecord
from setpoint.evidence.candidate import sha256_set
from setpoint.evidence.model import BUILD_TYPE, PROVENANCE, Statement, Subject
from setpoint.pipeline.model import Run, TaskResult

PIPELINE_PATH: Final = ".setpoint/pipeline.yaml"


@dataclass(frozen=True, slots=True)
class BuildFacts:
    """Everything an artifact was made of."""

    run: Run
    record: ArtifactRecord
    tasks: tuple[TaskResult, ...]
    """The tasks whose outputs are in it, and those that these needed."""
    toolchain: str
    """Fingerprint of the host toolchain in the image or under its tasks; empty when neither was used."""
    pipeline: str
    """Blob id of the pipeline file."""
    builder: str
    at: str
    """When the artifact was journalled."""


def provenance(facts: BuildFacts) -> Statement:
    """Return the provenance statement of facts.record."""
    run, record = facts.run, facts.record
    predicate = {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "repository": run.repository,
                "ref": run.ref,
                "pipeline": {"path": PIPELINE_PATH, "digest": {"gitBlob": facts.pipeline}},
                "artifact": record.name,
            },
            "internalParameters": {"trust": run.trust, "version": record.version},
            "resolvedDependencies": _dependencies(facts),
        },
        "runDetails": {
            "builder": {"id": facts.builder, "version": {"setpoint": __version__}},
            "metadata": {"invocationId": run.run, "startedOn": run.created_at, "finishedOn": facts.at},
            "byproducts": _byproducts(facts),
        },
    }
    return Statement((Subject(record.oci_repository, sha256_set(record.digest)),), PROVENANCE, predicate)


def _dependencies(facts: BuildFacts) -> list[dict[str, Any]]:
    run, record = facts.run, facts.record
    found: list[dict[str, Any]] = [
        {"name": "source", "uri": f"git+setpoint:{run.repository}@{run.ref}", "digest": {"gitCommit": record.revision}},
        {"name": "source-files", "digest": sha256_set(record.inputs)},
    ]
    if record.base not in ("", "host"):
        found.append({"name": "base", "digest": sha256_set(record.base.rpartition("@")[2])})
    if facts.toolchain:
        found.append({"name": "host-toolchain", "digest": sha256_set(facts.toolchain)})
    for task in facts.tasks:
        notes: dict[str, Any] = {"key": task.key, "state": str(task.state)}
        if task.networked:
            notes["networked"] = True
        if task.manifest.sandbox in ("none", "kubernetes"):
            notes["sandbox"] = task.manifest.sandbox
        if task.manifest.sandbox == "kubernetes":
            found.append({"name": f"task-image/{task.task}", "digest": sha256_set(task.manifest.toolchain)})
        if task.manifest.secrets:
            notes["secrets"] = list(task.manifest.secrets)
        entry: dict[str, Any] = {"name": f"task/{task.task}", "digest": sha256_set(task.key), "annotations": notes}
        if task.outputs is not None:
            entry["digest"] = sha256_set(task.outputs.digest)
            notes["outputs"] = task.outputs.digest
        found.append(entry)
    return found


def _byproducts(facts: BuildFacts) -> list[dict[str, Any]]:
    return [
        {"name": f"origin-run/{task.task}", "annotations": {"run": task.origin_run}, "digest": sha256_set(task.key)}
        for task in facts.tasks
        if task.origin_run
    ]


@dataclass(frozen=True, slots=True)
class BuildClaims:
    """What a provenance statement says; empty fields when it does not."""

    repository: str
    revision: str
    builder: str
    networked: tuple[str, ...]
    """Tasks that had the network."""


def claims(statement: Statement) -> BuildClaims:
    """Return what a provenance statement claims, tolerating anything that is missing (the verifier judges)."""
    definition = _mapping(statement.predicate.get("buildDefinition"))
    parameters = _mapping(definition.get("externalParameters"))
    builder = _mapping(_mapping(statement.predicate.get("runDetails")).get("builder"))
    listed = definition.get("resolvedDependencies")
    dependencies = [_mapping(item) for item in listed] if isinstance(listed, list) else []
    sources = [_mapping(item.get("digest")).get("gitCommit") for item in dependencies if item.get("name") == "source"]
    networked = [str(item.get("name")) for item in dependencies if _mapping(item.get("annotations")).get("networked") is True]
    return BuildClaims(
        repository=str(parameters.get("repository", "")),
        revision=str(sources[0]) if len(sources) == 1 else "",
        builder=str(builder.get("id", "")),
        networked=tuple(name.removeprefix("task/") for name in networked),
    )


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

"""Loads what a run did and drafts its statements: test results and provenance; called by the signer process.

It reads journal, Git, reports and images itself and refuses a run that the journal does not hold or that Git contradicts.
"""

import json
from dataclasses import dataclass, replace
from typing import Any

from setpoint.adapters.output_index import OutputIndex
from setpoint.adapters.signer import compose
from setpoint.adapters.signer.compose import Draft
from setpoint.adapters.signer.inputs import RunInputs
from setpoint.adapters.signer.ledger import Ledger, RunFacts
from setpoint.adapters.signer.reports import ReportReader
from setpoint.artifact.model import FILES, LABEL_TOOLCHAIN, ArtifactRecord
from setpoint.artifact.ports import OciStore
from setpoint.core import digest
from setpoint.core.errors import UserError
from setpoint.evidence.model import KUBERNETES_BUILDER, SANDBOXED_BUILDER, UNSANDBOXED_BUILDER
from setpoint.evidence.provenance import PIPELINE_PATH, BuildFacts
from setpoint.pipeline.model import Run, TaskResult
from setpoint.pipeline.ports import ContentStore, ReportCheck, ScanReader
from setpoint.source.ports import GitStore


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything the signer reads."""

    ledger: Ledger
    git: GitStore
    store: OciStore
    content: ContentStore
    reports: ReportCheck
    scans: ScanReader


class RunDrafts:
    """Drafts for runs."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._index = OutputIndex(sources.content)

    def drafts(self, run_id: str) -> list[Draft]:
        """Return every statement of a run: provenance per artifact, and one per (report of a task, artifact).

        Raises:
            UserError: the journal holds no such run or one of its tasks has not ended, or Git says otherwise (SP404).
        """
        facts = self._sources.ledger.runs.get(run_id)
        if facts is None:
            raise UserError("SP404", "the journal holds no such run", where=run_id, fix="setpoint runs")
        if facts.open:
            raise UserError("SP404", f"task {min(facts.open)} has not ended", where=run_id, fix="wait for the run, or cancel it")
        if not facts.results and not facts.artifacts:
            return []
        pipeline = self._pipeline(facts.run)
        inputs = RunInputs(self._sources.git, facts.run, self._index)
        checks = (self._sources.reports, self._sources.scans)
        reader = ReportReader(self._sources.git, self._sources.content, checks, facts.run, inputs)
        reported = [report for ended in facts.results.values() for report in reader.of(ended)]
        found = [compose.provenance(self._build(facts, record, at, pipeline)) for record, at in facts.artifacts.values()]
        results = {task: ended.result for task, ended in facts.results.items()}
        for report in reported:
            if not facts.artifacts:
                found.append(compose.report_of_revision(report, facts.run))
            for record, _ in facts.artifacts.values():
                coverage = inputs.coverage(record, report.result, results)
                found.append(compose.report_of_artifact(replace(report, artifact=record.name, coverage=coverage), record))
        return found

    def _pipeline(self, run: Run) -> str:
        """Return the blob id of the run's pipeline file, after comparing the run with Git."""
        git = self._sources.git
        revision = git.revision(run.repository, run.revision)
        blob = git.tree_id(run.repository, run.revision, PIPELINE_PATH)
        if revision.tree != run.tree or (run.trust == "trusted" and run.pipeline not in ("", blob)):
            what = "the journalled run has another tree or pipeline file than its revision in Git"
            raise UserError("SP404", what, where=run.run, fix="push the revision again")
        return run.pipeline or blob or ""

    def _build(self, facts: RunFacts, record: ArtifactRecord, at: str, pipeline: str) -> BuildFacts:
        if record.revision != facts.run.revision or record.repository != facts.run.repository:
            raise UserError("SP404", f"artifact {record.name} names another revision than its run", where=facts.run.run)
        tasks = _needed(facts, record)
        toolchain = self._labels(record).get(LABEL_TOOLCHAIN) or next(
            (task.manifest.toolchain for task in tasks if task.manifest.sandbox != "kubernetes"), ""
        )
        # Any task of the run: without a sandbox it could have reached what the others made, whether its outputs are in the artifact or not.
        held = {ended.result.manifest.sandbox for ended in facts.results.values()}
        builder = UNSANDBOXED_BUILDER if "none" in held else KUBERNETES_BUILDER if "kubernetes" in held else SANDBOXED_BUILDER
        return BuildFacts(facts.run, record, tasks, toolchain, pipeline, builder, at)

    def _labels(self, record: ArtifactRecord) -> dict[str, str]:
        """Return an image's labels, read from the very bytes that the digest names; none for what is no image."""
        store = self._sources.store
        manifest = store.manifest(record.oci_repository, record.digest)
        if manifest is None or digest.sha256(manifest.data) != record.digest:
            where = f"{record.oci_repository}@{record.digest}"
            raise UserError("SP404", "the artifact is not in the registry", where=where, fix="run its pipeline again")
        try:
            value = json.loads(manifest.data)
            if value.get("artifactType") == FILES:
                return {}
            wanted = value["config"]["digest"]
            config: dict[str, Any] = json.loads(store.read_blob(record.oci_repository, wanted))
            labels = (config.get("config") or {}).get("Labels") or {}
            return {str(name): str(value) for name, value in labels.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError("SP404", "the artifact is no image", where=record.digest) from error


def _needed(facts: RunFacts, record: ArtifactRecord) -> tuple[TaskResult, ...]:
    """Return the tasks whose outputs are in an artifact and those that these needed, sorted by name."""
    found: dict[str, TaskResult] = {}
    todo = list(record.needs)
    while todo:
        name = todo.pop()
        if name not in found and name in facts.results:
            found[name] = facts.results[name].result
            todo.extend(found[name].manifest.upstream)
    return tuple(found[name] for name in sorted(found))

"""What a run leaves: artifacts assembled from its outputs, and signed evidence; fills the pipeline's `RunProducts`.

Called by the pipeline service when a run's tasks have ended; here artifact and evidence meet the pipeline, and nothing is decided.
"""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from setpoint.adapters.database.records import Records
from setpoint.artifact.model import ArtifactRecord
from setpoint.artifact.recipe import Recipe, recipe_of
from setpoint.artifact.service import ArtifactService, AssembleRequest
from setpoint.artifact.version import version_of
from setpoint.core import clock, records
from setpoint.core.errors import SetpointError
from setpoint.evidence.service import EvidenceService
from setpoint.ground.journal.ports import Recorder
from setpoint.pipeline.config import PipelineDocument
from setpoint.pipeline.decide import input_root
from setpoint.pipeline.model import Run, TaskResult
from setpoint.pipeline.ports import ContentStore, Toolchain
from setpoint.pipeline.prepared import stored_outputs
from setpoint.source.ports import GitStore


@dataclass(frozen=True, slots=True)
class ProductParts:
    """What making products works with."""

    git: GitStore
    content: ContentStore
    toolchain: Toolchain
    artifacts: ArtifactService
    evidence: EvidenceService
    records: Records
    recorder: Recorder
    clock: clock.Clock
    scratch: Path


class Products:
    """Makes a run's artifacts and attaches its evidence."""

    def __init__(self, parts: ProductParts) -> None:
        self._parts = parts

    async def produce(self, run: Run, document: PipelineDocument, results: Mapping[str, TaskResult]) -> list[str]:
        """Assemble what is green, attach all evidence, and return a sentence for each failure."""
        return await asyncio.to_thread(self._produce, run, document, results)

    def _produce(self, run: Run, document: PipelineDocument, results: Mapping[str, TaskResult]) -> list[str]:
        faults: list[str] = []
        present = {artifact.name for artifact in self._parts.records.artifacts(run=run.run)}
        for name, config in document.artifacts.items():
            needed = document.closure(config.needs)
            if name in present or not all(task in results and results[task].state.green for task in needed):
                continue
            try:
                self._assemble(run, document, name, results)
            except SetpointError as error:
                faults.append(f"artifact {name}: {error.render()}")
        if any(result.reports for result in results.values()) or self._parts.records.artifacts(run=run.run):
            self._parts.evidence.attach_run(run.run)
        return faults

    def _assemble(self, run: Run, document: PipelineDocument, name: str, results: Mapping[str, TaskResult]) -> None:
        parts = self._parts
        recipe = recipe_of(document, name)
        outputs = {task: stored_outputs(parts.content, results[task]) for task in recipe.tasks if results[task].outputs is not None}
        version = self.version(run)
        oci_repository = f"{run.repository}/{name}"
        source = self._source(run, recipe)
        request = AssembleRequest(oci_repository, recipe, source, outputs, parts.toolchain.facts(), parts.scratch, tag=version)
        made = parts.artifacts.assemble(request)
        inside = [file for file in parts.git.files(run.repository, run.tree) if file.path in set(made.source_paths)]
        record = ArtifactRecord(
            repository=run.repository,
            name=name,
            oci_repository=oci_repository,
            digest=made.descriptor.digest,
            size_bytes=sum(layer.size_bytes for layer in made.layers),
            run=run.run,
            revision=run.revision,
            version=version,
            built_at=clock.to_text(parts.clock.now()),
            needs=made.tasks,
            inputs=input_root(inside),
            base=made.base,
        )
        parts.recorder.record("artifact.built", record.digest, "setpoint", records.encode(record))

    def _source(self, run: Run, recipe: Recipe) -> Iterator[tuple[str, int, bytes]]:
        for file in self._parts.git.files(run.repository, run.tree):
            if recipe.wants_source(file.path):
                yield file.path, file.mode, self._parts.git.blob(run.repository, file.blob)

    def version(self, run: Run) -> str:
        """Return what people call this build."""
        git = self._parts.git
        commits = len(git.first_parents(run.repository, run.revision, limit=1_000_000))
        return version_of(git.tags(run.repository, run.revision), commits, run.revision)

"""What a task was given and what an artifact is made of, computed again from Git: the facts that coverage is judged by.

Called by the signer when it composes test results; it reads trees and the pipeline file of the run's own revision, nothing else.
"""

from collections.abc import Iterable, Mapping

from setpoint.artifact.model import ArtifactRecord
from setpoint.artifact.recipe import Recipe, recipe_of
from setpoint.core.errors import SetpointError
from setpoint.evidence.coverage import Coverage, Made, judge
from setpoint.evidence.provenance import PIPELINE_PATH
from setpoint.pipeline import placing
from setpoint.pipeline.config import PipelineDocument, parse_lock, parse_pipeline, select_inputs
from setpoint.pipeline.decide import input_root
from setpoint.pipeline.model import Run, TaskResult
from setpoint.pipeline.ports import OutputIndex
from setpoint.pipeline.tasks import Task
from setpoint.source.model import TreeFile
from setpoint.source.ports import GitStore

_LOCK_PATH = ".setpoint/lock.yaml"
_UNKNOWN = Coverage(("the task's inputs",), 1)


class RunInputs:
    """The files of one run's revision, seen through its pipeline file; both are read once."""

    def __init__(self, git: GitStore, run: Run, index: OutputIndex) -> None:
        self._index = index
        lock = git.read(run.repository, run.revision, _LOCK_PATH)
        data = git.read(run.repository, run.revision, PIPELINE_PATH) or b""
        self._document: PipelineDocument = parse_pipeline(data, PIPELINE_PATH, parse_lock(lock, _LOCK_PATH) if lock is not None else {})
        self._files = git.files(run.repository, run.tree)

    def coverage(self, record: ArtifactRecord, result: TaskResult, results: Mapping[str, TaskResult]) -> Coverage:
        """Return whether a task's result counts for an artifact of the same run; results are all of the run's, by task."""
        config = self._document.tasks.get(result.task)
        if config is None or record.name not in self._document.artifacts:
            return _UNKNOWN
        recipe = recipe_of(self._document, record.name)
        inside = [file for file in self._files if recipe.wants_source(file.path)]
        try:
            seen = select_inputs(config.reads, self._files)
        except SetpointError:
            return _UNKNOWN
        if input_root(seen) != result.manifest.inputs or input_root(inside) != record.inputs:
            # What is journalled was made from other files than this pipeline names: nothing can be said about it.
            return _UNKNOWN
        outputs = {task: _output(results.get(task)) for task in sorted({*recipe.tasks, *record.needs})}
        taken = {task: outputs[task] for task in outputs if self._took(result, task, results.get(task), recipe)}
        return judge(Made(_blobs(inside), outputs), Made(_blobs(seen), {**taken, **result.manifest.needs, result.task: _output(result)}))

    def task(self, name: str) -> Task | None:
        """Return a task of the run's pipeline; None when it has none of this name."""
        return self._document.tasks.get(name)

    def blob(self, path: str) -> str | None:
        """Return the blob id of a file of the run's tree; None when there is none."""
        return next((file.blob for file in self._files if file.path == path), None)

    def cells(self, task: str) -> tuple[str, ...]:
        """Return all cells of a task's matrix; none when it has no matrix, or the pipeline no such task."""
        known = self._document.tasks.get(task)
        return self._document.cells(task) if known is not None and known.cell else ()

    def _took(self, result: TaskResult, name: str, made: TaskResult | None, recipe: Recipe) -> bool:
        """Say whether a task took, by `from:`, all that the artifact copies from another; what it took is looked up in the bytes."""
        if made is None or made.outputs is None:
            return False
        same = []
        for taken in result.manifest.takes:
            try:
                if taken.task == name and self._index.digest(made.outputs.digest, taken.path) == taken.digest:
                    same.append(taken.path)
            except SetpointError:
                continue
        return placing.covers(same, (rule.source for rule in recipe.copy if rule.origin == name))


def _blobs(files: Iterable[TreeFile]) -> dict[str, str]:
    return {file.path: file.blob for file in files}


def _output(result: TaskResult | None) -> str:
    return result.outputs.digest if result is not None and result.outputs is not None else ""

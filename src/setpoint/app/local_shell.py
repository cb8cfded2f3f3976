"""A shell where a task would run: its inputs, the outputs of what it needs, its environment and network, and its sandbox.

Called by `setpoint run --shell`; on the working tree and in the cache folder of local runs. The server never does this.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from setpoint.adapters.content import ContentFolder
from setpoint.adapters.git.working_tree import WorkingTree
from setpoint.adapters.runner.client import dedicated_uid
from setpoint.adapters.runner.interactive import interact
from setpoint.adapters.workspaces import WorkspaceFolder
from setpoint.app.home import Home
from setpoint.app.local_run import LocalReport, chosen, document_of, find_root, local_home, run_locally, shared
from setpoint.core import ids
from setpoint.core.errors import UserError
from setpoint.pipeline.config import PipelineDocument, select_inputs
from setpoint.pipeline.model import Archive, Run, RunState, TaskCommand, TaskResult
from setpoint.pipeline.tasks import Task


@dataclass(frozen=True, slots=True)
class Opening:
    """What a person should know when the shell opens."""

    task: str
    run: str
    """What the task itself would run."""
    files: int
    needs: tuple[str, ...]
    network: bool


def open_shell(
    path: Path,
    wanted: Sequence[str],
    on_change: Callable[[Run, list[TaskResult]], None],
    on_open: Callable[[Opening], None],
) -> LocalReport | int:
    """Run what the task needs, then a shell in its sandbox; returns its exit status, or the report when a needed task is not green.

    What the shell leaves behind is thrown away.

    Raises:
        ConfigError: the pipeline's findings. NotFoundError: no pipeline (SP823), or no such task (SP824).
        UserError: it is not clear which task (SP835), or the cache folder cannot be used (SP825).
        WorldError: no sandbox can be made here (SP241).
    """
    tree = WorkingTree(find_root(path))
    document = document_of(tree)
    name = _task(document, wanted)
    config = document.tasks[name]
    report = run_locally(path, config.needs, on_change) if config.needs else None
    if report is not None and report.run.state is not RunState.PASSED:
        return report
    outputs = {task.task: task.outputs.digest for task in (report.tasks if report is not None else ()) if task.outputs is not None}
    home = local_home()
    with shared(home):
        content = ContentFolder(home.content)
        found = [(content.path(outputs[need]), take) for need, take in config.laid if need in outputs]
        archives = [Archive(path, take) for path, take in found if path is not None]
        return _interact(home, tree, (name, config), archives, on_open)


def _interact(
    home: Home, tree: WorkingTree, task: tuple[str, Task], archives: Sequence[Archive], on_open: Callable[[Opening], None]
) -> int:
    """Make the workspace, run the shell in it, and remove it again."""
    name, config = task
    workspaces = WorkspaceFolder(home.workspaces, dedicated_uid())
    files = select_inputs(config.reads, tree.listing)
    task_id = f"{ids.identifier('s', name, os.getpid(), time.monotonic_ns())}-{name}"
    try:
        workspaces.create(task_id, ((file.path, file.mode, tree.by_blob(file.blob)) for file in files), archives)
        on_open(Opening(name, config.run, len(files), tuple(config.needs), config.network))
        environment = {"PS1": f"{name}$ ", **config.env}
        return interact(
            TaskCommand(task_id, ("/bin/sh", "-i"), environment, config.network, config.timeout), home.workspaces, dedicated_uid()
        )
    finally:
        workspaces.remove(task_id)


def _task(document: PipelineDocument, wanted: Sequence[str]) -> str:
    """Return the task that is meant: the one that is named, or the only one."""
    names = list(wanted) or list(document.tasks)
    fix = f"name one: {', '.join(document.tasks)}"
    if len(names) != 1:
        raise UserError("SP835", "a shell is opened in one task" if wanted else "the pipeline has several tasks", fix=fix)
    chosen(document, names)
    if names[0] not in document.tasks:
        raise UserError("SP835", f"`{names[0]}` is an artifact, and a shell is opened in a task", fix=fix)
    return names[0]

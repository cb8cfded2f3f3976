"""What goes into a pod and what comes out of it, as blobs of this home's registry that only that attempt's token opens.

Called by the executor, in threads. The inputs are the workspace itself as a tar, so a pod sees what a sandbox would; what comes back is
laid into a fresh workspace by the rules for archives that nobody trusts, and judged there like what a sandboxed task leaves.
"""

import contextlib
import shutil
from pathlib import Path
from typing import Final

from setpoint.adapters.oci.store import OciStoreFolder
from setpoint.core.errors import SetpointError, UserError
from setpoint.pipeline.model import Archive
from setpoint.pipeline.ports import Workspaces

_TAR: Final = "application/x-tar"
_ALL: Final = ("**",)


class Inputs:
    """Blobs below `tasks/<job>`."""

    def __init__(self, store: OciStoreFolder, workspaces: Workspaces) -> None:
        self._store = store
        self._workspaces = workspaces
        self._kept: dict[str, set[str]] = {}

    def put(self, job: str, task_id: str) -> str:
        """Store a task's workspace and return the digest."""
        scratch = self._store.scratch()
        self._workspaces.collect(task_id, _ALL, scratch)
        digest = self._store.put_blob_file(_repository(job), scratch, _TAR).digest
        self._kept.setdefault(job, set()).add(digest)
        return digest

    def take(self, job: str, task_id: str, digest: str) -> None:
        """Lay what a pod left into the task's workspace, in place of what was there; an empty digest leaves it empty.

        Raises:
            UserError: it is no archive that can be laid there (SP276). NotFoundError: it did not arrive (SP302).
        """
        if not digest:
            self._workspaces.create(task_id, (), ())
            return
        self._kept.setdefault(job, set()).add(digest)
        scratch = self._store.scratch()
        try:
            with self._store.open_blob(_repository(job), digest) as source, scratch.open("xb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
            self._workspaces.create(task_id, (), [Archive(Path(scratch))])
        except UserError as error:
            fix = "let the task leave files, folders and links inside of its workspace only"
            raise UserError("SP276", f"what the task left cannot be kept: {error.what}", where=error.where, fix=fix) from error
        finally:
            scratch.unlink(missing_ok=True)

    def drop(self, job: str) -> None:
        """Let go of an attempt's blobs; garbage collection deletes their bytes."""
        for digest in self._kept.pop(job, ()):
            with contextlib.suppress(SetpointError):
                self._store.delete_blob(_repository(job), digest)


def _repository(job: str) -> str:
    return f"tasks/{job}"

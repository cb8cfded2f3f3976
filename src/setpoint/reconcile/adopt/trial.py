"""Renders of what a delivery repository would hold: is one value all that an edit changes, here and in every other environment?

Called by the search. Each trial is an ordinary render of ordinary files, kept by what it reads, so the merge of what was tried costs none.
It writes nothing into Git.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from setpoint.core.errors import SetpointError, WorldError
from setpoint.promotion.repository import Delivery
from setpoint.reconcile.adopt.splice import same
from setpoint.reconcile.cluster.live_field import LiveField
from setpoint.reconcile.cluster.normalise import body
from setpoint.reconcile.cluster.walk import walk
from setpoint.reconcile.model import Rendered, identity
from setpoint.reconcile.render import Place
from setpoint.reconcile.renders import Renders
from setpoint.reconcile.sources.files import PinnedFiles
from setpoint.source.ports import GitStore

MOST: Final = 40
"""Renders of the environment that one field may cost."""


@dataclass(slots=True)
class Trials:
    """Renders of one application at the head of the delivery branch, with files changed."""

    delivery: Delivery
    app: str
    git: GitStore
    renders: Renders
    edits: dict[str, bytes] = field(default_factory=dict)
    """What was found already, for other fields of the same object."""
    spent: int = 0

    def files(self, environment: str, edits: Mapping[str, bytes] | None = None) -> PinnedFiles:
        """Return the files that a render of an environment may read, with what was found and these edits."""
        ids: dict[str, str] = {}
        mine: dict[str, bytes] = {}
        base, own = f"apps/{self.app}", f"environments/{environment}/{self.app}"
        # What a generator made reads the folder of its template, under its own name.
        folders = {base: base, self.delivery.overlay(environment, self.app): own, **{one: one for one in self._includes()}}
        for folder, name in folders.items():
            tree = self.git.tree_id(self.delivery.repository, self.delivery.head, folder)
            if tree is not None:
                ids.update({f"{name}/{file.path}": file.blob for file in self.git.files(self.delivery.repository, tree)})
            for path, data in {**self.edits, **(edits or {})}.items():
                if path.startswith(f"{folder}/"):
                    mine[f"{name}{path.removeprefix(folder)}"] = data
        blobs = {blob_id(data): data for data in mine.values()}
        ids.update({path: blob_id(data) for path, data in mine.items()})

        def fetch(blob: str) -> bytes:
            return blobs[blob] if blob in blobs else self.git.blob(self.delivery.repository, blob)

        return PinnedFiles(ids, fetch)

    def render(self, environment: str, edits: Mapping[str, bytes] | None = None) -> Rendered:
        """Return the objects of an environment; raises what rendering raises."""
        target = self.delivery.environment(environment).target.kubernetes
        place = Place(self.app, environment, target.namespace if target is not None else "")
        return self.renders.render(self.files(environment, edits), place, self._includes())

    def _includes(self) -> tuple[str, ...]:
        return tuple(self.delivery.setpoint.apps[self.app].includes)

    def gives(self, environment: str, wish: LiveField, edits: Mapping[str, bytes]) -> bool:
        """Say whether edits change exactly the wished field of an environment's render, to the live value.

        Raises:
            WorldError: rendering failed for a reason outside of the files.
        """
        self.spent += 1
        try:
            before, after = _objects(self.render(environment)), _objects(self.render(environment, edits))
        except WorldError:
            raise
        except SetpointError:
            return False
        if before.keys() != after.keys():
            return False
        changed = [name for name in after if not same(before[name], after[name])]
        if changed != [wish.key.subject]:
            return False
        one, other = before[changed[0]], after[changed[0]]
        leaves = list(walk(body(one), body(other), wish.guide, wish.key.kind, lambda left, right, *_: same(left, right)))
        return [leaf.text for leaf in leaves] == [wish.text] and same(leaves[0].wanted, wish.live)

    def others(self, environment: str, edits: Mapping[str, bytes]) -> list[str]:
        """Return the other environments whose render edits would change; one that does not render is told too, for nobody knows."""
        found = []
        for name in sorted(self.delivery.environments):
            read = (f"apps/{self.app}/", f"{self.delivery.overlay(name, self.app)}/")
            if name == environment or not self.delivery.runs(self.app, name) or not any(path.startswith(read) for path in edits):
                continue
            try:
                if self.render(name).digest != self.render(name, edits).digest:
                    found.append(name)
            except WorldError:
                raise
            except SetpointError:
                found.append(name)
        return found


def blob_id(data: bytes) -> str:
    """Return the id that Git gives a file's bytes."""
    return hashlib.sha1(b"blob %d\0%b" % (len(data), data), usedforsecurity=False).hexdigest()


def _objects(rendered: Rendered) -> dict[str, Any]:
    return {identity(value): value for value in rendered.objects}

"""Renders by what they read: the same files, tools and names give the objects that are kept, whatever else was committed.

Called by rendering. The key is made before anything is run, of the ids of exactly the files that the run will see, so nothing that was
not counted can have had a part in the result. What is kept survives a restart (`RenderStore`); faults are not kept.
"""

import json
import tempfile
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Final

from setpoint.core import canonical, digest
from setpoint.core.errors import ConfigError
from setpoint.reconcile.model import Rendered
from setpoint.reconcile.ports import RenderStore
from setpoint.reconcile.render import Place, Renderers, attempt, digest_of, render_inputs
from setpoint.reconcile.sources.files import PinnedFiles
from setpoint.reconcile.sources.inputs import Inputs, inputs_of

_FORMAT: Final = 1
"""Of the key: raised when the same inputs would give other objects."""
_AT_ONCE: Final = 64


class Renders:
    """Renders what is not there yet."""

    def __init__(self, tools: Renderers, kept: RenderStore) -> None:
        self._tools = tools
        self._kept = kept
        self._making = [threading.Lock() for _ in range(_AT_ONCE)]

    def render(self, files: PinnedFiles, place: Place, includes: Sequence[str] = ()) -> Rendered:
        """Return the objects of an application in an environment; raises what `reconcile.render.render` raises."""
        found = inputs_of(files, place.app, place.environment, includes)
        return attempt(files, found, lambda inputs: self._one(files, inputs, place))

    def _one(self, files: PinnedFiles, inputs: Inputs, place: Place) -> Rendered:
        key = key_of(files, inputs, place, self._tool(inputs))
        found = self._known(key)
        if found is not None:
            return found
        with self._making[int(key[-2:], 16) % len(self._making)]:  # who asks for the same at the same time waits for it
            found = self._known(key)
            if found is not None:
                return found
            # A disk takes its time for folders, and plain manifests need none.
            with nullcontext("") if inputs.kind == "plain" else tempfile.TemporaryDirectory(prefix="setpoint-render-") as scratch:
                found = render_inputs(files, inputs, place, self._tools, Path(scratch))
            self._kept.put(key, encode(found, key))
            return found

    def _known(self, key: str) -> Rendered | None:
        data = self._kept.get(key)
        return decode(data, key) if data is not None else None

    def _tool(self, inputs: Inputs) -> str:
        """Return what the program that renders calls itself; empty where none does."""
        if inputs.kind == "plain":
            return ""
        return self._tools.helm.version() if inputs.kind == "helm" else self._tools.kustomize.version()


def key_of(files: PinnedFiles, inputs: Inputs, place: Place, tool: str) -> str:
    """Return the name of a render: SHA-256 over everything that has a part in it.

    A chart's own words (`helm.yaml`, and through it the digest of a chart of the registry) are among the files.
    """
    content = {
        "format": _FORMAT,
        "app": place.app,
        "environment": place.environment,
        "namespace": place.where,
        "kind": inputs.kind,
        "tool": tool,
        "files": {path: files.ids[path] for path in inputs.paths},
    }
    return digest.sha256(canonical.dumps(content))


def encode(rendered: Rendered, key: str) -> bytes:
    """Return a render as it is kept."""
    value = {"key": key, "digest": rendered.digest, "objects": rendered.objects, "sources": rendered.sources}
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def decode(data: bytes, key: str) -> Rendered | None:
    """Return a kept render; None when it is damaged, or not the one of this key."""
    try:
        value = json.loads(data)
        rendered = Rendered(tuple(value["objects"]), str(value["digest"]), dict(value["sources"]))
        same = value["key"] == key and digest_of(rendered.objects) == rendered.digest
    except (ValueError, KeyError, TypeError, AttributeError, ConfigError):
        return None
    return rendered if same else None
